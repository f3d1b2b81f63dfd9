"""The trial ledger: configurations counted once each, on shared data only, and never taken back."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from tapelab.common.errors import RegistryError
from tapelab.common.storage.ledger import FileLedger, Ledger, PostgresLedger, Trial


def trial(config: str = "a", **changes: Any) -> Trial:
    fields: dict[str, Any] = {
        "name": "one",
        "config_digest": config,
        "data_digest": "d",
        "symbols": ("WINZ26", "WDOZ26"),
        "first_ns": 1_000,
        "last_ns": 2_000,
        "sharpe": 0.1,
        "block_ns": 300,
        "blocks": (3, 4, 6),
        "returns": (0.5, -0.25, 1e-17),
        "recorded_ns": 5,
    }
    return Trial(**(fields | changes))


@pytest.fixture(params=["postgres", "file"])
def ledger(request, tmp_path) -> Ledger:
    if request.param == "file":
        return FileLedger(tmp_path / "trials.jsonl")
    return PostgresLedger(request.getfixturevalue("pool"))


async def test_a_trial_comes_back_as_it_was_recorded(ledger) -> None:
    history = await ledger.record(trial(experiment_id="exp-1"))
    assert (history.n_trials, history.recent) == (1, [trial(experiment_id="exp-1")])
    assert history.sharpes == [(0.1, 300)]


async def test_a_configuration_counts_once_however_often_it_runs(ledger) -> None:
    await ledger.record(trial("a"))
    await ledger.record(trial("b", sharpe=None))
    history = await ledger.record(trial("a", sharpe=0.7, last_ns=3_000))
    assert history.n_trials == 2
    assert [one.config_digest for one in history.recent] == ["a", "b"]
    assert history.sharpes == [(0.7, 300)]


async def test_only_trials_on_a_shared_moment_of_a_shared_symbol_count(ledger) -> None:
    await ledger.record(trial("earlier", first_ns=0, last_ns=999))
    await ledger.record(trial("touching", first_ns=2_000, last_ns=2_500))
    await ledger.record(trial("later", first_ns=2_001, last_ns=2_500))
    await ledger.record(trial("elsewhere", symbols=("BOVA11",)))
    await ledger.record(trial("one of them", symbols=("WDOZ26",)))
    history = await ledger.record(trial("now"))
    assert [one.config_digest for one in history.recent] == ["now", "one of them", "touching"]


async def test_the_table_takes_nothing_back(pool) -> None:
    await PostgresLedger(pool).record(trial())
    for statement in ("UPDATE trials SET sharpe = 0", "DELETE FROM trials"):
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await pool.execute(statement)


async def test_a_line_that_cannot_be_read_is_never_passed_over(tmp_path) -> None:
    path = tmp_path / "trials.jsonl"
    await FileLedger(path).record(trial())
    path.write_bytes(path.read_bytes() + b'{"name":\n')
    with pytest.raises(RegistryError, match=r"line 2 of .*trials\.jsonl cannot be read"):
        await FileLedger(path).record(trial())
