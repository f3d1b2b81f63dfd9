"""What must be on every topic, computed offline from what was fed, and what is there, record by record.

Three recomputations meet here. Prints are held against the feeder's own batches. Bars and vectors of a symbol whose
prints are whole are held against ``tapelab.quant`` over the whole tape at once; besides, every record of every topic
(dead letters too) is held against fresh stages that run over the log of the topic before it. Signals are held
against the micro-batches of the state topic, decided again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from tapelab.bars.stage import BarsStage
from tapelab.cli.up.collected import DECISIONS, MARKET_TOPICS, sort_out
from tapelab.cli.up.decisions import replay_decisions
from tapelab.cli.up.verify import Difference, expected_records
from tapelab.common import topics
from tapelab.common.codec import Identity, decode, encode, identity, seq_range
from tapelab.common.errors import PoisonRecord
from tapelab.common.instruments import load_instruments
from tapelab.common.pipeline import load_pipeline
from tapelab.common.runtime.headers import ORIGIN, REASON, STAGE
from tapelab.common.runtime.keyed import decode_keyed
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.runtime.sequence import Sequencer, Verdict
from tapelab.common.runtime.snapshots import Snapshot
from tapelab.common.runtime.stage import Record, Stage
from tapelab.common.schemas.signals import Signal
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.settings import CommonSettings
from tapelab.features.stage import FeaturesStage
from tapelab.inference.stage import InferenceStage
from tapelab.quant.ticks import Ticks

#: The stage that reads each topic.
READERS = {topics.TICKS: "bars", topics.BARS: "features", topics.FEATURES: "inference"}
STATE_TOPICS = tuple(topics.state_topic(stage) for stage in READERS.values())


class Letter(NamedTuple):
    """A dead letter: where it came from, who says why, and what it was."""

    origin: str
    stage: str
    reason: str
    key: bytes | None
    value: bytes


class Follower:
    """A reader of one topic that applies the reader's rule, partition by partition."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._sequencers: dict[int, Sequencer] = {}
        self._written: dict[tuple[Identity, int], bytes] = {}
        self.taken: dict[Identity, list[bytes]] = {}
        self.repeated = 0  # written again with the same bytes, and dropped
        self.contradicted = 0  # written again with other bytes
        self.halted = 0  # behind a hole that nothing explains
        self.stale = 0  # of an older stream, after a newer one began

    def take(self, record: Record) -> None:
        """The next record of a partition."""
        sequencer = self._sequencers.setdefault(record.partition, Sequencer(self._topic))
        try:
            value = decode_keyed(record)
            if isinstance(value, TickBatch):
                value.ticks()
        except PoisonRecord:
            sequencer.note_dead(record.key, record.offset)
            return
        who, (first, last) = identity(value), seq_range(value)
        raw = record.value or b""
        admission = sequencer.admit(who, first, last, partition=record.partition, offset=record.offset)
        if admission.verdict is Verdict.HALT:
            self.halted += 1
        elif admission.verdict is Verdict.DROP:
            before = self._written.get((who, first))
            if before is None:
                self.stale += 1
            elif before == raw:
                self.repeated += 1
            else:
                self.contradicted += 1
        else:
            if admission.skip:
                self.contradicted += 1  # nobody here cuts batches differently the second time
            self._written[who, first] = raw
            self.taken.setdefault(who, []).append(raw)


