"""What a local stack is started on: its run folder, its ports, its database."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import pytest

from tapelab.cli.commands.stack import down
from tapelab.cli.stack.backends import Backend, EmbeddedBroker, EmbeddedRedis
from tapelab.cli.stack.layout import Layout, StackFile
from tapelab.cli.stack.ports import free_port
from tapelab.cli.stack.postgres import EmbeddedPostgres, stop_orphan
from tapelab.cli.up.job import Job
from tapelab.cli.up.observer import SignalObserver
from tapelab.cli.up.options import UpOptions
from tapelab.cli.up.screen import Screen
from tapelab.cli.up.supervisor import MAX_RESTARTS, RESTART_WINDOW_S, Deaths, Supervisor
from tapelab.common.clock import SystemClock
from tapelab.common.errors import TapelabError
from tapelab.common.runtime.outage import Outage
from tapelab.common.runtime.patience import wait_for_broker
from tapelab.common.settings import CommonSettings
from tapelab.common.storage.halts import Halt, Halts
from tapelab.common.storage.jobs import Jobs
from tapelab.common.storage.postgres import close_pool, create_pool, is_away
from tapelab.common.storage.redis import connect

pytestmark = pytest.mark.slow

HOLDER = """
import os, sys, time
from pathlib import Path
from tapelab.cli.commands.stack import down
from tapelab.cli.stack.layout import Layout
with Layout(Path(sys.argv[1])).owned():
    print("owned", flush=True)
    time.sleep(60)
"""

#: Starts PostgreSQL and then hangs, as a ``tapelab up`` that is about to be killed.
PARENT = """
import asyncio, sys, time
from pathlib import Path
from tapelab.cli.commands.stack import down
from tapelab.cli.stack.layout import Layout
from tapelab.cli.stack.postgres import EmbeddedPostgres
layout = Layout(Path(sys.argv[1]))
layout.make()
asyncio.run(EmbeddedPostgres(layout).start())
print("started", flush=True)
time.sleep(60)
"""


def helper(code: str, root: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", code, str(root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline(), "it ended at once"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def postmaster(layout: Layout) -> psutil.Process:
    return psutil.Process(int((layout.postgres / "postmaster.pid").read_text().split()[0]))


def running(processes: list[psutil.Process], timeout_s: float = 10) -> list[psutil.Process]:
    """Those that still run after the time; one that has ended and that nobody has asked about does not."""
    _, alive = psutil.wait_procs(processes, timeout=timeout_s)
    left = []
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
    return left


def ended(process: psutil.Process) -> bool:
    return not running([process])


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "run")


def test_one_stack_owns_a_run_folder(layout: Layout) -> None:
    assert layout.owner() is None
    with layout.owned():
        layout.write(StackFile(pid=os.getpid(), environ={}, page="http://127.0.0.1:1/"))
        assert layout.owner() == os.getpid()
        with pytest.raises(TapelabError, match="running already"), layout.owned():
            pytest.fail("owned twice")
    assert layout.owner() is None
    assert not layout.file.exists()


def test_a_killed_stack_gives_its_folder_up_and_its_file_says_nothing(layout: Layout) -> None:
    holder = helper(HOLDER, layout.root)
    assert layout.owner() == holder.pid
    # A process that has nothing to do with a stack has the number by now.
    layout.write(StackFile(pid=os.getpid(), environ={}, page="http://127.0.0.1:1/"))
    kill(holder)
    assert layout.owner() is None
    assert layout.read() is None
    with layout.owned():
        assert not layout.file.exists()


def test_a_taken_port_is_passed_over_and_none_is_given_twice() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port(port) > port
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert max(ports) < 32_000


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
def test_postgresql_dies_with_a_parent_that_is_killed(layout: Layout) -> None:
    parent = helper(PARENT, layout.root)
    server = postmaster(layout)
    kill(parent)
    assert ended(server)


async def test_a_server_that_was_left_behind_is_stopped_and_its_data_found(layout: Layout) -> None:
    import asyncpg

    layout.make()
    first = EmbeddedPostgres(layout)
    reached = await first.start()
    open_one = await asyncpg.connect(reached["TAPELAB_POSTGRES_DSN"])
    await open_one.execute("CREATE TABLE kept (n int)")
    left = postmaster(layout)
    second = EmbeddedPostgres(layout)
    reached = await second.start()
    assert ended(left)
    open_one.terminate()
    connection = await asyncpg.connect(reached["TAPELAB_POSTGRES_DSN"])
    assert await connection.fetchval("SELECT count(*) FROM kept") == 0
    await connection.close()
    server = postmaster(layout)
    await second.stop()
    assert ended(server)


async def test_down_stops_a_database_that_was_left_behind(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layout.make()
    await EmbeddedPostgres(layout).start()
    left = postmaster(layout)
    monkeypatch.setenv("TAPELAB_RUN_DIR", str(layout.root))
    await asyncio.to_thread(down)
    assert "left behind" in capsys.readouterr().out
    assert ended(left)
    down()
    assert capsys.readouterr().out == "no stack is running\n"


def test_a_foreign_process_with_the_number_of_a_dead_server_is_left_alone(layout: Layout) -> None:
    layout.make()
    layout.postgres.mkdir()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as foreign:
        (layout.postgres / "postmaster.pid").write_text(f"{foreign.pid}\n{layout.postgres}\n")
        assert not stop_orphan(layout.postgres)
        assert foreign.poll() is None
        foreign.kill()


@pytest.fixture
async def up(repository: Path, layout: Layout) -> AsyncIterator[asyncio.subprocess.Process]:
    """``tapelab up`` for a summary, once it can be reached; nothing of it is left after the test."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("TAPELAB_")}
    process = await asyncio.create_subprocess_exec(
        *(str(repository / ".venv/bin/tapelab"), "up", "--port", str(free_port()), "--exit-after-signals", "9999"),
        cwd=repository,
        env={**environ, "TAPELAB_RUN_DIR": str(layout.root)},
        stderr=asyncio.subprocess.PIPE,
    )
    deadline = time.monotonic() + 60
    while layout.read() is None:
        assert time.monotonic() < deadline, "no stack within 60 s"
        assert process.returncode is None
        await asyncio.sleep(0.1)
    children = psutil.Process(process.pid).children(recursive=True)
    yield process
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert running(children) == []


