"""Orders print by print, by hand to the cent."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tapelab.quant.backtest.costs import CostModel, Frictions
from tapelab.quant.backtest.decision import DecisionParams, Reason
from tapelab.quant.backtest.orders import OrderPolicy
from tapelab.quant.backtest.print_engine import PrintBacktest, run_on_prints
from tapelab.quant.backtest.prints import prints_of

SECOND = 1_000_000_000
COSTS = CostModel(0.25, 0.0, 1.0, 0.25, 5.0, 0.2)  # R$ 0.25 a lot; half a tick of spread, a quarter of slippage
PARAMS = DecisionParams(threshold=0.0, cooldown_ns=0, max_hold_ns=1_000 * SECOND, flatten_ns=0)
LIMIT = OrderPolicy(limit=True)
BUY, SELL = 1, -1

Print = tuple[float, float, float, int]  # seconds, price, lots, who crossed


def run(
    prints: list[Print],
    bars: dict[int, float],
    *,
    policy: OrderPolicy = LIMIT,
    lots: float = 1,
    latency_s: float = 1.0,
    ahead: float = 0.0,
    costs: CostModel = COSTS,
    **more: Any,
) -> PrintBacktest:
    """Bars close at the given prints, with these expected returns; the last one is the session's end."""
    ts, price, volume, side = (np.array(column) for column in zip(*prints, strict=True))
    rows = np.array(list(bars))
    return run_on_prints(
        prints_of(ts * SECOND, price, volume, side),
        rows,
        (ts[rows] * SECOND).astype(np.int64),
        price[rows],
        np.full(len(rows), 20260105),
        np.full(len(rows), 10**15),
        rows == rows[-1],
        np.ones(len(rows), bool),
        list(bars.values()),
        PARAMS,
        costs,
        lots,
        policy=policy,
        latency_ns=int(latency_s * SECOND),
        ahead=ahead,
        **more,
    )


def told(result: PrintBacktest, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(fill[name] for name in names) for fill in result.fills]


def test_a_market_order_trades_at_the_first_print_after_its_arrival() -> None:
    tape = [(0, 100_000, 1, BUY), (1, 100_005, 1, BUY), (2, 100_010, 1, BUY), (9, 100_110, 1, BUY)]
    result = run(tape, {0: 0.01, 3: 0.0}, policy=OrderPolicy(), lots=2)
    assert told(result, "print", "side", "lots", "price", "got", "maker") == [
        (2, BUY, 2, 100_010, 100_013.75, 0),
        (3, SELL, 2, 100_110, 100_106.25, 0),  # the session's last print: none follows
    ]
    # Two lots at R$ 0.20 a point: 100 points gross; per side R$ 0.50 fee, R$ 1.00 spread, R$ 0.50 slippage.
    kpis = result.result.kpis
    assert (kpis.gross_pnl, kpis.fees, kpis.spread, kpis.slippage) == pytest.approx((40.0, 1.0, 2.0, 1.0))
    assert kpis.net_pnl == pytest.approx(36.0)
    # Asked were 100,000 and 100,110: 13.75 and 3.75 points short, twice R$ 0.20.
    assert result.orders.shortfall == pytest.approx(7.0)
    assert result.orders.fills_at_last_print == 1


def test_a_market_order_takes_the_next_print_as_the_middle_whichever_side_it_is_of() -> None:
    tape = [(0, 100_000, 1, BUY), (2, 100_010, 1, BUY), (9, 100_000, 1, BUY)]
    bought = run(tape, {0: 0.01, 2: 0.0}, policy=OrderPolicy(), spread=[10.0, 10.0])
    tape[1] = (2, 100_010, 1, SELL)
    other = run(tape, {0: 0.01, 2: 0.0}, policy=OrderPolicy(), spread=[10.0, 10.0])
    # Half the spread of 10 and a slippage of 1.25 beyond the print.
    assert told(bought, "got")[0] == told(other, "got")[0] == (100_016.25,)


