"""One simulated trading day of one symbol, print by print. The model is described in docs/simulator.md.

Randomness comes from SplitMix64 (Steele, Lea and Flood, 2014) and not from a library's generator, so that
a seed gives the same bytes with every version of numpy and numba.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from tapelab.quant._numba import njit

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_A: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B: Final = np.uint64(0x94D049BB133111EB)
_S30: Final = np.uint64(30)
_S27: Final = np.uint64(27)
_S31: Final = np.uint64(31)
_S11: Final = np.uint64(11)
_SCALE: Final = 1.0 / 9007199254740992.0  # 2**-53

_CROSS: Final = 1
_BUY: Final = 2
_SELL: Final = 3
_AUCTION: Final = 4
_RLP: Final = 13


class DayParams(NamedTuple):
    """What drives a day; rates are per second, prices in ticks."""

    duration_s: float
    base_rate: float  # prints per second without self-excitation, in the middle between the regimes
    regime_ratio: float  # rate of the busy regime over that of the quiet one
    regime_prints: float  # mean length of a regime in prints that the base rate brings; half of it is certain
    excitation: float  # share of prints that earlier prints set off (branching ratio)
    decay_per_s: float  # how fast excitation fades
    flow_tilt: float  # the buy probability is (1 +- flow_tilt) / 2
    flow_dwell_s: float  # mean time until the tilt turns
    memory_s: float  # time constant of the imbalance that the edge follows
    imbalance_scale: float  # imbalance at which the drift is 76 % of its full size
    edge_per_s: float  # full drift, ticks per second
    sigma: float  # lasting diffusion, ticks per square root of a second
    pressure: float  # standard deviation of the passing price pressure, ticks
    pressure_s: float  # time constant with which pressure fades
    wide_share: float  # share of prints that meet a spread of two ticks
    mean_size: float
    lot: float
    rlp_share: float
    cross_share: float
    auction_prints: int


@njit
def _uniform(state: npt.NDArray[np.uint64]) -> float:
    state[0] += _GOLDEN
    z = state[0]
    z = (z ^ (z >> _S30)) * _MIX_A
    z = (z ^ (z >> _S27)) * _MIX_B
    z = z ^ (z >> _S31)
    return (float(z >> _S11) + 0.5) * _SCALE


@njit
def _exponential(state: npt.NDArray[np.uint64], mean: float) -> float:
    return -math.log(_uniform(state)) * mean


@njit
def _normal(state: npt.NDArray[np.uint64]) -> float:
    radius = math.sqrt(-2.0 * math.log(_uniform(state)))
    return radius * math.cos(2.0 * math.pi * _uniform(state))


@njit
def _agent(state: npt.NDArray[np.uint64], cumulative: npt.NDArray[np.float64]) -> int:
    u = _uniform(state)
    i = 0
    while i < len(cumulative) - 1 and u > cumulative[i]:
        i += 1
    return i


@njit
def _season(x: float) -> float:
    """Intraday shape of activity over the day's fraction ``x``: busy at both ends, mean about one."""
    y = 2.0 * x - 1.0
    return 0.8 + 0.6 * y * y


@njit
def simulate_day(
    seed: int,
    mid0: float,
    p: DayParams,
    agent_cumulative: npt.NDArray[np.float64],
    ts_s: npt.NDArray[np.float64],
    price: npt.NDArray[np.int64],
    size: npt.NDArray[np.float64],
    kind: npt.NDArray[np.uint8],
    buyer: npt.NDArray[np.int32],
    seller: npt.NDArray[np.int32],
) -> tuple[int, float]:
    """Fill the arrays with a day's prints; returns their number (at most the arrays' length) and the last mid."""
    state = np.empty(1, np.uint64)
    state[0] = np.uint64(seed)
    limit = len(ts_s)
    mid = mid0
    n = 0
    for _ in range(p.auction_prints):
        ts_s[n] = 0.0
        price[n] = round(mid)
        size[n] = p.lot * math.ceil(_exponential(state, 4.0 * p.mean_size))
        kind[n] = _AUCTION
        buyer[n] = _agent(state, agent_cumulative)
        seller[n] = _agent(state, agent_cumulative)
        n += 1

    high = 2.0 * p.regime_ratio / (1.0 + p.regime_ratio)
    low = 2.0 / (1.0 + p.regime_ratio)
    busy = _uniform(state) < 0.5
    tilt = 1.0 if _uniform(state) < 0.5 else -1.0
    flow_until = _exponential(state, p.flow_dwell_s)
    regime_left = 0.5 * p.regime_prints + _exponential(state, 0.5 * p.regime_prints)
    excited = 0.0
    signed = 0.0
    counted = 0.0
    pressure = 0.0
    t = 0.5
    while True:
        # Thinning (Ogata, 1981): between prints the intensity only falls, up to the next change of regime
        # or season, for which the bound leaves room.
        rho = high if busy else low
        bound = p.base_rate * rho * 1.5 + excited
        step = _exponential(state, 1.0 / bound)
        t += step
        if t >= p.duration_s or n >= limit:
            return n, mid
        fade = math.exp(-p.decay_per_s * step)
        excited *= fade
        forget = math.exp(-step / p.memory_s)
        signed *= forget
        counted *= forget
        season = _season(t / p.duration_s)
        base = p.base_rate * rho * season
        regime_left -= base * step
        while t > flow_until:
            tilt = -tilt
            flow_until += _exponential(state, p.flow_dwell_s)
        # The planted edge: the mid drifts with the recent imbalance while the market is busy and against
        # it while it is quiet.
        imbalance = signed / (counted + 1.0)
        drift = (1.0 if busy else -1.0) * p.edge_per_s * math.tanh(imbalance / p.imbalance_scale)
        mid += drift * step
        mid += p.sigma * math.sqrt(step * season * (1.15 if busy else 0.85)) * _normal(state)
        keep = math.exp(-step / p.pressure_s)
        pressure = pressure * keep + p.pressure * math.sqrt(1.0 - keep * keep) * _normal(state)
        if regime_left <= 0.0:
            busy = not busy
            regime_left = 0.5 * p.regime_prints + _exponential(state, 0.5 * p.regime_prints)
        if _uniform(state) * bound > base + excited:
            continue
        excited += p.excitation * p.decay_per_s
        buying = _uniform(state) < 0.5 * (1.0 + p.flow_tilt * tilt)
        spread = 2 if _uniform(state) < p.wide_share else 1
        bid = math.floor(mid + pressure) if spread == 1 else round(mid + pressure) - 1
        ts_s[n] = t
        price[n] = bid + spread if buying else bid
        amount = math.ceil(math.exp(_normal(state) * 0.9 - 0.405) * p.mean_size)
        buyer[n] = _agent(state, agent_cumulative)
        seller[n] = _agent(state, agent_cumulative)
        what = _uniform(state)
        if what < p.cross_share:
            kind[n] = _CROSS
            seller[n] = buyer[n]
            amount *= 20
        elif what < p.cross_share + p.rlp_share:
            kind[n] = _RLP
            seller[n] = buyer[n]
        else:
            kind[n] = _BUY if buying else _SELL
            signed += 1.0 if buying else -1.0
            counted += 1.0
        size[n] = p.lot * amount
        n += 1