@pytest.fixture
def open_layout() -> Iterator[Layout]:
    """A run folder that the database's own user may enter."""
    with tempfile.TemporaryDirectory(prefix="tl-") as folder:
        os.chmod(folder, 0o755)
        yield Layout(Path(folder) / "run")


async def test_what_dies_of_the_stack_is_started_again_at_its_address(open_layout: Layout) -> None:
    """kill -9 of database, cache and broker: the same addresses answer again, and what was committed is there."""
    open_layout.make()
    backends: list[Backend] = [EmbeddedPostgres(open_layout), EmbeddedRedis(open_layout), EmbeddedBroker(open_layout)]
    reached: dict[str, str] = {}
    try:
        for backend in backends:
            reached |= await backend.start()
        dsn = reached["TAPELAB_POSTGRES_DSN"]
        pool = await create_pool(dsn)
        await pool.execute("CREATE TABLE kept AS SELECT 1 AS one")
        for backend in backends:
            child = backend.child
            assert child is not None
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
            await child.wait()
            assert await backend.restart()
        database = Outage("postgres", SystemClock(), logging.getLogger("tapelab.test"))
        assert await database.through(lambda: pool.fetchval("SELECT one FROM kept"), is_away) == 1
        await close_pool(pool)
        client = connect(reached["TAPELAB_REDIS_URL"])
        assert await client.ping()
        await client.aclose()
        await wait_for_broker(CommonSettings(broker=reached["TAPELAB_BROKER"], broker_kind="embedded"), 5)
    finally:
        for backend in backends:
            await backend.stop()


def test_what_dies_again_and_again_is_left_dead() -> None:
    deaths = Deaths()
    assert [deaths.too_many(now) for now in range(MAX_RESTARTS + 1)] == [False] * MAX_RESTARTS + [True]
    assert not deaths.too_many(RESTART_WINDOW_S * 3)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent has died")
async def test_a_killed_run_leaves_no_process_behind(up: asyncio.subprocess.Process, layout: Layout) -> None:
    log = layout.logs / "sink.log"
    deadline = time.monotonic() + 60
    while not log.exists() or "started" not in log.read_text():
        assert time.monotonic() < deadline, "no sink within 60 s"
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)  # the tape's first part is being written
    children = psutil.Process(up.pid).children(recursive=True)
    assert len(children) >= 10
    up.kill()
    await up.communicate()
    assert running(children, 20) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_run_that_was_to_end_with_a_summary_says_that_it_has_none(
    number: signal.Signals, up: asyncio.subprocess.Process
) -> None:
    up.send_signal(number)
    _, said = await asyncio.wait_for(up.communicate(), 60)
    assert up.returncode == 130
    assert "Traceback" not in said.decode()


async def test_a_run_begins_without_what_an_earlier_one_left(
    pool: Any, postgres_dsn: str, redis_url: str, repository: Path
) -> None:
    jobs = Jobs(pool, SystemClock())
    left = await jobs.create({"name": "left"}, "left")
    working = await jobs.create({"name": "working"}, "working")
    dsn = urlunsplit(urlsplit(postgres_dsn)._replace(path="/test_shared"))
    settings = CommonSettings(postgres_dsn=dsn, redis_url=redis_url)
    options, clock = UpOptions(repository=repository), SystemClock()
    supervisor = Supervisor(Layout(repository / "none"), {})
    observer = SignalObserver(settings, clock)
    redis = connect(redis_url)
    await Halts(pool, redis).halt("WINZ26", Halt(reason="too wild", by="me", set_ns=1))
    screen = Screen()
    job = Job(options, {}, settings, clock, screen, supervisor, observer, "http://127.0.0.1:1")
    await job.prepare()
    await job.close()
    await redis.flushall()
    await redis.aclose()
    assert any("WINZ26 is halted since before (too wild)" in note for note in screen._notes)
    assert {(await jobs.get(e.id)).status for e in (left, working)} == {"stopped"}


def test_a_wrong_option_of_up_costs_no_start(repository: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("name: x\nbarz: tick:50\n")
    for words, says in (
        (("--experiment", str(tmp_path / "none.yaml")), "none.yaml"),
        (("--experiment", str(wrong)), "barz"),
        (("--port", "99999"), "65535"),
    ):
        done = subprocess.run(
            [str(repository / ".venv/bin/tapelab"), "up", *words],
            cwd=repository,
            env={**os.environ, "TAPELAB_RUN_DIR": str(tmp_path / "run"), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode != 0
        assert says in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "run").exists()