def test_a_passive_order_waits_for_its_queue_and_earns_half_the_spread() -> None:
    tape = [
        (0, 100_000, 9, SELL),  # bid 100,000; the decision
        (1, 100_000, 99, SELL),  # not later than the arrival
        (2, 100_000, 6, SELL),  # four of ten lots are left ahead
        (3, 100_005, 50, BUY),  # the other side
        (4, 100_000, 5, SELL),  # four ahead, the fifth is ours
        (5, 99_995, 1, SELL),  # through our price: the other two
        (9, 100_020, 1, BUY),
    ]
    result = run(tape, {0: 0.01, 6: 0.0}, lots=3, ahead=10.0)
    assert told(result, "print", "side", "lots", "price", "got", "maker", "ahead", "position")[:2] == [
        (4, BUY, 1, 100_002.5, 100_000, 1, 10, 1),
        (5, BUY, 2, 100_002.5, 100_000, 1, 10, 3),
    ]
    assert told(result, "order", "sent_ts_ns", "arrived_ts_ns", "filled_ts_ns")[0] == (0, 0, SECOND, 4 * SECOND)
    # Bought 2.5 points below the middle; sold at the market for 100,020 - 3.75.
    kpis = result.result.kpis
    assert (kpis.gross_pnl, kpis.fees, kpis.spread, kpis.slippage) == pytest.approx((10.5, 1.5, 0.0, 0.75))
    assert kpis.net_pnl == pytest.approx((100_016.25 - 100_000) * 0.6 - 1.5)
    assert result.fills["spread"] == pytest.approx([-0.5, -1.0, 1.5])
    (trade,) = result.result.trades
    assert (trade["lots"], trade["entry_got"], trade["exit_got"]) == pytest.approx((3, 100_000, 100_016.25))
    orders = result.orders
    assert (orders.n_fills, orders.n_passive, orders.fill_ratio, orders.maker_share) == (3, 1, 1.0, 0.5)
    assert orders.wait_s == pytest.approx((3 + 2 * 4) / 3)
    assert orders.markout_1s == pytest.approx(-1.0)  # 100,000 bought, 99,995 a second later on both parts


def test_a_round_trip_of_passive_orders_in_a_still_market_earns_the_spread() -> None:
    tape = [(0, 100.0, 1, SELL), (2, 100.0, 1, SELL), (3, 105.0, 1, BUY), (5, 105.0, 1, BUY), (9, 105.0, 1, BUY)]
    result = run(tape, {0: 1.0, 2: -1.0, 4: 0.0}, frictions=Frictions(max_short=0.0))
    assert told(result, "got", "maker") == [(100.0, 1), (105.0, 1)]
    assert result.result.kpis.gross_pnl == 0.0
    assert result.result.kpis.spread == pytest.approx(-1.0)  # five points at R$ 0.20
    assert result.result.kpis.net_pnl == pytest.approx(1.0 - 2 * 0.25)


def test_a_buyer_after_a_buyers_print_joins_the_bid_below_it() -> None:
    tape = [(0, 100_005, 1, BUY), (2, 100_000, 1, SELL), (9, 100_000, 1, SELL)]
    assert told(run(tape, {0: 0.01, 2: 0.0}), "got", "maker")[0] == (100_000, 1)


def test_the_other_side_is_a_bars_own_spread_away() -> None:
    tape = [(0, 100_010, 1, BUY), (2, 100_000, 1, SELL), (3, 99_995, 2, SELL), (9, 100_000, 1, SELL)]
    wide = run(tape, {0: 0.01, 3: 0.0}, spread=[15.0, 15.0])
    assert told(wide, "print", "got", "price", "spread")[0] == (2, 99_995, 100_002.5, -1.5)
    assert told(run(tape, {0: 0.01, 3: 0.0}, spread=[12.0, 12.0]), "got")[0] == (99_995,)
    assert told(run(tape, {0: 0.01, 3: 0.0}, spread=[math.nan, 5.0]), "got", "spread")[0] == (100_005, 0.0)


def test_an_order_that_would_cross_when_it_arrives_slides_to_the_best_price() -> None:
    tape = [(0, 100_000, 1, SELL), (0.5, 99_990, 1, SELL), (2, 99_990, 1, SELL), (9, 100_000, 1, SELL)]
    assert told(run(tape, {0: 0.01, 3: 0.0}), "print", "got", "maker")[0] == (2, 99_990, 1)


