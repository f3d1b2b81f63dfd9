"""The features of ``participants.py`` again, slow and readable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from tapelab.quant.features.reference_parts import Day, Definition


def _known(day: Day, name: str) -> npt.NDArray[np.float64]:
    return np.where(np.isfinite(day[name]), day[name], 0.0)


def _net(day: Day) -> npt.NDArray[np.float64]:
    net = day["agent_net_buy_top3"] - day["agent_net_sell_top3"]
    return np.where(np.isfinite(net), net, 0.0)


def _of_volume(part: Callable[[Day], npt.NDArray[np.float64]], window: int) -> Definition:
    def definition(day: Day, _tick: float) -> float:
        recent = day[-window:]
        volume = float(_known(recent, "volume").sum())
        return min(1.0, max(-1.0, float(part(recent).sum()) / volume)) if volume > 0.0 else 0.0

    return definition


def _rlp(day: Day) -> npt.NDArray[np.float64]:
    return _known(day, "rlp_volume")


def _large(day: Day) -> npt.NDArray[np.float64]:
    return _known(day, "large_volume")


def _large_signed(day: Day) -> npt.NDArray[np.float64]:
    return _known(day, "large_signed_volume")


def _field(name: str) -> Definition:
    return lambda day, _tick: float(day[name][-1])


#: Definition of every feature of the family, by name.
DEFINITIONS: Final[dict[str, Definition]] = {
    "rlp_share": _of_volume(_rlp, 1),
    "rlp_share_20": _of_volume(_rlp, 20),
    "large_share": _of_volume(_large, 1),
    "large_share_20": _of_volume(_large, 20),
    "large_flow_20": _of_volume(_large_signed, 20),
    "buy_agent_top3": _field("buy_agent_top3_share"),
    "sell_agent_top3": _field("sell_agent_top3_share"),
    "agent_net_flow": _of_volume(_net, 1),
    "agent_net_flow_20": _of_volume(_net, 20),
}
