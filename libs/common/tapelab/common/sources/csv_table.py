"""Blocks of delimited text as string columns, and those as numbers; malformed rows go to the rejects."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from tapelab.common.sources.rejects import Rejects

_NUMBER: Final = r"^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$"
_INTEGER: Final = r"^\s*[+-]?\d{1,18}\s*$"


class Dialect(NamedTuple):
    """How a file separates its columns; ``comma_decimals`` reads ``5.159,50`` as 5159.5."""

    delimiter: str
    quoted: bool = False
    comma_decimals: bool = False


class Rows(NamedTuple):
    """The rows of a block that have the right number of columns, as text, with their line numbers."""

    columns: dict[str, Any]
    lines: npt.NDArray[np.int64]

    def text(self, name: str) -> Sequence[object]:
        """A column's values for messages, converted only where they are shown."""
        return _Lazy(self.columns[name])


class _Lazy(Sequence[object]):
    def __init__(self, column: Any) -> None:
        self._column = column

    def __getitem__(self, i: Any) -> Any:
        return self._column[i].as_py()

    def __len__(self) -> int:
        return len(self._column)


def as_utf8(raw: bytes) -> bytes:
    """The bytes as UTF-8: they are taken as Windows-1252 where they are not UTF-8 already."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace").encode()
    return raw


def read_rows(
    raw: bytes, names: Sequence[str], dialect: Dialect, *, first_line: int, label: str, rejects: Rejects
) -> Rows:
    """Split a block of whole lines into columns.

    Empty lines and lines of separators only are padding and are skipped; a row with another number of
    columns than ``names`` goes to the rejects.
    """
    raw, numbers = _without_padding(raw, dialect.delimiter.encode(), first_line)
    if len(numbers) == 0:
        return Rows({name: pa.array([], pa.string()) for name in names}, numbers)
    wrong: list[int] = []

    def on_wrong(row: Any) -> str:
        wrong.append(row.number - 1)
        rejects.add(label, int(numbers[row.number - 1]), f"{row.actual_columns} columns instead of {len(names)}")
        return "skip"

    table = pacsv.read_csv(
        io.BytesIO(as_utf8(raw)),
        read_options=pacsv.ReadOptions(use_threads=False, column_names=list(names), block_size=len(raw) * 2 + 16),
        parse_options=pacsv.ParseOptions(
            delimiter=dialect.delimiter,
            quote_char='"' if dialect.quoted else False,
            double_quote=dialect.quoted,
            invalid_row_handler=on_wrong,
        ),
        convert_options=pacsv.ConvertOptions(column_types={name: pa.string() for name in names}),
    )
    columns = {name: table.column(name).combine_chunks() for name in names}
    return Rows(columns, np.delete(numbers, wrong))


def _without_padding(raw: bytes, delimiter: bytes, first_line: int) -> tuple[bytes, npt.NDArray[np.int64]]:
    """The block without padding lines, and the numbers of the lines that are left."""
    padding = b" \t\r" + delimiter
    starts = [b"\n" + bytes([byte]) for byte in b"\n" + padding]
    if raw[:1] not in b"\n" + padding and not any(start in raw for start in starts):
        count = raw.count(b"\n") + (not raw.endswith(b"\n"))
        return raw, np.arange(first_line, first_line + count, dtype=np.int64)
    lines = raw.removesuffix(b"\n").split(b"\n")
    kept = [i for i, line in enumerate(lines) if line.strip(padding)]
    return b"\n".join(lines[i] for i in kept), np.array(kept, np.int64) + first_line


def floats(column: Any, dialect: Dialect) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """A text column as f64 with the rows that are finite numbers; the others are NaN."""
    if dialect.comma_decimals:
        column = pc.replace_substring(pc.replace_substring(column, ".", ""), ",", ".")
    try:
        values: npt.NDArray[np.float64] = pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        matches = pc.match_substring_regex(column, _NUMBER)
        text = pc.utf8_trim_whitespace(pc.if_else(matches, column, pa.scalar(None, pa.string())))
        values = pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False)
    return values, np.isfinite(values)


def integers(column: Any) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """A text column as i64 with the rows that are whole numbers; the others are -1."""
    try:
        values: npt.NDArray[np.int64] = pc.cast(column, pa.int64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        matches = pc.match_substring_regex(column, _INTEGER)
        text = pc.utf8_trim_whitespace(pc.if_else(matches, column, pa.scalar("-1", pa.string())))
        values = pc.cast(text, pa.int64()).to_numpy(zero_copy_only=False)
        return values, matches.to_numpy(zero_copy_only=False)
    return values, np.ones(len(values), np.bool_)


def mapped(column: Any, convert: Callable[[str], int]) -> npt.NDArray[np.int64]:
    """A text column converted value by value, each distinct value once."""
    encoded = pc.dictionary_encode(column)
    distinct = np.array([convert(text) for text in encoded.dictionary.to_pylist()], np.int64)
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    result: npt.NDArray[np.int64] = distinct[codes] if len(codes) else np.empty(0, np.int64)
    return result


def categories(column: Any, convert: Callable[[str], str]) -> tuple[tuple[str, ...], npt.NDArray[np.int32]]:
    """A text column as distinct converted values, in order of appearance, and a code per row."""
    values: dict[str, int] = {}
    codes = mapped(column, lambda text: values.setdefault(convert(text), len(values)))
    return tuple(values), codes.astype(np.int32)
