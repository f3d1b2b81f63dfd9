"""A new release in the middle of a day: bars, features and inference over one log, no event decided twice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tapelab.bars.stage import BarsStage
from tapelab.common import pipeline as lineages
from tapelab.common.codec import encode
from tapelab.common.errors import RecoveryError
from tapelab.common.instruments import Instrument, Instruments, Session
from tapelab.common.pipeline import Pair, Pipeline
from tapelab.common.runtime.stage import Record
from tapelab.common.schemas.signals import Signal
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.topics import BARS, FEATURES, TICKS
from tapelab.features.stage import FeaturesStage
from tapelab.inference.stage import InferenceStage
from tapelab.quant.features import FEATURE_SETS
from tapelab.quant.ticks import Ticks
from tests.quant.bars.tapes import sessions, ticks_of
from tests.services.inference.vectors import bound, context, signals

pytestmark = pytest.mark.slow

PIPELINE = Pipeline(bars=("tick:5",), features=(Pair(bars="tick:5", feature_set="core"),))
INSTRUMENTS = Instruments(
    sessions={"day": Session(timezone="America/Sao_Paulo", open="09:00", close="17:00", holidays=("2024-02-13",))},
    instruments=(
        Instrument(
            root="A",
            symbols="AAA",
            exchange="X",
            currency="BRL",
            tick_size=0.01,
            multiplier=1.0,
            session="day",
            bar_trade_types=(2, 3),
        ),
    ),
)
N_FEATURES = len(FEATURE_SETS["core"].specs)
#: Trades whatever the score says, in turns; vectors need not be warm for that to be seen in the lineages.
CONTEXT = context(
    bound(
        bar_spec="tick:5",
        feature_set_id=FEATURE_SETS["core"].id,
        n_features=N_FEATURES,
        decision={"cooldown_ns": 0, "flatten_ns": 0, "max_hold_ns": 10**15},
    )
)


class Release:
    """Bars and features of one release; their outputs are appended to the shared logs."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name, self._patch = name, monkeypatch
        with self._named():
            self.bars = BarsStage(0, PIPELINE, INSTRUMENTS)
            self.features = FeaturesStage(0, PIPELINE, INSTRUMENTS)

    def _named(self):  # type: ignore[no-untyped-def]
        context_manager = self._patch.context()

        class Named:
            def __enter__(inner) -> None:
                context_manager.__enter__().setattr(lineages, "version", lambda _: self.name)

            def __exit__(inner, *error: object) -> None:
                context_manager.__exit__(*error)

        return Named()

    def take(self, prints: list[Record], bars_log: list[Record], vectors_log: list[Record]) -> None:
        with self._named():
            made = self.bars.process(prints).outputs
            new = [Record(BARS, 0, len(bars_log) + i, b"AAA", encode(output.record)) for i, output in enumerate(made)]
            bars_log += new
            for output in self.features.process(new).outputs:
                vectors_log.append(Record(FEATURES, 0, len(vectors_log), b"AAA", encode(output.record)))


def prints_log() -> list[Record]:
    """Three days with their markers, 600 prints each."""
    log, first = [], 0
    rng = np.random.default_rng(4)
    for day in sessions(3):
        times = np.sort(rng.integers(day.open_ns, day.close_ns, 600))
        prices = 100 + np.cumsum(rng.choice([-0.01, 0.01], 600))
        rows = [
            (int(t), float(p), 1.0, 1, 1, 2, 0, 0, 0, i) for i, (t, p) in enumerate(zip(times, prices, strict=True))
        ]
        for start in range(0, 600, 20):
            log.append((ticks_of(rows[start : start + 20]), first, 0))
            first += 20
        log.append((Ticks.empty(), first, day.close_ns))
    return [
        Record(
            TICKS,
            0,
            offset,
            b"AAA",
            encode(
                TickBatch.pack(
                    ticks, symbol="AAA", exchange="X", stream=1, lineage="t", first_seq=seq, session_end_ns=end
                )
            ),
        )
        for offset, (ticks, seq, end) in enumerate(log)
    ]


PRINTS = prints_log()


class Turns(dict[str, np.ndarray]):
    """Scores that want long, then short, in turns of seven vectors."""

    def __init__(self, admitted: object) -> None:
        items = admitted.items  # type: ignore[attr-defined]
        self._scores = np.array([0.9 if item.vector.bar_seq // 7 % 2 else 0.1 for item in items])

    def __missing__(self, digest: str) -> np.ndarray:
        return self._scores


def decided(vectors: list[Record]) -> tuple[list[Signal], int]:
    stage = InferenceStage(0)
    admitted = stage.admit(vectors)
    step = stage.decide(admitted, Turns(admitted), CONTEXT)
    assert not step.dead
    return signals(step), step.counts["vectors_not_active"]


def assert_continuous(found: list[Signal]) -> None:
    times = [s.ts_event_ns for s in found]
    assert times == sorted(times)
    assert all(a.side == b.previous_side for a, b in itertools.pairwise(found))


@pytest.mark.parametrize("lost", [0, 5], ids=["whole log", "log without its first records"])
def test_replaced_within_a_day_the_new_release_decides_only_what_comes(
    lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars_log: list[Record] = []
    vectors_log: list[Record] = []
    stop = 45  # in the middle of the second day
    old = Release("1", monkeypatch)
    old.take(PRINTS[:stop], bars_log, vectors_log)
    before, _ = decided(vectors_log)
    new = Release("2", monkeypatch)
    new.take(PRINTS[lost:stop], bars_log, vectors_log)  # the past once more, from the log's start
    same, idle = decided(vectors_log)
    assert [encode(s) for s in same] == [encode(s) for s in before]
    assert idle > 0
    new.take(PRINTS[stop:], bars_log, vectors_log)
    found, _ = decided(vectors_log)
    assert_continuous(found)
    assert found[len(before)].reason in ("roll_over", "edge")
    assert len({s.feature_lineage for s in found}) == 2
    assert {s.feature_lineage for s in found[: len(before)]}.isdisjoint(s.feature_lineage for s in found[len(before) :])


def test_side_by_side_the_new_release_decides_from_the_next_day_on(monkeypatch: pytest.MonkeyPatch) -> None:
    logs: list[list[Record]] = [[], []]
    for name, log in zip("12", logs, strict=True):
        Release(name, monkeypatch).take(PRINTS, [], log)
    # Live, both write a vector as its bar closes: in turns, the old release first.
    mixed = [record for pair in zip(*logs, strict=True) for record in pair]
    found, _ = decided([record._replace(offset=i) for i, record in enumerate(mixed)])
    assert_continuous(found)
    assert "roll_over" not in {s.reason for s in found}
    first_end = sessions(1)[0].close_ns
    early = {s.feature_lineage for s in found if s.ts_event_ns <= first_end}
    late = {s.feature_lineage for s in found if s.ts_event_ns > first_end}
    assert (len(early), len(late)) == (1, 1)
    assert early.isdisjoint(late)


def test_an_old_releases_snapshot_is_refused_by_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    old = Release("1", monkeypatch)
    old.take(PRINTS[:5], [], [])
    with pytest.raises(RecoveryError, match="other lineages"):
        Release("2", monkeypatch).bars.restore(old.bars.freeze()())
