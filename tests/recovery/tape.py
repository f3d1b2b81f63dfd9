"""A small tape without end, the same for the same seed, published as records and remembered."""

from __future__ import annotations

import asyncio
import contextlib
import random

import numpy as np

from tapelab.common.clock import SystemClock
from tapelab.common.codec import encode
from tapelab.common.errors import TapelabError
from tapelab.common.pipeline import tick_lineage
from tapelab.common.runtime.headers import INGEST, stamp
from tapelab.common.runtime.kafka import BrokerError, new_producer
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.schemas.ticks import TickBatch
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import TICKS, qualified
from tapelab.quant.dtypes import TICK_COLUMNS
from tapelab.quant.ticks import Ticks

#: They fall on all four partitions, two of them with company.
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT", "BNBUSDT", "LINKUSDT", "LTCBTC")
_START_NS = 1_763_553_600 * 1_000_000_000
_DAY_NS = 86_400 * 1_000_000_000


class Tape:
    """Rounds of batches, one per symbol; every symbol walks on its own."""

    def __init__(self, seed: int, *, stream: int = 1, symbols: tuple[str, ...] = SYMBOLS, prints: int = 40) -> None:
        self.symbols = symbols
        self._stream = stream
        self._lineage = tick_lineage("recovery", str(seed))
        self._rng = {s: np.random.default_rng([seed, stream, i]) for i, s in enumerate(symbols)}
        self._next_seq = dict.fromkeys(symbols, 0)
        self._price = dict.fromkeys(symbols, 100.0)
        # Some hours before midnight: the tape crosses into another trading day.
        self._ts_ns = dict.fromkeys(symbols, _START_NS + stream * 10 * _DAY_NS - 600000000000)
        self._prints = prints

    def round(self) -> list[TickBatch]:
        """The next batch of every symbol."""
        return [self._batch(symbol) for symbol in self.symbols]

    def _batch(self, symbol: str) -> TickBatch:
        rng = self._rng[symbol]
        n = int(rng.integers(self._prints // 2, self._prints + 1))
        ts_ns = self._ts_ns[symbol] + np.cumsum(rng.integers(1_000_000, 200_000_000, n))
        price = np.round(self._price[symbol] + np.cumsum(rng.integers(-3, 4, n)) * 0.01, 2)
        aggressor = rng.choice(np.array([-1, 1], np.int8), n)
        columns = {
            "ts_event_ns": ts_ns,
            "price": np.maximum(price, 1.0),
            "volume": rng.integers(1, 50, n).astype(float),
            "aggressor": aggressor,
            "aggressor_source": np.zeros(n, np.uint8),
            "trade_type": np.where(aggressor > 0, 2, 3).astype(np.uint8),
            "flags": np.zeros(n, np.uint16),
            "buy_agent": rng.integers(0, 9, n).astype(np.int32),
            "sell_agent": rng.integers(0, 9, n).astype(np.int32),
            "trade_id": np.full(n, -1),
        }
        ticks = Ticks._make(columns[name].astype(dtype) for name, dtype in TICK_COLUMNS)
        batch = TickBatch.pack(
            ticks,
            symbol=symbol,
            exchange="BINANCE",
            stream=self._stream,
            lineage=self._lineage,
            first_seq=self._next_seq[symbol],
        )
        self._next_seq[symbol] += n
        self._ts_ns[symbol], self._price[symbol] = int(ts_ns[-1]), float(columns["price"][-1])
        return batch


class Feeder:
    """Publishes a tape round by round and remembers what the broker has acknowledged.

    A round is acknowledged before the next one is sent. One that fails is sent again whole by a new producer: the
    log may then hold prints twice, and never one before its predecessor.
    """

    def __init__(self, settings: CommonSettings, tape: Tape) -> None:
        self._settings = settings
        self._tape = tape
        self._clock = SystemClock()
        self._publisher: Publisher | None = None
        self.sent: list[TickBatch] = []
        self.resent = 0
        #: Where it is set, some batches come cut in half instead of whole.
        self.broken: random.Random | None = None

    @property
    def prints(self) -> int:
        """Prints acknowledged so far."""
        return sum(batch.n for batch in self.sent)

    async def rounds(self, count: int, *, pause_s: float = 0.0) -> None:
        """Publish so many rounds."""
        for _ in range(count):
            batches = self._tape.round()
            values = [encode(batch) for batch in batches]
            whole = [self.broken is None or self.broken.random() > 0.03 for _ in batches]
            cut = [raw if kept else raw[: len(raw) // 2] for raw, kept in zip(values, whole, strict=True)]
            await self._acknowledged([(b.symbol, raw) for b, raw in zip(batches, cut, strict=True)])
            self.sent += [batch for batch, kept in zip(batches, whole, strict=True) if kept]
            await asyncio.sleep(pause_s)

    async def until(self, done: asyncio.Event, *, pause_s: float = 0.0) -> None:
        """Publish until told to stop."""
        while not done.is_set():
            await self.rounds(1, pause_s=pause_s)

    async def raw(self, topic: str, key: bytes | None, value: bytes | None, partition: int) -> None:
        """Publish a record as it is."""
        producer = new_producer(self._settings)
        await producer.start()
        try:
            await producer.send_and_wait(
                qualified(self._settings.namespace, topic), value, key=key, partition=partition
            )
        finally:
            await producer.stop()

    async def close(self) -> None:
        """Give the connection back."""
        if self._publisher is not None:
            await self._publisher.__aexit__(None, None, None)
            self._publisher = None

    async def _acknowledged(self, records: list[tuple[str, bytes]]) -> None:
        while True:
            try:
                async with asyncio.timeout(10):
                    if self._publisher is None:
                        self._publisher = await Publisher(self._settings).__aenter__()
                    headers = [stamp(INGEST, self._clock.now_ns())]
                    for symbol, raw in records:
                        await self._publisher.send(TICKS, symbol, raw, headers=headers)
                    await self._publisher.flush()
                return
            except (TapelabError, BrokerError, TimeoutError, OSError):
                # A source tries until the broker takes it.
                self.resent += 1
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        await self.close()
                self._publisher = None
                await asyncio.sleep(0.3)
