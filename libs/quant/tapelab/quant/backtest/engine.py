"""The backtest: the live decision rule over a tape, bar by bar, with costs and delayed fills."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit
from tapelab.quant.backtest.costs import CostModel, Frictions
from tapelab.quant.backtest.decision import DecisionParams
from tapelab.quant.backtest.figures import N_FIGURES, Figure
from tapelab.quant.backtest.kernel import simulate
from tapelab.quant.backtest.layout import TRADE_COLUMNS, Market, Records, Settings
from tapelab.quant.backtest.outlook import BLOCK, Outlook, look_out
from tapelab.quant.backtest.results import TRADE_DTYPE, BacktestResult, Kpis, kpis_of
from tapelab.quant.backtest.setup import Setup, refuse_missing_prices, set_up
from tapelab.quant.calendar import TRADING_DAYS_PER_YEAR

Floats = npt.NDArray[np.float64]

_WITHOUT = Frictions()


class SweepResult(NamedTuple):
    """One symbol's backtest for each of k thresholds; arrays of shape ``(k,)``.

    Args:
        threshold: fractions of the price, as given.
        net_pnl: currency.
        net_return: sum of the bars' net returns, fractions of the price.
        n_trades: positions opened and closed.
        figures: f64 ``(k, len(Figure))``, all key figures, equal to the bit to those of single runs.
        equity: f64 ``(k, n)``, currency; ``(k, 0)`` where it was not asked for.
    """

    threshold: Floats
    net_pnl: Floats
    net_return: Floats
    n_trades: npt.NDArray[np.int64]
    figures: Floats
    equity: Floats

    def kpis(self, k: int) -> Kpis:
        """Key figures of the k-th threshold."""
        return kpis_of(self.figures[k])


@njit
def _run_all(
    market: Market,
    settings: Settings,
    thresholds: Any,
    outlook: Outlook,
    records: Records,
    equity: Any,
    trades: Any,
    day_net: Any,
    figures: Any,
) -> Any:
    finite = True
    if outlook.ready:
        finite = look_out(market, settings, 0, len(market.ts_ns), outlook)
    for k in range(len(thresholds)):
        trades, seen_finite = simulate(
            market, settings, thresholds[k], outlook, records, equity[k], trades, day_net, figures[k]
        )
        finite &= seen_finite
    return trades, finite


class _Run(NamedTuple):
    """What the kernel wrote: a row of figures and equity per threshold; days and trades of the last one."""

    figures: Floats
    equity: Floats
    day_net: Floats
    trades: Floats


def _run(setup: Setup, thresholds: Floats, with_equity: bool, records: Records | None = None) -> _Run:
    n, k = len(setup.market.ts_ns), len(thresholds)
    rows = n if k > 1 else 0
    outlook = Outlook(np.empty(rows), np.empty(rows, np.uint8), k > 1)
    figures, equity = np.empty((k, N_FIGURES)), np.empty((k, n if with_equity else 0))
    day_net = np.empty(len(setup.days))
    trades = np.empty((BLOCK, 1 if records is None else TRADE_COLUMNS))
    trades, finite = _run_all(
        setup.market, setup.settings, thresholds, outlook, records or _NO_RECORDS, equity, trades, day_net, figures
    )
    if not finite:
        refuse_missing_prices(setup.market)
    return _Run(figures, equity, day_net, trades)


def run_backtest(
    ts_ns: npt.ArrayLike,
    price: npt.ArrayLike,
    fill_price: npt.ArrayLike,
    day: npt.ArrayLike,
    session_close_ns: npt.ArrayLike,
    session_end: npt.ArrayLike,
    usable: npt.ArrayLike,
    expected_return: npt.ArrayLike,
    params: DecisionParams,
    costs: CostModel,
    position_lots: float = 1,
    *,
    frictions: Frictions = _WITHOUT,
    spread: npt.ArrayLike | None = None,
    volatility: npt.ArrayLike | None = None,
    volume: npt.ArrayLike | None = None,
    days_per_year: float = TRADING_DAYS_PER_YEAR,
) -> BacktestResult:
    """Trade one symbol's bars by the live decision rule.

    A change decided at bar i trades at ``fill_price[i]`` and pays ``costs.fill_costs`` per lot of the change.
    Profit is marked at the bars' prices and a fill is booked at the bar that decided it, so that bars add up
    to trades exactly in arithmetic and to float rounding in practice. The last bar counts as a session's end:
    the run starts and ends flat.

    Args:
        ts_ns: bar closes, event time, shape ``(n,)`` like all columns, non-decreasing.
        price: bar closes, quote unit, finite.
        fill_price: where an order decided at the bar trades (``fills.fills_after_latency``), finite.
        day: trading day YYYYMMDD.
        session_close_ns: close of the bar's session.
        session_end: the bar is its session's last.
        usable: the score counts (warm, not after a gap).
        expected_return: fraction of the price; NaN never trades.
        params: the decision rule's settings.
        costs: expected costs per side, on which the rule decides; fees and fixed slippage of the fills.
        position_lots: lots of a full position, > 0.
        frictions: what fills pay beyond the expected costs, and the limits of positions.
        spread: quoted or estimated spread at each bar in price units, instead of ``costs.spread_ticks``; NaN
            and negative ones count as none.
        volatility: of each bar, fraction of the price; needed by scaled slippage.
        volume: lots of each bar; needed by impact.
        days_per_year: trading days of a year, > 0, by which the days' ratios are annualised.

    Raises:
        ValueError: shapes disagree, a price is not finite, or a column that the frictions need is missing.
    """
    columns = ts_ns, price, fill_price, day, session_close_ns, session_end, usable, expected_return
    setup = set_up(columns, params, costs, position_lots, frictions, (spread, volatility, volume), days_per_year)
    records = _records(len(setup.market.ts_ns))
    run = _run(setup, np.array([params.threshold], np.float64), True, records)
    return BacktestResult(
        **records._asdict(),
        equity=run.equity[0],
        trades=_trades(run.trades[: int(run.figures[0, Figure.N_TRADES])], setup.market),
        days=setup.days,
        day_net=run.day_net,
        kpis=kpis_of(run.figures[0]),
    )


def sweep_thresholds(
    thresholds: npt.ArrayLike,
    ts_ns: npt.ArrayLike,
    price: npt.ArrayLike,
    fill_price: npt.ArrayLike,
    day: npt.ArrayLike,
    session_close_ns: npt.ArrayLike,
    session_end: npt.ArrayLike,
    usable: npt.ArrayLike,
    expected_return: npt.ArrayLike,
    params: DecisionParams,
    costs: CostModel,
    position_lots: float = 1,
    *,
    frictions: Frictions = _WITHOUT,
    spread: npt.ArrayLike | None = None,
    volatility: npt.ArrayLike | None = None,
    volume: npt.ArrayLike | None = None,
    days_per_year: float = TRADING_DAYS_PER_YEAR,
    with_equity: bool = False,
) -> SweepResult:
    """Backtest once per threshold, ``params.threshold`` aside; other arguments as :func:`run_backtest`.

    Every figure, and the equity where it is asked for, equals that of a single run to the bit.
    """
    columns = ts_ns, price, fill_price, day, session_close_ns, session_end, usable, expected_return
    setup = set_up(columns, params, costs, position_lots, frictions, (spread, volatility, volume), days_per_year)
    grid = np.ascontiguousarray(thresholds, np.float64)
    run = _run(setup, grid, with_equity)
    return SweepResult(
        threshold=grid,
        net_pnl=run.figures[:, Figure.NET_PNL].copy(),
        net_return=run.figures[:, Figure.NET_RETURN].copy(),
        n_trades=run.figures[:, Figure.N_TRADES].astype(np.int64),
        figures=run.figures,
        equity=run.equity,
    )


def _records(n: int) -> Records:
    return Records(np.zeros(n, np.int8), np.zeros(n, np.int8), *(np.zeros(n) for _ in range(5)))


_NO_RECORDS: Final = _records(0)


def _trades(table: Floats, market: Market) -> npt.NDArray[np.void]:
    """The kernel's table of trades with what stands in the columns of its bars; the cost is the sum of its parts."""
    trades = np.zeros(len(table), TRADE_DTYPE)
    for column, name in enumerate(_TABLE, start=1):
        trades[name] = table[:, column]
    for end in ("entry", "exit"):
        bar = trades[f"{end}_bar"]
        trades[f"{end}_ts_ns"] = market.ts_ns[bar]
        trades[f"{end}_signal"], trades[f"{end}_asked"] = market.expected_return[bar], market.price[bar]
    trades["cost"] = trades["fee"] + trades["spread"] + trades["slippage"]
    trades["net"] = trades["gross"] - trades["cost"]
    return trades


#: Columns of the kernel's table of trades after the net.
_TABLE: Final = (
    *("entry_bar", "exit_bar", "side", "reason", "lots", "entry_price", "entry_got", "exit_price", "exit_got"),
    *("gross", "fee", "spread", "slippage", "net_return"),
)
