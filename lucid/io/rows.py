"""Data of any size as rows, read a block at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path as FilePath
from typing import Any, Protocol

import numpy as np

from lucid._tensor import Tensor, asarray
from lucid.io.columns import row_dtype
from lucid.io.csv import CsvRows
from lucid.io.errors import DataError, Path
from lucid.io.npy import NpyRows
from lucid.io.parquet import ParquetRows


class Rows(Protocol):
    """Rows of numbers, read in order."""

    # What an error message calls the data: the file's path.
    name: str
    # How many rows there are; None where only reading to the end tells.
    count: int | None
    # The shape of one row: () for numbers, (D,) for a table of D columns.
    row_shape: tuple[int, ...]
    # None where the numbers have no floating dtype of their own.
    dtype: np.dtype[Any] | None

    def blocks(self, size: int) -> Iterator[Any]:
        """Raw arrays or tensors of at most about `size` rows."""

    def fraction(self) -> float | None:
        """How much has been read, where the count of rows does not tell."""


_READERS: dict[str, Callable[[Path, Sequence[str] | None], Rows]] = {
    ".npy": NpyRows,
    ".csv": CsvRows,
    ".parquet": ParquetRows,
}


class ArrayRows:
    """The rows of an array in memory, on any device."""

    name = "data"

    def __init__(self, array: Any) -> None:
        weak = isinstance(array, (list, tuple))
        if not isinstance(array, Tensor):
            on_gpu = hasattr(array, "__cuda_array_interface__")
            array = asarray(array) if on_gpu else np.asarray(array)
        dtype = row_dtype(self.name, [np.dtype(array.dtype)])
        if not array.shape:
            raise DataError(self.name, "a single number (shape ()), not rows")
        self._array = array
        self.count: int | None = array.shape[0]
        self.row_shape = tuple(array.shape[1:])
        self.dtype = None if weak else dtype

    def blocks(self, size: int) -> Iterator[Any]:
        """The rows in order, `size` at a time, as views."""
        for start in range(0, self._array.shape[0], size):
            yield self._array[start : start + size]

    def fraction(self) -> float | None:
        """Not needed: the number of rows is known."""
        return None


def open_rows(data: Any, columns: Sequence[str] | None = None) -> Rows:
    """The rows of a .npy, .csv or .parquet file, or of an array in memory.

    columns  the table's columns that make the event, by name; by position, counted
             from 0, where the file has no names. None: all of them
    Raises DataError for what cannot be read as rows, OSError for a missing file.
    """
    if not isinstance(data, (str, os.PathLike)):
        if columns is not None:
            raise ValueError("`columns` chooses from a file's columns, not an array's")
        return ArrayRows(data)
    suffix = FilePath(data).suffix.lower()
    if suffix not in _READERS:
        endings = ", ".join(_READERS)
        raise DataError(data, f"the name of data must end in one of {endings}")
    if os.path.isdir(data):
        raise DataError(data, "is a folder")
    return _READERS[suffix](data, columns)
