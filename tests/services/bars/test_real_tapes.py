"""On real tapes, too, the live way gives the offline bars bit for bit."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tapelab.bars.stage import BarsStage
from tapelab.common.codec import encode
from tapelab.common.instruments import load_instruments
from tapelab.common.pipeline import Pipeline
from tapelab.common.runtime.stage import Record
from tapelab.common.schemas.bars import Bar, bars_to_array
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.sources.detect import open_tape
from tapelab.common.topics import TICKS
from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.reference import ReferenceBars
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.ticks import Ticks
from tests.quant.bars.compare import assert_reference

pytestmark = pytest.mark.slow

PIPELINE = Pipeline(bars=("tick:50", "volume:2000", "dollar:50000", "time:1s"), features=())


@pytest.mark.parametrize(
    ("folder", "symbol", "longest"),
    [
        ("lean_us_ticks", "IBM", 126_395),
        ("lean_us_ticks", "SPY", 250_000),
        ("binance_trades_nexousdt_csv", "NEXOUSDT", 250_000),
    ],
)
def test_live_equals_offline_over_a_real_tape(
    shared_data: Path, repository: Path, folder: str, symbol: str, longest: int
) -> None:
    instruments = load_instruments(repository / "config")
    instrument, calendar = instruments.of(symbol), instruments.calendar(symbol)
    parts: list[Ticks] = []
    for chunk in open_tape(shared_data / folder, only=frozenset({symbol})).chunks():
        parts.append(chunk.ticks)
        if sum(part.n for part in parts) >= longest:
            break
    tape = Ticks.concatenate(parts).slice(0, longest)
    rng = np.random.default_rng(1)
    cuts = np.unique(np.concatenate([[0, tape.n], rng.integers(0, tape.n, 400)])).tolist()
    records = [
        Record(TICKS, 0, offset, symbol.encode(), encode(_batch(tape.slice(first, stop), symbol, first)))
        for offset, (first, stop) in enumerate(pairwise(cuts))
    ]
    stage = BarsStage(0, PIPELINE, instruments)
    outputs = stage.process(records[:150]).outputs
    restarted = BarsStage(0, PIPELINE, instruments)
    restarted.restore(stage.freeze()())
    outputs += restarted.process(records[150:]).outputs
    for text in PIPELINE.bars:
        spec = BarSpec.parse(text)
        live = bars_to_array([o.record for o in outputs if isinstance(o.record, Bar) and o.record.spec == str(spec)])
        want = compute_bars(tape, spec, calendar, instrument.bar_trade_types, tape_ended=False)
        assert len(want) > 5
        assert live.tobytes() == want.tobytes()
    head = tape.slice(0, 5_000)
    spec = BarSpec("tick", 50)
    reference = ReferenceBars(spec, calendar, instrument.bar_trade_types).update(head, 0)
    assert_reference(compute_bars(head, spec, calendar, instrument.bar_trade_types, tape_ended=False), reference)


def _batch(ticks: Ticks, symbol: str, first_seq: int) -> TickBatch:
    return TickBatch.pack(ticks, symbol=symbol, exchange="X", stream=1, lineage="beef", first_seq=first_seq)
