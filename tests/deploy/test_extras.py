"""Every image of docker-compose.yml starts with what its extras install, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from runpy import run_path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

#: Module that the image runs, and the ``EXTRAS`` that docker-compose.yml builds it with.
IMAGES = {
    "tapelab.cli.main": "cli,sources",
    "tapelab.ingest.__main__": "ingest",
    "tapelab.ingest.sink": "ingest",
    "tapelab.bars.__main__": "bars",
    "tapelab.features.__main__": "features",
    "tapelab.inference.__main__": "inference",
    "tapelab.trainer.__main__": "trainer",
    "tapelab.api.__main__": "api",
}

_IMPORT = """
import importlib, sys
barred = set(sys.argv[2].split(","))
class Barred:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in barred:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Barred())
importlib.import_module(sys.argv[1])
"""


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_by(requirements: list[str]) -> set[str]:
    """These distributions and all that they require here."""
    waiting, found = [Requirement(r) for r in requirements], set()
    while waiting:
        wanted = waiting.pop()
        marks = [{"extra": extra} for extra in (wanted.extras or {""})]
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        key = (canonical(wanted.name), frozenset(wanted.extras))
        if key in found:
            continue
        found.add(key)
        try:
            needs = [Requirement(r) for r in requires(wanted.name) or []]
        except PackageNotFoundError:  # for another system
            continue
        for need in needs:
            if need.marker is None or any(need.marker.evaluate(mark) for mark in marks):
                need.marker = None
                waiting.append(need)
    return {name for name, _ in found}


def test_the_compose_file_names_these_extras(repository: Path) -> None:
    compose = (repository / "docker-compose.yml").read_text()
    named = dict(re.findall(r"args: \{SERVICE: (\w+), EXTRAS: \"?([\w,]+)\"?\}", compose))
    assert named == {module.split(".")[1]: extras for module, extras in IMAGES.items()}


@pytest.mark.parametrize("module", IMAGES)
def test_an_image_imports_only_what_it_installs(module: str, repository: Path) -> None:
    resolve = run_path(str(repository / "deploy/docker/requirements.py"))["requirements"]
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    there = installed_by(resolve(project, IMAGES[module].split(",")))
    barred = [
        top
        for top, distributions in packages_distributions().items()
        if top != "tapelab" and not there & {canonical(name) for name in distributions}
    ]
    assert "hypothesis" in barred
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, module, ",".join(barred)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr.strip().splitlines()[-1]
