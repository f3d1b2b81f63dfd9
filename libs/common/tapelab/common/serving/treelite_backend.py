"""Treelite's own interpreter of trees (GTIL)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import treelite

from tapelab.common.serving.backend import Matrix, Scores, unreadable
from tapelab.common.serving.lightgbm_text import check_lightgbm_text


class TreeliteModel:
    """A LightGBM model, read from its text by Treelite.

    Thresholds stay f64, so rows go in as f64: GTIL wants the model's own type.

    Raises:
        ModelMismatch: the text is not such a model.
    """

    def __init__(self, raw: bytes, *, regression: bool = False) -> None:
        check_lightgbm_text("Treelite", raw, regression=regression)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.txt"
            path.write_bytes(raw)
            try:
                self._model = treelite.frontend.load_lightgbm_model(str(path))
            except treelite.TreeliteError as error:
                raise unreadable("Treelite", raw, str(error).strip().splitlines()[0]) from error

    @property
    def n_features(self) -> int:
        """Columns it expects."""
        return int(self._model.num_feature)

    def scores(self, x: Matrix) -> Scores:
        """Scores, shape ``(n,)``; a row's score does not depend on its neighbours."""
        # One thread: starting more costs longer than a micro-batch takes.
        predicted = treelite.gtil.predict(self._model, x.astype(np.float64), nthread=1)
        return np.asarray(predicted, np.float64).reshape(len(x), -1)[:, 0]
