"""Streaming against batch, and live against the trainer's own."""

from __future__ import annotations

import msgspec
import numpy as np

from tapelab.common.pipeline import bar_lineage, feature_lineage
from tapelab.common.schemas.features import FeatureVector
from tapelab.trainer.parity import Parity, live_parity, of_own_release, streaming_parity
from tests.services.trainer.data import config, instruments, loaded, symbols


def test_prints_in_pieces_give_the_same_bars_and_vectors() -> None:
    for item, data in zip(loaded(), symbols(), strict=True):
        assert streaming_parity(item, data, config(), instruments(), seed=1) == Parity(len(data.bars), 0)


def test_one_changed_bit_is_one_mismatch() -> None:
    item, data = loaded()[0], symbols()[0]
    values = data.features.values.copy()
    values[300, 4] = np.nextafter(values[300, 4], np.float32(9))
    other = data._replace(features=data.features._replace(values=values))
    assert streaming_parity(item, other, config(), instruments(), seed=1).mismatches == 1
    missing = data._replace(bars=data.bars[:-2], features=type(data.features)(*(c[:-2] for c in data.features)))
    assert streaming_parity(item, missing, config(), instruments(), seed=1) == Parity(len(data.bars), 2)


def vector(index: int, row: int) -> FeatureVector:
    data = symbols()[index]
    bar = data.bars[row]
    return FeatureVector(
        symbol=data.span.symbol,
        exchange="B3",
        stream=0,
        lineage="l",
        bar_lineage="b",
        seq=row,
        bar_seq=row,
        feature_set_id=config().features.id,
        bar_spec=config().bars,
        ts_event_ns=int(bar["ts_close_ns"]),
        day=int(bar["day"]),
        session_close_ns=int(bar["session_close_ns"]),
        ref_price=float(bar["close"]),
        values=data.features.values[row].tobytes(),
        warm=bool(data.features.warm[row]),
        after_gap=False,
        session_end=False,
    )


def test_live_vectors_are_held_against_the_spans_own() -> None:
    live = [vector(i, row) for i in range(3) for row in range(0, 200, 7)]
    assert live_parity(live, symbols(), config()) == Parity(len(live), 0)
    wrong = msgspec.structs.replace(live[3], values=live[4].values)
    unwarm = msgspec.structs.replace(live[0], warm=not live[0].warm)
    assert live_parity([*live, wrong, unwarm], symbols(), config()) == Parity(len(live) + 2, 2)


def test_a_lineage_that_began_on_a_later_day_is_compared_from_there() -> None:
    bars = symbols()[0].bars
    start = int(np.flatnonzero(np.diff(bars["day"]))[0]) + 1
    later = [
        msgspec.structs.replace(vector(0, row), lineage="from a later day", seq=row - start, bar_seq=row - start)
        for row in range(start, start + 60, 7)
    ]
    both = [*later, *(vector(0, row) for row in range(start, start + 60, 7))]
    assert live_parity(both, symbols(), config()) == Parity(len(both), 0)
    wrong = msgspec.structs.replace(later[3], values=later[4].values)
    assert live_parity([*both, wrong], symbols(), config()) == Parity(len(both) + 1, 1)


def test_vectors_of_another_pair_stream_or_beyond_the_span_are_left_out() -> None:
    one = vector(0, 150)
    others = [
        msgspec.structs.replace(one, stream=9),
        msgspec.structs.replace(one, bar_spec="volume:2000"),
        msgspec.structs.replace(one, feature_set_id="other"),
        msgspec.structs.replace(one, bar_seq=10**9),
    ]
    assert live_parity(others, symbols(), config()) == Parity(0, 0)


def test_vectors_of_another_release_beside_this_one_are_left_out() -> None:
    data, known = symbols()[0], instruments()
    instrument = known.of(data.span.symbol)
    session = known.sessions[instrument.session]
    later = int(data.bars["day"][-1])

    def of(ticks: str = "of the prints", begins: int = 0, features: str = config().features.id) -> FeatureVector:
        bars = bar_lineage(config().bars, instrument, session, ticks, begins)
        lineage = feature_lineage(features, instrument, bars, begins)
        return msgspec.structs.replace(vector(0, 150), bar_lineage=bars, lineage=lineage)

    own = [of(), of(begins=later)]
    others = [
        of(ticks="of other prints"),  # no bars of this release over these prints
        of(features="as another release counts them"),
        of(begins=20200102),
    ]
    kept = of_own_release([*own, *others], symbols(), {0: "of the prints"}, config(), known)
    assert kept == own
    assert of_own_release(own, symbols(), {}, config(), known) == []
