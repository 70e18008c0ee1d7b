"""NumPy's .npy files: rows read through a memory map, results written row by row."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from lucid.io.columns import chosen, positions_as_names, row_dtype
from lucid.io.errors import DataError, Path

_READ_HEADER = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}


class NpyRows:
    """The rows of a .npy file; only the pages of one block need to be in memory.

    The fields of a structured array are columns. Raises DataError for a file whose
    size is not what its header says, and for values that are not real numbers.
    """

    def __init__(self, path: Path, columns: Sequence[str] | None = None) -> None:
        self.name = os.fspath(path)
        self._array = _map(self.name)
        shape = self._array.shape
        if not shape:
            raise DataError(path, "holds a single number (shape ()), not rows")
        self.count: int | None = shape[0]
        self._names = self._array.dtype.names
        if self._names is not None and len(shape) > 1:
            raise DataError(path, f"a structured array of shape {shape}, not of rows")
        if columns is not None and self._names is None and len(shape) != 2:
            raise DataError(path, f"has no columns to choose: its shape is {shape}")
        self._columns: tuple[int, ...] | None = None
        if self._names is not None or columns is not None:
            names = self._names or positions_as_names(shape[1])
            self._columns = chosen(self.name, columns, names)
        dtypes = [self._array.dtype]
        if self._names is not None and self._columns is not None:
            dtypes = [self._array.dtype[i] for i in self._columns]
        self.dtype = row_dtype(self.name, dtypes)
        self.row_shape = shape[1:] if self._columns is None else (len(self._columns),)

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        """The rows in order, `size` at a time."""
        for start in range(0, len(self._array), size):
            block = self._array[start : start + size]
            if self._columns is None:
                yield block
            elif self._names is None:
                yield block[:, self._columns]
            else:
                yield np.stack([block[self._names[i]] for i in self._columns], axis=1)

    def fraction(self) -> float | None:
        """Not needed: the number of rows is known."""
        return None


def _map(path: str) -> NDArray[Any]:
    with open(path, "rb") as file:
        try:
            version = npy_format.read_magic(file)
            shape, fortran, dtype = _READ_HEADER[version](file)
        except KeyError:
            trouble = f"its .npy format version {version} is not supported"
            raise DataError(path, trouble) from None
        except (ValueError, EOFError):
            trouble = "not a .npy file, or its header is damaged"
            raise DataError(path, trouble) from None
        offset = file.tell()
        held = os.fstat(file.fileno()).st_size - offset
    if dtype.hasobject:
        raise DataError(path, "holds pickled Python objects, which are never read")
    if min(shape, default=0) < 0:
        raise DataError(path, f"its header is damaged: the shape is {shape}")
    # In Python's integers: a damaged header may promise more than 64 bits can count.
    promised = dtype.itemsize
    for extent in shape:
        promised *= extent
    if held != promised:
        state = "truncated" if held < promised else "oversized"
        raise DataError(
            path,
            f"{state}: its header (shape {shape}, {dtype}) promises {promised} bytes "
            f"of data, and it holds {held}",
        )
    if promised == 0:  # what cannot be mapped
        return np.empty(shape, dtype)
    order = "F" if fortran else "C"
    mapped: Any = np.memmap  # whose stubs know no dtype found at run time
    array: NDArray[Any] = mapped(path, dtype, "r", offset, shape, order)
    return array


class NpyEncoder:
    """One column as a plain array, several as the fields of a structured one."""

    def __init__(self, file: BinaryIO, dtypes: Mapping[str, np.dtype[Any]]) -> None:
        self._file = file
        only = next(iter(dtypes.values()))
        self._dtype = only if len(dtypes) == 1 else np.dtype(list(dtypes.items()))
        self._rows = 0
        self._data_at = self._write_header()

    def append(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write one block."""
        rows = len(next(iter(columns.values())))
        block = np.empty(rows, self._dtype)
        for name, values in columns.items():
            (block if self._dtype.names is None else block[name])[...] = values
        self._file.write(block.tobytes())
        self._rows += rows

    def finish(self) -> None:
        """Put the number of rows into the header, which leaves room for it."""
        self._file.seek(0)
        if self._write_header() != self._data_at:
            raise OSError("the header of the .npy file outgrew its place")

    def discard(self) -> None:
        """Nothing to let go of."""

    def _write_header(self) -> int:
        header = {
            "descr": npy_format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._rows,),
        }
        npy_format.write_array_header_1_0(self._file, header)
        return self._file.tell()
