"""The manifest and its digest."""

from __future__ import annotations

import hashlib

import pytest

from tapelab.common.errors import ModelMismatch
from tapelab.common.serving.candidate import Candidate
from tapelab.common.serving.manifest import decode_manifest, encode_manifest
from tests.common.serving.models import manifest


def test_a_manifest_survives_its_encoding_and_its_digest_is_that_of_its_bytes() -> None:
    candidate = Candidate(
        backend="lightgbm", p50_us={"1": 4.5}, p99_us={"1": 6.0}, max_abs_diff=0.0, batch_invariant=True
    )
    failed = Candidate(
        backend="treelite", p50_us={}, p99_us={}, max_abs_diff=None, batch_invariant=False, refused="does not load"
    )
    original = manifest({"model.txt": "ab" * 32}, candidates={"lightgbm": candidate, "treelite": failed})
    raw = encode_manifest(original)
    assert decode_manifest(raw) == original
    assert encode_manifest(decode_manifest(raw)) == raw
    assert original.digest == hashlib.sha256(raw).hexdigest()


def test_any_change_is_another_digest() -> None:
    files = {"model.txt": "ab" * 32}
    assert manifest(files).digest != manifest(files, bar_spec="tick:51").digest


@pytest.mark.parametrize("raw", [b"", b"{}", b"\x80\x04pickle", b'{"model_id": 3}'])
def test_bytes_that_are_no_manifest_say_what_was_expected_and_what_to_do(raw: bytes) -> None:
    with pytest.raises(ModelMismatch, match=r"expected the JSON of a manifest.*got.*export the model again"):
        decode_manifest(raw)


def test_a_score_of_one_half_expects_nothing() -> None:
    calibration = manifest({}).calibration
    assert calibration.expected_return(0.5, 1.0) == 0.0
    assert calibration.expected_return(0.75, 1.0) == pytest.approx(0.0025)
