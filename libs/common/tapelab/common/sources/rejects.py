"""Malformed rows: listed with file, line and reason, counted, left out."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, TextIO

import numpy as np
import numpy.typing as npt

HEADER: Final = ("file", "line", "reason")


class Rejects:
    """The rejects of one reading of a tape.

    Args:
        path: CSV file to write (``file,line,reason``); it is created with the first reject, and a file
            left by an earlier reading is removed. ``None`` only counts.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.count = 0
        self.first = ""
        self._file: TextIO | None = None
        if path is not None:
            path.unlink(missing_ok=True)

    def add(self, file: str, line: int, reason: str) -> None:
        """Note one malformed row."""
        self.count += 1
        if not self.first:
            self.first = f"{file} line {line}: {reason}"
        if self.path is None:
            return
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", encoding="utf-8", newline="")
            csv.writer(self._file).writerow(HEADER)
        csv.writer(self._file).writerow((file, line, reason))

    def flush(self) -> None:
        """Make what was noted visible to readers of the file."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

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
