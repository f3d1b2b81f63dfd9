"""Order-flow pressure: who has been pushing, over several memories, and what it did to the price."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import leaf
from tapelab.quant.features.rolling import (
    Slots,
    finite,
    pair_slots,
    push_decayed,
    push_pair,
    push_sum,
    ratio,
    share,
    sum_slots,
)
from tapelab.quant.features.spec import (
    ZERO_WHEN_EMPTY,
    ZERO_WHEN_FLAT,
    ZERO_WHEN_UNKNOWN,
    FeatureSpec,
    Normalisation,
)

SHORT: Final = 20  # bars
LONG: Final = 50
VOLUME_HALF_LIVES: Final = (2, 30)  # bars
COUNT_HALF_LIVES: Final = (2, 10, 30)
_VOLUME_DECAYS: Final = tuple(0.5 ** (1.0 / h) for h in VOLUME_HALF_LIVES)
_COUNT_DECAYS: Final = tuple(0.5 ** (1.0 / h) for h in COUNT_HALF_LIVES)

_SUM: Final = sum_slots(SHORT)
_OFI_AT: Final = 2 * (len(VOLUME_HALF_LIVES) + len(COUNT_HALF_LIVES))
_BUYS_AT: Final = _OFI_AT + _SUM
_PRINTS_AT: Final = _BUYS_AT + _SUM
_UP_AT: Final = _PRINTS_AT + _SUM
_MOVES_AT: Final = _UP_AT + _SUM
_HASBROUCK_AT: Final = _MOVES_AT + _SUM
SLOTS: Final = _HASBROUCK_AT + pair_slots(LONG)

_IMBALANCE: Final = "Chordia, Roll & Subrahmanyam (2002), Order imbalance, liquidity and market returns, JFE 65"
_OFI: Final = "Cont, Kukanov & Stoikov (2014), The price impact of order book events, J. Fin. Econometrics 12"
_HHI: Final = "Hirschman (1964), The paternity of an index, American Economic Review 54"


def _flow(
    name: str,
    inputs: tuple[str, ...],
    window: int,
    unit: str,
    nan_policy: str,
    summary: str,
    source: str,
    normalisation: Normalisation = Normalisation.SCALE,
) -> FeatureSpec:
    return FeatureSpec(
        name=name,
        family="flow",
        inputs=inputs,
        window=window,
        warmup=window,
        unit=unit,
        nan_policy=nan_policy,
        normalisation=normalisation,
        summary=summary,
        source=source,
    )


_SHARE: Final = "share, -1 to 1"
_SIDES: Final = ("buy_volume", "sell_volume")

SPECS: Final = (
    _flow("signed_volume", _SIDES, 1, "lots", ZERO_WHEN_UNKNOWN, "buy volume - sell volume of the bar", _IMBALANCE),
    _flow(
        f"ofi_{SHORT}",
        (*_SIDES, "open", "close"),
        SHORT,
        "lots",
        ZERO_WHEN_UNKNOWN,
        f"over {SHORT} bars, buy volume of bars whose close did not fall less sell volume of bars whose close did not "
        "rise: order-flow imbalance from trades alone",
        _OFI,
    ),
    _flow(
        f"aggressor_ratio_{SHORT}",
        ("buy_n", "sell_n"),
        SHORT,
        _SHARE,
        ZERO_WHEN_EMPTY,
        f"(buyer - seller aggressors) / (buyer + seller aggressors) over the prints of {SHORT} bars",
        _IMBALANCE,
    ),
    _flow(
        f"tick_ratio_{SHORT}",
        ("up_ticks", "down_ticks"),
        SHORT,
        _SHARE,
        ZERO_WHEN_EMPTY,
        f"(up ticks - down ticks) / (up ticks + down ticks) over {SHORT} bars",
        "Lee & Ready (1991), Inferring trade direction from intraday data, Journal of Finance 46",
    ),
    *(
        _flow(
            f"flow_ewma_{half_life}",
            (*_SIDES, "volume"),
            2 * half_life,
            _SHARE,
            ZERO_WHEN_EMPTY,
            f"signed volume / volume, both averaged exponentially with a half-life of {half_life} bars",
            _OFI,
        )
        for half_life in VOLUME_HALF_LIVES
    ),
    *(
        _flow(
            f"trade_ewma_{half_life}",
            ("buy_n", "sell_n", "n"),
            2 * half_life,
            _SHARE,
            ZERO_WHEN_EMPTY,
            f"(buyer - seller aggressors) / prints, both averaged exponentially with a half-life of {half_life} bars",
            _IMBALANCE,
        )
        for half_life in COUNT_HALF_LIVES
    ),
    _flow(
        f"hasbrouck_lambda_{LONG}",
        (*_SIDES, "vwap", "open", "close"),
        LONG,
        "log return per square root of traded value",
        ZERO_WHEN_FLAT,
        f"slope of the log return on sign(signed volume) sqrt(|signed volume| vwap) over {LONG} bars",
        "Hasbrouck (2009), Trading costs and returns for U.S. equities, Journal of Finance 64",
        Normalisation.ZSCORE,
    ),
    *(
        _flow(
            f"{side}_agent_concentration",
            (f"{side}_agent_hhi",),
            1,
            "index, 0 to 1",
            ZERO_WHEN_UNKNOWN,
            f"Herfindahl index of the bar's volume by {side}ing agent",
            _HHI,
            Normalisation.ZSCORE,
        )
        for side in ("buy", "sell")
    ),
)


@leaf
def pressure_row(bar: Any, t: int, log_return: float, change: float, slots: Slots, raw: Slots) -> None:
    """Raw values of one bar into ``raw[:len(SPECS)]``; ``change`` is the close less the previous one."""
    signed = finite(bar.buy_volume - bar.sell_volume)
    volume = finite(bar.volume)
    raw[0] = signed
    event = 0.0
    if change >= 0.0:
        event += finite(bar.buy_volume)
    if change <= 0.0:
        event -= finite(bar.sell_volume)
    raw[1] = push_sum(slots[_OFI_AT:_BUYS_AT], SHORT, t, event)
    side = float(bar.buy_n - bar.sell_n)
    buys = push_sum(slots[_BUYS_AT:_PRINTS_AT], SHORT, t, side)
    raw[2] = share(buys, push_sum(slots[_PRINTS_AT:_UP_AT], SHORT, t, float(bar.buy_n + bar.sell_n)))
    up = push_sum(slots[_UP_AT:_MOVES_AT], SHORT, t, float(bar.up_ticks - bar.down_ticks))
    raw[3] = share(up, push_sum(slots[_MOVES_AT:_HASBROUCK_AT], SHORT, t, float(bar.up_ticks + bar.down_ticks)))
    at = 0
    to = 4
    for k in range(len(VOLUME_HALF_LIVES)):
        flow = push_decayed(slots[at:], _VOLUME_DECAYS[k], signed)
        raw[to] = share(flow, push_decayed(slots[at + 1 :], _VOLUME_DECAYS[k], volume))
        at += 2
        to += 1
    for k in range(len(COUNT_HALF_LIVES)):
        flow = push_decayed(slots[at:], _COUNT_DECAYS[k], side)
        raw[to] = share(flow, push_decayed(slots[at + 1 :], _COUNT_DECAYS[k], float(bar.n)))
        at += 2
        to += 1
    value = np.sqrt(max(0.0, finite(abs(signed) * bar.vwap)))
    pairs = slots[_HASBROUCK_AT:]
    push_pair(pairs, LONG, t, value if signed > 0.0 else -value, log_return)
    raw[to] = ratio(pairs[5], pairs[4])
    raw[to + 1] = finite(bar.buy_agent_hhi)
    raw[to + 2] = finite(bar.sell_agent_hhi)
