"""Entry point of the ``tapelab`` command.

Importing what the command needs takes a second, in which some library may swallow a Ctrl-C. Nothing has been
started by then, so it simply ends the process; ``tapelab up`` puts its own handler in place before it starts
anything.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def main() -> None:
    """Run the command."""
    signal.signal(signal.SIGINT, _leave)
    from tapelab.cli.main import main as run

    run()
