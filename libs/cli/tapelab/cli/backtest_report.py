"""A backtest's report: JSON, Parquet of trades and equity, and a picture of the equity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

    from tapelab.common.experiments.parts import BacktestConfig
    from tapelab.trainer.backtest import Backtested

_WIDTH: Final = 960.0
_HEIGHT: Final = 320.0
_MARGIN: Final = 40.0
#: Room for the amounts.
_LEFT: Final = 90.0
#: Lines of amounts, and days named, at most.
_LINES, _DAYS = 6, 8
#: Points of a line; each is the lowest and the highest of its share of bars, so that no spike is lost.
_POINTS: Final = 900


def summary_of(done: Sequence[Backtested]) -> list[dict[str, Any]]:
    """Key figures per symbol, in JSON types: undefined figures are null."""
    return [
        {
            "symbol": item.symbol,
            "currency": item.currency,
            "bars": len(item.ts_ns),
            "days": len(item.result.days),
            "in_sample": item.in_sample,
            "kpis": {name: _plain(value) for name, value in item.result.kpis._asdict().items()},
            "orders": {name: _plain(value) for name, value in item.on_prints.orders._asdict().items()}
            if item.on_prints
            else None,
        }
        for item in done
    ]


def told_trading(config: BacktestConfig) -> dict[str, Any]:
    """How orders were traded; what only passive ones have is null of market orders."""
    passive = config.orders == "limit"
    return {
        "orders": config.orders,
        "fills": "ticks" if config.by_ticks else "bars",
        "queue": str(config.queue) if passive else None,
        "patience_s": config.patience_s,
        "then": config.then if passive and config.patience_s is not None else None,
    }


def write_report(out: Path, settled: dict[str, Any], done: Sequence[Backtested]) -> list[str]:
    """Write ``report.json``, ``trades.parquet``, ``equity.parquet`` and one SVG per symbol; their names.

    A backtest print by print adds ``fills.parquet``.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    trades, fills, equity = [], [], []
    names = ["report.json", "trades.parquet", "equity.parquet"]
    for item in done:
        result = item.result
        trades.append(_table(item.symbol, result.trades))
        if item.on_prints:
            fills.append(_table(item.symbol, item.on_prints.fills))
        equity.append(
            pa.table(
                {
                    "symbol": pa.array([item.symbol] * len(item.ts_ns), pa.string()),
                    "ts_close_ns": np.ascontiguousarray(item.ts_ns),
                    "day": np.ascontiguousarray(item.day),
                    "price": np.ascontiguousarray(item.price),
                    "side": result.side,
                    "reason": result.reason,
                    "gross": result.gross,
                    "cost": result.cost,
                    "net": result.net,
                    "equity": result.equity,
                    "drawdown": result.drawdown,
                }
            )
        )
        names.append(f"equity-{item.symbol}.svg")
        (out / names[-1]).write_text(equity_svg(item), encoding="utf-8")
    pq.write_table(pa.concat_tables(trades), out / "trades.parquet")
    pq.write_table(pa.concat_tables(equity), out / "equity.parquet")
    if fills:
        pq.write_table(pa.concat_tables(fills), out / "fills.parquet")
        names.append("fills.parquet")
    report = msgspec.json.encode(settled | {"symbols": summary_of(done)})
    (out / "report.json").write_bytes(msgspec.json.format(report, indent=2))
    return names


def _table(symbol: str, rows: npt.NDArray[np.void]) -> pa.Table:
    """Structured rows as a table, the symbol before them."""
    import pyarrow as pa

    columns = {name: pa.array(np.ascontiguousarray(rows[name])) for name in rows.dtype.names or ()}
    return pa.table({"symbol": pa.array([symbol] * len(rows), pa.string())} | columns)


