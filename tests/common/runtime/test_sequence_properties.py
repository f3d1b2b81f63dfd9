"""Whatever is written again, late or by a zombie, a reader gets exactly the sequence, once and in order."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tapelab.common.codec import Identity
from tapelab.common.runtime.sequence import Sequencer, Verdict

#: first, last, stream
Piece = tuple[int, int, int]


class Reader:
    """Takes rows as a stage would; every row is its (stream, number)."""

    def __init__(self) -> None:
        self.sequencer = Sequencer("t")
        self.rows: list[tuple[int, int]] = []
        self.halts = 0
        self.resets = 0

    def read(self, log: list[Piece | bytes | None], first: int = 0, symbol: str = "AAA", lineage: str = "l") -> None:
        for offset, record in enumerate(log[first:], first):
            if not isinstance(record, tuple):
                self.sequencer.note_dead(record, offset)
                continue
            start, stop, stream = record
            found = self.sequencer.admit(Identity(symbol, stream, lineage), start, stop, partition=0, offset=offset)
            self.halts += found.verdict is Verdict.HALT
            self.resets += found.verdict is Verdict.RESET
            if found.verdict in (Verdict.TAKE, Verdict.RESET):
                self.rows += [(stream, number) for number in range(start + found.skip, stop)]


def written(seed: int) -> tuple[list[Piece | bytes | None], list[tuple[int, int]]]:
    """A log of a producer that goes on from any earlier point after a crash, with zombies writing in between.

    Two streams, one after the other; cuts differ from one attempt to the next, as batches do.
    """
    random = Random(seed)
    log: list[Piece | bytes | None] = []
    expected: list[tuple[int, int]] = []
    for stream in (1, 2):
        length, done = random.randint(1, 40), 0
        while done < length:
            if log and random.random() < 0.25:  # a zombie writes anything that was written before
                log.append(random.choice(log))
                continue
            start = random.randint(0, done) if random.random() < 0.5 else done
            stop = random.randint(start + 1, min(length, start + 12))
            log.append((start, stop, stream))
            done = max(done, stop)
        expected += [(stream, number) for number in range(length)]
    return log, expected


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), restart=st.integers(0, 1000))
def test_a_reader_gets_each_number_once_and_in_order_across_a_restart(seed: int, restart: int) -> None:
    log, expected = written(seed)
    reader = Reader()
    reader.read(log[: restart % len(log)])
    # A restart without a newer snapshot reads the log again from an earlier point: here from its start.
    reader.read(log)
    assert reader.rows == expected
    assert (reader.halts, reader.resets) == (0, 0)


@settings(max_examples=100, deadline=None)
@given(lost=st.integers(1, 18), again=st.integers(0, 19), key=st.sampled_from([b"AAA", None]))
def test_a_lost_record_resets_once_however_often_the_log_is_read_again(
    lost: int, again: int, key: bytes | None
) -> None:
    log: list[Piece | bytes | None] = [(i, i + 1, 1) for i in range(20)]
    log[lost] = key or b""
    reader = Reader()
    reader.read(log[:again])
    reader.read(log)
    assert [number for _, number in reader.rows] == [i for i in range(20) if i != lost]
    assert (reader.halts, reader.resets) == (0, 1)
    # The same dead letter explains no later hole.
    reader.read([*log, (21, 22, 1)], 20)
    assert reader.halts == 1


def test_a_dead_letter_under_another_key_explains_nothing_and_leaves_nothing() -> None:
    reader = Reader()
    reader.read([(0, 1, 1), b"garbage", (2, 3, 1)])
    assert reader.halts == 1
    assert reader.sequencer.state.dead == {}


def test_a_halted_lineage_does_not_stop_the_one_that_follows_it() -> None:
    reader = Reader()
    reader.read([(0, 1, 1), (5, 6, 1)], lineage="old")
    reader.read([(0, 1, 1), (1, 2, 1)], lineage="new")
    assert reader.halts == 1
    assert reader.rows == [(1, 0), (1, 0), (1, 1)]
    assert list(reader.sequencer.halted) == ["AAA"]


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_order_between_symbols_does_not_matter(seed: int) -> None:
    logs = {s: [(i, i + 1, 1) if i != 3 else s.encode() for i in range(8)] for s in ("AAA", "BBB", "CCC")}
    turns = [s for s in logs for _ in range(8)]
    Random(seed).shuffle(turns)
    mixed, apart = Sequencer("t"), Sequencer("t")

    def step(sequencer: Sequencer, symbol: str, at: int) -> Verdict | None:
        record = logs[symbol][at]
        if not isinstance(record, tuple):
            sequencer.note_dead(record, at)
            return None
        return sequencer.admit(Identity(symbol, 1, "l"), record[0], record[1], partition=0, offset=at).verdict

    heads = dict.fromkeys(logs, 0)
    found: dict[str, list[Verdict | None]] = {s: [] for s in logs}
    for symbol in turns:
        found[symbol].append(step(mixed, symbol, heads[symbol]))
        heads[symbol] += 1
    assert found == {s: [step(apart, s, at) for at in range(8)] for s in logs}
