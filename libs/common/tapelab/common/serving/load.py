"""Loading a model by its manifest: the right file, the right bytes, the right number of columns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Final, Protocol

import numpy as np

from tapelab.common.errors import ModelMismatch, TapelabError
from tapelab.common.serving.backend import BackendModel, Matrix, Scores
from tapelab.common.serving.manifest import MODEL_ONNX, MODEL_TXT, Manifest, decode_manifest
from tapelab.common.serving.normaliser import Scaler
from tapelab.quant.labels.meta import directed

#: By backend: the file it reads, and where its class is; a runtime is imported when a model needs it.
BACKENDS: Final[dict[str, tuple[str, str, str]]] = {
    "lightgbm": (MODEL_TXT, "tapelab.common.serving.lightgbm_backend", "LightGbmModel"),
    "treelite": (MODEL_TXT, "tapelab.common.serving.treelite_backend", "TreeliteModel"),
    "onnxruntime": (MODEL_ONNX, "tapelab.common.serving.onnx_backend", "OnnxModel"),
}

_WARM_ROWS: Final = (1, 8, 128)


class Artifacts(Protocol):
    """Where model files lie, by sha256."""

    def get(self, sha256: str) -> bytes:
        """The bytes of a digest."""
        ...


class ServingModel:
    """A model ready to score. Not for several threads at once."""

    def __init__(self, manifest: Manifest, digest: str, backend: BackendModel) -> None:
        self.manifest = manifest
        self.digest = digest
        self._backend = backend
        frozen, width = manifest.normaliser, len(manifest.feature_names)
        self._primary = manifest.label.primary or None
        self._scaler = None if frozen == "feature_set" else Scaler(frozen, width, manifest.model_id)

    def predict(self, x: Matrix, symbols: Sequence[str] = ()) -> Scores:
        """Scores, f64 of shape ``(n,)``, of float32 rows of shape ``(n, n_features)`` as the feature set gives them.

        Args:
            x: feature vectors.
            symbols: whose each row is, or one for all; needed where the model's normaliser is its own.

        Raises:
            ModelMismatch: the matrix has another number of columns, or nobody says whose rows they are.
        """
        expected = len(self.manifest.feature_names)
        if x.ndim != 2 or x.shape[1] != expected:
            raise ModelMismatch(
                f"model {self.manifest.model_id} was given rows of another shape",
                expected=f"rows of {expected} features ({self.manifest.feature_set})",
                actual=f"an array of shape {x.shape}",
                remedy="promote a model of the feature set that is live in pipeline.yaml",
            )
        if len(x) == 0:
            return np.empty(0, np.float64)
        side = None if self._primary is None else self._primary.side(x, self.manifest.feature_names)
        if self._scaler is not None:
            if len(symbols) not in (1, len(x)):
                raise ModelMismatch(
                    f"model {self.manifest.model_id} scales by symbol, and was not told whose its rows are",
                    expected=f"{len(x)} symbols, or one for all rows",
                    actual=f"{len(symbols)}",
                    remedy="hand over the symbols of the rows",
                )
            x = self._scaler.apply(x, symbols)
        scores = self._backend.scores(np.ascontiguousarray(x, np.float32))
        return scores if side is None else directed(scores, side)


def open_backend(backend: str, raw: bytes, *, regression: bool = False) -> BackendModel:
    """Load a model file into a runtime.

    Args:
        backend: its name.
        raw: the file.
        regression: its scores are returns; else they are probabilities.

    Raises:
        ModelMismatch: unknown runtime, or the file is not one that it reads.
    """
    if backend not in BACKENDS:
        raise ModelMismatch(
            f"unknown runtime {backend!r}",
            expected=f"one of {', '.join(BACKENDS)}",
            actual=backend,
            remedy="export the model again with this release",
        )
    _, module, name = BACKENDS[backend]
    loader: Callable[..., BackendModel] = getattr(import_module(module), name)
    return loader(raw, regression=regression)


def load_manifest(digest: str, store: Artifacts) -> Manifest:
    """The manifest that a pointer names.

    Raises:
        ModelMismatch: it is missing, or not what its name says.
    """
    return decode_manifest(_checked(store, digest, f"the manifest {digest[:12]}"))


def load_model(manifest: Manifest, store: Artifacts) -> ServingModel:
    """Load a model into the runtime its manifest names, and warm it.

    Raises:
        ModelMismatch: a file is missing or has other bytes, or the model does not fit its manifest.
    """
    name = BACKENDS[manifest.backend][0]
    if name not in manifest.files:
        raise ModelMismatch(
            f"model {manifest.model_id} lacks the file of its runtime",
            expected=f"{name} for {manifest.backend}",
            actual=f"files {', '.join(sorted(manifest.files)) or 'none'}",
            remedy="export the model again (tapelab train) and promote it",
        )
    raw = _checked(store, manifest.files[name], f"{name} of model {manifest.model_id}")
    backend = open_backend(manifest.backend, raw, regression=manifest.label.kind == "regression")
    if backend.n_features != len(manifest.feature_names):
        raise ModelMismatch(
            f"model {manifest.model_id} does not fit its manifest",
            expected=f"{len(manifest.feature_names)} features, as the manifest lists",
            actual=f"{backend.n_features} in {name}",
            remedy="export the model again (tapelab train) and promote it",
        )
    primary = manifest.label.primary or None
    if (manifest.label.kind == "meta") != (primary is not None) or (
        primary is not None and primary.feature not in manifest.feature_names
    ):
        raise ModelMismatch(
            f"model {manifest.model_id} does not fit its manifest",
            expected="a first rule over one of its features where its label is a meta-label, and none elsewhere",
            actual=f"label {manifest.label.kind} with {'no rule' if primary is None else primary.feature}",
            remedy="export the model again (tapelab train) and promote it",
        )
    model = ServingModel(manifest, manifest.digest, backend)
    _warm(model)
    return model


def _warm(model: ServingModel) -> None:
    """Run it once per path, so that the first live call is as fast as the later ones."""
    for rows in _WARM_ROWS:
        zeros = np.zeros((rows, len(model.manifest.feature_names)), np.float32)
        scores = model.predict(zeros, [""] * rows)
        likely = model.manifest.label.kind == "regression" or bool(((scores >= 0) & (scores <= 1)).all())
        if not (scores.shape == (rows,) and np.isfinite(scores).all() and likely):
            raise ModelMismatch(
                f"model {model.manifest.model_id} does not score as its manifest says",
                expected="one probability, or of a regression one finite number, per row",
                actual=f"{scores[:3]} with shape {scores.shape} for {rows} rows",
                remedy="export a binary classifier, or a model whose label is a regression; margins are neither",
            )


def _checked(store: Artifacts, sha256: str, what: str) -> bytes:
    try:
        raw = store.get(sha256)
    except (TapelabError, OSError) as error:
        raise ModelMismatch(
            f"{what} cannot be read",
            expected=f"an artifact of sha256 {sha256}",
            actual=str(error),
            remedy="check TAPELAB_ARTIFACTS; roll back (tapelab models rollback) or export the model again",
        ) from error
    actual = hashlib.sha256(raw).hexdigest()
    if actual != sha256:
        raise ModelMismatch(
            f"{what} has other bytes than it had at export",
            expected=f"sha256 {sha256}",
            actual=f"sha256 {actual}",
            remedy="restore the artifact; roll back (tapelab models rollback) or export the model again",
        )
    return raw
