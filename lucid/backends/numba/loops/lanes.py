"""What loops/rows.py does otherwise for rows of many components.

A row takes VECTOR columns: neighbours remain neighbours, and nothing is turned. What
its columns sum to is added at the end.
"""

from __future__ import annotations

from typing import Any

from lucid.backends.numba.native import VECTOR, move, sum_vector, wide_vectors
from lucid.backends.protocol import Array

LANES = VECTOR


def turn(
    source: Array,
    step: int,
    start: int,
    size: int,
    first: int,
    count: int,
    tile: Array,
) -> None:
    """Components first·LANES … of rows start … into `count` lines of a tile.

    The last row stands in for those that a block lacks, as the last component does.
    """
    wide_vectors()
    components = source.shape[1]
    whole = min(count, components // LANES - first)
    for r in range(tile.shape[1] // LANES):
        row = step * (start + min(r, size - 1))
        for j in range(whole):
            move(tile, j, r * LANES, source, row, (first + j) * LANES)
        if whole < count:
            for i in range(LANES):
                k = min((first + whole) * LANES + i, components - 1)
                tile[whole, r * LANES + i] = source[row, k]


def row_sum(total: Array, lost: Array, r: int) -> Any:
    """The sum over the columns from r on, in float64."""
    return sum_vector(total, r) + sum_vector(lost, r)
