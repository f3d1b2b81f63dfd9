"""Settings of the trainer service (``TAPELAB_TRAINER_*``)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tapelab.common.settings import AtLeastOne, Seconds


class TrainerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the trainer is set to.

    ``num_threads`` are LightGBM's; results do not depend on them. One by default: on cores that other services
    share, two threads that wait for each other took twenty times as long. ``poll_s`` is how often the queue is looked
    at, ``heartbeat_s`` how often a running experiment is said to live (another worker takes it over after
    30 s of silence).
    ``files`` is the folder whose tapes experiments of the queue may read; empty refuses sources of kind ``file``.
    """

    num_threads: AtLeastOne = 1
    poll_s: Seconds = 0.5
    heartbeat_s: Annotated[float, msgspec.Meta(gt=0.0, le=15.0)] = 5.0
    files: str = ""