def equity_svg(item: Backtested) -> str:
    """Equity before and after costs, as a self-contained picture; time runs by bars, days are named."""
    net, gross = item.result.equity, np.cumsum(item.result.gross)
    low = min(0.0, *(_edge(curve, np.min) for curve in (net, gross)))
    high = max(0.0, *(_edge(curve, np.max) for curve in (net, gross)))
    title = f"{item.symbol}: net {_edge(net[-1:], np.sum):,.2f} {item.currency}, before costs {gross[-1:].sum():,.2f}"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_HEIGHT:g}" role="img" font-size="12"'
            ' font-family="sans-serif">',
            f"<title>{escape(title)}</title>",
            '<rect width="100%" height="100%" fill="#fff"/>',
            f'<text x="{_LEFT:g}" y="24">{escape(title)} (blue: net, dashed grey: before costs)</text>',
            *_grid(item, low, high),
            f'<path d="{_line(gross, low, high)}" fill="none" stroke="#888" stroke-dasharray="4 3"/>',
            f'<path d="{_line(net, low, high)}" fill="none" stroke="#1558b0" stroke-width="1.5"/>',
            f'<text x="{_LEFT:g}" y="{_HEIGHT - 6:g}">{low:,.2f} to {high:,.2f} {escape(item.currency)}, '
            f"{len(net)} bars{_passive(item)}{_seen(item)}</text>",
            "</svg>",
            "",
        ]
    )


def seen_warning(done: Sequence[Backtested]) -> str:
    """One line where bars were seen in training, or may have been; empty where none was."""
    seen = [f"{item.symbol} {_percent(item.in_sample)}" for item in done if item.in_sample]
    if seen:
        return f"WARNING: in sample, no evidence of profit: the model was trained on these bars ({', '.join(seen)})"
    if any(item.in_sample is None for item in done):
        return "WARNING: the model's manifest holds no event times, so the bars may be those that it was trained on"
    return ""


def _seen(item: Backtested) -> str:
    """The same in the picture."""
    if item.in_sample is None:
        return ", perhaps in sample"
    return f", {_percent(item.in_sample)} in sample" if item.in_sample else ""


def _percent(share: float | None) -> str:
    """A share with three figures, so that a small one does not look like none."""
    return f"{100.0 * (share or 0.0):.3g}%"


def _passive(item: Backtested) -> str:
    """How much of what was traded came from passive orders, where any did."""
    share = item.on_prints.orders.maker_share if item.on_prints else 0.0
    return f", {share:.0%} of the lots passive" if share > 0.0 else ""


def _edge(values: npt.NDArray[np.float64], of: Any) -> float:
    return float(of(values)) if len(values) else 0.0


def _grid(item: Backtested, low: float, high: float) -> list[str]:
    """A line at round amounts, and one where a trading day begins."""
    raw = (high - low or 1.0) / _LINES
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * k for k in (1.0, 2.0, 5.0, 10.0) if unit * k >= raw)
    parts = []
    for k in range(math.ceil(low / step), math.floor(high / step) + 1):
        y = _y(k * step, low, high)
        parts.append(f'<path d="M{_LEFT:g} {y:.1f}H{_WIDTH - _MARGIN:g}" stroke="{"#bbb" if k == 0 else "#eee"}"/>')
        parts.append(f'<text x="{_LEFT - 6:g}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{k * step:,g}</text>')
    n = len(item.day)
    begins = np.flatnonzero(np.diff(item.day, prepend=0))
    for i in begins[:: max(1, math.ceil(len(begins) / _DAYS))].tolist():
        x, written = _x(i, n), str(int(item.day[i]))
        parts.append(f'<path d="M{x:.1f} {_MARGIN:g}V{_HEIGHT - _MARGIN:g}" stroke="#eee"/>')
        day = f"{written[:4]}-{written[4:6]}-{written[6:]}"
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _MARGIN + 16:g}" fill="#555">{day}</text>')
    return parts


def _x(bar: int, n: int) -> float:
    return _LEFT + (_WIDTH - _LEFT - _MARGIN) * bar / n


def _y(value: float, low: float, high: float) -> float:
    span = high - low or 1.0
    return _MARGIN + (high - value) / span * (_HEIGHT - 2.0 * _MARGIN)


def _line(values: npt.NDArray[np.float64], low: float, high: float) -> str:
    n = len(values)
    if not n:
        return f"M{_LEFT:g} {_y(0.0, low, high):.1f}"
    points = []
    for part in np.array_split(np.arange(n), min(_POINTS, n)):
        both = {int(part[np.argmin(values[part])]), int(part[np.argmax(values[part])])}
        points += sorted(both)
    steps = (f"{_x(i + 1, n):.1f} {_y(float(values[i]), low, high):.1f}" for i in points)
    return f"M{_LEFT:g} {_y(0.0, low, high):.1f}L" + "L".join(steps)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
