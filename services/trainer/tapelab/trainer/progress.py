"""How an experiment tells what it is doing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

#: ``await report(stage, fraction, data)``: the stage's name, how far the whole experiment is (0 to 1), and what
#: there is to say about it (JSON types). It raises :class:`Stopped` where the experiment should end.
Report = Callable[[str, float, dict[str, Any]], Awaitable[None]]


class Stopped(Exception):
    """The experiment was asked to stop; nothing of it was registered."""
