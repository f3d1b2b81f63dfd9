"""Which files an experiment of the stack may read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tapelab.common.errors import ConfigError
from tapelab.trainer.files import AllowedFiles


@pytest.fixture
def tapes(tmp_path: Path) -> Path:
    folder = tmp_path / "tapes"
    (folder / "days").mkdir(parents=True)
    (folder / "days" / "one.csv").touch()
    (tmp_path / "secret").touch()
    return folder


def test_files_and_folders_of_the_folder_may_be_read_by_either_kind_of_path(tapes: Path) -> None:
    allowed = AllowedFiles(str(tapes))
    for path in ("days/one.csv", "days", ".", str(tapes / "days" / "one.csv"), "days/../days/one.csv"):
        assert Path(allowed.check(path)).exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret", "days/../../secret", "..", "/", "a\x00b"])
def test_a_path_that_leads_out_is_refused(tapes: Path, path: str) -> None:
    with pytest.raises(ConfigError, match="leads out of the folder of tapes"):
        AllowedFiles(str(tapes)).check(path)


def test_a_symbolic_link_that_leads_out_is_refused_also_within_a_folder(tapes: Path) -> None:
    (tapes / "days" / "link.csv").symlink_to(tapes.parent / "secret")
    (tapes / "up").symlink_to(tapes.parent)
    for path in ("days/link.csv", "days", "up/secret", "up"):
        with pytest.raises(ConfigError, match="leads out of the folder of tapes"):
            AllowedFiles(str(tapes)).check(path)


def test_without_a_folder_every_file_is_refused_with_what_to_do(tapes: Path) -> None:
    with pytest.raises(ConfigError, match=r"not allowed here: .* set TAPELAB_TRAINER_FILES"):
        AllowedFiles("").check(str(tapes / "days" / "one.csv"))
