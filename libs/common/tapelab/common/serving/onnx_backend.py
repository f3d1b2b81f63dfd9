"""ONNX Runtime, on one thread."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

from tapelab.common.serving.backend import Matrix, Scores, unreadable


class OnnxModel:
    """A model in ONNX, whatever converter made it: one float32 input ``(n, n_features)`` and one output, of a
    classifier probabilities ``(n, 2)`` by class or ``(n, 1)`` of up, of a regression numbers ``(n, 1)``.

    Trees in ONNX hold thresholds and leaves as float32, so scores differ a little from the trained model's;
    by how much is measured at export.

    Raises:
        ModelMismatch: the bytes are not such a model.
    """

    def __init__(self, raw: bytes, *, regression: bool = False) -> None:
        options = ort.SessionOptions()
        # More threads sum the trees of a lone row in parts, whose rounding depends on the batch's size.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(raw, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            # ONNX Runtime's exceptions share no base class of their own.
            raise unreadable("ONNX Runtime", raw, str(error).strip().splitlines()[0]) from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 2:
            shown = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
            raise unreadable("ONNX Runtime", raw, f"inputs {shown} instead of one float32 matrix")
        self._input = inputs[0].name
        columns = inputs[0].shape[1]
        if not isinstance(columns, int):
            raise unreadable("ONNX Runtime", raw, f"input {self._input} does not say how many columns it has")
        self._n_features = columns
        outputs = [o for o in self._session.get_outputs() if o.type == "tensor(float)"]
        if len(outputs) != 1:
            shown = ", ".join(f"{o.name} {o.type}" for o in self._session.get_outputs())
            raise unreadable(
                "ONNX Runtime", raw, f"outputs {shown} instead of one tensor of probabilities (convert without ZipMap)"
            )
        self._output = outputs[0].name
        if regression and outputs[0].shape[-1] != 1:
            raise unreadable("ONNX Runtime", raw, f"an output {outputs[0].shape} instead of one number for each row")

    @property
    def n_features(self) -> int:
        """Columns it expects."""
        return self._n_features

    def scores(self, x: Matrix) -> Scores:
        """Scores, shape ``(n,)``."""
        (found,) = self._session.run([self._output], {self._input: x})
        return np.asarray(found, np.float64).reshape(len(x), -1)[:, -1]
