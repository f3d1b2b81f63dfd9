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
    await asyncio.Event().wait()

service.run_service("stuck", {"TAPELAB_HTTP_PORT": "0", "TAPELAB_HTTP_HOST": "127.0.0.1"}, main)
"""


@pytest.mark.slow
def test_a_service_that_does_not_stop_ends_all_the_same() -> None:
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        while "waiting" not in service.stdout.readline():
            assert service.poll() is None
        service.send_signal(signal.SIGTERM)
        said, _ = service.communicate(timeout=30)
    assert service.returncode == 1
    assert "did not stop within 0.3 s" in said
