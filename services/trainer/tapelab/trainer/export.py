"""Export: the model in every format, measured on this machine, and the fastest that agrees with the trained one."""

from __future__ import annotations

from typing import NamedTuple, cast

import lightgbm
import numpy as np
import numpy.typing as npt

from tapelab.common.clock import Clock
from tapelab.common.serving.candidate import Candidate
from tapelab.common.serving.manifest import MODEL_ONNX, MODEL_TXT, Backend
from tapelab.common.serving.measure import fastest, measure_candidates
from tapelab.trainer.gbdt import Gbdt


class Exported(NamedTuple):
    """Model files by name, what was measured of each runtime, and the one to serve with.

    ``tolerance`` is how far a score may be from the trained model's.
    """

    files: dict[str, bytes]
    candidates: dict[str, Candidate]
    backend: Backend
    tolerance: float

    @property
    def chosen(self) -> Candidate:
        """The runtime to serve with, as it was measured."""
        return self.candidates[self.backend]


def export(model: Gbdt, x: npt.NDArray[np.float32], *, tolerance: float, clock: Clock) -> Exported:
    """Write the model's files and measure the runtimes on real rows.

    Args:
        x: rows as they come live, shape ``(n, n_features)``.
        tolerance: largest distance of a score from the trained model's; of a regression, whose scores have a unit,
            as a share of the largest score.

    Raises:
        ModelMismatch: no runtime agrees with the trained model.
    """
    files, failed = {MODEL_TXT: model.text.encode()}, ""
    try:
        files[MODEL_ONNX] = to_onnx(model.booster, x.shape[1])
    except Exception as error:
        # The converter raises whatever it meets; a model it cannot convert still serves by its own runtime.
        failed = f"cannot be converted: {type(error).__name__}: {error}"
    reference = model.scores(x)
    if model.regression:
        tolerance *= float(np.max(np.abs(reference), initial=0.0))
    candidates = measure_candidates(files, x, reference, tolerance=tolerance, clock=clock, regression=model.regression)
    if failed:
        candidates["onnxruntime"] = Candidate(
            backend="onnxruntime", p50_us={}, p99_us={}, max_abs_diff=None, batch_invariant=False, refused=failed
        )
    return Exported(files, candidates, cast(Backend, fastest(candidates)), tolerance)


def to_onnx(booster: lightgbm.Booster, n_features: int) -> bytes:
    """The model as ONNX: one float32 input, one tensor of probabilities or numbers."""
    # The converter pulls in half of the ONNX tool chain, which only this step needs.
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    # Without a name the converter draws a random one, and equal models would differ in their bytes.
    converted = convert_lightgbm(
        booster,
        name="tapelab",
        initial_types=[("input", FloatTensorType([None, n_features]))],
        zipmap=False,
        target_opset=15,
    )
    raw: bytes = converted.SerializeToString()
    return raw
