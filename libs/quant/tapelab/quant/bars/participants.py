"""Who traded: the agents of a bar's prints, and what their volumes say when it closes.

An agent gets a number of the day with its first print, so that a print is looked up once for all specifications
and a bar's volumes are plain arrays; what costs O(agents) is left to the bar's close.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from tapelab.quant._numba import leaf
from tapelab.quant.bars.state import BUYER, ROW, SELLER, agent_hash

_agent_hash: Final = leaf(agent_hash)


@leaf
def _number(who: Any, day: Any, ids: Any, slots: Any) -> Any:
    """The agent's number, 0 for the unknown one; a new agent gets the next."""
    mask = len(slots) - 1
    slot = _agent_hash(who) & mask
    while True:
        entry = slots[slot]
        # A free place reads as the unknown agent under number 0.
        if entry >> 32 == who:
            return entry & 0xFFFFFFFF
        if entry == 0:
            break
        slot = (slot + 1) & mask
    day.agents += 1
    ids[day.agents] = who
    slots[slot] = who << 32 | day.agents
    return day.agents


@leaf
def name_agents(buy_agent: Any, sell_agent: Any, m: int, day: Any, ids: Any, slots: Any, notes: Any) -> None:
    """Put the numbers of their agents to a block's first ``m`` prints."""
    rows, buyers, sellers = notes[ROW], notes[BUYER], notes[SELLER]
    for j in range(np.uint64(m)):
        row = np.uint64(rows[j])
        buyers[j] = _number(np.int64(buy_agent[row]), day, ids, slots)
        sellers[j] = _number(np.int64(sell_agent[row]), day, ids, slots)


@leaf
def add_to_agent(agent: Any, volume: float, volumes: Any, bits: Any, listed: Any, count: int) -> int:
    """Add a print's volume to one of its agents'; how many agents the list holds afterwards.

    Written without branches: an agent joins the list with its first volume, and the unknown one's is NaN. ``bits`` are
    the volumes' bit patterns, as these take fewer instructions to compare.
    """
    listed[np.uint64(count)] = agent
    count += (bits[agent] == 0) & (volume > 0.0)
    volumes[agent] += volume
    return count


@leaf
def _ranked(x: float, first: float, second: float, third: float) -> Any:
    """The three largest of four, the last three of which are in order; without branches, none may be NaN."""
    rest = x if x < first else first
    first = x if x > first else first
    left = rest if rest < second else second
    second = rest if rest > second else second
    third = left if left > third else third
    return first, second, third


@leaf
def _share(part: float, total: float) -> float:
    share = part / total
    return 1.0 if share > 1.0 else share


@leaf
def agent_figures(bar: Any, buyers: Any, sellers: Any, bought: Any, sold: Any) -> None:
    """Write a bar's figures by agent, NaN without any, and empty the volumes."""
    bar.buy_agent_hhi = bar.buy_agent_top3_share = np.nan
    bar.sell_agent_hhi = bar.sell_agent_top3_share = np.nan
    bar.agent_net_buy_top3 = bar.agent_net_sell_top3 = np.nan
    total = squares = 0.0
    first = second = third = 0.0
    buy_1 = buy_2 = buy_3 = 0.0
    sell_1 = sell_2 = sell_3 = 0.0
    for i in buyers:
        v = bought[i]
        total += v
        squares += v * v
        first, second, third = _ranked(v, first, second, third)
        net = v - sold[i]
        buy_1, buy_2, buy_3 = _ranked(net if net > 0.0 else 0.0, buy_1, buy_2, buy_3)
        sell_1, sell_2, sell_3 = _ranked(-net if net < 0.0 else 0.0, sell_1, sell_2, sell_3)
    if total > 0.0:
        bar.buy_agent_hhi = squares / (total * total)
        bar.buy_agent_top3_share = _share(first + second + third, total)
    total = squares = 0.0
    first = second = third = 0.0
    for i in sellers:
        v = sold[i]
        total += v
        squares += v * v
        first, second, third = _ranked(v, first, second, third)
        # Who bought as well was netted above.
        sell_1, sell_2, sell_3 = _ranked(v if bought[i] == 0.0 else 0.0, sell_1, sell_2, sell_3)
        sold[i] = 0.0
    if total > 0.0:
        bar.sell_agent_hhi = squares / (total * total)
        bar.sell_agent_top3_share = _share(first + second + third, total)
    if len(buyers) > 0 and len(sellers) > 0:
        bar.agent_net_buy_top3 = buy_1 + buy_2 + buy_3
        bar.agent_net_sell_top3 = sell_1 + sell_2 + sell_3
    for i in buyers:
        bought[i] = 0.0
