"""One fixed record per topic: the subjects of the golden-byte tests."""

from __future__ import annotations

import numpy as np

from tapelab.common import topics
from tapelab.common.codec import AnyRecord
from tapelab.common.schemas.bars import Bar
from tapelab.common.schemas.book import BookBatch
from tapelab.common.schemas.events import Event
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.schemas.signals import Signal
from tapelab.common.schemas.ticks import TickBatch
from tapelab.quant.dtypes import BAR_DTYPE
from tapelab.quant.ticks import Ticks

BIG = 2**53 + 1  # the first integer that a JSON number in JavaScript cannot hold


def ticks() -> Ticks:
    return Ticks(
        ts_event_ns=np.array([1_763_553_600_000_000_001, 1_763_553_600_250_000_000], np.int64),
        price=np.array([128_450.0, 128_455.0]),
        volume=np.array([3.0, 0.5]),
        aggressor=np.array([1, -1], np.int8),
        aggressor_source=np.array([2, 4], np.uint8),
        trade_type=np.array([2, 13], np.uint8),
        flags=np.array([0, 4], np.uint16),
        buy_agent=np.array([147, 8], np.int32),
        sell_agent=np.array([8, 147], np.int32),
        trade_id=np.array([BIG, -1], np.int64),
    )


def tick_batch() -> TickBatch:
    return TickBatch.pack(
        ticks(), symbol="WINZ26", exchange="B3", stream=7, lineage="a1b2c3d4e5f60718", first_seq=41, book_seq=9
    )


def bar() -> Bar:
    row = np.zeros(1, BAR_DTYPE)[0]
    for index, name in enumerate(BAR_DTYPE.names or ()):
        row[name] = index + 1
    row["close"], row["buy_agent_hhi"] = 128_450.5, np.nan
    return Bar.from_row(
        row,
        symbol="WINZ26",
        exchange="B3",
        spec="tick:50",
        stream=7,
        lineage="1122334455667788",
        tick_lineage="a1b2c3d4e5f60718",
    )


def vector() -> FeatureVector:
    return FeatureVector(
        symbol="WINZ26",
        exchange="B3",
        stream=7,
        lineage="99aabbccddeeff00",
        bar_lineage="1122334455667788",
        seq=12,
        bar_seq=12,
        feature_set_id="0123456789abcdef",
        bar_spec="tick:50",
        ts_event_ns=1_763_553_600_250_000_000,
        day=20251119,
        session_close_ns=1_763_587_500_000_000_000,
        ref_price=128_450.5,
        values=np.array([0.5, -1.25, 3.0], "<f4").tobytes(),
        warm=True,
        after_gap=False,
        session_end=False,
    )


def signal() -> Signal:
    return Signal(
        signal_id="00112233445566778899aabbccddeeff",
        symbol="WINZ26",
        exchange="B3",
        stream=7,
        lineage="feedfacefeedface",
        seq=3,
        side=1,
        previous_side=0,
        reason="edge",
        mode="live",
        score=0.625,
        expected_return=0.000125,
        expected_cost=0.0000625,
        threshold=0.00003125,
        ref_price=128_450.5,
        ts_event_ns=BIG,
        valid_until_ns=BIG + 5,
        model_id="lightgbm-01234567",
        model_digest="ab" * 32,
        feature_set_id="0123456789abcdef",
        feature_lineage="99aabbccddeeff00",
        feature_seq=12,
        input_topic="ml.features.v1",
        input_partition=2,
        input_offset=1234,
        components={"lightgbm-01234567": 0.625},
        weights={"lightgbm-01234567": 1.0},
    )


def book_batch() -> BookBatch:
    return BookBatch(
        symbol="WINZ26",
        exchange="B3",
        stream=7,
        lineage="b00cb00cb00cb00c",
        first_seq=5,
        n=2,
        snapshot=True,
        depth=5,
        ts_event_ns=np.array([1, 2], "<i8").tobytes(),
        side=np.array([1, -1], "i1").tobytes(),
        price=np.array([128_445.0, 128_450.0]).tobytes(),
        volume=np.array([10.0, 12.0]).tobytes(),
    )


def event() -> Event:
    return Event(subject="exp-1", seq=4, kind="progress", ts_ns=1_763_553_600_000_000_000, data={"stage": "train"})


RECORDS: dict[str, AnyRecord] = {
    topics.TICKS: tick_batch(),
    topics.BOOK: book_batch(),
    topics.BARS: bar(),
    topics.FEATURES: vector(),
    topics.SIGNALS: signal(),
    topics.EVENTS: event(),
}
