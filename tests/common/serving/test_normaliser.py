"""A frozen normaliser: scaled by symbol, the same bits in any batch, and refused where it is not what was fitted."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import numpy as np
import pytest

from tapelab.common.errors import ModelMismatch
from tapelab.common.serving.load import load_model
from tapelab.common.serving.manifest import decode_manifest, encode_manifest
from tapelab.common.serving.normaliser import FittedNormaliser, FrozenScale, Scaler
from tests.common.serving.models import MemoryStore, booster, manifest, model_txt, rows


def frozen(centre: float, spread: float) -> FrozenScale:
    return FrozenScale(centre=(centre,) * 4, spread=(spread,) * 4, rows=9)


def fitted(**changes: Any) -> FittedNormaliser:
    fields: dict[str, Any] = {
        "kind": "zscore",
        "clip": 3.0,
        "scaled": (True, True, True, False),
        "symbols": {"AAA": frozen(1.0, 2.0), "BBB": frozen(-0.3, 0.7)},
        "pooled": frozen(0.1, 0.0),
        **changes,
    }
    return FittedNormaliser(**fields).sealed()


def by_hand(x: np.ndarray, centre: float, spread: float) -> np.ndarray:
    """One symbol's rows, value by value."""
    out = np.empty_like(x)
    for i, row in enumerate(x):
        for j, value in enumerate(row):
            away = (float(value) - centre) / spread if spread else 0.0
            out[i, j] = value if j == 3 else np.float32(min(3.0, max(-3.0, away)))
    return out


def test_every_symbol_has_its_figures_and_the_others_share_the_pooled_ones() -> None:
    x = 4.0 * rows(40)
    scaler = Scaler(fitted(), 4, "m")
    assert scaler.apply(x, ["AAA"]).tobytes() == by_hand(x, 1.0, 2.0).tobytes()
    assert scaler.apply(x, ["BBB"]).tobytes() == by_hand(x, -0.3, 0.7).tobytes()
    assert scaler.apply(x, ["NEW"]).tobytes() == by_hand(x, 0.1, 0.0).tobytes()


def test_a_model_scores_scaled_rows_alike_in_any_batch_and_wants_to_know_whose_they_are() -> None:
    store = MemoryStore()
    named = {"model.txt": store.put(model_txt())}
    model = load_model(manifest(named, normaliser=fitted()), store)
    x = 4.0 * rows(90)
    symbols = [("AAA", "BBB", "NEW")[i % 3] for i in range(90)]
    whole = model.predict(x, symbols)
    alone = [model.predict(x[i : i + 1], symbols[i : i + 1])[0] for i in range(90)]
    assert np.array_equal(whole, alone)
    scaled = Scaler(fitted(), 4, "m").apply(x, symbols)
    np.testing.assert_allclose(whole, booster().predict(scaled), rtol=0, atol=1e-15)
    with pytest.raises(ModelMismatch, match=r"was not told whose its rows are: expected 90 symbols, .* got 0"):
        model.predict(x)


def test_figures_survive_the_manifest_to_the_bit() -> None:
    original = manifest({}, normaliser=fitted(symbols={"AAA": frozen(0.1 + 0.2, 1e-17)}))
    read = decode_manifest(encode_manifest(original))
    assert read == original
    assert read.digest == original.digest
    with pytest.raises(ModelMismatch, match="cannot be read"):
        decode_manifest(encode_manifest(original).replace(b'"zscore"', b'"rolling"'))


def test_a_manifest_from_before_there_were_any_keeps_its_bytes() -> None:
    old = encode_manifest(manifest({}))
    assert b'"normaliser":"feature_set"' in old
    assert b'"calibration":{"slope":0.01}' in old
    assert hashlib.sha256(old).hexdigest() == decode_manifest(old).digest


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (msgspec.structs.replace(fitted(), clip=4.0), "is not the one that was fitted: expected figures of digest"),
        (msgspec.structs.replace(fitted(), digest=""), r"expected figures of digest \(none\)"),
        (fitted(scaled=(True,) * 5), "does not fit its features: expected figures of 4 features, got figures of 4, 5"),
        (fitted(pooled=frozen(0.0, -1.0)), "no spread below 0"),
        (fitted(clip=0.0), "has no bound"),
    ],
)
def test_a_normaliser_that_is_not_what_was_fitted_is_refused(wrong: FittedNormaliser, says: str) -> None:
    store = MemoryStore()
    named = {"model.txt": store.put(model_txt())}
    with pytest.raises(ModelMismatch, match=says):
        load_model(manifest(named, normaliser=wrong), store)
