"""One value under one mixture: all that leads to its compiled loop is kept.

The loop is that of `mixture.py`, in which a value's bits do not depend on others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.backends.numba import kernels
from lucid.backends.numba.mixture import CHUNK
from lucid.backends.numba.scoring import PLAIN_ROWS_MULTIPLE, PLAIN_STATES, Mixture
from lucid.backends.numpy.cells import cells_of
from lucid.backends.protocol import Array, Components

# Fills `out` [1] from a value [1, 1, 1]; how many results are not to be trusted.
Score = Callable[[Array, Array], int]


def log_prob(
    fn: Any, components: Components, value: Array, dtype: Any, out: Array
) -> bool:
    """Fill `out` [1, 1] from a value [1, 1, 1]; False where that takes `mixture.py`.

    So the first call does, which prepares the components.
    """
    dtype = np.dtype(dtype)
    mixtures = components.prepared.get(("numba", dtype))
    if not mixtures:
        return False
    key = "numba single", dtype
    score: Score | None = components.once(key, _score, fn, components, mixtures[0])
    if score is None:
        return False
    return score(kernels.operand(value, dtype), out.reshape(1)) == 0


def _score(fn: Any, components: Components, mixture: Mixture) -> Score | None:
    traits, dtype = kernels.traits(components.family), mixture.dtype
    simple = traits.row_is_value and not (traits.base_measure or traits.supports)
    if not simple or mixture.limits is None or len(mixture.constant) > CHUNK:
        return None
    if cells_of(fn, components, dtype) is not None:
        return None
    loop = kernels.plain_score(dtype, dtype)
    add_terms = kernels.add_terms(*mixture.loops)
    given = mixture.factors, mixture.constant, mixture.limits
    width = PLAIN_ROWS_MULTIPLE

    def score(x: Array, out: Array) -> int:
        line = np.empty((1, 1, width), dtype)
        state = np.empty((PLAIN_STATES, width), dtype)
        return loop(add_terms, x, *given, out, line, state)

    return score