def test_a_price_that_only_trades_at_ours_never_fills_behind_an_endless_queue() -> None:
    tape = [(0, 100_000, 1, SELL), (2, 100_000, 9e9, SELL), (3, 99_995, 1, SELL), (9, 100_000, 1, SELL)]
    assert told(run(tape, {0: 0.01, 3: 0.0}, ahead=math.inf), "print", "got")[0] == (2, 100_000)


def test_a_new_target_cancels_what_rests_once_the_message_is_there() -> None:
    tape = [
        (0, 100_000, 1, SELL),  # buy two
        (2, 100_000, 1, SELL),  # one is bought; the next decision is to be short
        (2.5, 100_000, 1, SELL),  # on its way: the second is bought
        (4, 100_000, 9, SELL),  # cancelled
        (5, 100_005, 3, BUY),  # three of four sold
        (6, 100_005, 3, BUY),
        (9, 100_005, 1, BUY),
    ]
    result = run(tape, {0: 0.01, 1: -0.01, 6: 0.0}, lots=2)
    assert told(result, "print", "side", "lots", "position") == [
        (1, BUY, 1, 1),
        (2, BUY, 1, 2),
        (4, SELL, 3, -1),
        (5, SELL, 1, -2),
        (6, BUY, 2, 0),
    ]
    assert result.result.trades["side"].tolist() == [1, -1]
    assert result.result.trades["lots"].tolist() == [2, 2]
    assert result.result.trades["reason"].tolist() == [Reason.FLIP, Reason.SESSION_END]


def test_an_order_without_a_fill_is_cancelled_and_nothing_is_traded() -> None:
    tape = [(0, 100_000, 1, SELL), (2, 100_010, 1, BUY), (9, 100_020, 1, BUY)]
    result = run(tape, {0: 0.01, 2: 0.0})
    assert not len(result.fills)
    assert result.result.side.tolist() == [1, 0]
    assert result.result.kpis.n_trades == 0
    assert result.result.kpis.net_pnl == 0.0
    assert (result.orders.fill_ratio, result.orders.n_passive) == (0.0, 1)
    assert math.isnan(result.orders.wait_s)


def test_what_is_out_of_patience_goes_to_the_market() -> None:
    tape = [
        (0, 100_000, 1, SELL),
        (2, 100_000, 1, SELL),
        (5, 100_010, 1, BUY),  # four seconds after the arrival: still patient
        (5.5, 100_010, 1, BUY),
        (9, 100_020, 1, BUY),
    ]
    policy = OrderPolicy(True, 4 * SECOND, then_market=True)
    result = run(tape, {0: 0.01, 4: 0.0}, lots=2, policy=policy)
    assert told(result, "print", "lots", "got", "maker", "order") == [
        (1, 1, 100_000, 1, 0),
        (3, 1, 100_013.75, 0, 1),
        (4, 2, 100_016.25, 0, 2),
    ]
    assert result.fills["arrived_ts_ns"][1] == 5 * SECOND


def test_what_is_out_of_patience_joins_the_best_price_anew_or_keeps_its_place() -> None:
    tape = [
        (0, 100_000, 1, SELL),
        (2, 100_000, 3, SELL),  # two of five left ahead
        (6, 100_000, 2, SELL),  # out of patience at the same price: the place is kept, none ahead
        (8, 100_010, 1, BUY),
        (12, 100_005, 4, SELL),  # joined anew at 100,005: five ahead, one left
        (13, 100_005, 2, SELL),
        (20, 100_020, 1, BUY),
    ]
    result = run(tape, {0: 0.01, 6: 0.0}, ahead=5.0, policy=OrderPolicy(True, 4 * SECOND))
    assert told(result, "print", "got", "maker", "order")[0] == (5, 100_005, 1, 1)
    assert result.fills["arrived_ts_ns"][0] == 9 * SECOND
    assert result.orders.n_passive == 2


