"""``python -m tapelab.api.openapi > openapi.json``: the description that the page's types are made from."""

from __future__ import annotations

import json
import sys

from tapelab.api.app import new_app


def openapi_json() -> str:
    """The OpenAPI description as stable text."""
    return json.dumps(new_app().openapi(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(openapi_json())
