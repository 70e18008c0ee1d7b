"""What can be wrong with a file; each message is one line and names the file."""

from __future__ import annotations

import importlib
import os
from typing import Any

Path = str | os.PathLike[str]


class _FileTrouble(Exception):
    """A file and what is wrong with it."""

    def __init__(self, path: Path, trouble: str) -> None:
        super().__init__(os.fspath(path), trouble)

    def __str__(self) -> str:
        path, trouble = self.args
        return f"{path}: {trouble}"


class ModelError(_FileTrouble, ValueError):
    """A model file that does not describe a distribution."""


class DataError(_FileTrouble, ValueError):
    """Data that cannot be read as rows, or whose rows the model cannot score."""


class OutputError(_FileTrouble, OSError):
    """A result that cannot be written; `errno` is the system's, where it has one."""

    def __init__(self, path: Path, trouble: str, errno: int | None = None) -> None:
        super().__init__(path, trouble)
        self.errno = errno
        self.filename = os.fspath(path)


class MissingPackageError(ImportError):
    """An optional package is needed here and is not installed."""


def optional(module: str, purpose: str, extra: str) -> Any:
    """The optional module of that name, or an error that says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingPackageError(
            f"{purpose} needs the package {package}: "
            f"pip install 'lucid-distributions[{extra}]'"
        ) from error


def reason(error: OSError) -> str:
    """What the system says of an error, without its number and the path."""
    return error.strerror or str(error) or type(error).__name__
