"""Files of a tape: plain, gzip and zip members, found in folders, read in blocks of whole lines."""

from __future__ import annotations

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

from tapelab.common.errors import SourceError

HEAD_BYTES: Final = 65_536
#: Suffixes of files that a folder must hold for a reason; others are looked at and left out silently.
TAPE_SUFFIXES: Final = (".csv", ".gz", ".zip")


class Member(NamedTuple):
    """A text file, or one inside a zip."""

    path: Path
    inner: str = ""

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"{self.path}!{self.inner}" if self.inner else str(self.path)

    @property
    def name(self) -> str:
        """Its own name without folders and without ``.gz``."""
        return Path(self.inner or self.path.name).name.removesuffix(".gz")

    @property
    def is_plain(self) -> bool:
        """Whether its end can be read without its beginning."""
        return not self.inner and self.path.suffix != ".gz"

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its bytes, decompressed."""
        if self.inner:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.inner) as stream:
                yield stream
        elif self.path.suffix == ".gz":
            with gzip.open(self.path, "rb") as unzipped:
                yield cast(IO[bytes], unzipped)
        else:
            with self.path.open("rb") as stream:
                yield stream

    def head(self) -> bytes:
        """Its first bytes, whole lines only unless it is one line.

        Raises:
            SourceError: it cannot be read.
        """
        with readable(self), self.open() as stream:
            raw = stream.read(HEAD_BYTES)
        return whole_lines(raw) if len(raw) == HEAD_BYTES else raw

    def tail(self) -> bytes:
        """The last bytes of a plain file, whole lines only."""
        with readable(self), self.path.open("rb") as stream:
            size = stream.seek(0, 2)
            start = max(0, size - HEAD_BYTES)
            stream.seek(start)
            raw = stream.read()
        return raw if start == 0 else raw[raw.find(b"\n") + 1 :]


def whole_lines(raw: bytes) -> bytes:
    """The bytes up to the last line end, or all of them without one."""
    end = raw.rfind(b"\n") + 1
    return raw[:end] if end else raw


@contextmanager
def readable(member: Member) -> Iterator[None]:
    """Turns what goes wrong with a file's bytes into one clear error."""
    try:
        yield
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        raise SourceError(
            f"cannot read {member.label}",
            expected="a readable text, .gz or .zip file",
            actual=f"{type(error).__name__}: {error}",
            remedy="check the file; a broken download has to be fetched again",
        ) from error


def members(path: Path) -> list[Member]:
    """The files a path stands for: itself, the members of a zip, or all files below a folder, by name.

    Raises:
        SourceError: nothing is there.
    """
    if path.is_dir():
        found = [
            member
            for file in sorted(path.rglob("*"))
            if file.is_file() and not file.name.startswith(".")
            for member in _members_of_file(file)
        ]
        if not found:
            raise SourceError(
                f"no tape in {path}",
                expected="a folder with .csv, .gz or .zip files",
                actual="a folder without files",
                remedy="check the path",
            )
        return found
    if not path.exists():
        raise SourceError(
            f"no tape at {path}", expected="a file or a folder", actual="nothing there", remedy="check the path"
        )
    return _members_of_file(path)


def _members_of_file(path: Path) -> list[Member]:
    if path.suffix != ".zip":
        return [Member(path)]
    with readable(Member(path)), zipfile.ZipFile(path) as archive:
        return [Member(path, name) for name in sorted(archive.namelist()) if not name.endswith("/")]


def line_blocks(stream: IO[bytes], block_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines with the number of their first line, from 1."""
    line, rest = 1, b""
    while True:
        raw = stream.read(block_bytes)
        if not raw:
            break
        rest += raw
        end = rest.rfind(b"\n") + 1
        if end:
            yield line, rest[:end]
            line += rest.count(b"\n", 0, end)
            rest = rest[end:]
    if rest:
        yield line, rest
