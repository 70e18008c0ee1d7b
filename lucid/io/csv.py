"""Comma-separated text: rows read and results written as a stream.

NumPy's parser reads a block at a time. Where it stumbles (a missing value, a quoted
cell, a cell that is no number), Python's csv module reads that block again, with the
line numbers that an error message needs.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from lucid.io.columns import chosen, positions_as_names
from lucid.io.errors import DataError, Path

# Cells that stand for a missing value, in lower case.
_MISSING = {"", "na", "n/a", "nan", "null"}


class CsvRows:
    """The rows of a .csv file, read as float64; text has no dtype of its own.

    The first line names the columns unless it holds a number; without names, columns
    are chosen by position, counted from 0. Missing values are NaN, blank lines are
    skipped. Raises DataError, with the line, for a cell that is not a number.
    """

    count: int | None = None
    dtype: np.dtype[Any] | None = None

    def __init__(self, path: Path, columns: Sequence[str] | None = None) -> None:
        self.name = os.fspath(path)
        self._size = os.path.getsize(path)
        self._position = 0
        with self._open() as file:
            first, self._first_line = self._first_record(file)
        self._width = len(first)
        named = not any(map(_is_number, first))
        names = first if named else positions_as_names(self._width)
        self._lines_of_names = self._first_line if named else 0
        self._columns = chosen(self.name, columns, names)
        self.row_shape: tuple[int, ...] = (len(self._columns),)

    def blocks(self, size: int) -> Iterator[NDArray[np.float64]]:
        """The rows in order, about `size` at a time."""
        with self._open() as file:
            list(islice(file, self._lines_of_names))
            line = self._lines_of_names + 1
            while lines := self._lines(file, size):
                block = self._parse(lines, line)
                line += len(lines)
                self._position = file.buffer.tell()
                if len(block):
                    yield block

    def fraction(self) -> float | None:
        """How much of the file has been read, by bytes."""
        return self._position / self._size

    def _open(self) -> Any:
        return open(self.name, encoding="utf-8-sig", newline="")

    def _first_record(self, file: TextIO) -> tuple[list[str], int]:
        """The cells of the first line that has any, and how many lines that took."""
        reader = csv.reader(file)
        try:
            for cells in reader:
                if not _blank(cells):
                    return cells, reader.line_num
        except UnicodeDecodeError:
            raise DataError(self.name, "is not text in UTF-8") from None
        except csv.Error as error:
            raise DataError(self.name, f"line {reader.line_num}: {error}") from None
        raise DataError(self.name, "is empty")

    def _lines(self, file: TextIO, size: int) -> list[str]:
        """The next lines, and as many more as a cell in quotes goes on for."""
        try:
            lines = list(islice(file, size))
            quotes = sum(line.count('"') for line in lines)
            while quotes % 2 and (more := next(file, "")):
                lines.append(more)
                quotes += more.count('"')
        except UnicodeDecodeError:
            raise DataError(self.name, "is not text in UTF-8") from None
        return lines

    def _parse(self, lines: list[str], line: int) -> NDArray[np.float64]:
        filled = [text for text in lines if not text.isspace()]
        commas = self._width - 1
        # NumPy looks at the chosen columns only: is any line too long or too short?
        if filled and all(text.count(",") == commas for text in filled):
            try:
                return np.loadtxt(
                    filled,
                    delimiter=",",
                    comments=None,
                    usecols=self._columns,
                    ndmin=2,
                )
            except ValueError:
                pass
        return self._parse_carefully(lines, line)

    def _parse_carefully(self, lines: list[str], line: int) -> NDArray[np.float64]:
        rows = []
        reader = csv.reader(lines)
        try:
            for cells in reader:
                if _blank(cells):
                    continue
                at = line + reader.line_num - 1
                if len(cells) != self._width:
                    trouble = f"line {at}: {len(cells)} cells, expected {self._width}"
                    raise DataError(self.name, trouble)
                rows.append([self._number(cells[i], i, at) for i in self._columns])
        except csv.Error as error:
            at = line + reader.line_num - 1
            raise DataError(self.name, f"line {at}: {error}") from None
        return np.array(rows, np.float64).reshape(-1, len(self._columns))

    def _number(self, cell: str, column: int, line: int) -> float:
        if cell.strip().lower() in _MISSING:
            return np.nan
        if not _is_number(cell):
            shown = cell if len(cell) <= 40 else f"{cell[:40]}…"
            raise DataError(
                self.name,
                f"line {line}, column {column + 1}: {shown!r} is not a number",
            )
        return float(cell)


def _blank(cells: Sequence[str]) -> bool:
    return len(cells) < 2 and not any(map(str.strip, cells))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # which Python allows between digits


class CsvEncoder:
    """A line of names, then a line a row; each number in its shortest exact form."""

    def __init__(self, file: BinaryIO, dtypes: Mapping[str, np.dtype[Any]]) -> None:
        self._file = file
        self._write([",".join(dtypes)])

    def append(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write one block."""
        texts = [map(str, _scalars(values)) for values in columns.values()]
        self._write(map(",".join, zip(*texts, strict=True)))

    def finish(self) -> None:
        """Nothing follows the last row."""

    def discard(self) -> None:
        """Nothing to let go of."""

    def _write(self, lines: Iterable[str]) -> None:
        self._file.write("".join(f"{line}\n" for line in lines).encode())


def _scalars(values: NDArray[Any]) -> Iterable[Any]:
    """Python's numbers are the faster ones to print, but know float64 only."""
    narrow = values.dtype.kind == "f" and values.dtype.itemsize < 8
    return values if narrow else values.tolist()
