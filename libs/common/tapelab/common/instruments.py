"""``config/instruments.yaml``: sessions, ticks, costs and the prints that count, per instrument root."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from tapelab.common.errors import ConfigError
from tapelab.common.yaml_config import load_yaml
from tapelab.quant.backtest.costs import CostModel, Frictions
from tapelab.quant.calendar import SessionCalendar

#: A cost: free at best, since trading is not paid for; NaN and infinity are outside the range.
Cost = Annotated[float, Meta(ge=0.0, le=1e6)]


class Session(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trading session. ``open`` and ``close`` are local times HH:MM; 24:00 closes at midnight.

    ``weekdays`` counts Monday as 0; ``holidays`` are local dates YYYY-MM-DD. ``observes`` names an exchange
    whose holidays hold as well (see ``quant.holidays``), ``late_open`` and ``early_close`` are the times of
    its short days.
    """

    timezone: str
    open: str
    close: str
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4)
    holidays: tuple[str, ...] = ()
    observes: str = ""
    late_open: str = ""
    early_close: str = ""


class Costs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one side of a trade costs.

    Fees per contract, in currency, are the broker's ``fee_per_contract`` and the exchange's ``emoluments`` and
    ``registration``; ``fee_bps`` is basis points of the notional. Half of ``spread_ticks`` and
    ``slippage_ticks`` come on top. Decisions expect these, live and in a backtest. A simulated fill pays
    besides what ``quant.backtest.costs.Frictions`` says: ``slippage_volatility`` of a bar's volatility,
    ``impact`` by the square root of the share of its volume, and ``round_to_tick``.
    """

    fee_per_contract: Cost = 0.0
    emoluments: Cost = 0.0
    registration: Cost = 0.0
    fee_bps: Annotated[float, Meta(ge=0.0, le=10_000.0)] = 0.0
    spread_ticks: Cost = 1.0
    slippage_ticks: Cost = 0.0
    slippage_volatility: Annotated[float, Meta(ge=0.0, le=1_000.0)] = 0.0
    impact: Annotated[float, Meta(ge=0.0, le=1_000.0)] = 0.0
    round_to_tick: bool = False

    @property
    def frictions(self) -> Frictions:
        """What a simulated fill pays beyond the expected costs."""
        return Frictions(self.slippage_volatility, self.impact, self.round_to_tick)


class Instrument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is fixed about an instrument. ``symbols`` is a regular expression that a whole symbol matches.

    ``multiplier`` is currency per price unit and lot; ``bar_trade_types`` lists the trade types that
    enter bars (see ``quant.dtypes.TradeType``).
    """

    root: str
    symbols: str
    exchange: str
    currency: str
    tick_size: Annotated[float, Meta(gt=0.0, le=1e9)]
    multiplier: Annotated[float, Meta(gt=0.0, le=1e12)]
    session: str
    costs: Costs = Costs()
    bar_trade_types: tuple[int, ...] = (0, 2, 3)

    def cost_model(self, costs: Costs | None = None) -> CostModel:
        """Expected costs per side: the instrument's, or others in their place."""
        chosen = self.costs if costs is None else costs
        return CostModel(
            fee_per_contract=chosen.fee_per_contract + chosen.emoluments + chosen.registration,
            fee_bps=chosen.fee_bps,
            spread_ticks=chosen.spread_ticks,
            slippage_ticks=chosen.slippage_ticks,
            tick_size=self.tick_size,
            multiplier=self.multiplier,
        )


class Instruments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All instruments and the sessions they refer to. The first instrument that matches a symbol holds."""

    sessions: dict[str, Session]
    instruments: tuple[Instrument, ...]

    def of(self, symbol: str) -> Instrument:
        """The instrument of a symbol.

        Raises:
            ConfigError: no instrument matches.
        """
        for instrument in self.instruments:
            if re.fullmatch(instrument.symbols, symbol):
                return instrument
        raise ConfigError(
            f"no instrument for symbol {symbol!r}",
            expected=f"a symbol that matches one of {', '.join(i.symbols for i in self.instruments)}",
            actual=symbol,
            remedy="add the instrument to config/instruments.yaml",
        )

    def names(self, symbol: str) -> bool:
        """Whether an instrument matches a symbol."""
        return any(re.fullmatch(instrument.symbols, symbol) for instrument in self.instruments)

    def calendar(self, symbol: str) -> SessionCalendar:
        """The session calendar of a symbol."""
        session = self.sessions[self.of(symbol).session]
        return SessionCalendar(
            timezone=session.timezone,
            open=session.open,
            close=session.close,
            weekdays=session.weekdays,
            holidays=session.holidays,
            observes=session.observes,
            late_open=session.late_open,
            early_close=session.early_close,
        )


def load_instruments(config_dir: str | Path) -> Instruments:
    """Read ``instruments.yaml``.

    Raises:
        ConfigError: the file is missing, malformed, or an instrument names an unknown session.
    """
    path = Path(config_dir) / "instruments.yaml"
    loaded = load_yaml(path, Instruments)
    for instrument in loaded.instruments:
        if instrument.session not in loaded.sessions:
            raise ConfigError(
                f"{path}: instrument {instrument.root} names an unknown session",
                expected=f"one of {', '.join(loaded.sessions)}",
                actual=instrument.session,
                remedy="add the session or correct the name",
            )
    return loaded
