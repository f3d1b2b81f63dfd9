"""A bar specification has one text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapelab.quant.bars.spec import BAR_KINDS, BarSpec


@pytest.mark.parametrize("text", ["tick:50", "volume:2000", "dollar:5e6", "time:1s", "volume:0.5", "dollar:1.25e7"])
def test_a_canonical_text_reads_back_as_itself(text: str) -> None:
    assert str(BarSpec.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("dollar:5000000", "dollar:5e6"),
        ("volume:2e3", "volume:2000"),
        ("time:500ms", "time:0.5s"),
        ("time:5m", "time:300s"),
        ("time:2h", "time:7200s"),
        ("tick:1e2", "tick:100"),
        ("dollar:1234567", "dollar:1234567"),
    ],
)
def test_equal_specifications_have_equal_texts(text: str, canonical: str) -> None:
    assert str(BarSpec.parse(text)) == canonical


@given(kind=st.sampled_from(["volume", "dollar"]), threshold=st.floats(1e-9, 1e300))
def test_every_threshold_survives_its_text(kind: str, threshold: float) -> None:
    spec = BarSpec(kind, threshold)  # type: ignore[arg-type]
    assert BarSpec.parse(str(spec)) == spec


@given(amount=st.floats(1e-9, 1e8))
def test_every_interval_survives_its_text(amount: float) -> None:
    assert BarSpec.parse(str(BarSpec("time", amount))) == BarSpec("time", amount)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tick",
        "tick:",
        "tick:0",
        "tick:-5",
        "tick:2.5",
        "tick:nan",
        "volume:inf",
        "range:5",
        "time:5",
        "time:s",
        "time:0s",
        "time:1e-10s",
    ],
)
def test_anything_else_is_refused_with_what_was_expected(text: str) -> None:
    with pytest.raises(ValueError, match="bar specification: expected"):
        BarSpec.parse(text)


def test_the_kinds_are_those_the_messages_name() -> None:
    assert BAR_KINDS == ("tick", "volume", "dollar", "time")
