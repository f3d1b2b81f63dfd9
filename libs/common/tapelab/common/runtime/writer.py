"""Writing a step's outputs and dead letters, once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer

from tapelab.common.clock import Clock
from tapelab.common.codec import encode
from tapelab.common.runtime.adoption import Adopted
from tapelab.common.runtime.headers import carried, dead_letter
from tapelab.common.runtime.kafka import CLIENT_TIMEOUT_S
from tapelab.common.runtime.limits import KEY_BYTES, limit_of, message_bytes
from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.stage import Dead, Record, Step
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import DLQ_SUFFIX, qualified, unqualified

#: Messages between two turns of the event loop.
_MESSAGES: Final = 256


#: What a dead letter keeps for the bytes of its record.
_ROOM: Final = 1_048_576


class Message(NamedTuple):
    """A record ready to be sent; ``topic`` is without the namespace."""

    topic: str
    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]


class Prepared(NamedTuple):
    """A step's messages: what the log does not hold yet and what fits into it."""

    step: Step
    messages: list[Message]
    adopted: int
    now_ns: int


class Sent(NamedTuple):
    """A batch on its way: the future of its acknowledgement, and how many it holds."""

    future: asyncio.Future[Any]
    records: int


class StepWriter:
    """Queues the outputs of one partition and remembers where its output logs end."""

    def __init__(
        self, stage: str, settings: CommonSettings, clock: Clock, metrics: StageMetrics, partition: int
    ) -> None:
        self._stage = stage
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._partition = partition
        self.adopted = Adopted()
        self.output_ends: dict[str, int] = {}
        self._since: dict[str, int] = {}
        self._until: dict[str, int] = {}

    def adopt(
        self, adopted: Adopted, ends: Mapping[str, int], since: Mapping[str, int], until: Mapping[str, int]
    ) -> None:
        """Begin after a recovery.

        Args:
            adopted: what the output logs held from ``since`` on.
            ends: where they ended.
            since: output ends of the snapshot that was restored.
            until: where the input logs ended: nothing adopted comes of a later record.
        """
        self.adopted, self.output_ends = adopted, dict(ends)
        self._since, self._until = dict(since), dict(until)

    def ends_at(self, offsets: Mapping[str, int]) -> dict[str, int]:
        """Output ends for a snapshot at these input offsets: where the outputs of later records may begin.

        While what was adopted is still being computed again that is where adoption began, not where the log ends:
        another crash must find all of it once more.
        """
        if any(offsets.get(topic, 0) < end for topic, end in self._until.items()):
            return dict(self._since)
        if self._until:
            self.adopted, self._until = Adopted(), {}
        return dict(self.output_ends)

    def prepare(self, records: Sequence[Record], step: Step) -> Prepared:
        """Encode a step; made where stages compute.

        An output that is too large for its topic is left out, and the record that caused it goes to the
        dead-letter topic: it would fail again after every restart.
        """
        now_ns = self._clock.now_ns()
        messages: list[Message] = []
        adopted = 0
        oversize: dict[int, str] = {}
        known = not self.adopted.empty
        of: tuple[int, str] | None = None
        key, headers, frame = b"", list[tuple[str, bytes]](), 0
        for output in step.outputs:
            if known and self.adopted.has(output):
                adopted += 1
                continue
            value = encode(output.record)
            if of != (output.cause, output.record.symbol):
                # One record often causes several outputs.
                of = output.cause, output.record.symbol
                key = output.record.symbol.encode()
                headers = carried(records[output.cause].headers, self._stage, now_ns)
                frame = message_bytes(key, b"", headers)
            size, limit = frame + len(value), limit_of(output.topic)
            if size > limit:
                oversize.setdefault(
                    output.cause, f"its output on {output.topic} is too large: expected {limit} bytes, got {size}"
                )
                continue
            messages.append(Message(output.topic, key, value, headers))
        dead = [*step.dead, *(Dead(cause, reason) for cause, reason in oversize.items())]
        for letter in dead:
            cause = records[letter.cause]
            if self.adopted.has_dead(cause):
                adopted += 1
            else:
                messages.append(_letter(cause, self._stage, letter.reason))
        return Prepared(step._replace(dead=dead), messages, adopted, now_ns)

    async def write(self, producer: AIOKafkaProducer, records: Sequence[Record], made: Prepared) -> list[Sent]:
        """Queue what was prepared; returns what is to be acknowledged.

        The batches are filled here: queued one by one, each record costs the client ten times as much.
        """
        sent: list[Sent] = []
        batches: dict[str, Any] = {}
        try:
            for number, (topic, key, value, headers) in enumerate(made.messages, 1):
                if topic not in batches:
                    batches[topic] = producer.create_batch()
                if batches[topic].append(timestamp=None, key=key, value=value, headers=headers) is None:
                    sent.append(await self._queued(producer, topic, batches[topic]))
                    batches[topic] = producer.create_batch()
                    batches[topic].append(timestamp=None, key=key, value=value, headers=headers)
                if number % _MESSAGES == 0:
                    await asyncio.sleep(0)
            for topic, batch in batches.items():
                sent.append(await self._queued(producer, topic, batch))
        except BaseException:
            drop(sent)
            raise
        self._metrics.step(records, made.step, made.now_ns, made.adopted)
        return sent

    async def _queued(self, producer: AIOKafkaProducer, topic: str, batch: Any) -> Sent:
        batch.close()
        name = qualified(self._settings.namespace, topic)
        return Sent(await producer.send_batch(batch, name, partition=self._partition), batch.record_count())

    async def acknowledged(self, sent: Sequence[Sent]) -> None:
        """Wait for the broker.

        Raises:
            KafkaError: a send failed; the partition must not be worked on any further.
            TimeoutError: the broker does not answer; an idempotent producer would try for ever.
        """
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            acknowledged = await asyncio.gather(*(one.future for one in sent))
        for metadata, one in zip(acknowledged, sent, strict=True):
            topic = unqualified(self._settings.namespace, metadata.topic)
            self.output_ends[topic] = max(self.output_ends.get(topic, 0), metadata.offset + one.records)


def drop(sent: Sequence[Sent]) -> None:
    """Nobody waits for these any more; what becomes of them is not worth a log line."""
    for one in sent:
        one.future.cancel()


def _letter(cause: Record, stage: str, reason: str) -> Message:
    """A dead letter that its topic takes: what is too long is cut, the record's own headers go first."""
    topic = cause.topic + DLQ_SUFFIX
    key, value = (cause.key or b"")[:KEY_BYTES] or cause.key, cause.value or b""
    headers = dead_letter(cause, stage, reason)
    limit = limit_of(topic)
    if message_bytes(key, b"", headers) > limit - _ROOM:
        headers = dead_letter(cause._replace(headers=()), stage, f"{reason} (its headers are left out)")
    excess = message_bytes(key, value, headers) - limit
    if excess > 0:
        # The record filled its topic's limit by itself, and the letter's headers come on top.
        cut = excess + 64
        headers = dead_letter(
            cause._replace(headers=headers[3:]), stage, f"{reason} (the last {cut} bytes are cut off)"
        )
        value = value[:-cut]
    return Message(topic, key, value, list(headers))
