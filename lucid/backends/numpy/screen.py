"""log Σ_k 2^y_k of events under a quadratic family, most components left out unseen.

A matrix product gives every y_k roughly: Σ_d a²(x − μ)² with its square expanded, in
float32. That is far from the accuracy promised, but its error has a bound, so it bounds
y_k from above; over a part of the dimensions it does, too, since no term raises y_k.
The component that looks best is evaluated directly, and then those that can matter
beside it, often none. What is left out is K·2^−(24 + 4 + log2 K) of the sum at most,
for float64 2^−(53 + 4). Rows for which too much is left go to a screen of all
dimensions, and then, as those whose rough sums might overflow, to the caller.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lucid.backends.numpy.blocks import PANEL, Block, Call
from lucid.backends.numpy.buffers import Buffers
from lucid.backends.numpy.prepare import MOST_SQUARED, Prepared
from lucid.backends.numpy.sums import LEAST_EXPONENT
from lucid.backends.protocol import Array

# Events of fewer dimensions are as fast without.
_FEWEST_DIMENSIONS = 4
# Draws of a mixture that show how few of its components matter to a value.
_PROBES = 64
# What a row costs, in multiplications of a matrix product: by itself; the passes over
# its pairs; a pair that is evaluated alone, and an element of it in float32; such an
# element where all pairs are evaluated.
_ROW, _PASSES, _PAIR, _ALONE, _BESIDE = 4000, 40, 1250, 50, 15
# What a screen of some dimensions may cost beside one of all: a value that is no draw
# of the mixture's often needs both.
_WORTH = 0.75
# Bits below a row's largest term that can matter, besides log2 K.
BITS = {np.dtype(np.float32): 28.0, np.dtype(np.float64): 57.0}
# Components of a matrix product, whose weights lie side by side; and multiplications
# for which BLAS starts no threads of its own.
_COMPONENTS, _PRODUCT = 64, 1 << 18
# Dimensions of values that need no room to speak of beside the buffers of a block:
# more rows at once are fewer calls.
LIGHT = 64
# Rough log densities, or terms, at once; of so many components at most; elements of
# differences at once.
_ROUGH, _WIDTH = 1 << 19, 1 << 12
_DIFFERENCES = 1 << 16
# Elements of components from which a row by itself takes no longer than in a block.
_FULL = 1 << 16
# An error bound up to which no partial sum of a product, 2^25 times it, overflows.
_MOST_ERROR = 2.0**96

_BOOL = np.dtype(bool)
Pairs = tuple[Array, Array, Array]


@dataclass(frozen=True, eq=False)
class Screen:
    """What bounds the components of one mixture.

    pairs    what y is exactly made of: μ [K, D], −a² [K, D], the constants [K]
    chosen   the d dimensions that it looks at; None for all
    centre   [d], near the locations, so that squares of what is left are small
    weights  float32 [2d + 1, some of K]: (x', x'², 1) @ weights is roughly what d
             dimensions make of y, x' = x − centre
    error    float32 [2d + 1]: (x', x'², 1) @ error is at least what it is off by
    slack    what y is off by at most, evaluated: a multiple of |y|, and a number
    bits     below a row's largest term, what cannot matter
    most     components that may be left of a row
    wider    the screen for rows of which more are left
    """

    pairs: Pairs
    chosen: Array | None
    centre: Array
    weights: tuple[Array, ...]
    error: Array
    slack: tuple[float, float]
    bits: float
    most: float
    wider: Screen | None = None

    @property
    def count(self) -> int:
        """The number of components."""
        return len(self.pairs[2])

    def terms(self, x: Array, work: Array) -> Array:
        """(x', x'², 1) as [panels, PANEL, 2d + 1], in `work`; the last padded by 0."""
        count, size = len(x), len(self.centre)
        if self.chosen is not None:
            x = np.take(x, self.chosen, axis=1)
        panels = _shaped(work, -(-count // PANEL) * PANEL, 2 * size + 1)
        panels[count:] = 0.0
        shifted = panels[:count, :size]
        np.subtract(x, self.centre, out=shifted, casting="same_kind")
        np.square(shifted, out=panels[:count, size : 2 * size])
        panels[:count, -1] = 1.0
        return panels.reshape(-1, PANEL, 2 * size + 1)

    def rough(self, terms: Array, work: Array) -> Iterator[tuple[int, Array]]:
        """A component, and terms @ weights [rows, K] of some from it on, in `work`."""
        first, width = 0, self.weights[0].shape[1]
        tiles = max(1, _WIDTH // width)
        for start in range(0, len(self.weights), tiles):
            some = self.weights[start : start + tiles]
            count = min(tiles * width, self.count - first)
            result = _shaped(work, *terms.shape[:2], count)
            for i, tile in enumerate(some):
                np.matmul(terms, tile, out=result[..., i * width : (i + 1) * width])
            yield first, result.reshape(-1, count)
            first += count


def screen_of(call: Call) -> Screen | None:
    """The screen of a call's components, kept; None where it would not pay."""
    if not call.shared or call.value.shape[2] < _FEWEST_DIMENSIONS:
        return None
    found: Screen | None = call.components.once(
        ("numpy screen", call.dtype), lambda: _screen(call.prepared(slice(None)))
    )
    return found


