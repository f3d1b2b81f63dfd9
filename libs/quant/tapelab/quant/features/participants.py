"""Participant features: how much of the volume is retail or large, and in whose hands it ends."""

from __future__ import annotations

from typing import Any, Final

from tapelab.quant._numba import leaf
from tapelab.quant.features.rolling import Slots, finite, push_sum, share, sum_slots
from tapelab.quant.features.spec import ZERO_WHEN_UNKNOWN, FeatureSpec, Normalisation

LONG: Final = 20  # bars

_SUM: Final = sum_slots(LONG)
_RLP_AT: Final = _SUM
_LARGE_AT: Final = _RLP_AT + _SUM
_SIGNED_AT: Final = _LARGE_AT + _SUM
_NET_AT: Final = _SIGNED_AT + _SUM
SLOTS: Final = _NET_AT + _SUM

_RETAIL: Final = "Boehmer, Jones, Zhang & Zhang (2021), Tracking retail investor activity, Journal of Finance 76"
_SIZE: Final = "Easley & O'Hara (1987), Price, trade size, and information in securities markets, JFE 19"
_STEALTH: Final = "Barclay & Warner (1993), Stealth trading and volatility: which trades move prices?, JFE 34"
_TOP: Final = "Bain (1956), Barriers to New Competition (concentration ratios)"
_HANDS: Final = "Linnainmaa & Saar (2012), Lack of anonymity and the inference from order flow, RFS 25"

_EMPTY_OR_UNKNOWN: Final = "0 where no volume traded or the input is NaN"


def _participants(
    name: str,
    inputs: tuple[str, ...],
    summary: str,
    source: str,
    *,
    window: int = 1,
    signed: bool = False,
    nan_policy: str = _EMPTY_OR_UNKNOWN,
) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family="flow",
        inputs=inputs,
        window=window,
        warmup=window,
        unit="share, -1 to 1" if signed else "share, 0 to 1",
        nan_policy=nan_policy,
        normalisation=Normalisation.SCALE if signed else Normalisation.ZSCORE,
        summary=summary,
        source=source,
    )


_RLP: Final = ("rlp_volume", "volume")
_LARGE: Final = ("large_volume", "volume")
_NET: Final = ("agent_net_buy_top3", "agent_net_sell_top3", "volume")
_NETS: Final = "lots that the three largest net buyers added less those that the three largest net sellers shed"

SPECS: Final = (
    _participants("rlp_share", _RLP, "volume taken by retail liquidity providers / volume of the bar", _RETAIL),
    _participants(f"rlp_share_{LONG}", _RLP, f"the same over {LONG} bars", _RETAIL, window=LONG),
    _participants(
        "large_share",
        _LARGE,
        "volume of large prints / volume of the bar; large is 5 times the mean of the day's earlier prints",
        _SIZE,
    ),
    _participants(f"large_share_{LONG}", _LARGE, f"the same over {LONG} bars", _SIZE, window=LONG),
    _participants(
        f"large_flow_{LONG}",
        ("large_signed_volume", "volume"),
        f"signed volume of large prints / volume over {LONG} bars",
        _STEALTH,
        window=LONG,
        signed=True,
    ),
    *(
        _participants(
            f"{side}_agent_top3",
            (f"{side}_agent_top3_share",),
            f"share of the three largest {side}ing agents in the bar's volume by known agents",
            _TOP,
            nan_policy=ZERO_WHEN_UNKNOWN,
        )
        for side in ("buy", "sell")
    ),
    _participants("agent_net_flow", _NET, f"{_NETS}, / volume of the bar", _HANDS, signed=True),
    _participants(
        f"agent_net_flow_{LONG}", _NET, f"{_NETS}, bar by bar, / volume over {LONG} bars", _HANDS,
        window=LONG, signed=True,
    ),
)  # fmt: skip


@leaf
def participants_row(bar: Any, t: int, slots: Slots, raw: Slots) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``; ``t`` counts the day's bars from 0."""
    volume = finite(bar.volume)
    rlp = finite(bar.rlp_volume)
    large = finite(bar.large_volume)
    net = finite(bar.agent_net_buy_top3 - bar.agent_net_sell_top3)
    total = push_sum(slots[:_RLP_AT], LONG, t, volume)
    raw[0] = share(rlp, volume)
    raw[1] = share(push_sum(slots[_RLP_AT:_LARGE_AT], LONG, t, rlp), total)
    raw[2] = share(large, volume)
    raw[3] = share(push_sum(slots[_LARGE_AT:_SIGNED_AT], LONG, t, large), total)
    raw[4] = share(push_sum(slots[_SIGNED_AT:_NET_AT], LONG, t, finite(bar.large_signed_volume)), total)
    raw[5] = finite(bar.buy_agent_top3_share)
    raw[6] = finite(bar.sell_agent_top3_share)
    raw[7] = share(net, volume)
    raw[8] = share(push_sum(slots[_NET_AT:], LONG, t, net), total)
