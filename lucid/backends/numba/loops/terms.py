"""Σ_k 2^(y_k + shift) over components, of events of a few elements, in one loop."""

from __future__ import annotations

from lucid.backends.numba.loops.arithmetic import shifted_exp2
from lucid.backends.numba.loops.family import factors_of, limited, pair, row_of
from lucid.backends.numba.loops.limits import LEAST, MOST, SHIFTED_ROUNDER
from lucid.backends.numba.native import wide_vectors
from lucid.backends.protocol import Array

# Elements of an event: known to the compiler, or the loop over rows is none of vectors.
SIZE = 1


def add_terms(
    part: Array,
    x: Array,
    factors: Array,
    constant: Array,
    limits: Array,
    first: int,
    last: int,
) -> None:
    """Add the terms of components first … last − 1 to each row's `part`."""
    wide_vectors()
    least, most, rounder = limits[LEAST], limits[MOST], limits[SHIFTED_ROUNDER]
    for k in range(first, last):
        base = constant[k]
        for r in range(part.shape[0]):
            y = base
            for d in range(SIZE):
                y += pair(row_of(x, d, r), factors_of(factors, k, d))
            part[r] += shifted_exp2(limited(y, least, most), rounder)
