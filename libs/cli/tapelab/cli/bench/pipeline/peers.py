"""Faust, Quix Streams and a plain aiokafka loop over the same topic: each a process of its own, in turns with ours.

Faust and Quix Streams pin other clients, so each lives in an environment of its own below one folder, with tapelab's
versions of what the kernel needs; the kernel they call is tapelab's. What runs in them is ``peer_child.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

import tapelab.common.codec
import tapelab.quant.ticks
from tapelab.cli.bench import kernel_peers_apart as apart
from tapelab.cli.bench.pipeline.drive import say
from tapelab.common import topics
from tapelab.common.errors import ConfigError
from tapelab.common.settings import CommonSettings
from tapelab.common.topics import qualified

_SAME: Final = tuple(f"{name}=={version(name)}" for name in ("numpy", "numba", "msgspec", "cramjam"))
PACKAGES: Final = {
    "faust": ("faust-streaming==0.15.3", *_SAME),
    "quix": ("quixstreams==3.28.1", *_SAME),
}
PEERS: Final = ("aiokafka", *PACKAGES)
#: Joining a consumer group on the embedded broker takes half a session timeout.
LIMIT_S: Final = 120.0
_CHILD: Final = Path(__file__).with_name("peer_child.py")


class Peer(NamedTuple):
    """What a peer took, or why it did not run."""

    seconds: float | None
    cpu_s: float
    outputs: int
    reason: str = ""


def install(folder: Path) -> dict[str, str]:
    """Make the environments that are not there; by peer the reason where one cannot be made."""
    failed: dict[str, str] = {}
    for peer, packages in PACKAGES.items():
        stamp, wanted = folder / peer / "installed.txt", "\n".join(packages)
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
            continue
        started = time.monotonic()
        say(f"making an environment for {peer} in {folder / peer}, which takes a minute or two")
        try:
            apart.make(folder, peer, packages)
        except ConfigError as error:
            failed[peer] = f"{peer} not installed: {error.actual}"
            continue
        stamp.write_text(wanted, encoding="utf-8")
        say(f"{peer} installed in {time.monotonic() - started:.0f} s")
    return failed


async def run(
    peer: str, folder: Path, settings: CommonSettings, *, source: str, records: int, kind: str, spec: str
) -> Peer:
    """Let one peer read ``source`` to its end and write its bars to ``md.bars.v1`` of the namespace."""
    python = Path(sys.executable) if peer == "aiokafka" else apart.interpreter(folder, peer)
    if not python.exists():
        return Peer(None, 0.0, 0, f"{peer} is not installed below {folder}")
    # Without the command line's own packages: the peer's environment is its own.
    paths = [str(Path(module.__file__ or "").parents[2]) for module in (tapelab.quant.ticks, tapelab.common.codec)]
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("TAPELAB_", "PYTHON"))}
    environ |= {"PYTHONPATH": os.pathsep.join(paths)}
    environ.setdefault("NUMBA_CACHE_DIR", str(Path(".cache/numba").absolute()))
    out = qualified(settings.namespace, topics.BARS)
    # Faust and Quix make folders of state where they run.
    with tempfile.TemporaryDirectory(prefix="tapelab-peer-") as left:
        process = await asyncio.create_subprocess_exec(
            *(str(python.absolute()), "-W", "ignore", str(_CHILD), peer, settings.broker),
            *(qualified(settings.namespace, source), out, str(records), kind, spec),
            env=environ,
            cwd=left,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            said, complained = await asyncio.wait_for(process.communicate(), LIMIT_S)
        except TimeoutError:
            return Peer(None, 0.0, 0, f"{peer} had not read everything after {LIMIT_S:g} s")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    for line in reversed(said.decode(errors="replace").splitlines()):
        if line.startswith("{"):
            found = json.loads(line)
            return Peer(found["seconds"], found["cpu_s"], found["outputs"])
    lines = [line for line in complained.decode(errors="replace").splitlines() if line.strip()]
    return Peer(None, 0.0, 0, f"{peer} failed: {lines[-1] if lines else f'exit code {process.returncode}'}")
