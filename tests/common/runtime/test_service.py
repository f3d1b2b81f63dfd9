"""The life of a service process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

#: A service whose way out is barred: it waits for something that never comes.
STUCK = """
import asyncio
from tapelab.common.runtime import service

service.STOP_S = 0.3

async def main(ctx):
    ctx.log.info("waiting")
    BARRED

service.run_service("stuck", {"TAPELAB_HTTP_PORT": "0", "TAPELAB_HTTP_HOST": "127.0.0.1"}, main)
"""


@pytest.mark.slow
@pytest.mark.parametrize("barred", ["await asyncio.Event().wait()", "while True: sum(range(1000))"])
def test_a_service_that_does_not_stop_ends_all_the_same(barred: str) -> None:
    """It waits for ever, or computes and leaves its event loop no turn."""
    script = STUCK.replace("BARRED", barred)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        while "waiting" not in service.stdout.readline():
            assert service.poll() is None
        service.send_signal(signal.SIGTERM)
        said, _ = service.communicate(timeout=30)
    assert service.returncode == 1
    assert "did not stop within 0.3 s" in said


#: Ready after a word on its standard input, busy after another.
PROBED = """
import asyncio, sys, time
from tapelab.common.runtime import health, service

health.STUCK_S = 0.5

async def word():
    await asyncio.to_thread(sys.stdin.readline)

async def main(ctx):
    await word()
    ctx.waiting("broker", "connection refused")
    ctx.ready(detail="playing")
    await word()
    ctx.answered("broker")
    await word()
    time.sleep(3)
    await ctx.stopping.wait()

service.run_service("probed", {"TAPELAB_HTTP_PORT": "0", "TAPELAB_HTTP_HOST": "127.0.0.1"}, main)
"""


@pytest.mark.slow
def test_probes_of_a_process_from_its_start_to_a_stuck_loop() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROBED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as service:
        assert service.stdin is not None
        assert service.stdout is not None
        port = json.loads(service.stdout.readline())["http_port"]

        def ask(page: str) -> tuple[int, str]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/{page}", timeout=10) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        def until(page: str, status: int, said: str) -> None:
            deadline = time.monotonic() + 20
            while (answer := ask(page))[0] != status or said not in answer[1]:
                assert time.monotonic() < deadline, answer
                time.sleep(0.02)

        def say(word: str) -> None:
            service.stdin.write(f"{word}\n")  # type: ignore[union-attr]
            service.stdin.flush()  # type: ignore[union-attr]

        until("readyz", 503, '"state":"starting"')
        say("go on")
        until("readyz", 503, '"waiting_for":{"broker":{"since":')
        assert "tapelab_ready 0.0" in ask("metrics")[1]
        say("it answers")
        until("readyz", 200, '"detail":"playing"')
        assert ask("healthz")[0] == 200
        metrics = ask("metrics")[1]
        assert "tapelab_ready 1.0" in metrics
        assert 'tapelab_reconnects_total{dependency="broker"} 1.0' in metrics
        assert 'tapelab_gc_pause_seconds_count{generation="2"} 1.0' in metrics
        say("hang")
        until("healthz", 503, "the event loop is stuck")
        until("healthz", 200, '"alive":true')
        service.send_signal(signal.SIGTERM)
        said, _ = service.communicate(timeout=30)
    assert service.returncode == 0
    (held,) = [line for line in map(json.loads, said.splitlines()) if "event loop was held" in line["message"]]
    assert held["cause"] == "waiting"
    assert "main (<string>" in held["held_by"]
