"""As loops/plain.py, for rows sorted into groups, each under some of the components."""

from __future__ import annotations

from lucid.backends.numba.loops.plain import score
from lucid.backends.numba.native import wide_vectors
from lucid.backends.protocol import Array

# Vectors are filled by so many rows, and blocks of a group's rows by multiples of it.
NARROW = 16


def score_groups(
    add_terms: int,
    values: Array,
    groups: Array,
    factors: Array,
    constant: Array,
    limits: Array,
    out: Array,
    x: Array,
    state: Array,
) -> int:
    """Fill `out` [N] as `score`; returns what it does.

    values   [N, D], which `pair` takes as they are
    groups   [G, 4]: a group's values and components, from one position up to another
    factors  [K, D, factors] and constant [K] of the components of all groups
    """
    wide_vectors()
    strange, width, size = 0, x.shape[2], values.shape[1]
    narrow_x, narrow_state = x.reshape(x.size), state.reshape(state.size)
    for g in range(groups.shape[0]):
        start, stop, first, last = groups[g]
        # Blocks of one width, no wider than the group needs.
        count = -(-(stop - start) // width)
        own = -(-(stop - start) // (count * NARROW)) * NARROW
        strange += score(
            add_terms,
            values[start:stop].reshape((1, stop - start, size)),
            factors[first:last],
            constant[first:last],
            limits,
            out[start:stop],
            narrow_x[: size * own].reshape((1, size, own)),
            narrow_state[: state.shape[0] * own].reshape((state.shape[0], own)),
        )
    return strange
