"""Orders print by print over tapes: equal to the backtest bar by bar, and blind to the future."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tapelab.quant.backtest.costs import CostModel
from tapelab.quant.backtest.decision import Reason
from tapelab.quant.backtest.engine import run_backtest
from tapelab.quant.backtest.latency import Latency
from tapelab.quant.backtest.orders import OrderPolicy
from tapelab.quant.backtest.print_engine import PrintBacktest, run_on_prints
from tapelab.quant.backtest.prints import prints_of
from tests.quant.backtest.test_causality import FRICTIONS, Tape
from tests.quant.backtest.test_causality import PARAMS as TAPE_PARAMS

SECOND = 1_000_000_000
COSTS = CostModel(0.25, 0.0, 1.0, 0.25, 5.0, 0.2)
LIMIT = OrderPolicy(limit=True)


def test_ratios_of_days_are_annualised_as_bar_by_bar() -> None:
    tape = Tape(3)
    rows = np.arange(9, 900, 10)
    prints = prints_of(tape.tick_ts, tape.tick_price, np.ones(900), np.zeros(900))
    columns = rows, tape.ts, tape.price, tape.day, tape.close, tape.end, tape.usable, tape.expected
    weekdays, every = (
        run_on_prints(prints, *columns, TAPE_PARAMS, COSTS, days_per_year=year).result.kpis for year in (252, 365)
    )
    assert every.sharpe_daily == pytest.approx(weekdays.sharpe_daily * math.sqrt(365 / 252))
    assert every.sortino_daily == pytest.approx(weekdays.sortino_daily * math.sqrt(365 / 252))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("lots", [1.0, 5.0])
def test_market_orders_are_the_backtest_bar_by_bar_to_the_bit(seed: int, lots: float) -> None:
    tape = Tape(seed)
    rows = np.arange(9, 900, 10)
    columns = tape.day, tape.close, tape.end, tape.usable, tape.expected
    prints = prints_of(tape.tick_ts, tape.tick_price, np.ones(900), np.zeros(900))
    for latency in (Latency.fixed(0), Latency.fixed(SECOND), Latency.fixed(40 * SECOND)):
        bars = run_backtest(
            tape.ts,
            tape.price,
            tape.fills(latency=latency),
            *columns,
            TAPE_PARAMS,
            COSTS,
            lots,
            frictions=FRICTIONS,
            **tape.extras(90),
        )
        ticks = run_on_prints(
            prints,
            rows,
            tape.ts,
            tape.price,
            *columns,
            TAPE_PARAMS,
            COSTS,
            lots,
            latency_ns=latency.draw(90),
            frictions=FRICTIONS,
            **tape.extras(90),
        ).result
        assert len(bars.trades) > 5
        assert ticks.trades.tobytes() == bars.trades.tobytes()
        assert ticks.side.tobytes() == bars.side.tobytes()
        assert ticks.reason.tobytes() == bars.reason.tobytes()
        assert ticks.equity[-1] == pytest.approx(bars.equity[-1])
        if latency.samples_ns[0] <= SECOND:  # bars are ten prints, so fills come before the next one closes
            assert ticks.kpis == bars.kpis
            for name in ("gross", "cost", "net", "net_return", "equity", "drawdown", "day_net"):
                assert getattr(ticks, name).tobytes() == getattr(bars, name).tobytes()


@pytest.mark.parametrize(
    "policy", [OrderPolicy(), LIMIT, OrderPolicy(True, 3 * SECOND), OrderPolicy(True, SECOND, True)]
)
@pytest.mark.parametrize("seed", range(4))
def test_other_prints_later_never_change_fills_and_equity_before(seed: int, policy: OrderPolicy) -> None:
    tape, rng = Tape(seed), np.random.default_rng(seed)
    volume, aggressor = rng.integers(1, 9, 900).astype(float), rng.integers(-1, 2, 900)
    rows = np.arange(9, 900, 10)
    latency = Latency.measured([0, SECOND, 3 * SECOND], seed).draw(90)
    ahead = rng.integers(0, 9, 90).astype(float)

    def outcome(price: Any, lots: Any, sides: Any) -> PrintBacktest:
        return run_on_prints(
            prints_of(tape.tick_ts, price, lots, sides),
            rows,
            tape.ts,
            price[rows],
            tape.day,
            tape.close,
            tape.end,
            tape.usable,
            tape.expected,
            TAPE_PARAMS,
            COSTS,
            3.0,
            policy=policy,
            latency_ns=latency,
            ahead=ahead,
            frictions=FRICTIONS,
            **tape.extras(90),
        )

    whole = outcome(tape.tick_price, volume, aggressor)
    assert len(whole.fills) > 5
    for cut in (205, 450, 777):
        price, lots, sides = tape.tick_price.copy(), volume.copy(), aggressor.copy()
        price[cut:] = np.maximum(price[cut:] + 5.0 * rng.integers(-9, 9, 900 - cut), 5.0)
        lots[cut:], sides[cut:] = lots[cut:] * 7.0, -sides[cut:]
        other = outcome(price, lots, sides)
        before = whole.fills[whole.fills["print"] < cut]
        assert before.tobytes() == other.fills[other.fills["print"] < cut].tobytes()
        # A bar is done with when the next one closes.
        done = int(np.searchsorted(rows, cut)) - 1
        assert whole.result.equity[:done].tobytes() == other.result.equity[:done].tobytes()


def test_fills_come_after_the_arrival_but_for_the_last_print_of_a_session() -> None:
    tape = Tape(1)
    rows = np.arange(9, 900, 10)
    result = run_on_prints(
        prints_of(tape.tick_ts, tape.tick_price, np.full(900, 3.0), np.zeros(900)),
        rows,
        tape.ts,
        tape.price,
        tape.day,
        tape.close,
        tape.end,
        tape.usable,
        tape.expected,
        TAPE_PARAMS,
        COSTS,
        policy=LIMIT,
        latency_ns=SECOND,
    )
    fills = result.fills
    late = fills["filled_ts_ns"] <= fills["arrived_ts_ns"]
    assert result.orders.fills_at_last_print == late.sum()
    assert (fills["reason"][late] == Reason.SESSION_END).all()
    assert set(fills["print"][late]) <= {299, 599, 899}
    assert fills["maker"].any()
    assert (fills["side"] * (fills["price"] - fills["got"]) > 0.0).tolist() == (fills["maker"] == 1).tolist()
