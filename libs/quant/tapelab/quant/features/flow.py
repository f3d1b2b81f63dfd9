"""Order-flow features: who crosses the spread, how one-sidedly, and how prices answer."""

from __future__ import annotations

from typing import Any, Final

from tapelab.quant._numba import leaf
from tapelab.quant.features.rolling import Slots, finite, pair_slots, push_pair, push_sum, ratio, share, sum_slots
from tapelab.quant.features.spec import (
    ZERO_WHEN_EMPTY,
    ZERO_WHEN_FLAT,
    ZERO_WHEN_UNKNOWN,
    FeatureSpec,
    Normalisation,
)

FAST: Final = 5  # half-lives of the exponential averages, in bars
SLOW: Final = 20
FAST_DECAY: Final = 0.5 ** (1.0 / FAST)
SLOW_DECAY: Final = 0.5 ** (1.0 / SLOW)
VPIN: Final = 50
KYLE: Final = 50

_SUM: Final = sum_slots(VPIN)
_VPIN_AT: Final = 4
_VOLUME_AT: Final = _VPIN_AT + _SUM
_KYLE_AT: Final = _VOLUME_AT + _SUM
SLOTS: Final = _KYLE_AT + pair_slots(KYLE)

_IMBALANCE: Final = "Chordia, Roll & Subrahmanyam (2002), Order imbalance, liquidity and market returns, JFE 65"


def _share(
    name: str, inputs: tuple[str, ...], summary: str, *, window: int = 1, warmup: int = 1, source: str = _IMBALANCE
) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family="flow",
        inputs=inputs,
        window=window,
        warmup=warmup,
        unit="share, -1 to 1",
        nan_policy=ZERO_WHEN_EMPTY,
        normalisation=Normalisation.SCALE,
        summary=summary,
        source=source,
    )


SPECS: Final = (
    _share(
        "volume_imbalance", ("buy_volume", "sell_volume", "volume"), "(buy volume - sell volume) / volume of the bar"
    ),
    _share("flow_5s", ("signed_volume_5s", "volume_5s"), "signed volume / volume over the last 5 s"),
    _share("flow_30s", ("signed_volume_30s", "volume_30s"), "signed volume / volume over the last 30 s"),
    _share("count_imbalance", ("buy_n", "sell_n", "n"), "(buyer-aggressor - seller-aggressor prints) / prints"),
    _share(
        "tick_imbalance",
        ("up_ticks", "down_ticks"),
        "(up ticks - down ticks) / (up ticks + down ticks)",
        source="Lee & Ready (1991), Inferring trade direction from intraday data, Journal of Finance 46",
    ),
    *(
        _share(
            f"flow_ewma_{half_life}",
            ("buy_volume", "sell_volume", "volume"),
            f"signed volume / volume, both averaged exponentially with a half-life of {half_life} bars",
            window=2 * half_life,
            warmup=2 * half_life,
            source="Cont, Kukanov & Stoikov (2014), The price impact of order book events, J. Fin. Econometrics 12",
        )
        for half_life in (FAST, SLOW)
    ),
    FeatureSpec(
        name=f"vpin_{VPIN}",
        family="flow",
        inputs=("buy_volume", "sell_volume", "volume"),
        window=VPIN,
        warmup=VPIN,
        unit="share, 0 to 1",
        nan_policy=ZERO_WHEN_EMPTY,
        normalisation=Normalisation.ZSCORE,
        summary=f"sum of |buy - sell volume| / sum of volume over {VPIN} bars",
        source="Easley, Lopez de Prado & O'Hara (2012), Flow toxicity and liquidity in a high-frequency world, RFS 25",
    ),
    FeatureSpec(
        name=f"kyle_lambda_{KYLE}",
        family="flow",
        inputs=("buy_volume", "sell_volume", "open", "close"),
        window=KYLE,
        warmup=KYLE,
        unit="log return per lot",
        nan_policy=ZERO_WHEN_FLAT,
        normalisation=Normalisation.ZSCORE,
        summary=f"slope of the log return on signed volume over {KYLE} bars",
        source="Kyle (1985), Continuous auctions and insider trading, Econometrica 53",
    ),
    FeatureSpec(
        name="agent_concentration_gap",
        family="flow",
        inputs=("buy_agent_hhi", "sell_agent_hhi"),
        window=1,
        warmup=1,
        unit="index difference, -1 to 1",
        nan_policy=ZERO_WHEN_UNKNOWN,
        normalisation=Normalisation.SCALE,
        summary="Herfindahl index of volume by buying agent less that by selling agent",
        source="Hirschman (1964), The paternity of an index, American Economic Review 54",
    ),
)


@leaf
def flow_row(bar: Any, t: int, log_return: float, slots: Slots, raw: Slots) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``; ``t`` counts the day's bars from 0."""
    signed = finite(bar.buy_volume - bar.sell_volume)
    volume = finite(bar.volume)
    raw[0] = share(signed, volume)
    raw[1] = share(bar.signed_volume_5s, bar.volume_5s)
    raw[2] = share(bar.signed_volume_30s, bar.volume_30s)
    raw[3] = share(float(bar.buy_n - bar.sell_n), float(bar.n))
    raw[4] = share(float(bar.up_ticks - bar.down_ticks), float(bar.up_ticks + bar.down_ticks))
    slots[0] = slots[0] * FAST_DECAY + signed
    slots[1] = slots[1] * FAST_DECAY + volume
    slots[2] = slots[2] * SLOW_DECAY + signed
    slots[3] = slots[3] * SLOW_DECAY + volume
    raw[5] = share(slots[0], slots[1])
    raw[6] = share(slots[2], slots[3])
    one_sided = push_sum(slots[_VPIN_AT:_VOLUME_AT], VPIN, t, abs(signed))
    raw[7] = share(one_sided, push_sum(slots[_VOLUME_AT:_KYLE_AT], VPIN, t, volume))
    kyle = slots[_KYLE_AT:]
    push_pair(kyle, KYLE, t, signed, log_return)
    raw[8] = ratio(kyle[5], kyle[4])
    raw[9] = finite(bar.buy_agent_hhi - bar.sell_agent_hhi)
