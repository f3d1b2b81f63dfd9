"""What ``tapelab up`` was asked to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from tapelab.common.settings import BrokerKind

SourceKind = Literal["simulator", "file", "ticks_raw"]


class UpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of one run.

    ``speed`` is the replay speed after the cut (``1``, ``60``, ``max``); ``cut`` the fraction of the
    tape that trains. ``exit_after_signals`` 0 runs until Ctrl-C. ``keep_replays`` earlier replays of a
    symbol stay in ``ticks_raw``.
    """

    source: SourceKind = "simulator"
    tape: Path | None = None
    format: str = ""
    dsn: str = ""
    broker: BrokerKind = "embedded"
    speed: str = "60"
    cut: float = 0.75
    seed: int = 7
    exit_after_signals: int = 0
    port: int = 8300
    keep_replays: int = 3
    as_json: bool = False
    repository: Path = Path()
    config_dir: Path = Path("config")
    experiment: Path = Path("config/experiments/default.yaml")
    timeout_s: float = 1800.0


def read_experiment(path: Path) -> dict[str, Any]:
    """What to train, as its file says it; checked here, so that a mistake costs no start.

    Raises:
        ConfigError: the file cannot be read, or is no experiment.
    """
    from tapelab.common.experiments.reading import load_config

    load_config(path)
    read: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of ``make up EXIT_AFTER_SIGNALS=N``, a contract: scripts read it."""

    ticks: int
    bars: int
    features: int
    signals: int
    lost: int
    doubled: int
    latency_ms: dict[str, float | None]
    champion: str | None
    train_s: float
    first_signal_s: float | None
    wall_s: float
