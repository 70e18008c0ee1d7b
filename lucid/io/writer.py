"""Results written as they are computed, under their final name only when complete.

The rows go to a temporary file in the output's own folder, which is renamed over the
final name at the end; on any failure it is removed and the final name is untouched.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from lucid.io import csv, npy, parquet
from lucid.io.errors import OutputError, Path, reason

# One block of results: equally long columns by name.
Columns = Mapping[str, NDArray[Any]]
Dtypes = Mapping[str, np.dtype[Any]]


class Encoder(Protocol):
    """Columns of numbers turned into the bytes of one file format."""

    def append(self, columns: Columns) -> None:
        """Write one block."""

    def finish(self) -> None:
        """Write what follows the last block; the file stays open."""

    def discard(self) -> None:
        """Let go of the file without writing to it."""


_ENCODERS = {
    ".npy": npy.NpyEncoder,
    ".csv": csv.CsvEncoder,
    ".parquet": parquet.ParquetEncoder,
}


class NewFile:
    """A binary file that takes its name when the `with` block ends without error."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # A link keeps pointing to the file that is replaced.
        self._final = os.path.realpath(path)
        self._temporary = ""

    def __enter__(self) -> BinaryIO:
        folder, name = os.path.split(self._final)
        with self.reported():
            if os.path.exists(self._final) and not os.path.isfile(self._final):
                raise OutputError(self.path, "exists and is not a regular file")
            # The length of a name is limited, and the tag is what makes it unique.
            tag = f".{os.urandom(4).hex()}.part"
            self._temporary = os.path.join(folder, f".{name[:40]}{tag}")
            self._file = open(self._temporary, "xb")
        return self._file

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with self.reported():
                if kind is None:
                    # Some file systems report a full disk no earlier than here.
                    self._file.flush()
                    os.fsync(self._file.fileno())
                    self._file.close()
                    os.replace(self._temporary, self._final)
        finally:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                os.unlink(self._temporary)

    @contextlib.contextmanager
    def reported(self) -> Iterator[None]:
        """Errors of the system inside, as errors of this output."""
        try:
            yield
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(self.path, reason(error), error.errno) from error


class Writer:
    """Blocks of results to a .npy, .csv or .parquet file.

    path    the final name; its ending chooses the format
    dtypes  the columns' names and dtypes, in order
    Raises OutputError where the file cannot be written.
    """

    def __init__(self, path: Path, dtypes: Dtypes) -> None:
        self._new = NewFile(path)
        self._encoder_type = encoder_for(path)
        self._dtypes = dtypes

    def __enter__(self) -> Self:
        file = self._new.__enter__()
        try:
            with self._new.reported():
                self._encoder: Encoder = self._encoder_type(file, self._dtypes)
        except BaseException as error:
            self._new.__exit__(type(error), error, None)
            raise
        return self

    def append(self, columns: Columns) -> None:
        """Write one block."""
        with self._new.reported():
            self._encoder.append(columns)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                with self._new.reported():
                    self._encoder.finish()
        except BaseException as late:
            kind, error = type(late), late
            raise
        finally:
            if kind is not None:
                self._encoder.discard()
            self._new.__exit__(kind, error, trace)


def encoder_for(path: Path) -> type[Any]:
    """The encoder that the ending of an output's name asks for."""
    suffix = FilePath(path).suffix.lower()
    if suffix not in _ENCODERS:
        endings = ", ".join(_ENCODERS)
        raise OutputError(path, f"an output's name must end in one of {endings}")
    encoder = _ENCODERS[suffix]
    if encoder is parquet.ParquetEncoder:
        parquet.pyarrow()
    return encoder
