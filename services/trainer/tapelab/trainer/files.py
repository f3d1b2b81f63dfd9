"""Which files an experiment of the stack may read: those below one folder, wherever symbolic links point."""

from __future__ import annotations

from pathlib import Path

from tapelab.common.errors import ConfigError

SETTING = "TAPELAB_TRAINER_FILES"


class AllowedFiles:
    """The folder that file sources must lie in.

    Whoever may call the gateway may start an experiment, but not read any file of the trainer's machine.

    Args:
        folder: relative paths count from it; empty refuses every file.
    """

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder).resolve() if folder else None

    def check(self, path: str) -> str:
        """The path to open: a file or a folder.

        Raises:
            ConfigError: no folder is set, or the path, or what lies in it, leads out of the folder.
        """
        if self._folder is None:
            raise ConfigError(
                "file sources are not allowed here",
                expected=f"{SETTING} to name the folder whose tapes experiments may read",
                actual="no folder",
                remedy=f"set {SETTING} and restart the trainer, use source kind ticks_raw, or run tapelab train",
            )
        asked = self._folder / path
        self._inside(asked, path)
        if asked.is_dir():
            for entry in sorted(asked.rglob("*")):
                self._inside(entry, str(entry))
        return str(asked)

    def _inside(self, path: Path, shown: str) -> None:
        try:
            inside = path.resolve().is_relative_to(self._folder or path)
        except (OSError, ValueError, RuntimeError):
            inside = False  # no path at all, or links in a circle
        if not inside:
            raise ConfigError(
                "the source's path leads out of the folder of tapes",
                expected=f"a path in {self._folder} ({SETTING})",
                actual=ascii(shown),
                remedy="put the tape into that folder, or run tapelab train",
            )
