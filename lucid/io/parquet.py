"""Parquet files, through the optional package pyarrow."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lucid.io.columns import chosen, row_dtype
from lucid.io.errors import DataError, Path, optional


def pyarrow() -> Any:
    """The package pyarrow, or an error that says how to get it."""
    optional("pyarrow.parquet", "a .parquet file", "parquet")
    return optional("pyarrow", "a .parquet file", "parquet")


class ParquetRows:
    """The rows of a .parquet file, read a batch at a time; a null is NaN."""

    def __init__(self, path: Path, columns: Sequence[str] | None = None) -> None:
        self.name = os.fspath(path)
        self._pyarrow = pyarrow()
        with open(path, "rb"):  # the system's own words for a file that is not there
            pass
        with self._reported():
            self._file = self._pyarrow.parquet.ParquetFile(self.name, memory_map=True)
            schema = self._file.schema_arrow
        positions = chosen(self.name, columns, schema.names)
        self._columns = [schema.names[i] for i in positions]
        dtypes = [self._column_dtype(schema.field(i)) for i in positions]
        self.dtype = row_dtype(self.name, dtypes)
        self.count: int | None = self._file.metadata.num_rows
        self.row_shape: tuple[int, ...] = (len(self._columns),)

    def blocks(self, size: int) -> Iterator[NDArray[Any]]:
        """The rows in order, at most `size` at a time."""
        with self._reported():
            for batch in self._file.iter_batches(size, columns=self._columns):
                columns = [
                    batch.column(name).to_numpy(zero_copy_only=False)
                    for name in self._columns
                ]
                yield np.stack(columns, axis=1)

    def fraction(self) -> float | None:
        """Not needed: the number of rows is known."""
        return None

    def _column_dtype(self, column: Any) -> np.dtype[Any]:
        types = self._pyarrow.types
        if not (types.is_floating(column.type) or types.is_integer(column.type)):
            trouble = f"column {column.name!r} holds {column.type}, not numbers"
            raise DataError(self.name, trouble)
        dtype: np.dtype[Any] = np.dtype(column.type.to_pandas_dtype())
        return dtype

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except self._pyarrow.ArrowException as error:
            first = str(error).partition("\n")[0]
            raise DataError(self.name, f"not a Parquet file: {first}") from None


class ParquetEncoder:
    """A column for each result; each block is at least one row group."""

    def __init__(self, file: BinaryIO, dtypes: Mapping[str, np.dtype[Any]]) -> None:
        self._pyarrow = pyarrow()
        self._schema = self._pyarrow.schema(
            [
                (name, self._pyarrow.from_numpy_dtype(dtype))
                for name, dtype in dtypes.items()
            ]
        )
        self._writer = self._pyarrow.parquet.ParquetWriter(file, self._schema)

    def append(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Write one block."""
        arrays = [self._pyarrow.array(columns[name]) for name in self._schema.names]
        self._writer.write_batch(
            self._pyarrow.record_batch(arrays, schema=self._schema)
        )

    def finish(self) -> None:
        """Write the index of the row groups."""
        self._writer.close()

    def discard(self) -> None:
        """Close what would else be closed, loudly, by the garbage collector."""
        with contextlib.suppress(Exception):
            self._writer.close()
