"""``instruments.yaml``: what does not make sense is refused by the names of file, key and value."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tapelab.common.errors import ConfigError
from tapelab.common.instruments import load_instruments

CONFIG_DIR = Path(__file__).parents[2] / "config"


def written(tmp_path: Path, old: str, new: str) -> Path:
    text = (CONFIG_DIR / "instruments.yaml").read_text(encoding="utf-8")
    assert text.count(old) >= 1
    (tmp_path / "instruments.yaml").write_text(text.replace(old, new, 1), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "key", "limit", "value"),
    [
        ("multiplier: 0.2", "multiplier: 0", "multiplier", "> 0.0", "0"),
        ("multiplier: 0.2", "multiplier: .nan", "multiplier", "> 0.0", "nan"),
        ("tick_size: 5.0", "tick_size: -5.0", "tick_size", "> 0.0", "-5.0"),
        ("tick_size: 5.0", "tick_size: .inf", "tick_size", "<= 1000000000.0", "inf"),
        ("slippage_ticks: 0.25", "slippage_ticks: -0.25", "costs.slippage_ticks", ">= 0.0", "-0.25"),
        ("spread_ticks: 1.0", "spread_ticks: -1", "costs.spread_ticks", ">= 0.0", "-1"),
        ("spread_ticks: 1.0", "fee_bps: -0.1", "costs.fee_bps", ">= 0.0", "-0.1"),
        ("spread_ticks: 1.0", "fee_per_contract: -1", "costs.fee_per_contract", ">= 0.0", "-1"),
        ("spread_ticks: 1.0", "emoluments: .nan", "costs.emoluments", ">= 0.0", "nan"),
        ("spread_ticks: 1.0", "impact: 5000", "costs.impact", "<= 1000.0", "5000"),
    ],
)
def test_a_senseless_number_is_told_with_its_key(
    tmp_path: Path, old: str, new: str, key: str, limit: str, value: str
) -> None:
    if old == "spread_ticks: 1.0" and "fee_per_contract" in new:
        old = "fee_per_contract: 0.0035"
    with pytest.raises(ConfigError) as caught:
        load_instruments(written(tmp_path, old, new))
    told = str(caught.value)
    assert "instruments.yaml does not fit" in told
    assert re.search(rf"`float` {re.escape(limit)} - at `\$\.instruments\[\d\]\.{re.escape(key)}`, got {value}\b", told)


def test_what_is_shipped_is_read_and_a_wrong_type_or_session_is_refused(tmp_path: Path) -> None:
    assert load_instruments(CONFIG_DIR).of("WINZ26").multiplier == 0.2
    with pytest.raises(ConfigError, match=r"Expected `float`, got `str` - at `\$\.instruments\[0\]\.tick_size`"):
        load_instruments(written(tmp_path, "tick_size: 5.0", "tick_size: five"))
    with pytest.raises(ConfigError, match="names an unknown session"):
        load_instruments(written(tmp_path, "session: b3_futures", "session: night"))
