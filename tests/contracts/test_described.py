"""The committed descriptions of signals are those of the struct, and real signals fit them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tapelab.common.codec import encode
from tapelab.common.schemas.describe import rendered, signal_schema
from tests.contracts.records import signal


@pytest.mark.parametrize("name", rendered())
def test_the_committed_file_is_current(name: str, repository: Path) -> None:
    expected = rendered()[name]
    written = (repository / "docs" / "schemas" / name).read_bytes()
    assert written == expected, "run: .venv/bin/python -m tapelab.common.schemas.describe docs/schemas"


def test_a_signal_on_the_topic_fits_its_schema() -> None:
    fields, schema = json.loads(encode(signal())), signal_schema()
    types = {"string": str, "integer": int, "number": (int, float), "object": dict, "boolean": bool}
    assert set(schema["required"]) <= set(fields) <= set(schema["properties"])
    for name, value in fields.items():
        wanted = schema["properties"][name]
        if "type" in wanted:
            assert isinstance(value, types[wanted["type"]]), name
        if "enum" in wanted:
            assert value in wanted["enum"], name
        if "pattern" in wanted:
            assert re.fullmatch(wanted["pattern"], value), name
