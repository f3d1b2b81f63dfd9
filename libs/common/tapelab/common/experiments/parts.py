"""The parts of an experiment. Every number has a range, so that none overflows a time, and NaN is outside it."""

from __future__ import annotations

import math
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from tapelab.common.serving.primary import PrimaryRule
from tapelab.common.storage.jobs import NAME_PATTERN
from tapelab.quant.backtest.costs import Frictions

_SYMBOL: Final = r"^[!-~]{1,64}\Z"
_PATH: Final = r"^[^\x00-\x1f\x7f]{0,4096}\Z"
_QUEUE: Final = r"^(inf|[0-9]{1,9}(\.[0-9]{1,6})?x?)\Z"
#: What the patterns mean, for messages.
WORDS: Final = {
    _QUEUE: "a number of lots, a multiple of the mean print such as 10x, or inf",
    NAME_PATTERN: "1 to 100 letters, digits, '-', '_' and '.', beginning with a letter or a digit",
    _SYMBOL: "1 to 64 printable characters without spaces",
    _PATH: "at most 4096 printable characters",
}

Symbol = Annotated[str, Meta(pattern=_SYMBOL)]
Text = Annotated[str, Meta(max_length=64)]
#: A sequence or stream number, or a time, that fits PostgreSQL's bigint with room to add to it.
Count = Annotated[int, Meta(ge=0, le=1 << 62)]
#: Seconds up to a day; nothing here reaches beyond a session.
Seconds = Annotated[float, Meta(ge=0.0, le=86_400.0)]
PositiveSeconds = Annotated[float, Meta(ge=0.001, le=86_400.0)]
#: A share that is neither nothing nor all.
Share = Annotated[float, Meta(gt=0.0, lt=1.0)]


