"""The trial ledger: every configuration that was ever tried on a span of data, so that luck can be discounted.

A trial counts from the moment its test results exist, whatever becomes of it. The same configuration on the
same or a longer span is one trial however often it runs: repeating it chooses nothing.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import asyncpg
import msgspec

from tapelab.common.errors import RegistryError

#: Trials whose returns are given back for comparison; all of them are counted.
COMPARED: Final = 100


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One configuration and what it earned on test data.

    Args:
        name: of the experiment, for people.
        config_digest: of everything that makes it another configuration.
        data_digest: of the prints.
        symbols: traded ones.
        first_ns: event time of the first test sample; with ``last_ns`` the span that was looked at.
        sharpe: mean over standard deviation of ``returns``; None where undefined.
        block_ns: length of a block of event time.
        blocks: numbers of the blocks (event time over ``block_ns``), ascending.
        returns: net return per block.
    """

    name: str
    config_digest: str
    data_digest: str
    symbols: tuple[str, ...]
    first_ns: int
    last_ns: int
    sharpe: float | None
    block_ns: int
    blocks: tuple[int, ...]
    returns: tuple[float, ...]
    recorded_ns: int
    experiment_id: str | None = None

    def shares_data(self, other: Trial) -> bool:
        """Whether both looked at a moment of the same symbol."""
        together = self.first_ns <= other.last_ns and other.first_ns <= self.last_ns
        return together and not set(self.symbols).isdisjoint(other.symbols)


class History(NamedTuple):
    """Configurations tried on data that a trial shares, itself included; each once, by its newest record.

    Args:
        n_trials: how many.
        sharpes: their defined ratios, each with the length of its blocks in nanoseconds.
        recent: the newest :data:`COMPARED` of them, newest first.
        where: where they are counted, for people.
    """

    n_trials: int
    sharpes: list[tuple[float, int]]
    recent: list[Trial]
    where: str


class Ledger(Protocol):
    """Where trials are counted."""

    async def record(self, trial: Trial) -> History:
        """Add a trial, and give back what was tried on its data."""
        ...


class PostgresLedger:
    """The table ``trials``, which refuses updates and deletions."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def record(self, trial: Trial) -> History:
        """Add a trial, and give back what was tried on its data."""
        fields = msgspec.structs.asdict(trial)
        columns = list(fields)
        values = [list(value) if isinstance(value, tuple) else value for value in fields.values()]
        places = ", ".join(f"${i}" for i in range(1, len(columns) + 1))
        newest = (
            "SELECT DISTINCT ON (config_digest) * FROM trials "
            "WHERE symbols && $1::text[] AND first_ns <= $2 AND last_ns >= $3 ORDER BY config_digest, number DESC"
        )
        span = [list(trial.symbols), trial.last_ns, trial.first_ns]
        async with self._pool.acquire() as conn, conn.transaction():
            await conn.execute(f"INSERT INTO trials ({', '.join(columns)}) VALUES ({places})", *values)
            counted = await conn.fetch(f"SELECT sharpe, block_ns FROM ({newest}) AS t ORDER BY number DESC", *span)
            rows = await conn.fetch(f"SELECT * FROM ({newest}) AS t ORDER BY number DESC LIMIT {COMPARED}", *span)
        sharpes = [(row["sharpe"], row["block_ns"]) for row in counted if row["sharpe"] is not None]
        return History(len(counted), sharpes, [_trial(row) for row in rows], "the table trials")


class FileLedger:
    """A file of JSON lines, for experiments without a stack: it counts what is written into its folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def record(self, trial: Trial) -> History:
        """Add a trial, and give back what was tried on its data.

        Raises:
            RegistryError: a line of the file cannot be read; a trial must never be overlooked.
        """
        return await asyncio.to_thread(self._record, trial)

    def _record(self, trial: Trial) -> History:
        trials = [*self._read(), trial]
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(trial) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return history_of(trial, trials, f"{self._path.name} beside the result")

    def _read(self) -> list[Trial]:
        if not self._path.exists():
            return []
        trials = []
        for number, line in enumerate(self._path.read_bytes().splitlines(), start=1):
            try:
                trials.append(msgspec.json.decode(line, type=Trial))
            except msgspec.MsgspecError as error:
                raise RegistryError(
                    f"line {number} of {self._path} cannot be read",
                    expected="a trial as JSON",
                    actual=str(error),
                    remedy="restore the file, or write to another folder, which counts from one again",
                ) from error
        return trials


def history_of(trial: Trial, trials: Sequence[Trial], where: str) -> History:
    """The distinct configurations among ``trials`` (oldest first) that share data with ``trial``."""
    newest: dict[str, Trial] = {}
    for one in reversed(trials):
        if one.shares_data(trial):
            newest.setdefault(one.config_digest, one)
    found = list(newest.values())
    sharpes = [(one.sharpe, one.block_ns) for one in found if one.sharpe is not None and math.isfinite(one.sharpe)]
    return History(len(found), sharpes, found[:COMPARED], where)


def _trial(row: Any) -> Trial:
    return msgspec.convert({field: row[field] for field in Trial.__struct_fields__}, Trial)
