"""The life of a service process."""

from __future__ import annotations

import signal
import subprocess
import sys

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
