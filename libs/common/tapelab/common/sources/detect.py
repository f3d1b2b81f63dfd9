"""Opening a tape: the format is told by content and name, or given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tapelab.common.errors import SourceError
from tapelab.common.sources import binance, lean, nelogica
from tapelab.common.sources.file_tape import BLOCK_BYTES, FileTape, Layout, TapeFile, probe, wholly_wrong
from tapelab.common.sources.files import TAPE_SUFFIXES, Member, members
from tapelab.common.sources.protocol import Tape
from tapelab.common.sources.rejects import Rejects

Recognise = Callable[[Member, bytes, str | None], Layout | None]

#: File formats in the order in which they are tried.
FORMATS: Final[dict[str, Recognise]] = {
    nelogica.NAME: nelogica.recognise,
    binance.NAME: binance.recognise,
    lean.NAME: lean.recognise,
}


def open_tape(
    path: str | Path,
    format: str | None = None,
    *,
    rejects_path: str | Path | None = None,
    symbol: str | None = None,
    only: frozenset[str] | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Tape:
    """Open a file (plain, ``.gz``, ``.zip``) or a folder of such files (days, symbols) of one format.

    Args:
        path: what to open. For the format ``simulator`` the path is a text of options such as
            ``seed=7,days=3`` (empty for the defaults).
        format: ``nelogica``, ``lean``, ``binance`` or ``simulator``; None recognises a file format.
        rejects_path: CSV file that lists malformed rows as file, line, reason.
        symbol: symbol of the prints where the file's name does not tell it.
        only: keep these symbols of the tape.
        block_bytes: text read at a time.

    Raises:
        SourceError: nothing is there, or it is empty, wholly wrong, of no known or of several formats.
    """
    if format == "simulator":
        # The simulator compiles its kernel on import, which a file has no need of.
        from tapelab.common.sources.simulator import Simulator, parse_options

        return Simulator(parse_options(str(path)))
    if format is not None and format not in FORMATS:
        raise SourceError(
            f"unknown tape format {format!r}",
            expected=f"one of {', '.join(FORMATS)}, simulator",
            actual=format,
            remedy="correct the format, or leave it out to have it recognised",
        )
    path = Path(path)
    found: dict[str, list[TapeFile]] = {}
    for member in members(path):
        if lean.is_quotes(member) and format in (None, lean.NAME):
            continue
        recognised = _recognise(member, format, symbol, optional=path.is_dir())
        if recognised is not None:
            found.setdefault(recognised[0], []).append(recognised[1])
    if len(found) != 1:
        raise SourceError(
            f"{path} is no tape of one format" if found else f"no tape in {path}",
            expected=f"files of one of the formats {', '.join(FORMATS)}",
            actual=", ".join(f"{len(files)} {name} files" for name, files in found.items()) or "no such file",
            remedy="name a folder with files of one format only",
        )
    ((name, files),) = found.items()
    if only is not None:
        files = [file for file in files if file.layout.only_symbol is None or file.symbol in only]
        if not files:
            raise SourceError(
                f"no print of {', '.join(sorted(only))} in {path}",
                expected="files of these symbols",
                actual=", ".join(sorted({file.symbol for file in found[name]})),
                remedy="correct the symbols",
            )
    return FileTape(
        str(path),
        name,
        files,
        rejects_path=Path(rejects_path) if rejects_path is not None else None,
        symbols=only,
        block_bytes=block_bytes,
    )


def _recognise(
    member: Member, format: str | None, symbol: str | None, *, optional: bool
) -> tuple[str, TapeFile] | None:
    head = member.head()
    if not head.strip():
        raise SourceError(
            f"{member.label} is empty",
            expected="a file with trades",
            actual=f"{len(head)} bytes",
            remedy="check the file; an interrupted download has to be fetched again",
        )
    for name, recognise in FORMATS.items():
        if format not in (None, name):
            continue
        layout = recognise(member, head, symbol)
        if layout is None:
            continue
        file = probe(member, layout, head)
        if file is None:
            raise wholly_wrong(member.label, _rejects_of(member, layout, head))
        return name, file
    if optional and not member.path.name.lower().endswith(TAPE_SUFFIXES):
        return None
    raise SourceError(
        f"{member.label} is no tape" if format is None else f"{member.label} is no {format} tape",
        expected=f"a file of format {format or ', '.join(FORMATS)}",
        actual=f"a file named {member.name} with something else in it",
        remedy="check the file, its name (LEAN needs the day, Binance the symbol in it) or name the format",
    )


def _rejects_of(member: Member, layout: Layout, head: bytes) -> Rejects:
    rejects = Rejects(None)
    body = head.split(b"\n", layout.header_lines)[-1] if layout.header_lines else head
    layout.parse(body, first_line=1 + layout.header_lines, label=member.label, rejects=rejects)
    return rejects
