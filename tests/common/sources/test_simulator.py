"""The simulated market: reproducible, and looking like a market."""

from __future__ import annotations

import numpy as np

from tapelab.common.sources.detect import open_tape
from tapelab.quant.dtypes import TickFlag, TradeType
from tests.common.sources.tapes import digest, read, same, simulated


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert digest(simulated()) == digest(simulated())
    assert digest(simulated()) == digest(open_tape("days=2,hours=0.1", format="simulator"))


def test_another_seed_is_another_market_under_another_lineage() -> None:
    assert digest(simulated()) != digest(simulated(seed=8))
    assert simulated().lineage == simulated().lineage
    assert simulated().lineage != simulated(seed=8).lineage


def test_a_longer_tape_begins_with_the_shorter_ones_prints() -> None:
    shorter, longer = read(simulated(days=1)), read(simulated(days=2))
    for symbol, ticks in shorter.items():
        assert same(longer[symbol].slice(0, ticks.n), ticks)


def test_a_symbol_does_not_depend_on_the_others() -> None:
    assert same(read(simulated(symbols="WDOZ26"))["WDOZ26"], read(simulated())["WDOZ26"])


def test_prints_look_like_b3s() -> None:
    tape = simulated(hours=0.5)
    for symbol, ticks in read(tape).items():
        tick_size = {"WINZ26": 5.0, "WDOZ26": 0.5, "BOVA11": 0.01}[symbol]
        steps = ticks.price / tick_size
        assert np.allclose(steps, np.round(steps), atol=1e-6)
        assert (np.diff(ticks.ts_event_ns) >= 0).all()
        assert set(ticks.trade_type.tolist()) <= {1, 2, 3, 4, 13}
        auction = ticks.trade_type == TradeType.AUCTION
        assert (ticks.flags[auction] == TickFlag.AUCTION).all()
        assert auction.sum() == 40  # the opening auctions of two days
        rlp = ticks.trade_type == TradeType.RLP
        assert (ticks.buy_agent[rlp] == ticks.sell_agent[rlp]).all()
        assert (ticks.aggressor[rlp] == 0).all()
    assert tape.time_range() == (
        min(int(t.ts_event_ns[0]) for t in read(tape).values()),
        max(int(t.ts_event_ns[-1]) for t in read(tape).values()),
    )


def test_arrivals_excite_each_other() -> None:
    ticks = read(simulated(symbols="WINZ26", days=1, hours=1.0))["WINZ26"]
    counts = np.bincount(((ticks.ts_event_ns - ticks.ts_event_ns[0]) // 10**9).astype(int))[1:]
    assert counts.var() > 2 * counts.mean()  # a Poisson process has one


def test_buyers_pay_the_ask_and_sellers_get_the_bid() -> None:
    ticks = read(simulated(symbols="WDOZ26", days=1, hours=1.0))["WDOZ26"]
    directed = ticks.take(ticks.aggressor != 0)
    step = np.diff(directed.price) / 0.5
    turned_up = (directed.aggressor[:-1] == -1) & (directed.aggressor[1:] == 1)
    turned_down = (directed.aggressor[:-1] == 1) & (directed.aggressor[1:] == -1)
    assert step[turned_up].mean() > 0.7
    assert step[turned_down].mean() < -0.7


def _edge(edge: float) -> tuple[float, float]:
    """Correlation of the next 30 s with the last 30 s' imbalance: signed by regime, and as it is."""
    got = []
    for ticks in read(simulated(symbols="WDOZ26", days=3, hours=3.0, edge=edge)).values():
        day = ticks.ts_event_ns // (86_400 * 10**9)
        for one in np.unique(day):
            part = ticks.take(day == one)
            # Every 50 prints, as bars come: then both regimes are seen equally often.
            at = part.ts_event_ns[500:-500:50]
            now = np.searchsorted(part.ts_event_ns, at, side="right")
            before = np.searchsorted(part.ts_event_ns, at - 30 * 10**9, side="right")
            after = np.searchsorted(part.ts_event_ns, at + 30 * 10**9, side="right")
            signs = np.concatenate([[0], np.cumsum(part.aggressor)])
            count = now - before
            regime = np.where(count > np.median(count), 1.0, -1.0)
            got.append(
                (
                    (signs[now] - signs[before]) / count,
                    regime,
                    part.price[after - 1] - part.price[now - 1],
                )
            )
    imbalance, regime, future = (np.concatenate(columns) for columns in zip(*got, strict=True))
    return float(np.corrcoef(imbalance * regime, future)[0, 1]), float(np.corrcoef(imbalance, future)[0, 1])


def test_the_planted_edge_shows_in_imbalance_and_regime_together_and_in_neither_alone() -> None:
    together, alone = _edge(1.0)
    assert together > 0.25
    assert abs(alone) < 0.1


def test_without_the_edge_there_is_nothing_to_find() -> None:
    together, alone = _edge(0.0)
    assert abs(together) < 0.1
    assert abs(alone) < 0.12  # after buying the last price is the ask: half a tick comes back
