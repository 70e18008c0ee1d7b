"""The components of one row, from parameters that are its own."""

from __future__ import annotations

import numpy as np

from lucid.backends.numba.loops.family import (
    keep_factors,
    parameters_of,
    prepare,
)
from lucid.backends.numba.native import wide_vectors
from lucid.backends.protocol import Array

BITS = 1.4426950408889634


def prepare_row(
    parameters: Array,
    log_weights: Array,
    normaliser: Array,
    r: int,
    factors: Array,
    constant: Array,
) -> None:
    """Factors [factors, K] and constant [K] of row r, rounded from float64.

    parameters [parameters, rows, K]; log_weights [rows, K] in nats, −∞ where there is
    no such component: no trace is left of what its parameters are. The two rows of
    `normaliser` are taken off them one after the other.
    """
    wide_vectors()
    shift, log_total = normaliser[0, r], normaliser[1, r]
    for k in range(constant.shape[0]):
        log_weight = (np.float64(log_weights[r, k]) - shift) - log_total
        dead = log_weight == -np.inf
        found = prepare(*parameters_of(parameters, r, k))
        keep_factors(factors, k, found, dead)
        constant[k] = -np.inf if dead else found[-1] + BITS * log_weight
