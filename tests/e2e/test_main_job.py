"""The README's first command, from tape to signals, while it is looked at, poisoned and shot at.

The tests share one run and stand in its order; the last ones hold what flowed against the offline
recomputation.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tapelab.common import topics
from tapelab.common.runtime.publisher import Publisher
from tapelab.common.runtime.reader import TopicReader
from tapelab.common.settings import CommonSettings, load
from tests.e2e.stack import Running

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

WANTED = 700
BEGINNING = 20


@pytest.fixture(scope="module")
def running(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    started = Running(repository, tmp_path_factory.mktemp("stack") / "run", EXIT_AFTER_SIGNALS=str(WANTED))
    try:
        yield started
    finally:
        artifacts = repository / "test-artifacts" / "logs"
        shutil.rmtree(artifacts, ignore_errors=True)
        if (started.folder / "logs").is_dir():
            shutil.copytree(started.folder / "logs", artifacts)
        started.close()


@pytest.fixture(scope="module")
def settings(running: Running) -> CommonSettings:
    stack = running.until("stack", running.stack)
    return load(CommonSettings, stack["environ"])


def test_the_readme_names_this_command(repository: Path) -> None:
    readme = (repository / "README.md").read_text()
    assert re.search(r"^make up$", readme, re.MULTILINE)
    assert re.search(r"^make up EXIT_AFTER_SIGNALS=50$", readme, re.MULTILINE)


def test_a_model_is_trained_passes_the_gate_and_becomes_champion(running: Running) -> None:
    def judged() -> Any:
        found = running.get("/ml/experiments")
        return [e for e in found["items"] if e["gate"]] if found else None

    experiment = running.until("judged experiment", judged)[0]
    assert experiment["gate"]["passed"], experiment["gate"]
    champion = running.until("champion", lambda: running.get("/ml/data/status")["champion"], 30)
    assert champion["model_id"] == experiment["model_id"]
    assert champion["mode"] == "live"


def test_signals_flow(running: Running) -> None:
    running.until("signals", lambda: running.signals() >= BEGINNING)
    items = running.get("/ml/signals?limit=5")["items"]
    assert all(isinstance(s["ts_event_ns"], str) for s in items)
    assert {s["mode"] for s in items} == {"live"}


@pytest.mark.browser
def test_the_page_shows_signals_live_without_a_console_error(running: Running, repository: Path) -> None:
    from tests.e2e.browser import look

    page_url = running.until("stack", running.stack)["page"]
    seen = look(page_url, repository / "test-artifacts")
    assert seen.errors == []
    assert seen.rows_before > 0
    assert seen.newest_before != seen.newest_after, "no new signal appeared while the page was open"
    assert (repository / "test-artifacts" / "ai-lab-light.png").stat().st_size > 20_000
    assert (repository / "test-artifacts" / "ai-lab-dark.png").stat().st_size > 20_000


@pytest.mark.parametrize("topic", [topics.TICKS, topics.BARS, topics.FEATURES, topics.SIGNALS, topics.EVENTS])
def test_poison_goes_to_the_dead_letter_topic_with_its_reason_and_the_flow_goes_on(
    topic: str, running: Running, settings: CommonSettings
) -> None:
    poison = b"\xc1 this is no record of " + topic.encode()

    async def poisoned() -> list[bytes]:
        async with TopicReader(settings, [topic + topics.DLQ_SUFFIX], start="earliest") as reader:
            async with Publisher(settings) as publisher:
                await publisher.send(topic, "WINZ26", poison)
                await publisher.flush()
            for _ in range(150):
                for record in await reader.poll():
                    if record.value == poison:
                        return [value for name, value in record.headers if name == "dlq-reason"]
        return []

    (reason,) = asyncio.run(poisoned())
    assert topic.encode() in reason
    before = running.signals()
    running.until("more signals", lambda: running.signals() > before, 60)


def test_dead_letters_are_listed(running: Running) -> None:
    listed = running.command("dlq", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    letters = json.loads(listed.stdout)
    assert {letter["topic"] for letter in letters} >= {topics.TICKS, topics.BARS, topics.FEATURES}
    shown = running.command("dlq", "show", letters[0]["id"])
    assert "reason: record on md." in shown.stdout
    assert b"\xc1 this is no".hex(" ") in shown.stdout


def test_a_signal_explains_itself_to_the_bit(running: Running) -> None:
    newest = running.get("/ml/signals?limit=1")["items"][0]
    explained = running.command("explain", newest["signal_id"], "--json")
    assert explained.returncode == 0, explained.stderr
    assert json.loads(explained.stdout)["same_bits"] == {"features": True, "score": True, "expected_return": True}


def test_every_command_that_the_readme_shows_beside_a_running_stack_works(running: Running, repository: Path) -> None:
    readme = (repository / "README.md").read_text()
    lines = re.findall(r"^\.venv/bin/tapelab (.+)$", readme, re.MULTILINE)
    assert len(lines) >= 5
    for line in lines:
        done = running.command(*shlex.split(line))
        assert done.returncode == 0, f"tapelab {line}: {done.stderr}"
        assert done.stdout.strip(), line


@pytest.mark.parametrize("module", ["tapelab.bars", "tapelab.features", "tapelab.inference"])
def test_kill_9_in_mid_flow_is_survived(module: str, running: Running) -> None:
    before = running.signals()
    for _ in range(2):
        running.kill(module)
    running.until("more signals", lambda: running.signals() > before, 90)


def test_a_halt_closes_positions_and_a_resume_ends_it(running: Running) -> None:
    assert running.command("halt", "*", "--reason", "a test").returncode == 0

    def closed() -> Any:
        return [s for s in running.get("/ml/signals?limit=20")["items"] if s["reason"] == "halt"]

    signals = running.until("closing signals", closed, 60)
    assert {s["side"] for s in signals} == {0}
    assert {s["halt_reason"] for s in signals} == {"a test"}
    assert running.command("resume", "*").returncode == 0


def test_nothing_is_lost_and_nothing_doubled(running: Running) -> None:
    code = running.process.wait(600)
    assert code == 0, running.story()
    result = json.loads(running.output.splitlines()[-1])
    assert set(result) == {
        *("ticks", "bars", "features", "signals", "lost", "doubled"),
        *("latency_ms", "champion", "train_s", "first_signal_s", "wall_s"),
    }
    assert (result["lost"], result["doubled"]) == (0, 0), running.story()
    assert result["signals"] >= WANTED
    assert result["champion"]
    assert set(result["latency_ms"]) == {"p50", "p95", "p99"}


def test_no_process_stays_behind(running: Running) -> None:
    left = [
        p.info["cmdline"]
        for p in psutil.process_iter(["cmdline", "environ"])
        if (p.info["environ"] or {}).get("TAPELAB_RUN_DIR") == str(running.folder)
        or any(str(running.folder) in word for word in p.info["cmdline"] or ())
    ]
    assert left == []
    assert running.command("status").returncode == 3


def test_ctrl_c_stops_everything_and_a_second_start_reuses_what_is_there(running: Running, repository: Path) -> None:
    again = Running(repository, running.folder)
    try:
        again.until("a stack", again.stack)
        again.until("ticks", lambda: (again.get("/ml/data/status") or {"totals": {"ticks": 0}})["totals"]["ticks"])
        models = again.command("models", "list", "--json")
        assert len(json.loads(models.stdout)["models"]) >= 1, "the registry of the first start is gone"
        children = again.descendants()
        assert children
        again.interrupt()
        again.process.wait(60)
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []
    finally:
        again.close()


def test_a_wrong_tape_is_one_clear_line(repository: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("this is\nno tape\n")
    failed = subprocess.run(
        [str(repository / ".venv/bin/tapelab"), "up", "--tape", str(wrong), "--exit-after-signals", "1"],
        cwd=repository,
        env={"PATH": "/usr/bin:/bin", "TAPELAB_RUN_DIR": str(tmp_path / "run")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert failed.returncode != 0
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith("tapelab: ")
    assert "wrong.csv" in last
