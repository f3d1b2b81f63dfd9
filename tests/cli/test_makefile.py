"""``make up`` says what it does and no more."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def test_make_up_says_nothing_where_everything_is_made(repository: Path, tmp_path: Path) -> None:
    shutil.copy(repository / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt", ".venv/.marks/venv", ".venv/.marks/up", "frontend/out/.built"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    command = tmp_path / ".venv/bin/tapelab"
    command.parent.mkdir()
    command.write_text('#!/bin/sh\necho "tapelab $*"\n')
    command.chmod(0o755)
    environ = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        ["make", "up", "SPEED=max"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines() == ["tapelab up --speed max"]
    assert done.stderr == ""