def test_limits_hold_in_lots_and_the_session_ends_flat_at_the_market() -> None:
    tape = [(0, 100_000, 9, SELL), (2, 100_000, 9, SELL), (9, 100_000, 9, SELL)]
    result = run(tape, {0: 0.01, 2: 0.0}, lots=5, frictions=Frictions(max_long=2.0))
    assert told(result, "lots", "maker", "reason") == [(2, 1, Reason.EDGE), (2, 0, Reason.SESSION_END)]
    assert run(tape, {0: 0.01, 2: 0.0}, frictions=Frictions(max_long=0.0)).result.kpis.n_trades == 0


def test_an_order_too_late_for_its_session_is_never_made() -> None:
    tape = [(0, 100_000, 1, SELL), (0.5, 100_000, 1, SELL)]
    assert not len(run(tape, {0: 0.01, 1: 0.0}).fills)


def test_more_parts_than_there_was_room_for_are_all_there() -> None:
    tape = [(0, 100_000, 1, SELL), *((2 + s, 100_000, 1, SELL) for s in range(20)), (90, 100_000, 1, SELL)]
    result = run(tape, {0: 0.01, 21: 0.0}, lots=20)
    assert told(result, "lots") == [(1,)] * 20 + [(20,)]
    assert result.fills["position"].tolist() == [*range(1, 21), 0]
    assert result.result.trades["lots"].tolist() == pytest.approx([20])
    assert result.result.kpis.fees == pytest.approx(40 * 0.25)


def test_an_unknown_aggressor_is_told_by_the_tick_rule() -> None:
    prints = prints_of([3, 1, 4, 5, 6], [5.0, 5.0, 6.0, 6.0, 4.0], [1.0] * 5, [0, -1, 0, 0, 0])
    assert prints["side"].tolist() == [1, -1, 1, 1, -1]
    assert prints["ts_ns"].tolist() == [3, 3, 4, 5, 6]


def test_no_bars_make_no_fills() -> None:
    nothing = run_on_prints(prints_of([], [], [], []), [], [], [], [], [], [], [], [], PARAMS, COSTS)
    assert (len(nothing.fills), nothing.result.kpis.n_trades, nothing.orders.n_fills) == (0, 0, 0)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"latency_s": -1.0}, "latency_ns: expected >= 0"),
        ({"ahead": -1.0}, "ahead: expected lots >= 0"),
        ({"lots": 0}, "position_lots: expected > 0"),
        ({"days_per_year": 0}, "days_per_year: expected > 0"),
        ({"policy": OrderPolicy(True, 0)}, "patience_ns: expected > 0"),
        ({"frictions": Frictions(impact=1.0)}, "volatility: expected a column"),
        ({"volume": [1.0]}, r"volume: expected shape \(2,\) like ts_ns, got \(1,\)"),
    ],
)
def test_what_cannot_be_is_refused(more: dict[str, Any], said: str) -> None:
    tape = [(0, 100_000, 1, SELL), (2, 100_000, 1, SELL)]
    with pytest.raises(ValueError, match=said):
        run(tape, {0: 0.01, 1: 0.0}, **more)


def test_rows_and_prints_that_cannot_be_are_refused() -> None:
    tape = [(0, 100_000, 1, SELL), (2, 100_000, 1, SELL)]
    with pytest.raises(ValueError, match="last_print: expected rows of 2 prints"):
        run_on_prints(prints_of([0, 2], [1, 1], [1, 1], [1, 1]), [2], [1], [1], [1], [9], [1], [1], [0], PARAMS, COSTS)
    with pytest.raises(ValueError, match="before the session's close, got one at 2 of a session that closes at 2"):
        run_on_prints(prints_of([0, 2], [1, 1], [1, 1], [1, 1]), [1], [1], [1], [1], [2], [1], [1], [0], PARAMS, COSTS)
    with pytest.raises(ValueError, match="price: expected finite prices"):
        run_on_prints(prints_of([0], [1], [1], [1]), [0], [1], [math.nan], [1], [9], [1], [1], [0], PARAMS, COSTS)
    with pytest.raises(ValueError, match="volume: expected finite numbers >= 0, got nan at 1"):
        prints_of([0, 2], [1, 1], [1, math.nan], [1, 1])
    assert run(tape, {0: 0.0, 1: 0.0}).orders.n_passive == 0
