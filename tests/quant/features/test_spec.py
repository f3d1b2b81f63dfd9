"""A feature set's id stands for its arithmetic, and its page for its specs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tapelab.quant.dtypes import BAR_DTYPE
from tapelab.quant.features import FEATURE_SETS, RollingNormaliser, compute_features
from tapelab.quant.features.document import document
from tapelab.quant.features.reference import DEFINITIONS
from tests.quant.features.bars import TICK, make_bars

CORE = FEATURE_SETS["core"]


def test_names_are_unique_and_every_feature_has_a_reference() -> None:
    assert len(set(CORE.names)) == len(CORE.names)
    assert set(CORE.names) == set(DEFINITIONS)


def test_all_four_families_are_there_and_inputs_are_fields_of_a_bar() -> None:
    assert {spec.family for spec in CORE.specs} == {"price", "flow", "time", "volatility"}
    assert {name for spec in CORE.specs for name in spec.inputs} <= set(BAR_DTYPE.names or ())


def test_a_day_is_not_spent_warming_up() -> None:
    assert CORE.warmup <= 110


def test_the_id_changes_with_the_arithmetic_and_not_with_the_words() -> None:
    first, *rest = CORE.specs
    assert replace(CORE, specs=(replace(first, summary="other words", source="other"), *rest)).id == CORE.id
    assert replace(CORE, specs=(replace(first, revision=2), *rest)).id != CORE.id
    assert replace(CORE, specs=tuple(reversed(CORE.specs))).id != CORE.id
    assert replace(CORE, normaliser=RollingNormaliser(window=99)).id != CORE.id


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


def test_the_page_about_features_is_current(repository: Path) -> None:
    page = repository / "docs" / "features.md"
    # To renew it: write document(FEATURE_SETS["core"]) to docs/features.md.
    assert page.read_text(encoding="utf-8") == document(CORE)
