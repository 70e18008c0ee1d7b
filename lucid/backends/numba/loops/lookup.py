"""Numbers of a table at the places that values give."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.native import wide_vectors
from lucid.backends.protocol import Array


def lookup(table: Array, value: Array, out: Array) -> None:
    """Fill `out` with table[value + 1], one of its ends where there is no such place.

    NaN stays NaN.
    """
    wide_vectors()
    for i in range(value.shape[0]):
        x = value[i]
        # An index without a sign needs no look at it.
        found = table[np.uint64(place(x, table.shape[0] - 2))]
        out[i] = found if x == x else np.nan


def place(x: Any, count: int) -> Any:
    """x + 1 from 0 to count + 1; 0 for what is no integer."""
    below = np.float64(x) if x > -1 else -1.0
    inside = below if below < count else np.float64(count)
    return np.int64(inside) + 1 if np.rint(x) == x else np.int64(0)
