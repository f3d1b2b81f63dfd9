"""A peer reading the same topic with the same kernel: run by the peer's own interpreter, as a plain script.

``python peer_child.py PEER BROKER TOPIC OUT RECORDS KIND SPEC`` prints one JSON object: seconds (by the clock and of
CPU) from the first record to the last acknowledged output, and how many outputs. KIND is ``frames`` (columnar records
through the bars kernel, each bar written as the bars service writes it) or ``singles`` (one record per print through
plain Python).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import uuid
from typing import Any

import msgspec


class _Clock:
    """Notes the first record, and tells when all have been seen."""

    def __init__(self, records: int) -> None:
        self.left = records
        self.started = self.cpu = 0.0
        self.outputs = 0

    def saw(self) -> bool:
        """Count a record; whether it was the last."""
        if not self.started:
            self.started, self.cpu = time.perf_counter(), time.process_time()
        self.left -= 1
        return self.left == 0

    def tell(self) -> None:
        """Print what was measured."""
        seconds = time.perf_counter() - self.started
        found = {"seconds": seconds, "cpu_s": time.process_time() - self.cpu, "outputs": self.outputs}
        print(json.dumps(found), flush=True)


class Frames:
    """The bars kernel over columnar records."""

    def __init__(self, spec: str) -> None:
        from tapelab.common.schemas.ticks import TickBatch
        from tapelab.quant.bars.builder import BarBuilder
        from tapelab.quant.bars.spec import BarSpec
        from tapelab.quant.calendar import SessionCalendar
        from tapelab.quant.ticks import Ticks

        calendar = SessionCalendar(timezone="America/Sao_Paulo", open="09:00", close="18:25")
        self._builder = BarBuilder([BarSpec.parse(spec)], calendar, (2, 3, 13))
        self._builder.update(Ticks.empty(), 0)
        self._spec = spec
        self._decode = msgspec.msgpack.Decoder(TickBatch).decode
        self._encode = msgspec.msgpack.Encoder().encode

    def __call__(self, value: bytes) -> list[bytes]:
        """The bars that a record closes, encoded."""
        from tapelab.common.schemas.bars import bars_of_rows

        batch = self._decode(value)
        rows = self._builder.update(batch.ticks(), batch.first_seq, batch.book_seq)[0]
        if not len(rows):
            return []
        bars = bars_of_rows(
            rows,
            symbol=batch.symbol,
            exchange=batch.exchange,
            spec=self._spec,
            stream=batch.stream,
            lineage="bench",
            tick_lineage=batch.lineage,
        )
        return [self._encode(bar) for bar in bars]


class Singles:
    """Open, high, low, close and volume in plain Python, one record per print: how most systems do it."""

    def __init__(self, spec: str) -> None:
        self._most = float(spec.partition(":")[2])
        self._bar: list[float] = []

    def __call__(self, value: bytes) -> list[bytes]:
        """The bar that a print closes, if it does."""
        _, _, price, volume, _ = msgspec.msgpack.decode(value)
        bar = self._bar
        if not bar:
            bar += [price, price, price, price, volume]
        else:
            bar[1] = max(bar[1], price)
            bar[2] = min(bar[2], price)
            bar[3] = price
            bar[4] += volume
        if bar[4] < self._most:
            return []
        self._bar = []
        return [msgspec.msgpack.encode(bar)]


def plain(broker: str, topic: str, out: str, clock: _Clock, step: Any) -> None:
    """A loop over aiokafka's consumer and producer, as its documentation shows."""
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    async def work() -> None:
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker, auto_offset_reset="earliest", group_id=None)
        producer = AIOKafkaProducer(bootstrap_servers=broker, acks="all")
        await consumer.start()
        await producer.start()
        waiting = []
        try:
            async for message in consumer:
                last = clock.saw()
                for value in step(message.value):
                    waiting.append(await producer.send(out, value, key=message.key))
                    clock.outputs += 1
                if last:
                    await asyncio.gather(*waiting)
                    clock.tell()
                    return
        finally:
            await consumer.stop()
            await producer.stop()

    asyncio.run(work())


def faust(broker: str, topic: str, out: str, clock: _Clock, step: Any) -> None:
    """An agent of Faust (faust-streaming) over raw bytes; its producer's futures are awaited at the end."""
    import faust as library

    app = library.App(
        f"bench-{uuid.uuid4().hex[:8]}",
        broker=f"kafka://{broker}",
        store="memory://",
        topic_partitions=1,
        topic_disable_leader=True,
        web_enabled=False,
        worker_redirect_stdouts=False,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=10,
        broker_heartbeat_interval=2,
        broker_request_timeout=30,
    )
    source = app.topic(topic, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw")
    sink = app.topic(out, value_type=bytes, value_serializer="raw", key_type=bytes, key_serializer="raw")

    @app.agent(source)  # type: ignore[untyped-decorator]
    async def bars(stream: Any) -> None:
        waiting = []
        async for value in stream:
            last = clock.saw()
            for encoded in step(value):
                waiting.append(await sink.send(value=encoded))
                clock.outputs += 1
            if last:
                await asyncio.gather(*waiting)
                clock.tell()
                os._exit(0)

    worker = library.Worker(app, loglevel="ERROR")
    worker.execute_from_commandline()


def quix(broker: str, topic: str, out: str, clock: _Clock, step: Any) -> None:
    """A streaming data frame of Quix Streams over raw bytes; its producer is flushed at the end."""
    from quixstreams import Application

    group = f"bench-{uuid.uuid4().hex[:8]}"
    app = Application(
        broker_address=broker,
        consumer_group=group,
        auto_offset_reset="earliest",
        auto_create_topics=False,
        loglevel="ERROR",
        consumer_extra_config={"session.timeout.ms": 6000},
    )
    producer = app.get_producer()
    producer.__enter__()

    def work(value: bytes) -> None:
        last = clock.saw()
        for encoded in step(value):
            producer.produce(topic=out, value=encoded)
            clock.outputs += 1
        if last:
            producer.flush()
            clock.tell()
            os._exit(0)

    source = app.topic(topic, value_deserializer="bytes")
    app.dataframe(source).update(work)
    app.run()


def main() -> None:
    """Measure what the arguments name."""
    peer, broker, topic, out, records, kind, spec = sys.argv[1:]
    step = Frames(spec) if kind == "frames" else Singles(spec)
    {"aiokafka": plain, "faust": faust, "quix": quix}[peer](broker, topic, out, _Clock(int(records)), step)


if __name__ == "__main__":
    main()
