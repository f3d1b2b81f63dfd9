"""The parts of ``tapelab bench pipeline``, one after the other."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from tapelab.cli.bench.pipeline import peers
from tapelab.cli.bench.pipeline.drive import say
from tapelab.cli.bench.pipeline.figure import draw
from tapelab.cli.bench.pipeline.latency import RATES, latency
from tapelab.cli.bench.pipeline.memory import memory
from tapelab.cli.bench.pipeline.recovery import recovery
from tapelab.cli.bench.pipeline.topic_to_bars import topic_to_bars
from tapelab.cli.bench.timing import machine
from tapelab.common.errors import ConfigError
from tapelab.common.settings import BrokerKind

PARTS: Final = ("topic_to_bars", "latency", "recovery", "memory")
BROKERS: Final[tuple[BrokerKind, ...]] = ("embedded", "kafka")


def run(
    only: Collection[str] = (),
    brokers: Collection[str] = (),
    *,
    peers_env: Path | None,
    figure: Path | None = None,
) -> dict[str, Any]:
    """Measure; the object that every ``tapelab bench`` prints.

    Args:
        only: which parts; none means all. ``latency_1k``, ``latency_10k`` and ``latency_100k`` name one rate.
        brokers: which brokers; none means both, Apache Kafka where Java and Maven are there.
        peers_env: folder of the peers' environments, made where they are missing; None leaves the peers out.
        figure: an SVG file to draw the latency by hop into.

    Raises:
        ConfigError: a name is unknown.
    """
    known = {*PARTS, *(f"latency_{name}" for name in RATES)}
    _known("--only", only, known)
    _known("--broker", brokers, BROKERS)
    wanted = tuple(only) or PARTS
    rates = tuple(name for name in RATES if "latency" in wanted or f"latency_{name}" in wanted)
    kinds = tuple(kind for kind in BROKERS if (kind in brokers if brokers else _there(kind)))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="tapelab-bench-") as scratch:
        folder = Path(scratch)
        if "topic_to_bars" in wanted:
            failed = {} if peers_env is None else peers.install(peers_env)
            rows += asyncio.run(topic_to_bars(kinds, peers_env, folder))
            for row in rows:
                row["note"] = "; ".join([row["note"], *failed.values()])
        if rates:
            found, measured = asyncio.run(latency(kinds, rates, folder))
            rows += found
            if figure is not None:
                figure.write_text(draw(measured), encoding="utf-8")
        if "recovery" in wanted:
            rows += asyncio.run(recovery(kinds, folder))
        if "memory" in wanted:
            rows += asyncio.run(memory(kinds, folder))
    return {"bench": "pipeline", "machine": {**machine(), "load_1m": os.getloadavg()[0]}, "rows": rows}


def _known(option: str, given: Collection[str], known: Collection[str]) -> None:
    if unknown := set(given) - set(known):
        raise ConfigError(
            f"{option} names what is not there",
            expected=f"some of {', '.join(sorted(known))}",
            actual=", ".join(sorted(unknown)),
            remedy=f"correct {option}",
        )


def _there(kind: BrokerKind) -> bool:
    if kind == "embedded" or (shutil.which("java") and shutil.which("mvn")):
        return True
    say("Apache Kafka is left out: it needs a Java 17 runtime and Maven on the PATH")
    return False
