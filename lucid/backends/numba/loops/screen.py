"""max_k y_k and Σ_k 2^(y_k − max) of events, most components left out unseen.

No term of y_k = Σ_d −a²(x − μ)² + c_k is positive, so that some of the dimensions bound
every y_k from above; what looks best there is evaluated, and then those that can matter
beside it. The bounds, in float32 and with the squares expanded, may be off by as much
as is known. They are formed of components side by side, so that no row needs another.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.loops.arithmetic import exp2
from lucid.backends.numba.loops.float32 import real
from lucid.backends.numba.native import inlined, wide_vectors
from lucid.backends.protocol import Array

# Components side by side; dimensions in one pass over them, and rows, for which each
# number of a component is read once; rows at once, a multiple of those.
WIDTH, PASS, TOGETHER, ROWS = 64, 4, 4, 16
# Elements of an event side by side.
LANES = 64
# So few that are left are taken as they come.
FEW = 16
# What bounds may be off by, at most, for no part of them to overflow.
MOST_OFF = 2.0**96
# The places of `limits`, and the rows of `found`.
NEAR, SLACK, MOST, TRIES = 0, 1, 2, 3
TOP, TOTAL, LEFT = 0, 1, 2


def score(
    x: Array,
    loc: Array,
    square: Array,
    constant: Array,
    chosen: Array,
    centre: Array,
    error: Array,
    rough_square: Array,
    rough_linear: Array,
    rough_constant: Array,
    limits: Array,
    shifted: Array,
    bound: Array,
    found: Array,
    best: Array,
) -> None:
    """Fill `best` [N] with arg max_k y_k, `found` [3, N] with the maximum and the sum.

    And with how many other components may matter. The maximum is NaN where they are too
    many, and in a row with NaN or a number whose square might overflow.

    x               [N, D]; loc, square [K, D] and constant [K]: μ, −a² and c
    chosen          [d], the dimensions looked at; centre [d], near the μ of those
    error           float32 [d]: Σ error·(2x')² bounds what x' = x − centre makes
                    bounds off by
    rough_square    float32 [groups, blocks, d, WIDTH]: what x'² is multiplied by;
                    rough_linear and rough_constant alike
    limits          what y may be below the largest, besides, to matter; what part of
                    it that is off by; how many components may be left; how many
                    of what looks best are tried first, while more than FEW are left
    shifted, bound  scratch, float32 [ROWS, d] and [ROWS, blocks, WIDTH]
    """
    wide_vectors()
    part, reach = np.empty((TOGETHER, WIDTH), np.float32), np.empty(ROWS, np.float32)
    lanes, keys = np.empty(LANES, x.dtype), bound.view(np.int32)
    exact = x, loc, square, constant
    rough = rough_square, rough_linear, rough_constant
    for start in range(0, x.shape[0], ROWS):
        size = min(ROWS, x.shape[0] - start)
        shift(x, start, size, chosen, centre, error, shifted, reach)
        fill_bounds(shifted, size, rough, part, bound)
        for r in range(size):
            row = start + r
            best[row], found[TOP, row], found[TOTAL, row] = 0, -np.inf, 0.0
            off, near = np.float64(reach[r]), np.float32(-np.inf)
            if not off < MOST_OFF:
                found[TOP, row], found[LEFT, row] = np.nan, 0.0
                continue
            own = row, r, off, exact, rough, limits, shifted, lanes, found, best
            left = 0
            for _ in range(int(limits[TRIES])):
                b, j = highest(keys[r])
                near = visit(b, j, near, own)
                bound[r, b, j] = np.float32(-np.inf)
                left = 0
                for b in range(bound.shape[1]):
                    left += reached(bound, r, b, near)
                if not left > FEW:
                    break
            found[LEFT, row] = left
            if left > limits[MOST]:
                near = np.float32(np.nan)
            if left > 0 and near == near:
                for b in range(bound.shape[1]):
                    if reached(bound, r, b, near):
                        for j in range(WIDTH):
                            if bound[r, b, j] >= near:
                                near = visit(b, j, near, own)
            if near != near:
                found[TOP, row] = np.nan


def shift(
    x: Array,
    start: int,
    size: int,
    chosen: Array,
    centre: Array,
    error: Array,
    shifted: Array,
    reach: Array,
) -> None:
    """Rows less the centre, and what their bounds are off by: ∞ far off, or NaN."""
    for r in range(size):
        reach[r] = np.float32(0.0)
    for i in range(chosen.shape[0]):
        d, c, e = chosen[i], centre[i], error[i]
        for r in range(size):
            z = np.float32(x[start + r, d] - c)
            shifted[r, i] = z
            z += z
            reach[r] += z * z * e


def fill_bounds(
    shifted: Array, size: int, rough: Any, part: Array, bound: Array
) -> None:
    """The highest rough y of each group of components, for some rows together."""
    wide_vectors()
    square, linear, constant = rough
    groups, blocks, depth, _ = square.shape
    y0, y1, y2, y3 = part[0], part[1], part[2], part[3]
    for g in range(groups):
        for b in range(blocks):
            n, w, base = square[g, b], linear[g, b], constant[g, b]
            for r in range(0, size, TOGETHER):
                for j in range(WIDTH):
                    y0[j] = y1[j] = y2[j] = y3[j] = base[j]
                for d in range(0, depth, PASS):
                    x0, x1 = four(shifted[r], d), four(shifted[r + 1], d)
                    x2, x3 = four(shifted[r + 2], d), four(shifted[r + 3], d)
                    for j in range(WIDTH):
                        own = (
                            (n[d, j], n[d + 1, j], n[d + 2, j], n[d + 3, j]),
                            (w[d, j], w[d + 1, j], w[d + 2, j], w[d + 3, j]),
                        )
                        y0[j] = with_terms(y0[j], x0, own)
                        y1[j] = with_terms(y1[j], x1, own)
                        y2[j] = with_terms(y2[j], x2, own)
                        y3[j] = with_terms(y3[j], x3, own)
                for i in range(TOGETHER):
                    into, y = bound[r + i, b], part[i]
                    if g == 0:
                        for j in range(WIDTH):
                            into[j] = y[j]
                    else:
                        for j in range(WIDTH):
                            into[j] = y[j] if y[j] > into[j] else into[j]


def four(row: Array, d: int) -> Any:
    """PASS numbers of a row."""
    inlined()
    return row[d], row[d + 1], row[d + 2], row[d + 3]


def with_terms(y: Any, x: Any, own: Any) -> Any:
    """y and the terms of PASS dimensions."""
    inlined()
    square, linear = own
    for i in range(PASS):
        y += x[i] * (x[i] * square[i] + linear[i])
    return y


def highest(keys: Array) -> Any:
    """The block and the place of the largest bound of a row, given as bits."""
    wide_vectors()
    most, at = np.int32(-(2**31)), 0
    for b in range(keys.shape[0]):
        high = np.int32(-(2**31))
        for j in range(WIDTH):
            high = max(high, ordered(keys[b, j]))
        if high > most:
            most, at = high, b
    place = np.int32(0)
    for j in range(WIDTH):
        place = max(place, np.int32(j) if ordered(keys[at, j]) == most else np.int32(0))
    return at, np.int64(place)


def ordered(bits: Any) -> Any:
    """A number that is in order as float32 is, whose maximum LLVM makes vectors of."""
    inlined()
    return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


def reached(bound: Array, r: int, b: int, near: Any) -> Any:
    """How many bounds of a block reach a threshold."""
    inlined()
    count = np.int32(0)
    for j in range(WIDTH):
        count = np.int32(count + np.int32(bound[r, b, j] >= near))
    return np.int64(count)


def visit(b: int, j: int, near: Any, own: Any) -> Any:
    """Take what matters of a group of components into a row's sum.

    Returns what other bounds must reach to matter then; NaN where a y is not finite.
    """
    inlined()
    row, r, off, exact, rough, limits, shifted, lanes, found, best = own
    constant = exact[3]
    groups, blocks, _, _ = rough[0].shape
    for g in range(groups):
        k = (g * blocks + b) * WIDTH + j
        if k >= constant.shape[0]:
            continue
        if groups > 1 and not one_bound(shifted, r, rough, g, b, j) >= near:
            continue
        y = np.float64(constant[k]) + evaluate(exact, row, k, lanes)
        if not abs(y) < np.inf:
            return np.float32(np.nan)
        add(y, k, row, found, best)
        top = found[TOP, row]
        near = np.float32(top - limits[SLACK] * abs(top) - limits[NEAR] - off)
    return near


def one_bound(shifted: Array, r: int, rough: Any, g: int, b: int, j: int) -> Any:
    """One rough y, as `fill_bounds` has it."""
    inlined()
    square, linear, constant = rough
    y = constant[g, b, j]
    for d in range(square.shape[2]):
        x = shifted[r, d]
        y += x * (x * square[g, b, d, j] + linear[g, b, d, j])
    return y


def add(y: Any, k: int, row: int, found: Array, best: Array) -> None:
    """Take 2^y of component k into a row's maximum and sum."""
    inlined()
    top = found[TOP, row]
    if y > top:
        found[TOTAL, row] = found[TOTAL, row] * np.float64(exp2(real(top - y))) + 1.0
        found[TOP, row], best[row] = y, k
    else:
        found[TOTAL, row] += np.float64(exp2(real(y - top)))
        if y == top and k < best[row]:
            best[row] = k


def evaluate(exact: Any, row: int, k: int, lanes: Array) -> Any:
    """Σ_d −a²(x − μ)² in float64, of terms added pairwise."""
    inlined()
    x, loc, square, _ = exact
    size = x.shape[1]
    whole = size - size % LANES
    for j in range(LANES):
        lanes[j] = real(0.0)
    for first in range(0, whole, LANES):
        for j in range(LANES):
            z = x[row, first + j] - loc[k, first + j]
            lanes[j] += z * z * square[k, first + j]
    for j in range(size - whole):
        z = x[row, whole + j] - loc[k, whole + j]
        lanes[j] += z * z * square[k, whole + j]
    half = LANES
    while half > 1:
        half //= 2
        for j in range(half):
            lanes[j] += lanes[half + j]
    return np.float64(lanes[0])
