"""A paper engine for ``ml.signals.v1``: the pattern for a real one, in one file and without tapelab.

    python examples/execution_engine.py --broker HOST:PORT --database paper.sqlite

What a real engine should take from it:

* Signals are read **committed** only. Orders, positions and offsets change in one database transaction, so a
  restart neither forgets an order nor sends one twice; ``signal_id`` is the client order id.
* ``side`` is a **target**: what to trade is the difference to the position that is held, never the signal.
* A signal past ``valid_until_ns`` opens nothing; **closing is always right**. A halted one only closes.
* A lower **stream** than the symbol's newest is of an older run and is dropped.
* Only **live** signals are followed; ``--shadow`` keeps books of the other modes beside them, by mode.

Every fill, and everything that was left undone and why, is one JSON line on standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (client_order_id TEXT PRIMARY KEY, symbol TEXT, mode TEXT, quantity REAL, price REAL);
CREATE TABLE IF NOT EXISTS positions (symbol TEXT, mode TEXT, lots REAL, average REAL, pnl REAL,
    PRIMARY KEY (symbol, mode));
CREATE TABLE IF NOT EXISTS streams (symbol TEXT PRIMARY KEY, stream INTEGER);
CREATE TABLE IF NOT EXISTS offsets (partition INTEGER PRIMARY KEY, next_offset INTEGER);
"""

#: What the engine needs of a signal; 64-bit integers travel as strings.
FIELDS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("signal_id", "symbol", "mode", "reason"), str),
    **dict.fromkeys(("stream", "side", "ts_event_ns", "valid_until_ns"), int),
    **dict.fromkeys(("ref_price", "expected_cost"), float),
    "halted": bool,
}

Line = dict[str, Any]


class Position(NamedTuple):
    """Lots held (negative is short), their average price, and the profit realised so far, net of costs."""

    lots: float = 0.0
    average: float = 0.0
    pnl: float = 0.0

    def traded(self, quantity: float, price: float) -> Position:
        """The position after buying (or, negative, selling) at a price."""
        closed = min(abs(quantity), abs(self.lots)) if quantity * self.lots < 0 else 0.0
        pnl = self.pnl + closed * (price - self.average) * (1 if self.lots > 0 else -1)
        lots = self.lots + quantity
        if closed == 0.0:  # opened or added to
            average = (self.average * abs(self.lots) + price * abs(quantity)) / abs(lots)
        else:  # reduced, closed, or turned over
            average = self.average if lots * self.lots > 0 else (price if lots else 0.0)
        return Position(lots, average, pnl)


