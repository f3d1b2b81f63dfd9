"""What the settings open."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapelab.common.errors import ConfigError
from tapelab.common.settings import load
from tapelab.ingest.app import tape_of
from tapelab.ingest.settings import IngestSettings
from tests.common.sources.tapes import only, winfut


def _settings(**values: str) -> IngestSettings:
    environ = {f"TAPELAB_INGEST_{name.upper()}": value for name, value in values.items()}
    return load(IngestSettings, environ, service="ingest")


def test_the_default_is_the_simulator() -> None:
    tape = tape_of(_settings(seed="3", simulator="days=1,hours=0.05", symbols="WDOZ26"))
    assert tape.name == "simulator seed=3"
    assert tape.symbols() == {"WDOZ26": "B3"}


def test_a_file_is_recognised_and_its_rejects_are_listed(tmp_path: Path) -> None:
    path = winfut(tmp_path / "w.csv", ("WINFUT,20261104,090000,1,100,1,0,XP,XP,RLP,0", "junk"))
    tape = tape_of(_settings(source="file", path=str(path), rejects=str(tmp_path / "rejects.csv")))
    assert only(tape).n == 1
    assert tape.summary().rejects_path == tmp_path / "rejects.csv"


def test_a_file_without_a_path_and_an_unknown_setting_are_errors() -> None:
    with pytest.raises(ConfigError, match="TAPELAB_INGEST_PATH"):
        tape_of(_settings(source="file"))
    with pytest.raises(ConfigError, match="TAPELAB_INGEST_SPED"):
        _settings(sped="60")
