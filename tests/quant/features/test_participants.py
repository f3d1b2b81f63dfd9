"""Participant features by hand, and what they say where a bar does not know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tapelab.quant.bars.offline import compute_bars
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.dtypes import BAR_DTYPE
from tapelab.quant.features import FEATURE_SETS, compute_features
from tapelab.quant.features.participants import LONG, SLOTS, SPECS, participants_row
from tests.quant.bars.tapes import CALENDAR, TYPES, seeded

INPUTS = sorted({name for spec in SPECS for name in spec.inputs if name != "volume"})


def raw(bars: Any) -> dict[str, Any]:
    """The family unscaled, feature by feature."""
    slots, rows = np.zeros(SLOTS), np.zeros((len(bars), len(SPECS)))
    for t in range(len(bars)):
        participants_row(bars[t], t, slots, rows[t])
    return {spec.name: rows[:, j] for j, spec in enumerate(SPECS)}


def a_bar(**fields: float) -> Any:
    bars = np.zeros(1, BAR_DTYPE)
    bars["day"], bars["n"], bars["volume"] = 20260105, 1, 100.0
    for name in ("open", "high", "low", "close", "vwap"):
        bars[name] = 10.0
    for name, value in fields.items():
        bars[name] = value
    return bars


def test_shares_are_of_the_bars_volume() -> None:
    got = raw(a_bar(rlp_volume=25.0, large_volume=60.0, buy_agent_top3_share=0.8, sell_agent_top3_share=0.5))
    assert {name: values[0] for name, values in got.items() if values[0]} == {
        "rlp_share": 0.25,
        f"rlp_share_{LONG}": 0.25,
        "large_share": 0.6,
        f"large_share_{LONG}": 0.6,
        "buy_agent_top3": 0.8,
        "sell_agent_top3": 0.5,
    }


def test_few_buyers_against_many_sellers_is_a_positive_net_flow() -> None:
    got = raw(a_bar(agent_net_buy_top3=70.0, agent_net_sell_top3=20.0, large_signed_volume=-30.0))
    assert got["agent_net_flow"][0] == got[f"agent_net_flow_{LONG}"][0] == 0.5
    assert got[f"large_flow_{LONG}"][0] == -0.3


@pytest.mark.parametrize("unknown", [np.nan, 0.0])
def test_what_a_bar_does_not_know_counts_as_nothing(unknown: float) -> None:
    fields = dict.fromkeys(INPUTS, unknown)
    assert not any(values[0] for values in raw(a_bar(**fields)).values())
    assert not any(values[0] for values in raw(a_bar(rlp_volume=1.0, volume=0.0)).values())


def test_windows_are_ratios_of_sums_over_real_bars() -> None:
    bars = compute_bars(seeded(20_000, seed=3, days=1), BarSpec("tick", 50), CALENDAR, TYPES)
    got = raw(bars)
    at = len(bars) - 2
    window = bars[at + 1 - LONG : at + 1]
    volume = window["volume"].sum()
    nets = window["agent_net_buy_top3"] - window["agent_net_sell_top3"]
    assert got[f"rlp_share_{LONG}"][at] == pytest.approx(window["rlp_volume"].sum() / volume)
    assert got[f"large_share_{LONG}"][at] == pytest.approx(window["large_volume"].sum() / volume)
    assert got[f"large_flow_{LONG}"][at] == pytest.approx(window["large_signed_volume"].sum() / volume)
    assert got[f"agent_net_flow_{LONG}"][at] == pytest.approx(np.nansum(nets) / volume)
    assert 0.0 < got[f"rlp_share_{LONG}"][at] < 1.0


def test_every_set_of_the_whole_day_has_the_family_and_core_does_not() -> None:
    names = {spec.name for spec in SPECS}
    assert names <= set(FEATURE_SETS["full"].names) & set(FEATURE_SETS["full_days"].names)
    assert not names & set(FEATURE_SETS["core"].names)
    bars = compute_bars(seeded(20_000, seed=3, days=1), BarSpec("tick", 50), CALENDAR, TYPES)
    rows = compute_features(bars, FEATURE_SETS["full"], 5.0)
    columns = [FEATURE_SETS["full"].names.index(spec.name) for spec in SPECS]
    assert (rows.values[rows.warm][:, columns].std(axis=0) > 0.1).all()
