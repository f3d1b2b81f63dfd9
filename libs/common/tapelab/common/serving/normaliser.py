"""A normaliser that was fitted on a model's training rows, frozen in its manifest and applied before every score.

The arithmetic is ``quant.features.fitted``: the trainer scales its rows by the very class that serves.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from tapelab.common.errors import ModelMismatch
from tapelab.quant.features.fitted import apply_scale

_REMEDY: Final = "train the model again (tapelab train) and promote it"


class FrozenScale(msgspec.Struct, frozen=True, kw_only=True):
    """Centre and spread of every feature (0: it did not vary), over some training rows."""

    centre: tuple[float, ...]
    spread: tuple[float, ...]
    rows: int


class FittedNormaliser(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's input is held against.

    Args:
        kind: which statistics centre and spread are.
        clip: bound of a scaled value.
        scaled: which features are scaled; the others stay as they come.
        symbols: figures of each symbol with enough training rows.
        pooled: of the training rows of all symbols together, for every other symbol, the unseen ones included.
        digest: sha256 of all of the above, 64 hex digits.
    """

    kind: Literal["zscore", "robust"]
    clip: float
    scaled: tuple[bool, ...]
    symbols: dict[str, FrozenScale]
    pooled: FrozenScale
    digest: str = ""

    def sealed(self) -> FittedNormaliser:
        """The same with its digest."""
        return msgspec.structs.replace(self, digest=self.content_digest)

    @property
    def content_digest(self) -> str:
        """What ``digest`` must be."""
        bare = msgspec.structs.replace(self, digest="")
        return hashlib.sha256(msgspec.json.encode(bare, order="deterministic")).hexdigest()


class Scaler:
    """A fitted normaliser, ready to scale rows.

    Args:
        fitted: from a manifest, or fitted just now.
        n_features: columns of the rows.
        model_id: for messages.

    Raises:
        ModelMismatch: its figures are not those it was sealed with, or do not fit the features.
    """

    def __init__(self, fitted: FittedNormaliser, n_features: int, model_id: str) -> None:
        if fitted.digest != fitted.content_digest:
            raise ModelMismatch(
                f"the normaliser of model {model_id} is not the one that was fitted",
                expected=f"figures of digest {fitted.digest or '(none)'}",
                actual=f"figures of digest {fitted.content_digest}",
                remedy=_REMEDY,
            )
        scales = [fitted.pooled, *fitted.symbols.values()]
        widths = {len(fitted.scaled), *(len(s.centre) for s in scales), *(len(s.spread) for s in scales)}
        if widths != {n_features}:
            raise ModelMismatch(
                f"the normaliser of model {model_id} does not fit its features",
                expected=f"figures of {n_features} features",
                actual=f"figures of {', '.join(map(str, sorted(widths)))}",
                remedy=_REMEDY,
            )
        self._centre = np.array([scale.centre for scale in scales], np.float64)
        self._spread = np.array([scale.spread for scale in scales], np.float64)
        if not (np.isfinite(self._centre).all() and (np.isfinite(self._spread) & (self._spread >= 0.0)).all()):
            raise ModelMismatch(
                f"the normaliser of model {model_id} holds figures that scale nothing",
                expected="finite centres and spreads, no spread below 0",
                actual="others",
                remedy=_REMEDY,
            )
        if not 0.0 < fitted.clip < math.inf:
            raise ModelMismatch(
                f"the normaliser of model {model_id} has no bound",
                expected="a finite clip above 0",
                actual=f"{fitted.clip!r}",
                remedy=_REMEDY,
            )
        self._scaled, self._clip = np.array(fitted.scaled, np.bool_), fitted.clip
        # Row 0 is the pooled one.
        self._row = {symbol: row for row, symbol in enumerate(fitted.symbols, start=1)}

    def apply(self, x: npt.NDArray[np.float32], symbols: Sequence[str]) -> npt.NDArray[np.float32]:
        """Scaled rows, float32 ``(n, n_features)``; a row's bits depend on its values and its symbol alone.

        Args:
            x: raw values, float32 ``(n, n_features)``.
            symbols: whose row each is, n of them; or one, for all rows.
        """
        rows = np.array([self._row.get(symbol, 0) for symbol in symbols], np.intp)
        return apply_scale(x, self._centre[rows], self._spread[rows], self._scaled, self._clip)
