"""Starting the product the way its README says, and watching it from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

T = TypeVar("T")


class Running:
    """``make up`` in a folder of its own."""

    def __init__(self, repository: Path, folder: Path, **variables: str) -> None:
        self.repository = repository
        self.folder = folder
        self.environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("TAPELAB_")},
            "TAPELAB_RUN_DIR": str(folder),
        }
        self._out = folder.with_suffix(".out")
        self._err = folder.with_suffix(".err")
        command = ["make", "--no-print-directory", "up", *(f"{k}={v}" for k, v in variables.items())]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command, cwd=repository, env=self.environ, stdout=out, stderr=err, start_new_session=True
            )

    @property
    def output(self) -> str:
        """Standard output so far."""
        return self._out.read_text()

    @property
    def progress(self) -> str:
        """Standard error so far."""
        return self._err.read_text()

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``tapelab`` beside it."""
        return subprocess.run(
            [str(self.repository / ".venv/bin/tapelab"), *words],
            cwd=self.repository,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def stack(self) -> dict[str, Any] | None:
        """How to reach it, once it says so."""
        try:
            found: dict[str, Any] = json.loads((self.folder / "stack.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return found

    def get(self, path: str) -> Any:
        """A page of the gateway as JSON, None while it does not answer."""
        stack = self.stack()
        if stack is None:
            return None
        try:
            answer = httpx.get(re.sub(r"/dashboard/.*", path, stack["page"]), timeout=10)
        except httpx.HTTPError:
            return None
        return answer.json() if answer.status_code == 200 else None

    def until(self, what: str, ask: Callable[[], T | None], seconds: float = 240) -> T:
        """Ask until there is an answer."""
        deadline = time.monotonic() + seconds
        while True:
            answer = ask()
            if answer:
                return answer
            assert self.process.poll() is None, f"make up ended while waiting for {what}:\n{self.story()}"
            assert time.monotonic() < deadline, f"no {what} within {seconds} s:\n{self.story()}"
            time.sleep(0.2)

    def story(self) -> str:
        """What it said last, and what its services logged as wrong."""
        wrong = [
            f"{log.name}: {line[:2000]}"
            for log in sorted((self.folder / "logs").glob("*.log"))
            for line in log.read_text(errors="replace").splitlines()
            if re.search(r"ERROR|CRITICAL|WARNING|FATAL|panicked", line)
        ]
        return "\n".join([self.progress[-3000:], *wrong[-20:]])

    def signals(self) -> int:
        """Signals the gateway has seen."""
        status = self.get("/ml/data/status")
        return int(status["totals"]["signals"]) if status else 0

    def service(self, module: str) -> psutil.Process | None:
        """The process of a service."""
        stack = self.stack()
        if stack is None:
            return None
        for child in psutil.Process(stack["pid"]).children(recursive=True):
            try:
                if child.cmdline()[-2:] == ["-m", module]:
                    return child
            except psutil.Error:
                continue
        return None

    def kill(self, module: str) -> None:
        """kill -9, and wait until it was started again."""
        victim = self.until(f"process of {module}", lambda: self.service(module))
        victim.kill()
        psutil.wait_procs([victim], timeout=10)
        self.until(f"restart of {module}", lambda: self.service(module), 30)

    def descendants(self) -> list[psutil.Process]:
        """Everything it has started."""
        stack = self.stack()
        return psutil.Process(stack["pid"]).children(recursive=True) if stack else []

    def interrupt(self) -> None:
        """Ctrl-C in its terminal."""
        os.killpg(self.process.pid, signal.SIGINT)

    def close(self) -> None:
        """Make sure that nothing stays behind a failed test."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
