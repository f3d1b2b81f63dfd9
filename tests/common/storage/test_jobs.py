"""The queue of experiments."""

from __future__ import annotations

import asyncio

import pytest

from tapelab.common.clock import ManualClock
from tapelab.common.errors import RegistryError
from tapelab.common.storage.jobs import ExperimentEnded, Jobs, UnknownExperiment


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def jobs(pool, clock) -> Jobs:
    return Jobs(pool, clock)


async def test_experiments_are_claimed_oldest_first_and_each_once(jobs):
    made = [await jobs.create({"n": n}, f"run {n}") for n in range(3)]
    claimed = await asyncio.gather(*(jobs.claim(f"w{n}") for n in range(3)))
    assert sorted(job.id for job in claimed) == [job.id for job in made]
    assert {job.status for job in claimed} == {"running"}
    assert await jobs.claim("w9") is None


async def test_a_worker_that_falls_silent_loses_its_experiment_and_cannot_finish_it(jobs, clock):
    made = await jobs.create({}, "run")
    await jobs.claim("first")
    clock.advance(29)
    assert await jobs.claim("second") is None
    clock.advance(2)
    assert (await jobs.claim("second")).id == made.id
    assert not await jobs.heartbeat(made.id, "first")
    with pytest.raises(RegistryError, match="worker"):
        await jobs.set_status(made.id, "done", worker="first")
    assert await jobs.heartbeat(made.id, "second", progress=0.5, stage="train")
    assert ((await jobs.get(made.id)).progress, (await jobs.get(made.id)).stage) == (0.5, "train")


async def test_an_experiment_that_kills_its_workers_fails_with_a_reason(jobs, clock):
    made = await jobs.create({}, "run")
    for n in range(3):
        assert (await jobs.claim(f"w{n}")).attempts == n + 1
        clock.advance(31)
    assert await jobs.claim("w3") is None
    failed = await jobs.get(made.id)
    assert failed.status == "failed"
    assert "died 3 times" in failed.error


async def test_a_stopped_experiment_tells_its_worker_to_give_up(jobs):
    made = await jobs.create({}, "run")
    await jobs.claim("w")
    await jobs.set_status(made.id, "stopped")
    assert not await jobs.heartbeat(made.id, "w")


async def test_a_result_stays_when_a_later_status_brings_none(jobs):
    made = await jobs.create({"name": "x"}, "x")
    gate = {"passed": False, "rules": []}
    await jobs.set_status(made.id, "running", result={"model_id": "m1", "gate": gate})
    done = await jobs.set_status(made.id, "done")
    assert (done.result, done.progress) == ({"model_id": "m1", "gate": gate}, 1.0)
    (summary,) = await jobs.summaries()
    assert (summary.model_id, summary.gate) == ("m1", gate)


async def test_lists_are_newest_first_and_can_be_paged(jobs):
    made = [await jobs.create({}, f"run {n}") for n in range(4)]
    assert [job.id for job in await jobs.list(2)] == [made[3].id, made[2].id]
    page = await jobs.summaries(2, before=made[2].number)
    assert [job.id for job in page] == [made[1].id, made[0].id]


async def test_an_unknown_experiment_is_an_error_that_names_it(jobs):
    with pytest.raises(UnknownExperiment, match="exp-77"):
        await jobs.get("exp-77")
    with pytest.raises(UnknownExperiment):
        await jobs.set_status("exp-77", "done")


async def test_events_count_from_one_per_subject_without_holes_under_concurrency(jobs):
    await asyncio.gather(*(jobs.append_event("exp-1", "log", {"n": n}) for n in range(12)))
    assert (await jobs.append_event("exp-2", "status", {})).seq == 1
    events = await jobs.events("exp-1")
    assert [event.seq for event in events] == list(range(1, 13))
    assert {event.data["n"] for event in events} == set(range(12))
    assert [event.seq for event in await jobs.events("exp-1", after_seq=10)] == [11, 12]


async def test_a_waiting_and_a_running_experiment_are_stopped_at_once_and_it_is_recorded(jobs):
    running, waiting = await jobs.create({}, "a"), await jobs.create({}, "b")
    await jobs.claim("w")
    for made in (running, waiting):
        stopped, event = await jobs.stop(made.id, "wrong tape")
        assert (stopped.status, stopped.error) == ("stopped", "wrong tape")
        assert await jobs.events(made.id) == [event]
        assert event.data == {"status": "stopped", "reason": "wrong tape"}
    assert not await jobs.heartbeat(running.id, "w")
    assert await jobs.claim("w") is None


async def test_an_experiment_that_has_ended_cannot_be_stopped(jobs):
    made = await jobs.create({}, "run")
    await jobs.stop(made.id, "first")
    with pytest.raises(ExperimentEnded, match="queued or running, got stopped"):
        await jobs.stop(made.id, "second")
    assert (await jobs.get(made.id)).error == "first"
    with pytest.raises(UnknownExperiment):
        await jobs.stop("exp-77", "x")


async def test_all_that_wait_or_run_are_stopped_and_what_has_ended_stays(jobs):
    made = [await jobs.create({}, f"run {n}") for n in range(3)]
    await jobs.set_status(made[0].id, "done")
    await jobs.claim("w")
    assert await jobs.stop_all("a new run begins") == [made[1].id, made[2].id]
    assert [row.status for row in reversed(await jobs.list())] == ["done", "stopped", "stopped"]
    assert [event.data["reason"] for event in await jobs.events(made[2].id)] == ["a new run begins"]
    assert await jobs.stop_all("again") == []


@pytest.mark.parametrize("status", ["done", "failed", "queued"])
async def test_a_worker_cannot_undo_a_stop(jobs, status):
    made = await jobs.create({}, "run")
    await jobs.claim("w")
    await jobs.stop(made.id, "x")
    with pytest.raises(RegistryError, match="got stopped, worker w"):
        await jobs.set_status(made.id, status, worker="w")
    assert (await jobs.get(made.id)).status == "stopped"


async def test_after_a_stop_there_is_nothing_to_finish(jobs):
    made = await jobs.create({}, "run")
    await jobs.claim("w")
    async with jobs.finishing(made.id, "other") as finish:
        assert finish is None
    await jobs.stop(made.id, "x")
    async with jobs.finishing(made.id, "w") as finish:
        assert finish is None


async def test_a_stop_that_comes_while_a_model_is_registered_comes_too_late(jobs):
    made = await jobs.create({}, "run")
    await jobs.claim("w")
    async with jobs.finishing(made.id, "w") as finish:
        stopping = asyncio.create_task(jobs.stop(made.id, "x"))
        done, _ = await asyncio.wait({stopping}, timeout=0.1)
        assert not done
        await finish({"model_id": "m1"})
    with pytest.raises(ExperimentEnded, match="got done"):
        await stopping
    row = await jobs.get(made.id)
    assert (row.status, row.progress, row.result) == ("done", 1.0, {"model_id": "m1"})


async def test_a_worker_that_fails_while_it_registers_leaves_the_experiment_running(jobs):
    made = await jobs.create({}, "run")
    await jobs.claim("w")

    async def fail() -> None:
        async with jobs.finishing(made.id, "w") as finish:
            await finish({"model_id": "m1"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    row = await jobs.get(made.id)
    assert (row.status, row.result) == ("running", None)
