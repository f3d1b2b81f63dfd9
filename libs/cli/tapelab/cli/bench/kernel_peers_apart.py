"""Peers whose pins clash with tapelab's, each in a throw-away environment of its own below one folder.

``DIR/nautilus`` and ``DIR/mlfinpy`` are virtual environments; what runs in them is ``kernel_peers_child.py``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from tapelab.common.errors import ConfigError
from tapelab.quant.bars.spec import BarSpec
from tapelab.quant.ticks import Ticks

DEFAULT_FOLDER: Final = Path(".cache/peers")
#: What each environment installs; mlfinpy imports scikit-learn without asking for it.
PACKAGES: Final = {"nautilus": ("nautilus_trader==1.221.0",), "mlfinpy": ("mlfinpy==0.1.2", "scikit-learn")}
#: Prints of the tape's beginning they are given: they need seconds per million, and an object for each.
PRINTS: Final = 200_000
ROUNDS: Final = 3

_INSTALL_S: Final = 600.0
_CHILD: Final = Path(__file__).with_name("kernel_peers_child.py")


def install(folder: Path) -> None:
    """Make the environments that are not there yet, saying on stderr what takes so long.

    Raises:
        ConfigError: an environment cannot be made or a package not be installed.
    """
    for at, (peer, packages) in enumerate(PACKAGES.items(), start=1):
        home = folder / peer
        # Written last: an environment whose making was cut short, or of other versions, is made again.
        stamp, wanted = home / "installed.txt", "\n".join(packages)
        where = f"peers {at}/{len(PACKAGES)}: {peer}"
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
            _say(f"{where} is there, in {home}")
            continue
        started = time.monotonic()
        _say(f"{where}: making an environment in {home} for {', '.join(packages)}, which takes a minute or two")
        make(folder, peer, packages)
        stamp.write_text(wanted, encoding="utf-8")
        _say(f"{where}: done in {time.monotonic() - started:.0f} s")


def make(folder: Path, peer: str, packages: Sequence[str]) -> Path:
    """Make one environment and install packages in it; its Python.

    Raises:
        ConfigError: it cannot be made or a package not be installed.
    """
    home, python = folder / peer, interpreter(folder, peer)
    _succeed(peer, home, [sys.executable, "-m", "venv", "--clear", str(home)])
    _succeed(peer, home, [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
    return python


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _succeed(peer: str, home: Path, command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSTALL_S, check=False)
        failed = (done.stderr.strip().splitlines() or ["no message"])[-1] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        failed = str(error)
    if failed:
        raise ConfigError(
            f"cannot make the environment of the peer {peer}",
            expected=f"{' '.join(command)} to succeed",
            actual=failed,
            remedy=f"see whether packages can be installed here and remove {home}, or leave the peer out",
        )


def rates(ticks: Ticks, spec: BarSpec, folder: Path) -> tuple[dict[str, float | None], str]:
    """M ticks/s of each peer over the tape's beginning, null where it could not run, and a note that says why."""
    found: dict[str, float | None] = {}
    notes = []
    part = ticks.slice(0, PRINTS)
    with tempfile.TemporaryDirectory() as scratch:
        tape = Path(scratch) / "tape.npz"
        np.savez(tape, ts=part.ts_event_ns, price=part.price, volume=part.volume, aggressor=part.aggressor)
        for peer in PACKAGES:
            found[peer] = None
            python = interpreter(folder, peer)
            if not python.exists():
                notes.append(f"{peer} not installed below {folder}: run once with --install-peers")
                continue
            what = (peer, spec.kind, repr(spec.threshold), str(tape), str(ROUNDS))
            command = [str(python), "-W", "ignore", str(_CHILD), *what]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                notes.append(f"{peer} failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
                continue
            seconds = json.loads(done.stdout.strip().splitlines()[-1])["seconds"]
            found[peer] = round(part.n / seconds / 1e6, 3)
    measured = [peer for peer, rate in found.items() if rate is not None]
    if measured:
        notes.append(f"{' and '.join(measured)} over the first {part.n} prints")
    return found, "; ".join(notes)


def interpreter(folder: Path, peer: str) -> Path:
    """The Python of a peer's environment, there or not."""
    return folder.absolute() / peer / "bin" / "python"
