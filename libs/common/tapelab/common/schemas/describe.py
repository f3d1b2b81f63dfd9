"""JSON Schema of a signal and the AsyncAPI description of its topic, for engines in other languages.

``python -m tapelab.common.schemas.describe FOLDER`` writes both; a test holds the committed files against
the struct.
"""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from tapelab.common.schemas.signals import INT64_FIELDS, Signal
from tapelab.common.topics import SIGNALS

SCHEMA_FILE: Final = "signal.schema.json"
ASYNCAPI_FILE: Final = "asyncapi.json"


def signal_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a signal as it stands on the topic: 64-bit integers are strings."""
    (schema,), components = msgspec.json.schema_components([Signal])
    del schema
    described: dict[str, Any] = components["Signal"]
    for name in INT64_FIELDS:
        described["properties"][name] = {"type": "string", "pattern": "^-?[0-9]{1,19}$"}
    described["properties"]["side"] |= {"enum": [-1, 0, 1]}
    described["properties"]["previous_side"] |= {"enum": [-1, 0, 1]}
    described["description"] = inspect.getdoc(Signal)
    # A field without a default is required; fields that came later have one and may be missing.
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **described}


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0 description of the signals topic."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "tapelab signals",
            "version": "1",
            "description": (
                "Target positions for execution engines. Read with isolation level read_committed, keyed by symbol. "
                "Drop a signal whose (stream, lineage, seq) was seen, and every lower stream of a symbol. Use "
                "signal_id as the client order id. Past valid_until_ns a signal must not open a position."
            ),
        },
        "channels": {
            "signals": {
                "address": SIGNALS,
                "messages": {"signal": {"contentType": "application/json", "payload": {"$ref": f"./{SCHEMA_FILE}"}}},
            }
        },
        "operations": {
            "receiveSignal": {"action": "receive", "channel": {"$ref": "#/channels/signals"}},
        },
    }


def rendered() -> dict[str, bytes]:
    """The files by name."""
    return {
        name: msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
        for name, value in ((SCHEMA_FILE, signal_schema()), (ASYNCAPI_FILE, asyncapi()))
    }


if __name__ == "__main__":
    for file_name, text in rendered().items():
        (Path(sys.argv[1]) / file_name).write_bytes(text)
