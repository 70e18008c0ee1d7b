"""A tile of components of rows that each have their own."""

from __future__ import annotations

import numpy as np

from lucid.backends.numba.loops.family import keep_factors, parameters_of, prepare
from lucid.backends.numba.loops.float32 import real
from lucid.backends.numba.native import wide_vectors
from lucid.backends.protocol import Array


def prepare_rows(
    own: Array, weight: Array, factors: Array, constant: Array, count: int
) -> None:
    """Factors [factors, T, rows] and constants [T, rows] of `count` components.

    own     their parameters, [parameters, T, rows]
    weight  the logarithms of their weights in bits, [T, rows]; −∞ where there is no
            such component: no trace is left of what its parameters are
    """
    wide_vectors()
    for j in range(count):
        for r in range(constant.shape[1]):
            dead = weight[j, r] == -np.inf
            found = prepare(*parameters_of(own, j, r))
            keep_factors(factors, j, r, found, dead)
            constant[j, r] = real(-np.inf) if dead else found[-1] + weight[j, r]
