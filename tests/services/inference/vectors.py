"""Vectors whose first feature is the score they get, contexts, and a driver of the stage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tapelab.common import topics
from tapelab.common.codec import encode
from tapelab.common.runtime.stage import Record, Step
from tapelab.common.schemas.features import FeatureVector
from tapelab.common.schemas.signals import Signal
from tapelab.common.serving.manifest import Calibration, Decision
from tapelab.inference.admission import Admitted
from tapelab.inference.context import Bound, Context, SymbolCosts, encode_context
from tapelab.inference.stage import InferenceStage
from tapelab.quant.backtest.costs import CostModel

SECOND = 1_000_000_000
T0 = 1_763_553_600 * SECOND
CLOSE = T0 + 3600 * SECOND
PAIR = ("tick:50", "0123456789abcdef")
UP, DOWN, EVEN = 0.75, 0.25, 0.5
N_FEATURES = 4

#: Costs of 0.1 % for a round trip at price 100; an edge of 0.25 % * slope 0.01 passes.
COSTS = (
    SymbolCosts(
        symbols="[A-Z]+",
        costs=CostModel(
            fee_per_contract=0.0, fee_bps=5.0, spread_ticks=0.0, slippage_ticks=0.0, tick_size=0.01, multiplier=1.0
        ),
    ),
)


def vector(seq: int, score: float = EVEN, *, at_s: float | None = None, **changes: Any) -> FeatureVector:
    """Vector ``seq``, by default ``seq`` seconds after the start."""
    values = np.zeros(N_FEATURES, "<f4")
    values[0] = score
    fields: dict[str, Any] = {
        "symbol": "AAA",
        "exchange": "X",
        "stream": 1,
        "lineage": "f" * 16,
        "bar_lineage": "b" * 16,
        "seq": seq,
        "bar_seq": seq,
        "feature_set_id": PAIR[1],
        "bar_spec": PAIR[0],
        "ts_event_ns": T0 + int((seq if at_s is None else at_s) * SECOND),
        "day": 20251119,
        "session_close_ns": CLOSE,
        "ref_price": 100.0,
        "values": values.tobytes(),
        "warm": True,
        "after_gap": False,
        "session_end": False,
        **changes,
    }
    return FeatureVector(**fields)


def bound(role: str = "champion", **changes: Any) -> Bound:
    """A pointer to a model that trades an expected return of 0.25 %."""
    decision = {
        "threshold": 0.0005,
        "cooldown_ns": 2 * SECOND,
        "max_hold_ns": 20 * SECOND,
        "flatten_ns": 30 * SECOND,
        "valid_ns": SECOND,
        "latency_ns": 0,
    } | changes.pop("decision", {})
    fields: dict[str, Any] = {
        "role": role,
        "symbol": "default",
        "model_id": f"model-{role}",
        "digest": {"champion": "c", "challenger": "d"}[role] * 64,
        "mode": "live" if role == "champion" else "shadow",
        "version": 1,
        "bar_spec": PAIR[0],
        "feature_set_id": PAIR[1],
        "n_features": N_FEATURES,
        "calibration": Calibration(slope=0.01),
        "decision": Decision(**decision),
        **changes,
    }
    return Bound(**fields)


def context(*bounds: Bound, halts: dict[str, str] | None = None) -> bytes:
    """Canonical bytes; without bounds, of a champion alone."""
    return encode_context(Context(pointers=bounds or (bound(),), halts=halts or {}, costs=COSTS))


EMPTY = encode_context(Context(costs=COSTS))


def records(vectors: Iterable[FeatureVector | bytes], first_offset: int = 0) -> list[Record]:
    """The vectors (or raw bytes, keyed AAA) as they stand in the log."""
    return [
        Record(
            topics.FEATURES,
            0,
            first_offset + i,
            v.symbol.encode() if isinstance(v, FeatureVector) else b"AAA",
            encode(v) if isinstance(v, FeatureVector) else v,
        )
        for i, v in enumerate(vectors)
    ]


class AnyModel(dict[str, np.ndarray]):
    """Scores of every model there could be: the first feature."""

    def __init__(self, admitted: Admitted) -> None:
        self._scores = np.array([item.vector.array()[0] for item in admitted.items], np.float64)

    def __missing__(self, digest: str) -> np.ndarray:
        return self._scores


def run(stage: InferenceStage, batch: Sequence[Record], under: bytes) -> Step:
    """One micro-batch."""
    admitted = stage.admit(batch)
    return stage.decide(admitted, AnyModel(admitted), under)


def signals(step: Step) -> list[Signal]:
    """The signals of a step."""
    return [output.record for output in step.outputs if isinstance(output.record, Signal)]


def decide(vectors: Iterable[FeatureVector | bytes], under: bytes | None = None) -> list[Signal]:
    """Signals of a fresh stage."""
    return signals(run(InferenceStage(0), records(vectors), under or context()))


def shown(found: Sequence[Signal]) -> list[tuple[int, int, str]]:
    """(feature seq, side, reason) of each signal."""
    return [(s.feature_seq, s.side, s.reason) for s in found]
