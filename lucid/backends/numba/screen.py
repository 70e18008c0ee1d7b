"""Events of many dimensions: components that cannot matter are left out unseen.

The loops are in loops/screen.py. What they may cost is estimated from draws, so that a
mixture has a screen where it pays.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import types

from lucid.backends.numba.compiler import compiled
from lucid.backends.numba.loops import screen as loops
from lucid.backends.numba.source import compose
from lucid.backends.numpy.prepare import Prepared
from lucid.backends.numpy.screen import BITS, draws
from lucid.backends.protocol import Array

# Nanoseconds, of which the ratios count: of a row, its best component included, and in
# float32 of each element; of a bound and of an element of it; of a component that is
# left; and, in float32, where all are evaluated: of a pair, of an element of it, and of
# an element of the row.
_ROW, _ALONE, _BOUND, _ELEMENT, _LEFT = 85.0, 0.2, 0.2, 0.066, 250.0
_DIRECT, _BESIDE, _GATHER = 0.4, 0.043, 0.5
# How often a row counts that is left to the loops for all pairs: those take as long for
# a few rows as for a block. As much is spent on a row before it is left.
_TIMES = 2.0
# What looks best may not be, and then far too many others are left: finding the next
# best, and of each component; what this may cost of a row without a screen.
_NEXT, _SCAN, _TRIED = 300.0, 0.2, 0.3
# What a screen may cost beside none, for draws: other values might pay for both.
_WORTH = 0.7
# And of the rows that a thread takes at once.
_WORK = 3e5
# Components that the estimate looks at.
_SAMPLE = 256
# Groups of components, at most, of which the bounds of a row are kept.
_GROUPS = 1 << 12
# Elements of components that bounds may be made of.
_MOST = 1 << 20
# What squares of scales and their inverses lie within, so that float32 holds them.
_SQUARE = 2.0**80
# Dimensions that they may be made of, each a multiple of what loops take at once.
_DEPTHS = [loops.PASS * n for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)]


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """What bounds the components of one mixture; see `loops.score` for the arrays.

    error   [d]: Σ error·(2x')² is at most what a bound is off by because of x', the
            value without the centre
    limits  how far below a row's largest y a bound that matters may lie, beside that
            sum; what part of itself y is off by; how many components may be left; how
            many are tried before
    rows    that a thread takes at once
    """

    pairs: tuple[Array, Array, Array]
    chosen: Array
    centre: Array
    error: Array
    rough: tuple[Array, Array, Array]
    limits: Array
    rows: int

    def sums(self, x: Array) -> tuple[Array, Array]:
        """`best` and `found` of `loops.score`."""
        _, blocks, size, width = self.rough[0].shape
        found, best = np.empty((3, len(x))), np.empty(len(x), np.int64)
        shifted = np.zeros((loops.ROWS, size), np.float32)
        bound = np.empty((loops.ROWS, blocks, width), np.float32)
        arrays = x, *self.pairs, self.chosen, self.centre, self.error, *self.rough
        _score(x.dtype)(*arrays, self.limits, shifted, bound, found, best)
        return best, found


@functools.cache
def _score(dtype: np.dtype[Any]) -> Callable[..., None]:
    """`score` of loops/screen.py."""
    real, rough = getattr(types, dtype.name), types.float32

    def read(kind: Any, ndim: int) -> Any:
        return types.Array(kind, ndim, "C", readonly=True)

    def array(kind: Any, ndim: int) -> Any:
        return types.Array(kind, ndim, "C")

    signature = types.void(
        read(real, 2),
        read(real, 2),
        read(real, 2),
        read(real, 1),
        read(types.int64, 1),
        read(real, 1),
        read(rough, 1),
        read(rough, 4),
        read(rough, 4),
        read(rough, 3),
        read(types.float64, 1),
        array(rough, 2),
        array(rough, 3),
        array(types.float64, 2),
        array(types.int64, 1),
    )
    return compiled(compose(dtype.name, "arithmetic", "screen"), "score", signature)


def screen_of(prepared: Prepared) -> Screen | None:
    """The screen of one mixture's components; None where it would not pay."""
    if prepared.square is None or not np.isfinite(prepared.constant).all():
        return None
    pairs = prepared.factors[0][..., 0], prepared.square, prepared.constant[:, 0]
    if -pairs[1].min() > _SQUARE or -pairs[1].max() < 1.0 / _SQUARE:
        return None
    count, size = pairs[0].shape
    wide = pairs[0].itemsize / 4
    directly = wide * (count * (_DIRECT + _BESIDE * size) + _GATHER * size)
    alone = _ALONE * wide * size
    most = _TIMES * directly / _ROW
    tries = 1 + int(_TRIED * directly / (_NEXT + _SCAN * count))
    some = np.linspace(0, count - 1, min(count, _SAMPLE)).astype(np.int64)
    sample = pairs[0][some], pairs[1][some], pairs[2][some]
    (loc, square, _), least, best = sample, _WORTH * directly, 0
    with np.errstate(all="ignore"):
        x = draws(sample)
        apart = (-square * (loc - loc.mean(axis=0)) ** 2).mean(axis=0)
        order = np.argsort(-apart, kind="stable")
        for depth in _DEPTHS:
            cost = _ROW + alone + count * (_BOUND + _ELEMENT * depth)
            if depth > size / 2 or count * depth > _MOST or cost >= least:
                break
            part = most * len(some) / count
            screen = _screen_over(
                sample, np.sort(order[:depth]), part, tries, loops.ROWS
            )
            if screen is None:
                break
            top, _, left = screen.sums(x)[1]
            lost = np.isnan(top)
            left = np.where(lost, 0.0, left).mean() * count / len(some)
            cost += (_LEFT + alone) * left + _TIMES * directly * lost.mean()
            if cost < least:
                least, best = cost, depth
        if not best:
            return None
        rows = max(int(_WORK / least) // loops.ROWS, 1) * loops.ROWS
        return _screen_over(pairs, np.sort(order[:best]), most, tries, rows)


def _screen_over(
    pairs: tuple[Array, Array, Array],
    chosen: Array,
    most: float,
    tries: int,
    rows: int,
) -> Screen | None:
    """The screen of the dimensions chosen; None where its bounds might overflow.

    It may leave `most` components beside the `tries` that look best.
    """
    loc, square, constant = pairs
    count, size = loc.shape
    unit = float(np.finfo(loc.dtype).eps) / 2
    # A sum of D squares and a constant, in any order, and rounding what it is near.
    slack = (size + 16) * unit
    highest = float(abs(constant).max())
    centre = loc[:, chosen].mean(axis=0, dtype=np.float64).astype(loc.dtype)
    shifted = loc[:, chosen].astype(np.float64) - centre
    factor = square[:, chosen].astype(np.float64)
    # Σ|a²|(x' − μ')² expanded is made of numbers whose sum is at most twice
    # Σ|a²|(x'² + μ'²); each is rounded once a dimension, and a few times before.
    error = -2.2 * (len(chosen) + 8) * 2.0**-24 * factor.min(axis=0)
    off = float(error @ (shifted * shifted).max(axis=0))
    off += (len(chosen) + 8) * 2.0**-23 * highest
    near = BITS[loc.dtype] + np.log2(count) + slack * highest + off
    if not near < loops.MOST_OFF:
        return None
    limits = np.array([near, slack + 2.0**-22, max(1.0, most), tries])
    groups = -(-count // _GROUPS)
    blocks = -(-count // (groups * loops.WIDTH))

    def beside(array: Array, fill: float) -> Array:
        whole = np.full(
            (groups * blocks * loops.WIDTH, *array.shape[1:]), fill, np.float32
        )
        whole[:count] = array
        whole = whole.reshape(groups, blocks, loops.WIDTH, *array.shape[1:])
        return np.ascontiguousarray(np.moveaxis(whole, 2, -1))

    base = constant + (factor * shifted * shifted).sum(axis=1)
    linear = -2.0 * factor * shifted
    rough = beside(factor, 0.0), beside(linear, 0.0), beside(base, -np.inf)
    error = (error / 4).astype(np.float32)
    return Screen(pairs, chosen, centre, error, rough, limits, rows)