class Hop:
    """A fresh stage per partition over the log of its input topic."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = stages
        self.expected: dict[Identity, list[bytes]] = {}
        self.dead: list[Letter] = []
        self.halts: dict[str, str] = {}

    def take(self, records: Sequence[Record]) -> None:
        """The next records of one partition."""
        step = self._stages[records[0].partition].process(records)
        for output in step.outputs:
            self.expected.setdefault(identity(output.record), []).append(encode(output.record))
        self.dead += [letter(records[d.cause], d.reason) for d in step.dead]
        self.halts |= step.halts


def letter(record: Record, reason: str) -> Letter:
    """What a stage must write about a record it cannot use."""
    origin = f"{record.topic}[{record.partition}]@{record.offset}"
    return Letter(origin, READERS[record.topic], reason, record.key, record.value or b"")


class Findings(NamedTuple):
    """What was found on every topic."""

    by_topic: dict[str, Difference]
    events: int
    signals: int
    models: list[str]
    trouble: list[str]

    @property
    def lost(self) -> int:
        """Records that a reader should get and does not, or gets with other bytes."""
        return sum(d.lost + d.different for d in self.by_topic.values())

    @property
    def doubled(self) -> int:
        """Records that a follower of the reader's rule gets twice, or should not get at all."""
        return sum(d.doubled for d in self.by_topic.values())

    @property
    def repeated(self) -> int:
        """Records in the logs that the reader's rule drops."""
        return sum(d.repeated for d in self.by_topic.values())

    @property
    def sound(self) -> bool:
        """Nothing lost, doubled, different or out of order."""
        return not (self.lost or self.doubled or self.trouble)

    def describe(self) -> str:
        """A table for people."""
        lines = [f"  {topic:28} {difference.describe()}" for topic, difference in self.by_topic.items()]
        return "\n".join([*lines, *(f"  {line}" for line in self.trouble[:20])])


