"""A feature set's id stands for its arithmetic, and its page for its specs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tapelab.quant.dtypes import BAR_DTYPE
from tapelab.quant.features import FEATURE_SETS, Normaliser, compute_features
from tapelab.quant.features.document import document
from tapelab.quant.features.reference import DEFINITIONS
from tests.quant.features.bars import TICK, make_bars

CORE = FEATURE_SETS["core"]
FULL = FEATURE_SETS["full"]


def test_names_are_unique_and_every_feature_has_a_reference() -> None:
    for feature_set in FEATURE_SETS.values():
        assert len(set(feature_set.names)) == len(feature_set.names)
    assert set(FULL.names) == set(DEFINITIONS)


def test_all_families_are_there_and_inputs_are_fields_of_a_bar() -> None:
    assert {spec.family for spec in CORE.specs} == {"price", "flow", "time", "volatility"}
    assert {spec.family for spec in FULL.specs} == {"price", "flow", "time", "volatility", "technical"}
    assert {name for each in FEATURE_SETS.values() for spec in each.specs for name in spec.inputs} <= set(
        BAR_DTYPE.names or ()
    )


def test_a_day_is_not_spent_warming_up() -> None:
    assert max(each.warmup for each in FEATURE_SETS.values()) <= 111


def test_every_set_has_an_id_of_its_own() -> None:
    assert len({each.id for each in FEATURE_SETS.values()}) == len(FEATURE_SETS)


def test_the_id_changes_with_the_arithmetic_and_not_with_the_words() -> None:
    first, *rest = CORE.specs
    assert replace(CORE, specs=(replace(first, summary="other words", source="other"), *rest)).id == CORE.id
    assert replace(CORE, specs=(replace(first, revision=2), *rest)).id != CORE.id
    assert replace(CORE, specs=tuple(reversed(CORE.specs))).id != CORE.id
    assert replace(CORE, normaliser=Normaliser(window=99)).id != CORE.id


def test_the_arithmetic_is_the_one_the_id_was_given_for() -> None:
    """A failure means: raise the revision of the features that changed, then renew the id and the figures."""
    assert CORE.id == "21024088e0cd1486"
    rows = compute_features(make_bars(2026, 180), CORE, TICK)
    expected = """
        1.1422 0.2394 -1.4875 1.7253 -0.604 0.983 1.4701 -0.2661 0.8906 0.4608
        0.3833 -0.1584 1.217 1.1253 -1.7166 -0.3942 0.1594 1.6525 1.3411 -0.0964
        0.7967 -0.6044 0.9421 0.244 -0.1709 -1.3574 -1.7285 1.0752 -0.8601 0.115
    """
    np.testing.assert_allclose(rows.values[170], np.array(expected.split(), dtype=float), atol=2e-4)


def test_the_arithmetic_of_the_whole_catalogue_is_the_one_its_id_was_given_for() -> None:
    assert FULL.id == "1e23a4eac5c6f560"
    rows = compute_features(make_bars(2026, 180), FULL, TICK)
    expected = """
        2.1176 1.5024 1.3742 1.741 -0.4205 1.4505 -1.4051 0.5874 0.6454 1.1027
        -0.3701 -1.5926 -1.8275 -0.7302 0.4488 0.1661 0.4337 -1.3925 0.9594 0.6974
        -0.4339 -0.901 -0.7935 -1.4778 -1.7032 1.7004 1.7983 0 0.1924 -1.0351
        1.0791 1.711 1.1079 0.2215 0.8735 0.7625 0.7947 0.0689 -0.8504 1.0891
        -0.2 0.2 0.6 0 0 0.1 0.1913 1.9091 0.375 1.144
        2.3342 -0.8187 -0.2122 -0.9232 0.9334 0.6177 -1.4285 -0.5149 -0.9921 0.1251
    """
    np.testing.assert_allclose(rows.values[170, len(CORE.specs) :], np.array(expected.split(), float), atol=2e-4)


def test_the_page_about_features_is_current(repository: Path) -> None:
    page = repository / "docs" / "features.md"
    # To renew it: write document(FEATURE_SETS.values()) to docs/features.md.
    assert page.read_text(encoding="utf-8") == document(FEATURE_SETS.values())
