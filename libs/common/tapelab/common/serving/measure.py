"""Which runtime should serve a model: measured where it is exported, never assumed."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from tapelab.common.clock import Clock
from tapelab.common.errors import ModelMismatch
from tapelab.common.serving.backend import BackendModel, Matrix, Scores
from tapelab.common.serving.candidate import Candidate
from tapelab.common.serving.load import BACKENDS, open_backend

#: Batch sizes that are timed: a lone symbol, and a busy micro-batch.
BATCHES: Final = (1, 64)
#: Batch sizes whose scores are compared with those of all rows in one call.
_GROUPS: Final = (1, 7, 65)
_ROUNDS: Final = 5


def measure_candidates(
    files: Mapping[str, bytes],
    x: Matrix,
    reference: Scores,
    *,
    tolerance: float,
    clock: Clock,
    repeats: int = 100,
    regression: bool = False,
) -> dict[str, Candidate]:
    """Time every runtime whose file is there, and hold its scores against the trained model's.

    Args:
        files: model files by name (``model.txt``, ``model.onnx``).
        x: float32 rows as they come live, shape ``(n, n_features)``, n >= 64 for the figures to mean much.
        reference: the trained model's own scores of ``x``, shape ``(n,)``.
        tolerance: largest absolute difference of a score that still agrees.
        clock: times the calls.
        repeats: timed calls per batch size and round; the quietest of some rounds counts, since what shares the
            machine can only add to a time.
        regression: scores are returns; else they are probabilities.

    Returns:
        one candidate per runtime, those that may not serve included, with the reason.
    """
    measured = {}
    for backend, (name, _, _) in BACKENDS.items():
        if name in files:
            measured[backend] = _measure(
                functools.partial(open_backend, backend, files[name], regression=regression),
                backend,
                np.ascontiguousarray(x, np.float32),
                reference,
                tolerance,
                clock,
                repeats,
            )
    return measured


def fastest(candidates: Mapping[str, Candidate]) -> str:
    """The runtime to serve with: the least geometric mean of its p50 over the batch sizes.

    Raises:
        ModelMismatch: none agrees with the trained model.
    """
    fit = [c for c in candidates.values() if not c.refused]
    if not fit:
        raise ModelMismatch(
            "no runtime may serve the model",
            expected="one that agrees with the trained model and scores a row alike in any batch",
            actual="; ".join(f"{c.backend}: {c.refused}" for c in candidates.values()) or "no model file",
            remedy="check the conversion, or allow a larger tolerance",
        )
    return min(fit, key=lambda c: math.prod(c.p50_us.values()) ** (1 / len(c.p50_us))).backend


def _measure(
    load: Callable[[], BackendModel],
    backend: str,
    x: Matrix,
    reference: Scores,
    tolerance: float,
    clock: Clock,
    repeats: int,
) -> Candidate:
    try:
        model = load()
        whole = model.scores(x)
    except ModelMismatch as error:
        return Candidate(
            backend=backend, p50_us={}, p99_us={}, max_abs_diff=None, batch_invariant=False, refused=str(error)
        )
    difference = float(np.max(np.abs(whole - reference), initial=0.0))
    invariant = all(np.array_equal(whole, _in_groups(model, x, size)) for size in _GROUPS)
    p50, p99 = {}, {}
    for batch in BATCHES:
        call = _rotating(model, x, batch)
        rounds = [np.percentile(_times_us(call, clock, repeats), (50, 99)) for _ in range(_ROUNDS)]
        p50[str(batch)], p99[str(batch)] = (round(float(q), 2) for q in np.min(rounds, axis=0))
    refused = ""
    if not difference <= tolerance:
        refused = f"differs from the trained model by {difference:.3g}, more than {tolerance:.3g}"
    elif not invariant:
        refused = "scores a row differently in batches of another size"
    return Candidate(
        backend=backend, p50_us=p50, p99_us=p99, max_abs_diff=difference, batch_invariant=invariant, refused=refused
    )


def _in_groups(model: BackendModel, x: Matrix, size: int) -> Scores:
    return np.concatenate([model.scores(x[i : i + size]) for i in range(0, len(x), size)])


def _rotating(model: BackendModel, x: Matrix, batch: int) -> Callable[[int], Scores]:
    """Calls over changing rows: the same row again and again would find every branch predicted."""
    rows = np.ascontiguousarray(np.resize(x, (max(len(x), batch), x.shape[1])))
    starts = max(1, len(rows) - batch + 1)
    return lambda call: model.scores(rows[call * 37 % starts :][:batch])


def _times_us(call: Callable[[int], Scores], clock: Clock, repeats: int) -> list[float]:
    for i in range(min(20, repeats)):
        call(i)
    times = []
    for i in range(repeats):
        started = clock.monotonic_ns()
        call(i)
        times.append((clock.monotonic_ns() - started) / 1e3)
    return times
