"""The elementwise log density: what belongs to one side alone, and the pairs.

Elements come in chunks of WIDTH. Each function is compiled apart, for the dtype that it
computes in, and stores what it finds: so a result has the same bits wherever its
parameters were prepared.
"""

from __future__ import annotations

from typing import Any

from lucid.backends.numba.loops.elements import (
    factors_at,
    keep_factors,
    keep_row,
    parameters_at,
    prepare,
    row_at,
    value_parts,
    with_offset,
)
from lucid.backends.numba.loops.family import pair
from lucid.backends.numba.loops.float32 import integer, real
from lucid.backends.numba.native import wide_vectors
from lucid.backends.protocol import Array

# The lines of a chunk lie at distances that LLVM knows: it need not ask whether they
# overlap before it makes vectors of a loop that writes to many.
WIDTH = 64


def prepare_elements(parameters: tuple[Array, ...], factors: Array) -> None:
    """factors [chunks, lines·WIDTH], the constant last, of [chunks, WIDTH] each."""
    wide_vectors()
    for c in range(factors.shape[0]):
        for i in range(WIDTH):
            keep_factors(factors, c, i, prepare(*parameters_at(parameters, c, i)))


def split_values(x: Array, rows: Array, offset: Array) -> None:
    """rows [chunks, terms·WIDTH] and offset [chunks, WIDTH] of values [chunks, WIDTH].

    The offset is the base measure, −∞ outside the support, NaN for NaN.
    """
    wide_vectors()
    for c in range(x.shape[0]):
        for i in range(WIDTH):
            found = value_parts(real(x[c, i]))
            keep_row(rows, c, i, found)
            offset[c, i] = found[-1]


def score_shared(rows: Array, offset: Array, factors: Array, out: Array) -> Any:
    """Fill `out` [chunks, WIDTH] from rows, the first factors for all.

    Returns the number of NaN that no offset explains.
    """
    wide_vectors()
    own, constant = factors_at(factors, 0, 0)
    strange = integer(0)
    for c in range(out.shape[0]):
        for i in range(WIDTH):
            found = pair(row_at(rows, c, i), own) + constant
            found, odd = with_offset(found, offset, c, i)
            out[c, i] = found
            strange = integer(strange + integer(odd))
    return strange


def score_own(rows: Array, offset: Array, factors: Array, out: Array) -> Any:
    """The like, with factors [chunks or more, lines·WIDTH] of each value's own."""
    wide_vectors()
    strange = integer(0)
    for c in range(out.shape[0]):
        for i in range(WIDTH):
            own, constant = factors_at(factors, c, i)
            found = pair(row_at(rows, c, i), own) + constant
            found, odd = with_offset(found, offset, c, i)
            out[c, i] = found
            strange = integer(strange + integer(odd))
    return strange