def _screen(prepared: Prepared) -> Screen | None:
    """Whatever is fastest for draws: no screen, one of all dimensions, one of some."""
    if prepared.square is None:
        return None
    loc, square = prepared.factors[0][..., 0], prepared.square
    pairs = loc, square, prepared.constant[:, 0]
    count, size = loc.shape
    directly = count * (_PASSES + _BESIDE * size) * loc.itemsize / 4
    if directly < _ROW + _PASSES * count:
        return None
    with np.errstate(all="ignore"):
        values = draws(pairs)
        whole = _screen_over(pairs, None, directly)
        cost = _cost(whole, values, directly)
        if not cost < directly:
            return None
        found, least = whole, _WORTH * cost
        apart = (-square * (loc - loc.mean(axis=0)) ** 2).mean(axis=0)
        order, chosen = np.argsort(-apart, kind="stable"), _FEWEST_DIMENSIONS
        while chosen <= size / 2:
            screen = _screen_over(pairs, np.sort(order[:chosen]), cost, whole)
            price = _cost(screen, values, cost)
            if price < least:
                found, least = screen, price
            chosen *= 2
    return found


def _cost(screen: Screen, values: Array, otherwise: float) -> float:
    """What a row costs, in multiplications; `otherwise` one of which too much is left.

    _screen_over says when that is.
    """
    left = _log_sum(screen, values, Buffers())[1]
    depth = 2 * len(screen.centre) + _PASSES
    some = _alone(screen.pairs) * (1.0 + np.minimum(left, screen.most).mean())
    rest = float((left > screen.most).mean())
    return _ROW + depth * screen.count + float(some) + rest * otherwise


def _alone(pairs: Pairs) -> float:
    """What a pair that is evaluated by itself costs, in multiplications."""
    return _PAIR + _ALONE * float(pairs[0].shape[1] * pairs[0].itemsize) / 4