class Span(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prints ``first_seq .. last_seq`` (both included) of one stream of a symbol."""

    symbol: Symbol
    stream: Count
    first_seq: Count
    last_seq: Count

    @property
    def n(self) -> int:
        """Number of prints."""
        return self.last_seq - self.first_seq + 1


class SourceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the prints come from.

    ``ticks_raw`` is the table that the tick sink fills, ``topic`` the ticks topic itself (for a table that
    ingest follows, whose rows carry no sequence numbers), ``file`` a tape that ``open_tape`` reads: ``path``,
    ``format`` (recognised if left out) and ``symbol`` where the file does not name it.
    """

    kind: Literal["ticks_raw", "topic", "file"] = "ticks_raw"
    path: Annotated[str, Meta(pattern=_PATH)] = ""
    format: Text | None = None
    symbol: Symbol | None = None


class LabelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is predicted, from the entry on.

    ``sign_return``: the sign of the return over ``horizon_s``, or over ``horizon_trades`` eligible trades.
    ``triple_barrier``: which of two barriers is reached within that horizon, ``upper`` and ``lower`` away in
    ``unit`` (multiples of a bar's ``volatility``, whose half-life is ``half_life`` bars, or ``bps``); where
    neither is, ``timeout`` says whether the label is 0 (such rows calibrate but do not train) or the sign of
    the return. With ``horizon_bars`` barriers are looked for in the highs and lows of so many bars, from the bar's
    close, instead of in the prints after the latency. ``regression``: the return itself, as ``target``: a log return,
    ticks, or what the costs leave. ``meta``: whether the side that the rule ``primary`` takes earns over the horizon;
    a model learns which of its bets to take, and never bets otherwise. With ``bet: barriers`` a bet ends at its
    profit, ``upper`` away on its side, or at its stop, ``lower`` away on the other, if one comes before the horizon.

    ``events: cusum`` keeps the bars at which the move since the last event passed ``event_threshold`` times
    the volatility. ``weights`` weigh training rows by their uniqueness or the return that is their own;
    ``time_decay`` is the factor of the oldest row, 1 for none.

    With ``horizon_trades`` or ``horizon_bars``, ``horizon_s`` still is how long a position is held at most.
    """

    kind: Literal["sign_return", "regression", "triple_barrier", "meta"] = "sign_return"
    horizon_s: PositiveSeconds = 30.0
    horizon_trades: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    horizon_bars: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    upper: Annotated[float, Meta(ge=0.01, le=1_000.0)] = 5.0
    lower: Annotated[float, Meta(ge=0.01, le=1_000.0)] = 5.0
    unit: Literal["volatility", "bps"] = "volatility"
    half_life: Annotated[float, Meta(ge=1.0, le=100_000.0)] = 50.0
    timeout: Literal["zero", "sign"] = "zero"
    target: Literal["log_return", "ticks", "net"] = "log_return"
    primary: PrimaryRule | None = None
    bet: Literal["horizon", "barriers"] = "horizon"
    events: Literal["all", "cusum"] = "all"
    event_threshold: Annotated[float, Meta(ge=0.01, le=1_000.0)] = 3.0
    weights: Literal["none", "uniqueness", "return_attribution"] = "none"
    time_decay: Annotated[float, Meta(ge=0.0, le=1.0)] = 1.0

    @property
    def reach(self) -> str:
        """How far a label looks, for people."""
        far = f"{self.horizon_s:g} s"
        if self.in_steps:
            far = f"{self.horizon_trades} trades" if self.horizon_bars is None else f"{self.horizon_bars} bars"
        return f"up to {far}" if self.barriers else far

    @property
    def barriers(self) -> bool:
        """Whether labels end at barriers."""
        return self.kind == "triple_barrier" or self.bet == "barriers"

    @property
    def in_steps(self) -> bool:
        """Whether the horizon is a number of trades or bars, whose time is not known beforehand."""
        return self.horizon_trades is not None or self.horizon_bars is not None

    @property
    def strangers(self) -> list[str]:
        """Fields that were set but say nothing to the other settings."""
        idle = []
        if not self.barriers:
            idle += ["upper", "lower", "unit", "horizon_bars"]
        if self.kind != "triple_barrier":
            idle.append("timeout")
        if self.horizon_bars is not None:
            idle.append("horizon_trades")
        if self.kind != "regression":
            idle.append("target")
        if self.kind != "meta":
            idle += ["primary", "bet"]
        if self.events != "cusum":
            idle.append("event_threshold")
            if not self.barriers or self.unit != "volatility":
                idle.append("half_life")
        default = LabelConfig()
        return [name for name in idle if getattr(self, name) != getattr(default, name)]


class NormaliserConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A normaliser that is fitted on the training rows and frozen in the manifest, over a raw feature set.

    ``zscore`` takes mean and deviation, ``robust`` median and interquartile range. A symbol with at least
    ``min_rows`` training rows has figures of its own; the others share those of all rows. Values are kept within
    ``clip``.
    """

    kind: Literal["zscore", "robust"] = "zscore"
    clip: Annotated[float, Meta(gt=0.0, le=1_000.0)] = 5.0
    min_rows: Annotated[int, Meta(ge=2, le=1_000_000)] = 200


class ModelParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """LightGBM's parameters; ``early_stopping`` counts rounds without progress on the tune split.

    ``linear_c`` is the inverse regularisation of the linear baseline.
    """

    num_leaves: Annotated[int, Meta(ge=2, le=1_024)] = 15
    learning_rate: Annotated[float, Meta(ge=1e-6, le=1.0)] = 0.05
    n_estimators: Annotated[int, Meta(ge=1, le=10_000)] = 200
    early_stopping: Annotated[int, Meta(ge=1, le=10_000)] = 25
    min_data: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    feature_fraction: Annotated[float, Meta(gt=0.0, le=1.0)] = 0.8
    lambda_l2: Annotated[float, Meta(ge=0.0, le=1e9)] = 5.0
    linear_c: Annotated[float, Meta(ge=1e-9, le=1e9)] = 1.0
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 7


class CombinatorialConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Combinatorial purged cross-validation: ``test_groups`` of ``groups`` at a time; every choice is a fit."""

    groups: Annotated[int, Meta(ge=3, le=12)] = 6
    test_groups: Annotated[int, Meta(ge=1, le=10)] = 2


class ValidationConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Purged walk-forward (``quant.validation.walk_forward``).

    ``by: session`` cuts between trading days only, and counts days instead of samples. ``combinatorial`` adds
    many out-of-sample paths to the report; they inform and do not judge.
    """

    by: Literal["time", "session"] = "time"
    n_folds: Annotated[int, Meta(ge=1, le=50)] = 4
    mode: Literal["anchored", "rolling"] = "anchored"
    embargo_s: Seconds = 5.0
    min_train: Share = 0.4
    tune_fraction: Share = 0.25
    combinatorial: CombinatorialConfig | None = None


class DecisionConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The decision rule's settings; the threshold is chosen on the tune split.

    ``max_hold_s`` defaults to the label's horizon. ``valid_s`` is how long a signal may open a position.
    ``shadow_rate`` is the share of vectors that should show an edge where a refused model runs as a shadow:
    its threshold is lowered that far, below the costs if need be, so that there is something to observe.
    """

    cooldown_s: Seconds = 1.0
    max_hold_s: PositiveSeconds | None = None
    flatten_s: Seconds = 60.0
    valid_s: PositiveSeconds = 2.0
    shadow_rate: Share = 0.02


class BacktestConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How changes of position are traded when a model is judged (docs/backtest.md).

    ``fills: bars`` looks market orders up in the prints, ``ticks`` walks print by print; passive ``limit`` orders
    walk. ``queue`` is how many lots stand before an order that joins the best price: a number, with an ``x`` that
    many mean prints of the bar that decided, or ``inf`` where only prints through the price fill. After
    ``patience_s`` an order does what ``then`` says: it joins the best price anew, or goes to the market.

    ``lots`` are those of a full position; ``max_long`` and ``max_short`` make a position smaller, 0 forbids it, and
    change no decision. ``spread`` is what market orders cross: the costs' ``spread_ticks``, or an estimate from
    prints and bars where that is larger (``quant.backtest.spreads``); decisions expect ``spread_ticks`` either way.
    """

    orders: Literal["market", "limit"] = "market"
    fills: Literal["bars", "ticks"] | None = None
    queue: Annotated[str, Meta(pattern=_QUEUE)] | Annotated[int, Meta(ge=0, le=1_000_000_000)] = "10x"
    patience_s: PositiveSeconds | None = None
    then: Literal["join", "market"] = "join"
    lots: Annotated[float, Meta(gt=0.0, le=1e9)] = 1.0
    max_long: Annotated[float, Meta(ge=0.0, le=1e9)] | None = None
    max_short: Annotated[float, Meta(ge=0.0, le=1e9)] | None = None
    spread: Literal["fixed", "roll", "corwin_schultz", "effective"] = "fixed"

    def limited(self, frictions: Frictions) -> Frictions:
        """Frictions with the limits of positions."""
        long, short = (math.inf if limit is None else limit for limit in (self.max_long, self.max_short))
        return frictions._replace(max_long=long, max_short=short)

    @property
    def by_ticks(self) -> bool:
        """Whether fills come print by print."""
        return self.fills == "ticks" or self.orders == "limit"

    @property
    def strangers(self) -> list[str]:
        """Fields that were set but say nothing to the other settings."""
        if self.orders == "limit":
            idle = {"fills": self.fills == "bars", "then": self.then == "market" and self.patience_s is None}
            return [name for name, is_idle in idle.items() if is_idle]
        default = BacktestConfig()
        return [name for name in ("queue", "patience_s", "then") if getattr(self, name) != getattr(default, name)]


class GateConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of the promotion gate; an experiment may tighten them. One that loosens them is not promoted.

    ``p_value`` bounds the chance that a profit over flat, and over the linear baseline, is noise: a
    stationary bootstrap with ``n_boot`` resamples over blocks of ``block_s`` seconds, joined in runs of
    ``mean_block`` on average. ``min_deflated_sharpe`` is the least probability that the Sharpe ratio of those
    blocks is above zero, given how many configurations were tried on the same data. ``max_latency_us`` bounds
    the p99 of one model call of 64 rows, ``max_abs_diff`` the distance of the exported scores from the trained
    ones. ``require_live`` demands that live feature vectors were there to compare.
    """

    p_value: Share = 0.05
    min_periods: Annotated[int, Meta(ge=1, le=50)] = 3
    min_trades: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 30
    min_deflated_sharpe: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.95
    max_latency_us: Annotated[float, Meta(gt=0.0, le=1e9)] = 20_000.0
    max_abs_diff: Annotated[float, Meta(ge=0.0, le=1.0)] = 1e-6
    block_s: PositiveSeconds = 300.0
    mean_block: Annotated[float, Meta(ge=1.0, le=1e6)] = 6.0
    n_boot: Annotated[int, Meta(ge=100, le=100_000)] = 2_000
    require_live: bool = True
