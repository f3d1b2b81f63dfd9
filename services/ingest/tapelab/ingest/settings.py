"""Settings of ingest and of the tick sink."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tapelab.common.settings import AtLeastOne, Milliseconds, Seconds

SourceKind = Literal["simulator", "file", "ticks_raw"]


class IngestSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Read from ``TAPELAB_INGEST_*``.

    Args:
        source: what is played.
        path: file or folder of the source ``file``.
        format: its format (``nelogica``, ``lean``, ``binance``); empty recognises it.
        symbol: symbol of a file whose name does not tell it.
        symbols: play only these, separated by commas; empty plays all.
        rejects: CSV file that lists malformed rows.
        seed: seed of the simulator.
        simulator: further options of the simulator, such as ``days=3,edge=0``.
        dsn: database of the source ``ticks_raw``; empty is tapelab's own.
        table: its table.
        timezone: zone of the table's ``timestamp`` where the column has none.
        poll_ms: time between two looks at the table.
        speed: how fast the part after the cut is played: ``1``, ``60``, ... times the tape's own clock, or ``max``.
        cut: where the first part ends: a fraction of the tape's days, a day ``YYYY-MM-DD`` that begins the
            second part, or ``none`` to play everything at ``speed`` without waiting.
        pace_ms: wall time between two paced publishings.
        max_gap_s: a stretch of the tape without prints is shortened to this, in seconds of the tape.
        grace_s: how long after a session's close a followed table may still bring prints of it.
    """

    source: SourceKind = "simulator"
    path: str = ""
    format: str = ""
    symbol: str = ""
    symbols: str = ""
    rejects: str = ""
    seed: int = 7
    simulator: str = ""
    dsn: str = ""
    table: str = "ticks_raw"
    timezone: str = "UTC"
    poll_ms: Milliseconds = 50
    speed: str = "60"
    cut: str = "0.75"
    pace_ms: Milliseconds = 25
    max_gap_s: Seconds = 60.0
    grace_s: Annotated[float, msgspec.Meta(ge=0.0, le=31_536_000.0)] = 30.0


class SinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Read from ``TAPELAB_SINK_*``.

    Args:
        batch_rows: prints per transaction, about.
        poll_ms: how long to wait for records.
    """

    batch_rows: AtLeastOne = 200_000
    poll_ms: Milliseconds = 100
