"""Under what vectors are decided: models, their settings, costs and halts, as canonical bytes.

Together with the log these bytes determine every signal. They stand in the state record of each
micro-batch, so a replay decides under the models and halts of then, not of now.
"""

from __future__ import annotations

import functools
import re
from importlib.metadata import version
from typing import Final

import msgspec

from tapelab.common.errors import RecoveryError
from tapelab.common.instruments import Instruments
from tapelab.common.pipeline import signal_lineage
from tapelab.common.serving.manifest import Calibration, Decision, Manifest
from tapelab.common.storage.halts import ALL_SYMBOLS
from tapelab.common.storage.pointers import DEFAULT, Mode, Pointer, Role
from tapelab.quant.backtest.costs import CostModel, round_trip_cost_fraction
from tapelab.quant.backtest.decision import DecisionParams

#: Of the context's layout. An older one is read as it was; a newer one is refused, as it may say what this cannot.
SCHEMA: Final = 2


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A pointer together with what the decision needs of its model's manifest."""

    role: Role
    symbol: str
    model_id: str
    digest: str
    mode: Mode
    version: int
    bar_spec: str
    feature_set_id: str
    n_features: int
    calibration: Calibration
    decision: Decision

    @property
    def params(self) -> DecisionParams:
        """The settings of the decision rule."""
        d = self.decision
        return DecisionParams(d.threshold, d.cooldown_ns, d.max_hold_ns, d.flatten_ns)


class SymbolCosts(msgspec.Struct, frozen=True, kw_only=True):
    """Costs of the symbols that a regular expression matches whole."""

    symbols: str
    costs: CostModel


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a decision depends on besides the log. The first costs that match a symbol hold.

    ``release`` is part of the signals' lineage: a batch that another release decided is decided again as that
    one's, not as new signals. It is empty in contexts of before it was recorded.
    """

    pointers: tuple[Bound, ...] = ()
    halts: dict[str, str] = {}
    costs: tuple[SymbolCosts, ...] = ()
    schema: int = SCHEMA
    release: str = ""


def bind(pointer: Pointer, manifest: Manifest) -> Bound:
    """A pointer with its model's settings."""
    return Bound(
        role=pointer.role,
        symbol=pointer.symbol,
        model_id=pointer.model_id,
        digest=pointer.digest,
        mode=pointer.mode,
        version=pointer.version,
        bar_spec=manifest.bar_spec,
        feature_set_id=manifest.feature_set_id,
        n_features=len(manifest.feature_names),
        calibration=manifest.calibration,
        decision=manifest.decision,
    )


def costs_of(instruments: Instruments) -> tuple[SymbolCosts, ...]:
    """Costs of all instruments, in their order."""
    return tuple(SymbolCosts(symbols=i.symbols, costs=i.cost_model()) for i in instruments.instruments)


def encode_context(context: Context) -> bytes:
    """Canonical JSON: the same context has the same bytes. Names this release where none is named."""
    ordered = tuple(sorted(context.pointers, key=lambda bound: (bound.role, bound.symbol)))
    release = context.release or version("tapelab")
    return msgspec.json.encode(
        msgspec.structs.replace(context, pointers=ordered, release=release), order="deterministic"
    )


class View:
    """A context, arranged for being asked."""

    def __init__(self, context: Context) -> None:
        self.pointers: Final = context.pointers
        self._bound = {(b.role, b.symbol): b for b in context.pointers}
        self._halts = context.halts
        self._costs = context.costs
        self._release = context.release
        self._of_symbol: dict[str, tuple[CostModel, str] | None] = {}

    def bound(self, role: Role, symbol: str) -> Bound | None:
        """The model of a role for a symbol: its own, or the default one."""
        return self._bound.get((role, symbol)) or self._bound.get((role, DEFAULT))

    def halt_reason(self, symbol: str) -> str:
        """Why a symbol is halted; empty if it is not."""
        for name in (symbol, ALL_SYMBOLS):
            if name in self._halts:
                return self._halts[name] or "no reason given"
        return ""

    def knows(self, symbol: str) -> bool:
        """Whether there is an instrument, and so costs, for a symbol."""
        return self._costs_of(symbol) is not None

    def cost(self, symbol: str, price: float) -> float:
        """Round-trip cost at a price, as a fraction of it."""
        return float(round_trip_cost_fraction(price, *self._known(symbol)[0]))

    def tick(self, symbol: str, price: float) -> float:
        """One tick at a price, as a fraction of it."""
        return self._known(symbol)[0].tick_size / price

    def lineage(self, symbol: str, feature_lineage: str) -> str:
        """Lineage of the symbol's signals: costs and release; models name themselves on each signal."""
        return signal_lineage(self._known(symbol)[1], feature_lineage, self._release)

    def _known(self, symbol: str) -> tuple[CostModel, str]:
        found = self._costs_of(symbol)
        if found is None:
            raise KeyError(symbol)
        return found

    def _costs_of(self, symbol: str) -> tuple[CostModel, str] | None:
        if symbol not in self._of_symbol:
            found = next((c.costs for c in self._costs if re.fullmatch(c.symbols, symbol)), None)
            self._of_symbol[symbol] = None if found is None else (found, msgspec.json.encode(found).decode())
        return self._of_symbol[symbol]


@functools.lru_cache(maxsize=4)
def view_of(raw: bytes) -> View:
    """The context of its bytes; no bytes are a context without models.

    Raises:
        RecoveryError: the bytes are not a context, or a newer release's.
    """
    if not raw:
        return View(Context())
    try:
        context = msgspec.json.decode(raw, type=Context)
    except msgspec.MsgspecError as error:
        raise _unreadable(str(error)) from error
    if context.schema > SCHEMA:
        raise _unreadable(f"layout {context.schema} of release {context.release}")
    return View(context)


def _unreadable(actual: str) -> RecoveryError:
    return RecoveryError(
        "the context of a micro-batch cannot be read",
        expected=f"a context of layout {SCHEMA} or older",
        actual=actual,
        remedy="run the release that wrote it, or start under a new TAPELAB_NAMESPACE",
    )