class PaperEngine:
    """Decides and remembers; knows no Kafka.

    Args:
        database: an SQLite connection; it holds everything that must survive a restart.
        shadow: follow the modes beside live as well.
        lots: what one side of a signal means.
        now_ns: the clock that ``valid_until_ns`` is held against. None is each signal's own event time, for
            tapes that are replayed, where none is ever late. A real engine uses the wall clock.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        *,
        shadow: bool = False,
        lots: float = 1.0,
        now_ns: Callable[[], int] | None = None,
    ) -> None:
        self._db = database
        self._db.executescript(SCHEMA)
        self._modes = {"live", "canary", "shadow"} if shadow else {"live"}
        self._lots = lots
        self._now_ns = now_ns

    def on_record(self, partition: int, offset: int, value: bytes) -> list[Line]:
        """Take one record of the topic; the lines to print, once they are safe on disk."""
        with self._db:  # commits on the way out, rolls back on an exception
            if offset < self.next_offset(partition):
                return []
            self._db.execute("INSERT OR REPLACE INTO offsets VALUES (?, ?)", (partition, offset + 1))
            try:
                signal = {name: kind(fields[name]) for fields in [json.loads(value)] for name, kind in FIELDS.items()}
            except (ValueError, KeyError, TypeError) as error:
                return [{"event": "unreadable", "partition": partition, "offset": offset, "why": repr(error)}]
            return self._on_signal(signal)

    def next_offset(self, partition: int) -> int:
        """Where to read on; 0 at first."""
        row = self._db.execute("SELECT next_offset FROM offsets WHERE partition = ?", (partition,)).fetchone()
        return int(row[0]) if row else 0

    def position(self, symbol: str, mode: str = "live") -> Position:
        """What is held."""
        query = "SELECT lots, average, pnl FROM positions WHERE symbol = ? AND mode = ?"
        row = self._db.execute(query, (symbol, mode)).fetchone()
        return Position(*row) if row else Position()

    def _on_signal(self, signal: Line) -> list[Line]:
        symbol, mode, order = signal["symbol"], signal["mode"], signal["signal_id"]
        now_ns = signal["ts_event_ns"] if self._now_ns is None else self._now_ns()
        if mode not in self._modes:
            return []
        if self._db.execute("SELECT 1 FROM orders WHERE client_order_id = ?", (order,)).fetchone():
            return [self._left(signal, "sent already")]
        newest = self._db.execute("SELECT stream FROM streams WHERE symbol = ?", (symbol,)).fetchone()
        if newest and signal["stream"] < newest[0]:
            return [self._left(signal, f"stream {signal['stream']} is older than {newest[0]}")]
        self._db.execute("INSERT OR REPLACE INTO streams VALUES (?, ?)", (symbol, signal["stream"]))

        held = self.position(symbol, mode)
        target, lines = signal["side"] * self._lots, []
        why = "halted" if signal["halted"] else "stale" if now_ns > signal["valid_until_ns"] else ""
        if why and target * held.lots <= 0 and target != 0:
            target = 0.0
            lines.append(self._left(signal, f"{why}: opens nothing"))
        quantity = target - held.lots
        if quantity == 0:
            return lines
        # Half of the expected round trip is paid on each side, so the profit is net of costs.
        price = signal["ref_price"] * (1 + (0.5 if quantity > 0 else -0.5) * signal["expected_cost"])
        after = held.traded(quantity, price)
        self._db.execute("INSERT INTO orders VALUES (?, ?, ?, ?, ?)", (order, symbol, mode, quantity, price))
        self._db.execute("INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)", (symbol, mode, *after))
        fill = {"event": "fill", "client_order_id": order, "symbol": symbol, "mode": mode, "quantity": quantity}
        fill |= {"price": price, "reason": signal["reason"], "position": after.lots, "pnl": after.pnl}
        return [*lines, fill | {"ts_event_ns": str(signal["ts_event_ns"])}]

    @staticmethod
    def _left(signal: Line, why: str) -> Line:
        return {"event": "left", "client_order_id": signal["signal_id"], "symbol": signal["symbol"], "why": why}


async def follow(engine: PaperEngine, broker: str, topic: str, isolation: str) -> None:
    """Read the topic for ever from where the engine's database left off."""
    from aiokafka import AIOKafkaConsumer, TopicPartition

    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=broker, enable_auto_commit=False, isolation_level=isolation, auto_offset_reset="none"
    )
    try:
        await consumer.start()
        partitions = [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]
        for where, first in (await consumer.beginning_offsets(partitions)).items():
            consumer.seek(where, max(first, engine.next_offset(where.partition)))
        async for message in consumer:
            for line in engine.on_record(message.partition, message.offset, message.value or b""):
                print(json.dumps(line), flush=True)
    finally:
        await consumer.stop()


def main() -> None:
    """Run from the command line."""
    stack = Path(os.environ.get("TAPELAB_RUN_DIR", ".run"), "stack.json")  # while `make up` runs in this folder
    known = {**(json.loads(stack.read_text())["environ"] if stack.exists() else {}), **os.environ}
    parser = argparse.ArgumentParser(description="Paper engine for tapelab's signals.")
    parser.add_argument("--broker", default=known.get("TAPELAB_BROKER"), help="TAPELAB_BROKER, or the stack here")
    parser.add_argument("--topic", default="ml.signals.v1")
    parser.add_argument("--database", default="paper.sqlite", help="orders, positions and offsets")
    parser.add_argument("--lots", type=float, default=1.0)
    parser.add_argument("--shadow", action="store_true", help="keep books of shadow and canary signals as well")
    parser.add_argument("--clock", choices=["event", "wall"], default="event", help="event: for replayed tapes")
    parser.add_argument("--isolation", choices=["read_committed", "read_uncommitted"], default="read_committed")
    chosen = parser.parse_args()
    if not chosen.broker:
        sys.exit("execution_engine: no broker: start a stack with 'make up', or give --broker or TAPELAB_BROKER")
    if not chosen.lots > 0:
        parser.error(f"--lots must be above 0, got {chosen.lots}")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it fails with is said below
    clock = time.time_ns if chosen.clock == "wall" else None
    try:
        engine = PaperEngine(sqlite3.connect(chosen.database), shadow=chosen.shadow, lots=chosen.lots, now_ns=clock)
        asyncio.run(follow(engine, chosen.broker, chosen.topic, chosen.isolation))
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(0)  # at once: whoever read the lines may be gone, and everything is on disk
    except (RuntimeError, ValueError, sqlite3.Error) as error:  # every error of aiokafka is a RuntimeError
        sys.exit(f"execution_engine: broker {chosen.broker}, database {chosen.database}: {error}")


if __name__ == "__main__":
    main()
