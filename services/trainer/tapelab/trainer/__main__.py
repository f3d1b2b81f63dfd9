"""``python -m tapelab.trainer``: the trainer service."""

from __future__ import annotations

import os

from tapelab.common.runtime.service import run_service
from tapelab.trainer.service import trainer_main


def main() -> None:
    """Run until told to stop."""
    run_service("trainer", os.environ, trainer_main)


if __name__ == "__main__":
    main()
