"""What holds the tree together."""

from __future__ import annotations

from pathlib import Path


def test_the_shared_namespace_has_no_init_file(repository: Path) -> None:
    """One ``tapelab/__init__.py`` would hide the code of every other library and service."""
    found = [p for folder in ("libs", "services") for p in (repository / folder).glob("*/tapelab/__init__.py")]
    assert found == []


def test_every_service_has_a_readme_and_an_entry_point(repository: Path) -> None:
    services = [p for p in (repository / "services").iterdir() if p.is_dir()]
    assert {p.name for p in services} == {"ingest", "bars", "features", "inference", "trainer", "api"}
    for service in services:
        assert (service / "README.md").read_text().strip(), service.name
        assert (service / "tapelab" / service.name / "__main__.py").is_file(), service.name


def test_ci_runs_make_test_and_nothing_else(repository: Path) -> None:
    script = (repository / ".ci" / "run").read_text()
    assert script.rstrip().endswith("exec make test")
