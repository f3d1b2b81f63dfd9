"""The default tape: a seeded market of three B3 instruments with a planted, documented edge.

The model, its figures and what a fitted model can earn on it are in docs/simulator.md.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt

from tapelab.common.errors import SourceError
from tapelab.common.pipeline import tick_lineage
from tapelab.common.sources.merge import MINUTE_NS, Block, Feed, merge
from tapelab.common.sources.protocol import Summary, TapeChunk, TapeSlice
from tapelab.common.sources.simulator_kernel import DayParams, simulate_day
from tapelab.common.sources.trade_types import of_trade_type
from tapelab.quant.ticks import Ticks

NAME: Final = "simulator"
EXCHANGE: Final = "B3"
ZONE: Final = "America/Sao_Paulo"
#: Local hour at which simulated trading starts each day.
START_HOUR: Final = 10
#: Changes with every change of the model, so that lineages of different markets never mix.
MODEL: Final = "1"

#: Broker numbers, the most active first.
AGENTS: Final = np.array(
    [3, 85, 8, 114, 16, 40, 238, 72, 308, 39, 27, 90, 1618, 107, 120, 386, 59, 77, 127, 147,
     23, 93, 174, 177, 262, 688, 1026, 1099, 1130, 1982, 13, 21, 45, 58, 88, 92, 122, 186, 206, 735],
    np.int32,
)  # fmt: skip


class SimulatedSymbol(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between the instruments; ``edge_ticks_per_s`` sets the scale of every price move."""

    tick_size: float
    open_price: float
    edge_ticks_per_s: float
    mean_size: float
    lot: float
    rlp_share: float


MARKET: Final[dict[str, SimulatedSymbol]] = {
    "WINZ26": SimulatedSymbol(
        tick_size=5.0, open_price=180_000.0, edge_ticks_per_s=0.36, mean_size=3.0, lot=1.0, rlp_share=0.15
    ),
    "WDOZ26": SimulatedSymbol(
        tick_size=0.5, open_price=5_500.0, edge_ticks_per_s=0.24, mean_size=4.0, lot=1.0, rlp_share=0.12
    ),
    "BOVA11": SimulatedSymbol(
        tick_size=0.01, open_price=140.0, edge_ticks_per_s=0.30, mean_size=3.0, lot=100.0, rlp_share=0.05
    ),
}


class SimulatorOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of a simulated tape.

    Args:
        seed: everything random follows from it.
        edge: strength of the planted edge, 1 as documented, 0 none at all.
        days: trading days (Monday to Friday).
        start: first day, or the first weekday after it. A longer tape begins with the shorter one's prints.
        hours: simulated trading per day, from 10:00 Sao Paulo.
        symbols: which of ``MARKET``, joined by ``+``.
    """

    seed: int = 7
    edge: float = 1.0
    days: int = 8
    start: str = "2026-11-04"
    hours: float = 3.0
    symbols: str = "+".join(MARKET)


def parse_options(text: str) -> SimulatorOptions:
    """Options from a text such as ``seed=3,days=2,edge=0``; empty text gives the defaults.

    Raises:
        SourceError: an unknown option or a wrong value.
    """
    pairs = [item.partition("=") for item in text.split(",") if item.strip()]
    try:
        options = msgspec.convert({k.strip(): v.strip() for k, _, v in pairs}, SimulatorOptions, strict=False)
        date.fromisoformat(options.start)
        unknown = set(options.symbols.split("+")) - set(MARKET)
        if unknown or options.days < 1 or not 0 < options.hours <= 7 or options.edge < 0:
            raise ValueError(f"unknown symbols {sorted(unknown)}" if unknown else repr(options))
    except (msgspec.ValidationError, ValueError) as error:
        raise SourceError(
            f"the simulator's options {text!r} are wrong",
            expected=f"{', '.join(SimulatorOptions.__struct_fields__)} with symbols of {', '.join(MARKET)}, "
            "days >= 1, edge >= 0, hours in (0, 7]",
            actual=str(error),
            remedy="correct them; for example seed=7,days=8,edge=1",
        ) from error
    return options


class Simulator:
    """A simulated tape; the same options give the same bytes."""

    def __init__(self, options: SimulatorOptions | None = None) -> None:
        self.options = options or SimulatorOptions()
        self.name = f"simulator seed={self.options.seed}"
        self.lineage = tick_lineage(NAME, MODEL + msgspec.json.encode(self.options, order="deterministic").decode())
        self._rows: Counter[str] = Counter()
        self._range: tuple[int, int] | None = None

    def symbols(self) -> dict[str, str]:
        """The simulated symbols and their exchange."""
        return dict.fromkeys(sorted(self.options.symbols.split("+")), EXCHANGE)

    def days(self) -> list[date]:
        """The simulated trading days."""
        days: list[date] = []
        day = date.fromisoformat(self.options.start)
        while len(days) < self.options.days:
            if day.weekday() < 5:
                days.append(day)
            day += timedelta(days=1)
        return days

    def chunks(self) -> Iterator[TapeChunk]:
        """The prints merged by event time to within a minute."""
        for part in self.slices(MINUTE_NS):
            yield from part.chunks

    def slices(self, slice_ns: int) -> Iterator[TapeSlice]:
        """The prints in slices of event time."""
        self._rows = Counter()
        feeds = [Feed(EXCHANGE, self._blocks(symbol)) for symbol in self.symbols()]
        for part in merge(feeds, slice_ns):
            for chunk in part.chunks:
                self._rows[chunk.symbol] += chunk.ticks.n
            yield part

    def time_range(self) -> tuple[int, int]:
        """First and last event time; the days are simulated for it, once."""
        if self._range is None:
            times = [t.ts_event_ns for symbol in self.symbols() for t in self.prints(symbol)]
            self._range = min(int(t[0]) for t in times), max(int(t[-1]) for t in times)
        return self._range

    def summary(self) -> Summary:
        """Counts of the last reading; a simulated tape has no malformed rows."""
        return Summary(sum(self._rows.values()), 0, None, dict(self._rows), "")

    def _blocks(self, symbol: str) -> Iterator[Block]:
        for ticks in self.prints(symbol):
            yield Block.of_one(symbol, ticks)

    def prints(self, symbol: str) -> Iterator[Ticks]:
        """A symbol's prints, day by day."""
        market = MARKET[symbol]
        mid = market.open_price / market.tick_size
        params = day_params(market, self.options)
        share = 1.0 / np.arange(1, len(AGENTS) + 1) ** 1.1
        cumulative = np.cumsum(share / share.sum())
        for day in self.days():
            seed = _seed(self.options.seed, symbol, day)
            ticks, mid = _day(seed, mid, params, cumulative, day, market.tick_size)
            # The next day opens with a gap of about one trading hour's worth of movement.
            mid += (_seed(self.options.seed, symbol + "/gap", day) / 2**62 - 1.0) * 150.0 * params.sigma
            yield ticks


