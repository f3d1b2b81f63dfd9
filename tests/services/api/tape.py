"""Records as the gateway reads them."""

from __future__ import annotations

import msgspec
import numpy as np

from tapelab.common import topics
from tapelab.common.codec import AnyRecord, encode
from tapelab.common.runtime.headers import ORIGIN, STAGE, stamp
from tapelab.common.runtime.stage import Record
from tapelab.common.schemas.bars import Bar
from tapelab.common.schemas.signals import Signal
from tapelab.common.schemas.ticks import TickBatch
from tapelab.quant.ticks import Ticks
from tests.contracts import records as golden

#: 2025-11-19 10:00 in Sao Paulo, within the session of WINZ26.
OPEN_NS = 1_763_557_200_000_000_000
SESSION_CLOSE_NS = 1_763_587_500_000_000_000


def record(topic: str, value: AnyRecord | bytes, *, offset: int = 0, hops: dict[str, int] | None = None) -> Record:
    raw = value if isinstance(value, bytes) else encode(value)
    headers = tuple(stamp(hop, ns) for hop, ns in (hops or {}).items())
    return Record(topic, 0, offset, getattr(value, "symbol", "WINZ26").encode(), raw, headers)


def ticks(
    first_seq: int, n: int, *, symbol: str = "WINZ26", stream: int = 1, price: float = 100.0, session_end_ns: int = 0
) -> TickBatch:
    columns = Ticks.empty()._replace(
        ts_event_ns=OPEN_NS + np.arange(first_seq, first_seq + n, dtype=np.int64),
        price=price + np.arange(n, dtype=np.float64),
        **{
            name: np.zeros(n, getattr(Ticks.empty(), name).dtype)
            for name in Ticks._fields
            if name not in ("ts_event_ns", "price")
        },
    )
    return TickBatch.pack(
        columns,
        symbol=symbol,
        exchange="B3",
        stream=stream,
        lineage="t",
        first_seq=first_seq,
        session_end_ns=session_end_ns,
    )


def bar(seq: int, *, symbol: str = "WINZ26", spec: str = "tick:50", stream: int = 1, close: float = 100.0) -> Bar:
    return msgspec.structs.replace(
        golden.bar(), symbol=symbol, spec=spec, stream=stream, lineage=f"b-{spec}", seq=seq, close=close
    )


def signal(seq: int, *, symbol: str = "WINZ26", mode: str = "live", stream: int = 1) -> Signal:
    return msgspec.structs.replace(
        golden.signal(), symbol=symbol, mode=mode, stream=stream, seq=seq, signal_id=f"{symbol}-{stream}-{seq}"
    )


def signal_records(first: int, n: int, **changes: str) -> list[Record]:
    return [record(topics.SIGNALS, signal(seq, **changes), offset=seq) for seq in range(first, first + n)]


def dead(topic: str, stage: str, origin_offset: int) -> Record:
    origin = f"{topic}[0]@{origin_offset}".encode()
    return Record(topic + topics.DLQ_SUFFIX, 0, 0, b"WINZ26", b"x", ((STAGE, stage.encode()), (ORIGIN, origin)))
