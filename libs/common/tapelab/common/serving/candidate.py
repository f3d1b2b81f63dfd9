"""What was measured about one way of running a model."""

from __future__ import annotations

import msgspec


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One runtime, measured on the machine that exported the model.

    ``p50_us`` and ``p99_us`` are times of one call, in microseconds, by batch size (as text).
    ``max_abs_diff`` is the largest distance of its scores from the trained model's, None where it does not
    run. ``batch_invariant`` is true if a row gets the same score, to the bit, whatever rows share its call:
    a replay groups rows differently. ``refused`` says why the candidate may not serve; empty if it may.
    """

    backend: str
    p50_us: dict[str, float]
    p99_us: dict[str, float]
    max_abs_diff: float | None
    batch_invariant: bool
    refused: str = ""