def day_params(market: SimulatedSymbol, options: SimulatorOptions) -> DayParams:
    """The kernel's parameters of one symbol. Pressure grows with the edge: it hides the trend that the
    drift would otherwise leave in past returns, and without an edge there is nothing to hide."""
    scale = market.edge_ticks_per_s
    return DayParams(
        duration_s=options.hours * 3600.0,
        base_rate=3.2,
        regime_ratio=2.6,
        regime_prints=800.0,
        excitation=0.5,
        decay_per_s=1.0,
        flow_tilt=0.5,
        flow_dwell_s=25.0,
        memory_s=20.0,
        imbalance_scale=0.15,
        edge_per_s=options.edge * scale,
        sigma=2.8 * scale,
        pressure=options.edge * 16.4 * scale,
        pressure_s=20.0,
        wide_share=0.08,
        mean_size=market.mean_size,
        lot=market.lot,
        rlp_share=market.rlp_share,
        cross_share=0.002,
        auction_prints=20,
    )


def _seed(seed: int, symbol: str, day: date) -> int:
    """A 63-bit seed for one symbol's day, so that every day can be simulated from its opening price alone."""
    digest = hashlib.blake2b(f"{MODEL}/{seed}/{symbol}/{day}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def _day(
    seed: int, mid: float, params: DayParams, cumulative: npt.NDArray[np.float64], day: date, tick_size: float
) -> tuple[Ticks, float]:
    limit = int(params.duration_s * params.base_rate * 6) + 1_000
    ts_s, size = np.empty(limit), np.empty(limit)
    price = np.empty(limit, np.int64)
    kind = np.empty(limit, np.uint8)
    buyer, seller = np.empty(limit, np.int32), np.empty(limit, np.int32)
    n, last_mid = simulate_day(seed, mid, params, cumulative, ts_s, price, size, kind, buyer, seller)
    opens = datetime(day.year, day.month, day.day, START_HOUR, tzinfo=ZoneInfo(ZONE))
    kind = kind[:n].copy()
    aggressor, source, flags = of_trade_type(kind)
    ticks = Ticks(
        ts_event_ns=int(opens.timestamp()) * 1_000_000_000 + (ts_s[:n] * 1e9).astype(np.int64),
        # Rounded to a millionth, so that 140.01 is the same number here and read back from a file.
        price=np.round(price[:n] * tick_size, 6),
        volume=size[:n].copy(),
        aggressor=aggressor,
        aggressor_source=source,
        trade_type=kind,
        flags=flags,
        buy_agent=AGENTS[buyer[:n]],
        sell_agent=AGENTS[seller[:n]],
        trade_id=np.arange(1, n + 1, dtype=np.int64) * 10,
    )
    return ticks, last_mid
