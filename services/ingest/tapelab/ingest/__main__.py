"""``python -m tapelab.ingest``."""

from __future__ import annotations

import os

from tapelab.common.runtime.service import run_service
from tapelab.ingest.app import ingest_main


def main() -> None:
    """Run the service."""
    run_service("ingest", os.environ, ingest_main)


if __name__ == "__main__":
    main()
