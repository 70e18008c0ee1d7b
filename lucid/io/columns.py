"""Which columns of a table make the event, and what numbers they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from lucid.io.errors import DataError

_FLOATS = (np.float16, np.float32, np.float64)


def chosen(
    file: str, columns: Sequence[str] | None, names: Sequence[str]
) -> tuple[int, ...]:
    """Positions in `names` of the columns asked for, in that order; None means all."""
    if columns is None:
        return tuple(range(len(names)))
    positions: list[int] = []
    for column in columns:
        found = [i for i, name in enumerate(names) if name == column]
        if not found:
            raise DataError(file, f"no column {column!r}; its columns: {listed(names)}")
        if len(found) > 1:
            raise DataError(file, f"{len(found)} of its columns are named {column!r}")
        if found[0] in positions:
            raise DataError(file, f"the column {column!r} is asked for twice")
        positions += found
    return tuple(positions)


def positions_as_names(count: int) -> tuple[str, ...]:
    """Names for columns that have none: their positions, counted from 0."""
    return tuple(map(str, range(count)))


def listed(names: Sequence[str], most: int = 12) -> str:
    """Some names for a message, not a thousand."""
    shown = ", ".join(names[:most])
    more = len(names) - most
    return f"{shown} and {more} more" if more > 0 else shown


def row_dtype(file: str, dtypes: Iterable[np.dtype[Any]]) -> np.dtype[Any] | None:
    """The floating dtype of rows; None for integers, which take the model's dtype."""
    common: np.dtype[Any] | None = None
    for dtype in dtypes:
        if dtype.kind == "f" and dtype.type in _FLOATS:
            common = dtype if common is None else np.promote_types(common, dtype)
        elif dtype.kind not in "iu":
            raise DataError(
                file,
                f"holds values of dtype {dtype}; rows are integers, float16, float32 "
                "or float64",
            )
    return None if common is None else common.newbyteorder("=")
