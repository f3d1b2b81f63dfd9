"""An independent reader of every topic: what a follower of the reader's rule gets, and what is wrong with it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, NamedTuple

from tapelab.common import topics
from tapelab.common.codec import Identity, MarketRecord, encode, identity, seq_range
from tapelab.common.errors import PoisonRecord, TapelabError
from tapelab.common.runtime.keyed import decode_keyed
from tapelab.common.runtime.patience import patiently
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.runtime.stage import Record
from tapelab.common.settings import CommonSettings


class Placed(NamedTuple):
    """A record and where it lies."""

    record: MarketRecord
    raw: Record


class Sequence:
    """Records of one identity in order, each number once."""

    def __init__(self) -> None:
        self.records: list[Placed] = []
        self.next_seq: int | None = None
        self.holes = 0
        self.doubled = 0
        self.repeated = 0  # written again after a crash: the reader's rule drops them
        self._bytes: dict[int, bytes] = {}

    def add(self, placed: Placed) -> None:
        """Take the next record of the log."""
        first, last = seq_range(placed.record)
        value = placed.raw.value or b""
        if first == last:
            if not self.records or encode(self.records[-1].record) != value:
                self.records.append(placed)
            return
        if self.next_seq is not None and last <= self.next_seq:
            # The same number with other bytes is what a producer must never write.
            if self._bytes.get(first, value) == value:
                self.repeated += last - first
            else:
                self.doubled += last - first
            return
        if self.next_seq is not None and first > self.next_seq:
            self.holes += first - self.next_seq
        self.next_seq = last
        self._bytes[first] = value
        self.records.append(placed)


class Collected(NamedTuple):
    """Everything that was on the market topics: by identity as a follower gets it, and raw.

    ``raw`` holds feature vectors and inference's state records as they lie in the log.
    """

    sequences: dict[str, dict[Identity, Sequence]]
    dead: dict[str, int]
    raw: dict[str, list[Record]]

    def count(self, topic: str) -> int:
        """Records a follower got; prints where the topic carries batches of them."""
        total = 0
        for sequence in self.sequences.get(topic, {}).values():
            for placed in sequence.records:
                first, last = seq_range(placed.record)
                total += last - first
        return total


MARKET_TOPICS: Final = (topics.TICKS, topics.BARS, topics.FEATURES, topics.SIGNALS)
DECISIONS: Final = topics.state_topic("inference")


def sort_out(records: Iterable[Record]) -> Collected:
    """Apply the reader's rule to raw records of the market topics and their dead-letter topics."""
    sequences: dict[str, dict[Identity, Sequence]] = {t: {} for t in MARKET_TOPICS}
    dead: dict[str, int] = {}
    kept: dict[str, list[Record]] = {topics.FEATURES: [], DECISIONS: []}
    for raw in records:
        if raw.topic in kept:
            kept[raw.topic].append(raw)
        if raw.topic.endswith(topics.DLQ_SUFFIX):
            dead[raw.topic] = dead.get(raw.topic, 0) + 1
        if raw.topic not in sequences:
            continue
        try:
            record = decode_keyed(raw)
        except PoisonRecord:
            continue  # counted where it belongs: in the dead-letter topic
        sequences[raw.topic].setdefault(identity(record), Sequence()).add(Placed(record, raw))
    return Collected(sequences, dead, kept)


async def collect(settings: CommonSettings, *, quiet_s: float = 0.0, timeout_s: float = 120.0) -> Collected:
    """Read every market topic from its start until nothing has come for ``quiet_s``.

    A broker that is too busy to answer is waited for, and all is read again.

    Raises:
        TapelabError: records still come after ``timeout_s``, or no broker answers for as long.
    """
    return sort_out(await patiently(lambda: _all_records(settings, quiet_s, timeout_s), timeout_s))


async def _all_records(settings: CommonSettings, quiet_s: float, timeout_s: float) -> list[Record]:
    names = [*MARKET_TOPICS, DECISIONS, *(t + topics.DLQ_SUFFIX for t in MARKET_TOPICS)]
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    async with TopicReader(settings, names, start="earliest") as reader:
        records = await reader.read_to_end()
        silent_since = loop.time()
        while loop.time() - silent_since < quiet_s:
            more = await reader.poll(timeout_s=0.2, max_records=50_000)
            if more:
                records += more
                silent_since = loop.time()
            if loop.time() > deadline:
                raise TapelabError(
                    "the topics do not come to rest",
                    expected=f"no new record for {quiet_s:g} s within {timeout_s:g} s",
                    actual="records still come",
                    remedy="stop the source first",
                )
    return records
