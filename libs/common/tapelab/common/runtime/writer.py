"""Writing a step's outputs and dead letters, once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from tapelab.common.clock import Clock
from tapelab.common.codec import encode
from tapelab.common.runtime.adoption import Adopted
from tapelab.common.runtime.headers import carried, dead_letter
from tapelab.common.runtime.kafka import CLIENT_TIMEOUT_S
from tapelab.common.runtime.metrics import StageMetrics
from tapelab.common.runtime.stage import Record, Step
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import DLQ_SUFFIX, qualified, unqualified


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

    async def write(self, producer: AIOKafkaProducer, records: Sequence[Record], step: Step) -> list[Any]:
        """Queue what the log does not hold yet; returns the futures of the acknowledgements."""
        now_ns = self._clock.now_ns()
        futures = []
        for output in step.outputs:
            if self.adopted.has(output):
                self._metrics.adopted.inc()
                continue
            cause = records[output.cause]
            futures.append(
                await producer.send(
                    qualified(self._settings.namespace, output.topic),
                    encode(output.record),
                    key=output.record.symbol.encode(),
                    partition=self._partition,
                    headers=carried(cause.headers, self._stage, now_ns),
                )
            )
        for dead in step.dead:
            cause = records[dead.cause]
            if self.adopted.has_dead(cause, dead):
                self._metrics.adopted.inc()
                continue
            futures.append(
                await producer.send(
                    qualified(self._settings.namespace, cause.topic + DLQ_SUFFIX),
                    cause.value if cause.value is not None else b"",
                    key=cause.key,
                    partition=self._partition,
                    headers=dead_letter(cause, self._stage, dead.reason),
                )
            )
        self._metrics.step(records, step, now_ns)
        return futures

    async def acknowledged(self, futures: Sequence[Any]) -> None:
        """Wait for the broker.

        Raises:
            KafkaError: a send failed; the partition must not be worked on any further.
            TimeoutError: the broker does not answer; an idempotent producer would try for ever.
        """
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            acknowledged = await asyncio.gather(*futures)
        for metadata in acknowledged:
            topic = unqualified(self._settings.namespace, metadata.topic)
            self.output_ends[topic] = max(self.output_ends.get(topic, 0), metadata.offset + 1)
