"""docs/operations.md and the alert rules speak of what the code has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tapelab.api.settings import ApiSettings
from tapelab.common.settings import SERVICES, CommonSettings
from tapelab.common.topics import ALL_TOPICS, DAY_MS, DLQ_SUFFIX
from tapelab.features.settings import FeaturesSettings
from tapelab.inference.settings import InferenceSettings
from tapelab.ingest.settings import IngestSettings, SinkSettings
from tapelab.trainer.settings import TrainerSettings

STRUCTS: dict[str, type[msgspec.Struct]] = {
    "": CommonSettings,
    "API_": ApiSettings,
    "INGEST_": IngestSettings,
    "SINK_": SinkSettings,
    "FEATURES_": FeaturesSettings,
    "INFERENCE_": InferenceSettings,
    "TRAINER_": TrainerSettings,
}

#: How the names of metrics end.
UNITS = (
    "_total",
    "_seconds",
    "_bytes",
    "_records",
    "_symbols",
    "_partitions",
    "_objects",
    "_clients",
)


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs/operations.md").read_text()


@pytest.fixture(scope="module")
def exported(repository: Path) -> set[str]:
    """Names of the metrics as Prometheus sees them, read from the sources."""
    names: set[str] = set()
    # Small helpers add a prefix to the names they are given.
    prefixes = {"metrics.py": "tapelab_", "sink.py": "tapelab_sink_"}
    for path in [*repository.glob("libs/**/*.py"), *repository.glob("services/**/*.py")]:
        text = path.read_text()
        if "prometheus_client" not in text:
            continue
        made = r"\b(Counter|Gauge|Histogram|FastHistogram|counter|gauge|histogram)\(\s*\"(\w+)\""
        for kind, name in re.findall(made, text):
            full = name if name.startswith("tapelab_") else prefixes[path.name] + name
            names.add(full + ("_total" if kind.lower() == "counter" else ""))
    assert len(names) > 10
    return names


def test_the_settings_table_holds_every_setting_and_no_other(page: str) -> None:
    section = page.split("## Settings")[1].split("\n## ")[0]
    keys = "".join(row.split("|")[1] for row in section.splitlines() if row.startswith("|"))
    documented = set(re.findall(r"`(TAPELAB_\w+)`", keys))
    known = {f"TAPELAB_{prefix}{field.upper()}" for prefix, s in STRUCTS.items() for field in s.__struct_fields__}
    assert documented == known


def test_the_settings_table_says_the_defaults(page: str) -> None:
    section = page.split("## Settings")[1].split("\n## ")[0]
    for row in (line for line in section.splitlines() if line.startswith("| `TAPELAB_")):
        keys, defaults = (row.split("|")[i] for i in (1, 2))
        for key, default in zip(re.findall(r"`(\w+)`", keys), defaults.split(","), strict=False):
            prefix = next(p for p in sorted(STRUCTS, reverse=True) if key.removeprefix("TAPELAB_").startswith(p))
            struct, field = STRUCTS[prefix], key.removeprefix(f"TAPELAB_{prefix}").lower()
            values = {f.name: f.default for f in msgspec.structs.fields(struct)}
            actual = values[field]
            shown = default.strip().strip("`")
            assert shown in (str(actual), str(actual).lower(), str(actual).removesuffix(".0")), key


def test_the_topics_table_holds_every_topic(page: str) -> None:
    section = page.split("## Topics")[1].split("\n## ")[0]
    for topic in ALL_TOPICS:
        if topic.name.endswith(DLQ_SUFFIX):
            continue
        row = next(line for line in section.splitlines() if f"`{topic.name}`" in line)
        assert ("compacted" if topic.compacted else f"{topic.retention_ms // DAY_MS} days") in row


def test_the_metrics_table_holds_every_metric(page: str, exported: set[str]) -> None:
    section = page.split("## Health and metrics")[1].split("\n## ")[0]
    assert set(re.findall(r"`(tapelab_\w+)`", section)) == exported


def test_alerts_ask_for_metrics_that_exist(repository: Path, exported: set[str]) -> None:
    rules: Any = yaml.safe_load((repository / "deploy/prometheus/alerts.yml").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    asked = {_family(name) for e in expressions for name in re.findall(r"tapelab_\w+", e)}
    assert asked <= exported
    told = {n for g in rules["groups"] for r in g["rules"] for n in re.findall(r"tapelab_\w+", str(r["annotations"]))}
    assert told <= exported
    assert all(rule["annotations"]["description"] for group in rules["groups"] for rule in group["rules"])


def test_queries_of_the_page_ask_for_metrics_that_exist(page: str, exported: set[str]) -> None:
    assert {_family(name) for name in re.findall(r"tapelab_\w+", page) if name.endswith(UNITS)} <= exported


def test_metrics_are_named_as_prometheus_names_them(exported: set[str]) -> None:
    """With a base unit or what is counted at the end; states and flags excepted."""
    assert {n for n in exported if not n.endswith(UNITS)} == {"tapelab_ready", "tapelab_dependency_up"}


def _family(name: str) -> str:
    return re.sub(r"_bucket$", "", name)


def test_prometheus_asks_every_service(repository: Path) -> None:
    config: Any = yaml.safe_load((repository / "deploy/prometheus/prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yml"]
    (job,) = config["scrape_configs"]
    assert job["static_configs"][0]["targets"] == [f"{name}:9100" for name in SERVICES]