class Oracle:
    """Reads every topic from its start and judges it.

    Args:
        settings: how to reach the topics.
        sent: the feeder's batches, acknowledged; may grow.
    """

    def __init__(self, settings: CommonSettings, sent: Sequence[TickBatch]) -> None:
        self._settings = settings
        self._sent = sent
        self._pipeline = load_pipeline(settings.config_dir)
        self._instruments = load_instruments(settings.config_dir)
        partitions = range(settings.partitions)
        self._hops = {
            topics.TICKS: Hop([BarsStage(p, self._pipeline, self._instruments) for p in partitions]),
            topics.BARS: Hop([FeaturesStage(p, self._pipeline, self._instruments) for p in partitions]),
        }
        self._inference = [InferenceStage(p) for p in partitions]
        self._dead_vectors: list[Letter] = []
        self._followers = {topic: Follower(topic) for topic in MARKET_TOPICS}
        self._letters: dict[str, dict[str, list[Letter]]] = {t + topics.DLQ_SUFFIX: {} for t in READERS}
        self._kept: list[Record] = []
        self._ends: dict[tuple[str, int], int] = {}
        self._decided: dict[int, int] = {}
        self._states: dict[tuple[str, int], list[tuple[int, Snapshot]]] = {}
        self._trouble: list[str] = []
        self._records = 0

    def take(self, records: Iterable[Record]) -> None:
        """The next records of any topics, in order within each partition."""
        by_place: dict[tuple[str, int], list[Record]] = {}
        for record in records:
            by_place.setdefault((record.topic, record.partition), []).append(record)
        for (topic, partition), found in by_place.items():
            self._records += len(found)
            self._ends[topic, partition] = found[-1].offset + 1
            if topic in self._followers:
                for record in found:
                    self._followers[topic].take(record)
            if topic in self._hops:
                self._hops[topic].take(found)
            if topic == topics.FEATURES:
                admitted = self._inference[partition].admit(found)
                self._dead_vectors += [letter(found[d.cause], d.reason) for d in admitted.dead]
            if topic in (*MARKET_TOPICS, DECISIONS):
                self._kept += found
            if topic in self._letters:
                self._take_letters(topic, found)
            if topic in STATE_TOPICS:
                self._take_states(topic, found)

    def _take_letters(self, topic: str, records: Sequence[Record]) -> None:
        for record in records:
            headers = dict(record.headers)
            text = {name: headers.get(name, b"").decode() for name in (ORIGIN, STAGE, REASON)}
            found = Letter(text[ORIGIN], text[STAGE], text[REASON], record.key, record.value or b"")
            self._letters[topic].setdefault(found.origin, []).append(found)

    def _take_states(self, topic: str, records: Sequence[Record]) -> None:
        for record in records:
            try:
                snapshot = msgspec.msgpack.decode(record.value or b"", type=Snapshot)
            except msgspec.MsgspecError as error:
                self._trouble.append(f"{topic}[{record.partition}]@{record.offset} is no snapshot: {error}")
                continue
            self._states.setdefault((topic, record.partition), []).append((record.offset, snapshot))
            if topic == DECISIONS:
                end = max(snapshot.batch_end.values(), default=0)
                self._decided[record.partition] = max(self._decided.get(record.partition, 0), end)

    def missing(self) -> str:
        """What is still under way; empty when everything that follows from the prints is there."""
        prints = self._followers[topics.TICKS].taken
        sent = len({(identity(b), b.first_seq) for b in self._sent})
        if (got := sum(map(len, prints.values()))) < sent:
            return f"{sent - got} of {sent} batches of prints"
        for topic, after in ((topics.TICKS, topics.BARS), (topics.BARS, topics.FEATURES)):
            expected = sum(map(len, self._hops[topic].expected.values()))
            found = sum(map(len, self._followers[after].taken.values()))
            if found < expected:
                return f"{expected - found} of {expected} records on {after}"
        for (topic, partition), end in self._ends.items():
            if topic == topics.FEATURES and self._decided.get(partition, 0) < end:
                return f"decisions on {topic}[{partition}]: {self._decided.get(partition, 0)} of {end}"
        for topic, expected_letters in self._expected_letters().items():
            if len(self._letters[topic]) < len(expected_letters):
                return f"{len(expected_letters) - len(self._letters[topic])} dead letters on {topic}"
        return ""

    async def settle(self, *, timeout_s: float = 90, quiet_s: float = 1.0) -> Findings:
        """Read until nothing is under way any more (or the time is over), and judge."""
        names = [*MARKET_TOPICS, *self._letters, *STATE_TOPICS]
        deadline = time.monotonic() + timeout_s
        async with TopicReader(self._settings, names, start="earliest") as reader:
            while True:
                quiet_since = time.monotonic()
                while time.monotonic() - quiet_since < quiet_s or self.missing():
                    records = await reader.poll(timeout_s=0.2, max_records=50_000)
                    if records:
                        await asyncio.to_thread(self.take, records)
                        quiet_since = time.monotonic()
                    if time.monotonic() > deadline:
                        break
                found = await self.judge()
                if found.sound:
                    return found
                if time.monotonic() > deadline:
                    late = f"after {timeout_s:g} s this reader had {await reader.lag()} offsets to go; {self.missing()}"
                    return found._replace(trouble=[late, *found.trouble])

    async def judge(self) -> Findings:
        """Hold everything read so far against what follows from the prints."""
        by_topic = {topics.TICKS: self._prints()}
        for topic, after in ((topics.TICKS, topics.BARS), (topics.BARS, topics.FEATURES)):
            by_topic[after] = compared(self._hops[topic].expected, self._followers[after])
        decided = await replay_decisions(self._settings, sort_out(self._kept), self._pipeline, self._instruments)
        by_topic[topics.SIGNALS] = compared(decided, self._followers[topics.SIGNALS])
        for topic, expected in self._expected_letters().items():
            by_topic[topic] = compared_letters(expected, self._letters[topic])
        whole = await asyncio.to_thread(self._offline)
        trouble = [*self._trouble, *whole, *self._out_of_order(), *self._model_changes()]
        signals = self._followers[topics.SIGNALS].taken.values()
        models = [decode(topics.SIGNALS, raw).model_digest for of_one in signals for raw in of_one]
        return Findings(
            by_topic=by_topic,
            events=self._records,
            signals=len(models),
            models=list(dict.fromkeys(models)),
            trouble=trouble,
        )

    def _prints(self) -> Difference:
        expected: dict[Identity, dict[int, bytes]] = {}
        for batch in self._sent:
            expected.setdefault(identity(batch), {})[batch.first_seq] = encode(batch)
        return compared({who: list(of_one.values()) for who, of_one in expected.items()}, self._followers[topics.TICKS])

    def _expected_letters(self) -> dict[str, list[Letter]]:
        hops = {topic: hop.dead for topic, hop in self._hops.items()}
        hops[topics.FEATURES] = self._dead_vectors
        return {topic + topics.DLQ_SUFFIX: dead for topic, dead in hops.items()}

    def _offline(self) -> list[str]:
        """Bars and vectors of the whole tape at once, for symbols whose prints are whole."""
        trouble = []
        by_symbol: dict[Identity, list[TickBatch]] = {}
        for batch in self._sent:
            by_symbol.setdefault(identity(batch), []).append(batch)
        for who, batches in by_symbol.items():
            ends = [0, *(b.first_seq + b.n for b in batches)]
            if [b.first_seq for b in batches] != ends[:-1]:
                continue
            ticks = Ticks.concatenate([b.ticks() for b in batches])
            pairs = expected_records(
                who.symbol,
                batches[0].exchange,
                who.stream,
                who.lineage,
                ticks,
                tape_ended=batches[-1].n == 0,
                pipeline=self._pipeline,
                instruments=self._instruments,
            )
            for topic, expected in zip((topics.BARS, topics.FEATURES), pairs, strict=True):
                for identified, values in expected.items():
                    if self._followers[topic].taken.get(identified, []) != values:
                        trouble.append(f"{topic} of {identified} differs from a recomputation of the whole tape")
        return trouble

    def _out_of_order(self) -> list[str]:
        trouble = []
        for topic, follower in self._followers.items():
            if follower.halted:
                trouble.append(f"{topic}: {follower.halted} records behind a hole that nothing explains")
            if follower.contradicted:
                trouble.append(f"{topic}: {follower.contradicted} records written again with other bytes")
        for hop in self._hops.values():
            trouble += hop.halts.values()
        return trouble

    def _model_changes(self) -> list[str]:
        """Each signal's model is the one of its micro-batch's record; a newer model never gives way to an older."""
        trouble = []
        spans: dict[int, list[tuple[int, int, set[str]]]] = {}
        for (topic, partition), states in self._states.items():
            if topic != DECISIONS:
                continue
            versions = []
            for _, state in states:
                pointers = msgspec.json.decode(state.context)["pointers"] if state.context else []
                versions.append(max((p["version"] for p in pointers), default=0))
                span = state.offsets[topics.FEATURES], state.batch_end[topics.FEATURES]
                spans.setdefault(partition, []).append((*span, {p["digest"] for p in pointers}))
            trouble += _holes(f"{topics.FEATURES}[{partition}]", [(a, b) for a, b, _ in spans[partition]])
            if versions != sorted(versions):
                trouble.append(f"{topic}[{partition}]: model versions go back: {versions}")
        for of_one in self._followers[topics.SIGNALS].taken.values():
            for raw in of_one:
                signal: Signal = decode(topics.SIGNALS, raw)
                digests = [held for a, b, held in spans.get(signal.input_partition, []) if a <= signal.input_offset < b]
                if signal.reason != "model_change" and not any(signal.model_digest in held for held in digests):
                    trouble.append(f"signal {signal.signal_id} names a model that its micro-batch does not record")
        return trouble