def _screen_over(
    pairs: Pairs, chosen: Array | None, otherwise: float, wider: Screen | None = None
) -> Screen:
    """The screen of the dimensions chosen, beside another way of that cost a row."""
    loc, square, constant = pairs
    bits = BITS[loc.dtype] + np.log2(len(loc))
    # A sum of D squares and a constant, in any order, and rounding what it is near.
    slack = (loc.shape[1] + 16) * float(np.finfo(loc.dtype).eps) / 2
    highest = float(abs(constant).max())
    if chosen is not None:
        loc, square = loc[:, chosen], square[:, chosen]
    depth = 2 * loc.shape[1] + 1
    centre = loc.mean(axis=0, dtype=np.float64).astype(loc.dtype)
    step = max(1, min(_COMPONENTS, _PRODUCT // (PANEL * depth)))
    weights, largest = [], []
    for k in range(0, len(loc), step):
        part = slice(k, k + step)
        factor = square[part].T.astype(np.float64)  # [d, components]
        shifted = loc[part].T - centre[:, None].astype(np.float64)
        far = (factor * shifted * shifted).sum(axis=0)
        tile = np.concatenate([-2.0 * factor * shifted, factor, [constant[part] + far]])
        weights.append(np.ascontiguousarray(tile, np.float32))
        largest.append((abs(constant[part]) - 2.0 * far).max())
    # |x'·w| ≤ a²(μ'² + x'²). Σ_i |x_i||w_i| over 2d + 1 terms errs by a rounding each
    # for the product, the sum and the weight, and by up to three for x'²; the bound
    # itself is rounded, too.
    error = np.concatenate([0.0 * centre, -2.0 * square.min(axis=0), [max(largest)]])
    error *= 1.1 * (depth + 8) * 2.0**-24
    return Screen(
        pairs,
        chosen,
        centre,
        tuple(weights),
        error.astype(np.float32),
        (slack, slack * highest),
        bits,
        max(1.0, otherwise / _alone(pairs)),
        wider,
    )


def draws(pairs: Pairs) -> Array:
    """Draws from some components [_PROBES, D]."""
    loc, square, _ = pairs
    some = np.linspace(0, len(loc) - 1, _PROBES).astype(np.int64)
    noise = np.random.default_rng(0).standard_normal((_PROBES, loc.shape[1]))
    # a² is BITS/2 over the variance.
    values = loc[some] + noise * np.sqrt(-0.72 / square[some])
    return values.astype(loc.dtype)


def log_density(block: Block, screen: Screen) -> tuple[Array, Array]:
    """log density in nats [1, rows], without the base measure; which rows have none."""
    results = np.empty((1, block.shape[1]))
    rest = _evaluate(screen, block.values[:, 0], results[0], block.buffers)
    results *= np.log(2.0)
    return results, rest


def _evaluate(screen: Screen, x: Array, results: Array, buffers: Buffers) -> Array:
    """Fill `results` with log2 Σ_k 2^y_k of rows [n, D]; which rows have none."""
    width = max(2 * len(screen.centre) + 1, min(screen.count, _WIDTH))
    step = max(PANEL, _ROUGH // width // PANEL * PANEL)
    rest = np.empty(len(x), bool)
    for start in range(0, len(x), step):
        part = slice(start, start + step)
        results[part], left = _log_sum(screen, x[part], buffers)
        np.greater(left, screen.most, out=rest[part])
    rows = np.flatnonzero(rest)
    if screen.wider is not None and rows.size:
        found = np.empty(rows.size)
        lost = _evaluate(screen.wider, x[rows], found, buffers)
        results[rows], rows = found, rows[lost]
    elif rows.size and screen.pairs[0].size >= _FULL:
        found = _directly(screen, x[rows], buffers)
        results[rows], rows = found, rows[~np.isfinite(found)]
    return rows


def _directly(screen: Screen, x: Array, buffers: Buffers) -> Array:
    """log2 Σ_k 2^y_k of rows over all components, loops running along those.

    Not finite where the caller has to look: its blocks of so few rows take longer.
    """
    loc, square, constant = screen.pairs
    (count, size), dtype = loc.shape, x.dtype
    step = -(-count // -(-count // max(1, _DIFFERENCES // size)))
    starts = range(0, count, step)
    peaks, sums = np.empty((2, len(x), len(starts)))
    work = buffers.take(dtype, *[(size, step)] * 3, (step,), (step,))
    work[4][...] = LEAST_EXPONENT[dtype]
    for i, start in enumerate(starts):
        part = slice(start, min(start + step, count))
        some = [array[..., : part.stop - start] for array in work]
        mean, factor, difference, y, clamp = some
        mean[...], factor[...] = loc[part].T, square[part].T
        for row, value in enumerate(x[:, :, None]):
            np.subtract(value, mean, out=difference)
            np.multiply(difference, difference, out=difference)
            np.einsum("dk,dk->k", factor, difference, out=y)
            y += constant[part]
            peaks[row, i] = peak = y[y.argmax()]
            np.subtract(y, peak, out=y)
            np.maximum(y, clamp, out=y)
            np.exp2(y, out=y)
            sums[row, i] = y.sum(dtype=np.float64)
    top = peaks.max(axis=1)
    result: Array = np.log2((sums * np.exp2(peaks - top[:, None])).sum(axis=1)) + top
    result[(abs(x) > MOST_SQUARED[dtype]).any(axis=1)] = np.nan
    return result


def _log_sum(screen: Screen, x: Array, buffers: Buffers) -> tuple[Array, Array]:
    """log2 Σ_k 2^y_k of rows, in float64, over the components that matter.

    And how many more of them there are than one: ∞ where that is not known, all where
    the square of a difference overflows. The sum is right where they are not too many
    for the screen. No row's part in it depends on the rows beside it: the components of
    one product are always the same.
    """
    count, size = x.shape
    every = np.arange(count)
    rows, width = -(-count // PANEL) * PANEL, min(screen.count, _WIDTH)
    pairs = max(1, _DIFFERENCES // size), size
    room, work, *differences = buffers.take(
        x.dtype, (rows * (2 * size + 1),), (rows * width,), pairs, pairs
    )
    (mask,) = buffers.take(_BOOL, (rows * width,))
    terms = screen.terms(x, room.view(np.float32))
    reach = (terms @ screen.error).reshape(-1)[:count].astype(np.float64)
    found = np.where(reach <= _MOST_ERROR, 0.0, np.inf)
    reach += screen.bits + screen.slack[1]
    top, total = np.full(count, -np.inf), np.zeros(count)
    near = np.full(count, -np.inf, np.float32)
    for first, rough in screen.rough(terms, work.view(np.float32)):
        rough = rough[:count]
        best = rough.argmax(axis=1)
        if first == 0:
            top, total = _exact(screen, x, None, best, differences), np.ones(count)
            rough[every, best] = -np.inf
        else:
            (row,) = np.nonzero(rough[every, best] >= near)
            y = _exact(screen, x, row, best[row] + first, differences)
            rough[row, best[row]] = -np.inf
            _merge(top, total, row, y)
        np.subtract(top - screen.slack[0] * abs(top), reach, out=near)
        left = np.greater_equal(rough, near[:, None], out=_shaped(mask, *rough.shape))
        if np.count_nonzero(left) > count:  # one by one, they would take too long
            found += np.count_nonzero(left, axis=1)
            left[found > screen.most] = False
            row, k = np.divmod(np.flatnonzero(left), rough.shape[1])
        else:
            row, k = np.divmod(np.flatnonzero(left), rough.shape[1])
            found += np.bincount(row, minlength=count)
            (kept,) = np.nonzero(found[row] <= screen.most)
            row, k = row[kept], k[kept]
        if row.size:
            y = _exact(screen, x, row, k + first, differences)
            found[row[~np.isfinite(y)]] = np.inf  # a square overflowed
            _merge(top, total, row, y)
    return top + np.log2(total), found


def _exact(
    screen: Screen, x: Array, row: Array | None, k: Array, work: list[Array]
) -> Array:
    """y of pairs of a row, or of all in turn, and a component, directly, in float64."""
    loc, square, constant = screen.pairs
    result = constant[k].astype(np.float64)
    step = len(work[0])
    for start in range(0, len(k), step):
        part = slice(start, min(start + step, len(k)))
        difference, factor = (array[: part.stop - start] for array in work)
        # "clip" writes straight into the buffer; no index needs it.
        np.take(loc, k[part], axis=0, out=difference, mode="clip")
        np.subtract(x[part if row is None else row[part]], difference, out=difference)
        np.multiply(difference, difference, out=difference)
        np.take(square, k[part], axis=0, out=factor, mode="clip")
        result[part] += np.einsum("sd,sd->s", difference, factor)
    return result


def _shaped(work: Array, *shape: int) -> Array:
    """The first elements of a buffer, in this shape."""
    return work[: math.prod(shape)].reshape(shape)


def _merge(top: Array, total: Array, row: Array, y: Array) -> None:
    """Take 2^y of rows in ascending order into top, Σ 2^(y − top), in place."""
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    if not len(starts):
        return
    at = row[starts]
    peak = np.maximum(np.maximum.reduceat(y, starts), top[at])
    pivot = np.where(np.isfinite(peak), peak, 0.0)
    lengths = np.diff(starts, append=len(row))
    grown = np.add.reduceat(np.exp2(y - np.repeat(pivot, lengths)), starts)
    total[at] = total[at] * np.exp2(np.where(total[at] > 0, top[at] - pivot, 0)) + grown
    top[at] = pivot
