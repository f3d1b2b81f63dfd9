"""Compile the live kernels into ``NUMBA_CACHE_DIR`` while the image is built: three minutes of prints through them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from tapelab.common.instruments import load_instruments
from tapelab.common.pipeline import load_pipeline
from tapelab.common.sources.merge import MINUTE_NS
from tapelab.common.sources.simulator import Simulator
from tapelab.quant.backtest.decision import DecisionParams, DecisionState, step
from tapelab.quant.bars.builder import BarBuilder
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.features import FEATURE_SETS, FeatureEngine

CONFIG = Path("/opt/config")


def warm() -> int:
    """Run the kernels; how many bars they made."""
    instruments, pipeline = load_instruments(CONFIG), load_pipeline(CONFIG)
    specs = [BarSpec.parse(text) for text in pipeline.bars]
    made = 0
    for part in islice(Simulator().slices(MINUTE_NS), 3):
        for chunk in part.chunks:
            instrument = instruments.of(chunk.symbol)
            calendar = instruments.calendar(chunk.symbol)
            closed = BarBuilder(specs, calendar, instrument.bar_trade_types).update(chunk.ticks, 0)
            made += sum(map(len, closed))
            for pair in pipeline.features:
                bars = closed[pipeline.bars.index(pair.bars)]
                FeatureEngine(FEATURE_SETS[pair.feature_set], instrument.tick_size).update(bars)
    step(
        DecisionState(0, 0, 0),
        ts_ns=1,
        session_close_ns=2,
        expected_return=0.0,
        cost=0.0,
        usable=True,
        session_end=False,
        halted=False,
        params=DecisionParams(0.0, 0, 1, 0),
    )
    return made


if __name__ == "__main__":
    print(f"compiled; {warm()} bars")