def _holes(where: str, batches: Sequence[tuple[int, int]]) -> list[str]:
    """Vectors between two micro-batches that no micro-batch decided."""
    trouble, covered = [], min((a for a, _ in batches), default=0)
    for a, b in sorted(batches):
        if a > covered:
            trouble.append(f"{where}: no micro-batch decided offsets {covered} to {a - 1}")
        covered = max(covered, b)
    return trouble


def compared(expected: dict[Identity, list[bytes]], follower: Follower) -> Difference:
    """Every sequence of a topic against what it must hold."""
    total = Difference(repeated=follower.repeated)
    for who in expected.keys() | follower.taken.keys():
        wanted, got = expected.get(who, []), follower.taken.get(who, [])
        same = min(len(wanted), len(got))
        different = sum(a != b for a, b in zip(wanted[:same], got[:same], strict=True))
        total = total.plus(Difference(len(wanted), len(wanted) - same, len(got) - same, different))
    return total


def compared_letters(expected: Sequence[Letter], found: dict[str, list[Letter]]) -> Difference:
    """Dead letters by their origin: there, once, with reason and bytes as they must be."""
    by_origin = {letter.origin: letter for letter in expected}
    return Difference(
        expected=len(by_origin),
        lost=len(by_origin.keys() - found.keys()),
        # Letters have no numbers, so nobody who reads them can drop what was written again.
        doubled=len(found.keys() - by_origin.keys()) + sum(len(letters) - 1 for letters in found.values()),
        different=sum(o in by_origin and any(one != by_origin[o] for one in letters) for o, letters in found.items()),
    )
