"""Malformed rows: listed with file, line and reason, counted, left out."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, TextIO

import numpy as np
import numpy.typing as npt

_log: Final = logging.getLogger("tapelab.sources")

HEADER: Final = ("file", "line", "reason")


class Rejects:
    """The rejects of one reading of a tape.

    Args:
        path: CSV file to write (``file,line,reason``); it is created with the first reject, and a file
            left by an earlier reading is removed. ``None`` only counts.

    The list serves people: where it cannot be written (a full disk, no rights) that is logged once, ``unlisted``
    counts what is missing in it, and the reading goes on.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.count = 0
        self.first = ""
        self._file: TextIO | None = None
        self.unlisted = 0
        self._broken = False
        if path is not None:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                self._give_up(error)

    def add(self, file: str, line: int, reason: str) -> None:
        """Note one malformed row."""
        self.count += 1
        if not self.first:
            self.first = f"{file} line {line}: {reason}"
        if self.path is None:
            return
        if self._broken:
            self.unlisted += 1
            return
        try:
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("w", encoding="utf-8", newline="")
                csv.writer(self._file).writerow(HEADER)
            csv.writer(self._file).writerow((file, line, reason))
        except OSError as error:
            self.unlisted += 1
            self._give_up(error)

    def flush(self) -> None:
        """Make what was noted visible to readers of the file."""
        if self._file is not None:
            try:
                self._file.flush()
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Close the file."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._broken = True
        _log.error(
            f"the list of malformed rows cannot be written to {self.path}: expected room and rights, got {error}; "
            "rows are still counted and left out, and the reading goes on"
        )
        self.close()

    def __enter__(self) -> Rejects:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class RowCheck:
    """Checks over the rows of one block; the first check that a row fails names its reason.

    Args:
        lines: line number of each row.
    """

    def __init__(self, lines: npt.NDArray[np.int64]) -> None:
        self.ok: npt.NDArray[np.bool_] = np.ones(len(lines), np.bool_)
        self._lines = lines
        self._reasons: dict[int, str] = {}

    def require(self, passed: npt.NDArray[np.bool_], reason: str, values: Sequence[object] | None = None) -> None:
        """Fail the rows where ``passed`` is false; ``values`` are shown in the reason."""
        for row in np.flatnonzero(self.ok & ~passed).tolist():
            shown = f" {str(values[row])[:60]!r}" if values is not None else ""
            self._reasons[row] = f"{reason}{shown}"
        self.ok &= passed

    def report(self, file: str, rejects: Rejects) -> None:
        """Hand the failed rows to the rejects, in line order."""
        for row in sorted(self._reasons):
            rejects.add(file, int(self._lines[row]), self._reasons[row])
