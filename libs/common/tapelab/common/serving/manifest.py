"""The manifest beside every model: what it is, what it may run on, and how it was proven.

A model is known by the digest of its manifest, which in turn holds the digests of the model's files, so
one name pins everything a decision depends on. The manifest itself lies in the artifact store under its
digest.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from tapelab.common.errors import ModelMismatch
from tapelab.common.serving.candidate import Candidate
from tapelab.common.serving.normaliser import FittedNormaliser
from tapelab.common.serving.primary import PrimaryRule

Backend = Literal["lightgbm", "treelite", "onnxruntime"]

#: Names of model files in ``Manifest.files``.
MODEL_TXT = "model.txt"
MODEL_ONNX = "model.onnx"

Number = TypeVar("Number", float, npt.NDArray[np.float64])


class LabelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the score predicts: the probability that the return over ``horizon_ns`` is positive.

    With ``triple_barrier``, that the upper barrier is reached before the lower one within that time; with
    ``regression``, the return itself, in the unit of the calibration; with ``meta``, that the return is positive,
    judged from the side that ``primary`` takes (``quant.labels.meta.directed``). Everything else about the label is
    in the manifest's ``training.config``.
    """

    kind: Literal["sign_return", "triple_barrier", "regression", "meta"] = "sign_return"
    horizon_ns: int
    primary: PrimaryRule | msgspec.UnsetType = msgspec.UNSET


class Calibration(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """From score to expected return, a fraction of the price: ``slope * (score - centre)``.

    ``centre`` is the score that expects nothing: 0.5 of a probability, 0 of a return. A score in ``ticks`` is worth
    so many times the tick over the price. Defaults are left out of the bytes, so that models from before there
    were others keep their digests.
    """

    slope: float
    centre: float = 0.5
    unit: Literal["fraction", "ticks"] = "fraction"

    def expected_return(self, score: Number, tick: Number) -> Number:
        """The expected return of a score.

        Args:
            score: one, or f64 ``(n,)``.
            tick: tick size over the price at that moment; read by scores in ticks alone.
        """
        expected = self.slope * (score - self.centre)
        return expected * tick if self.unit == "ticks" else expected


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the decision rule (``quant.backtest.decision``).

    ``threshold`` is what the expected return must exceed beyond the round-trip cost, as a fraction of the
    price. A signal may open a position until ``valid_ns`` after its event; ``latency_ns`` is what the
    backtest assumed between event and fill.
    """

    threshold: float
    cooldown_ns: int
    max_hold_ns: int
    flatten_ns: int
    valid_ns: int
    latency_ns: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one exported model.

    Args:
        model_id: name for people; the digest is the identity.
        kind: library that trained it; ``architecture`` is the family (``gbdt``).
        feature_set, feature_set_id, feature_names: what the columns of its input are, in order.
        bar_spec: the bars the features were computed over.
        normaliser: who scales the input; ``feature_set`` means that the features are ready as they come, and figures
            that they are scaled by these before every score.
        window: vectors a prediction looks at; 1 is the newest alone.
        training: symbols, spans (symbol, stream, first_seq, last_seq), event_times (first and last ns by symbol),
            data_digest, params, seed. JSON types with text keys, like ``metrics``.
        backend: the runtime chosen among ``candidates``.
        files: sha256 by file name, in the artifact store.
        created_ns: when it was exported, ns since the Unix epoch.
    """

    model_id: str
    kind: str = "lightgbm"
    architecture: str = "gbdt"
    feature_set: str
    feature_set_id: str
    feature_names: tuple[str, ...]
    bar_spec: str
    normaliser: Literal["feature_set"] | FittedNormaliser = "feature_set"
    window: int = 1
    label: LabelSpec
    calibration: Calibration
    decision: Decision
    training: dict[str, Any]
    metrics: dict[str, Any]
    backend: Backend
    candidates: dict[str, Candidate]
    files: dict[str, str]
    code_version: str
    created_ns: int
    schema: int = 1

    @property
    def digest(self) -> str:
        """sha256 of the canonical JSON, 64 hex digits: the name of the model in pointers and signals."""
        return hashlib.sha256(encode_manifest(self)).hexdigest()


def encode_manifest(manifest: Manifest) -> bytes:
    """Canonical JSON: sorted keys, no spaces."""
    return msgspec.json.encode(manifest, order="deterministic")


def decode_manifest(raw: bytes) -> Manifest:
    """The reverse of :func:`encode_manifest`.

    Raises:
        ModelMismatch: the bytes are not a manifest.
    """
    try:
        return msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise ModelMismatch(
            "a model's manifest cannot be read",
            expected="the JSON of a manifest of this release",
            actual=f"{len(raw)} bytes that fail with: {error}",
            remedy="export the model again (tapelab train) and promote it",
        ) from error
