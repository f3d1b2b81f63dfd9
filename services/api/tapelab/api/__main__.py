"""``python -m tapelab.api``."""

from __future__ import annotations

import os

from tapelab.api.service import api_main
from tapelab.common.runtime.service import run_service


def main() -> None:
    """Run the gateway."""
    run_service("api", os.environ, api_main)


if __name__ == "__main__":
    main()
