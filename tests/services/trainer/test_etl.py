"""From prints to samples."""

from __future__ import annotations

import numpy as np
import pytest

from tapelab.common.errors import ConfigError, SourceError
from tapelab.common.experiments.parts import Span
from tapelab.trainer.dataset import pool, save_binary
from tapelab.trainer.etl import compute, cost_model, data_digest, order_fills
from tapelab.trainer.gbdt import parameters
from tapelab.trainer.sources import FileSource, SymbolTicks
from tests.services.trainer.data import TAPE, config, instruments, loaded, samples, symbols, tape


async def quiet(stage: str, fraction: float, data: dict) -> None:
    """Nobody listens."""


async def test_a_file_is_frozen_into_a_span_per_symbol_and_cut_at_an_event_time() -> None:
    source = FileSource(instruments())
    whole = await source.freeze(config(), quiet)
    assert {span.symbol: span.n for span in whole} == {s: t.n for s, t in tape().items()}
    cut = int(tape()["WINZ26"].ts_event_ns[1_000])
    spans = await source.freeze(config(cut_ts_ns=cut, symbols=["WINZ26"]), quiet)
    (item,) = await source.load(config(symbols=["WINZ26"]), spans, quiet)
    assert (item.ticks.ts_event_ns < cut).all()
    assert not item.tape_ended
    assert item.ticks.n == int(np.argmax(tape()["WINZ26"].ts_event_ns >= cut))


async def test_a_symbol_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="expected PETR4, got prints of"):
        await FileSource(instruments()).freeze(
            config(symbols=["PETR4"], source={"kind": "file", "format": "simulator", "path": TAPE}), quiet
        )
    chosen = await FileSource(instruments()).freeze(config(roots=["WDO"]), quiet)
    assert [span.symbol for span in chosen] == ["WDOZ26"]


def test_the_digest_changes_with_a_single_bit_and_with_the_span() -> None:
    item = loaded()[0]
    before = data_digest([item])
    price = item.ticks.price.copy()
    price[-1] = np.nextafter(price[-1], np.inf)
    assert data_digest([item._replace(ticks=item.ticks._replace(price=price))]) != before
    moved = Span(symbol=item.span.symbol, stream=1, first_seq=0, last_seq=item.span.last_seq)
    assert data_digest([item._replace(span=moved)]) != before
    assert data_digest([item]) == before


def test_only_warm_rows_with_a_known_label_become_samples() -> None:
    pooled = samples()
    for index, data in enumerate(symbols()):
        rows = pooled.row[pooled.symbol == index]
        assert data.usable[rows].all()
        assert data.labels.valid[rows].all()
        assert len(rows) == int((data.usable & data.labels.valid).sum())
    assert np.isfinite(pooled.x).all()
    assert (pooled.up[pooled.ret > 0] == 1).all()
    assert not pooled.moved[pooled.ret == 0].any()
    assert (pooled.ts_end_ns - pooled.ts_start_ns == config().horizon_ns + config().latency_ns).all()


def test_prints_without_a_bar_or_without_a_label_are_one_clear_error() -> None:
    item = loaded()[0]
    few = SymbolTicks(Span(symbol=item.span.symbol, stream=0, first_seq=0, last_seq=9), item.ticks.slice(0, 10), False)
    with pytest.raises(SourceError, match="make no bar"):
        compute(few, config(), instruments())
    some = few._replace(ticks=item.ticks.slice(0, 500))
    with pytest.raises(SourceError, match="nothing to learn from"):
        pool([compute(some, config(), instruments())])


def test_costs_come_from_the_instrument_unless_the_experiment_gives_its_own() -> None:
    assert cost_model("WINZ26", config(), instruments()).fee_per_contract == 0.2561
    free = cost_model("WINZ26", config(costs={"spread_ticks": 0}), instruments())
    assert (free.fee_per_contract, free.spread_ticks, free.tick_size) == (0.0, 0.0, 5.0)


def test_the_binary_data_set_holds_every_sample(tmp_path) -> None:
    pooled = samples()
    options = parameters(config().model, 1)
    data = save_binary(pooled, config().features.names, options, tmp_path / "d.bin").construct()
    assert data.num_data() == pooled.n
    assert tuple(data.get_feature_name()) == config().features.names
    assert np.array_equal(data.get_label(), pooled.up)


def test_a_bar_whose_order_has_no_print_to_trade_at_is_refused() -> None:
    data = symbols()[0]
    late = np.array([data.bars["session_close_ns"][0] + 1], np.int64)
    with pytest.raises(SourceError, match=r"a print with a price before the close of its session, got none for \d+ of"):
        order_fills(data.bars, late, np.array([10.0]), 0)
