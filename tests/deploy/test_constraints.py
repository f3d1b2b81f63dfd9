"""constraints.txt pins what pyproject.toml names, and says why each is there."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import pytest


class Pin(NamedTuple):
    version: str
    reason: str


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def pins(repository: Path) -> dict[str, Pin]:
    found = {}
    for line in (repository / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==([A-Za-z0-9.+!-]+)(?:  # (.+))?", line)
            assert match is not None, line
            found[canonical(match[1])] = Pin(match[2], match[3] or "")
    return found


@pytest.fixture(scope="module")
def direct(repository: Path) -> set[str]:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(r for rs in project["optional-dependencies"].values() for r in rs)]
    return {canonical(r) for r in named if not r.startswith("tapelab[")}


def test_every_direct_dependency_is_pinned_with_a_reason(pins: dict[str, Pin], direct: set[str]) -> None:
    assert [name for name in sorted(direct) if name not in pins or not pins[name].reason] == []


def test_the_build_backend_is_the_one_pyproject_names(pins: dict[str, Pin], repository: Path) -> None:
    requires = tomllib.loads((repository / "pyproject.toml").read_text())["build-system"]["requires"]
    assert requires == [f"hatchling=={pins['hatchling'].version}"]


def test_versions_are_pinned_in_one_place_only(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(r for rs in project["optional-dependencies"].values() for r in rs)]
    assert [r for r in named if re.search(r"[=<>~@]", r)] == []


def test_the_environment_is_what_the_pins_say(pins: dict[str, Pin], direct: set[str]) -> None:
    wrong = {}
    for name in sorted(direct):
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue  # an extra that this environment does without
        if installed != pins[name].version:
            wrong[name] = f"{installed} is installed, {pins[name].version} is pinned"
    assert wrong == {}
