"""log Σ_k 2^y_k of events under a quadratic family, most components left out unseen.

A matrix product gives every y_k roughly: Σ_d a²(x − μ)² with its square expanded, in
float32. That is far from the accuracy promised, but its error has a bound, and so it
shows which components cannot matter beside the row's largest. The others, often one
or two, are evaluated directly. What is left out is K·2^−(24 + 4 + log2 K) of the sum
at most, for float64 2^−(53 + 4). Rows for which too much is left, and those whose rough
sums might overflow, are for the caller to evaluate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lucid.backends.numpy.blocks import PANEL, Block, Call
from lucid.backends.numpy.prepare import Prepared
from lucid.backends.protocol import Array

# Events of fewer dimensions, and fewer components or elements of all of them, are as
# fast without.
_FEWEST_DIMENSIONS = 4
_FEWEST_COMPONENTS = {np.dtype(np.float32): 32, np.dtype(np.float64): 12}
_FEWEST_ELEMENTS = {np.dtype(np.float32): 1024, np.dtype(np.float64): 256}
# Draws of a mixture that show whether few of its components matter to a value, and
# how few of them that must be: of a row, too.
_PROBES = 64
_FEW = 1 / 8
# Bits below a row's largest term that can matter, besides log2 K.
_BITS = {np.dtype(np.float32): 28.0, np.dtype(np.float64): 57.0}
# Multiplications of a matrix product for which BLAS starts no threads of its own.
_PRODUCT = 1 << 18
# Rough log densities at once, of so many components at most; elements of differences
# at once.
_ROUGH, _WIDTH = 1 << 18, 1 << 12
_DIFFERENCES = 1 << 17
# An error bound up to which no partial sum of a product, 2^25 times it, overflows.
_MOST_ERROR = 2.0**96


@dataclass(frozen=True, eq=False)
class Screen:
    """What bounds the components of one mixture.

    pairs    what y is exactly made of: μ [K, D], −a² [K, D], the constants [K]
    centre   [D], near the locations, so that squares of what is left are small
    weights  float32 [2D + 1, K]: (x', x'², 1) @ weights is roughly y, x' = x − centre
    error    float32 [2D + 1]: (x', x'², 1) @ error is at least twice what it is off by
    bits     below a row's largest term, what cannot matter
    """

    pairs: tuple[Array, Array, Array]
    centre: Array
    weights: Array
    error: Array
    bits: float

    @property
    def count(self) -> int:
        """The number of components."""
        return int(self.weights.shape[1])

    def terms(self, x: Array) -> Array:
        """(x', x'², 1) in float32 as [panels, PANEL, 2D + 1]; the last padded by 0."""
        count, size = x.shape
        panels = np.empty((-(-count // PANEL) * PANEL, 2 * size + 1), np.float32)
        panels[count:] = 0.0
        shifted = panels[:count, :size]
        np.subtract(x, self.centre, out=shifted, casting="same_kind")
        np.square(shifted, out=panels[:count, size : 2 * size])
        panels[:count, -1] = 1.0
        return panels.reshape(-1, PANEL, 2 * size + 1)


def screen_of(call: Call) -> Screen | None:
    """The screen of a call's components, kept; None where it would not pay."""
    if not call.shared or call.value.shape[2] < _FEWEST_DIMENSIONS:
        return None
    found: Screen | None = call.components.once(
        ("numpy screen", call.dtype), lambda: _screen(call.prepared(slice(None)))
    )
    return found


def _screen(prepared: Prepared) -> Screen | None:
    if prepared.square is None:
        return None
    dtype = prepared.square.dtype
    if prepared.count < _FEWEST_COMPONENTS[dtype]:
        return None
    if prepared.square.size < _FEWEST_ELEMENTS[dtype]:
        return None
    pairs = prepared.factors[0][..., 0], prepared.square, prepared.constant[:, 0]
    loc, square, constant = (array.astype(np.float64) for array in pairs)
    with np.errstate(all="ignore"):
        centre = loc.mean(axis=0).astype(dtype)
        shifted = loc - centre
        far = (square * shifted * shifted).sum(axis=1)
        weights = np.concatenate(
            [-2.0 * square * shifted, square, (constant + far)[:, None]], axis=1
        )
        # |x'·w| ≤ a²(μ'² + x'²). Σ_i |x_i||w_i| over 2D + 1 terms errs by a rounding
        # each for the product, the sum and the weight, and by up to three for x'²;
        # the bound itself is rounded, too.
        size = (
            0 * centre,
            -2.0 * square.min(axis=0),
            [(abs(constant) - 2 * far).max()],
        )
        unit = (weights.shape[1] + 8) * 2.0**-24
        screen = Screen(
            pairs,
            centre,
            np.ascontiguousarray(weights.T, dtype=np.float32),
            (2.2 * unit * np.concatenate(size)).astype(np.float32),
            _BITS[dtype] + np.log2(prepared.count),
        )
        return screen if _pays(screen, loc, square) else None


def _pays(screen: Screen, loc: Array, square: Array) -> bool:
    """Whether few components matter to draws from some of them."""
    some = np.linspace(0, len(loc) - 1, _PROBES).astype(np.int64)
    noise = np.random.default_rng(0).standard_normal((_PROBES, loc.shape[1]))
    # a² is BITS/2 over the variance.
    terms = screen.terms(loc[some] + noise * np.sqrt(-0.72 / square[some]))
    terms = terms.reshape(-1, len(screen.weights))
    rough = terms @ screen.weights
    near = rough.max(axis=1) - screen.bits - terms @ screen.error
    left = ~(rough < near[:, None])
    return bool(left.mean() <= _FEW)


def log_density(block: Block, screen: Screen) -> tuple[Array, Array]:
    """log density in nats [1, rows], without the base measure; which rows have none."""
    x = block.values[:, 0]  # [n, D]
    step = max(PANEL, _ROUGH // min(screen.count, _WIDTH) // PANEL * PANEL)
    results, rest = np.empty((1, len(x))), np.empty(len(x), bool)
    for start in range(0, len(x), step):
        some = slice(start, start + step)
        results[0, some], rest[some] = _log_sum(screen, x[some])
    results *= np.log(2.0)
    return results, np.flatnonzero(rest)


def _log_sum(screen: Screen, x: Array) -> tuple[Array, Array]:
    """log2 Σ_k 2^y_k of rows, in float64, over the components that matter.

    And the rows left aside. No row's part in it depends on the rows beside it: the
    components of one product are always the same.
    """
    terms = screen.terms(x)
    rows = terms.shape[0] * PANEL
    reach = (terms @ screen.error).reshape(-1)
    aside = ~(reach <= _MOST_ERROR)[: len(x)]
    reach += screen.bits
    rough_top = np.full(rows, -np.inf, np.float32)
    top, total = np.full(len(x), -np.inf), np.zeros(len(x))
    many, found = _FEW * screen.count, np.zeros(len(x))
    for first in range(0, screen.count, _WIDTH):
        rough = _product(terms, screen.weights[:, first : first + _WIDTH])
        np.maximum(rough_top, rough.max(axis=1), out=rough_top)
        near = np.subtract(rough_top, reach, dtype=np.float32)
        left = np.less(rough, near[:, None])
        np.logical_not(left, out=left)  # so that NaN is left
        row, k = np.divmod(np.flatnonzero(left[: len(x)]), rough.shape[1])
        found += np.bincount(row, minlength=len(x))
        aside |= found > many
        if aside.any():
            (kept,) = np.nonzero(~aside[row])
            row, k = row[kept], k[kept]
        _merge(top, total, row, _exact(screen, x, row, k + first))
    return top + np.log2(total), aside


def _product(terms: Array, weights: Array) -> Array:
    """terms @ weights [rows, K], in products too small for BLAS's own threads."""
    panels, height, depth = terms.shape
    count = weights.shape[1]
    result = np.empty((panels, height, count), np.float32)
    step = max(16, _PRODUCT // (height * depth) // 16 * 16)
    for k in range(0, count, step):
        np.matmul(terms, weights[:, k : k + step], out=result[..., k : k + step])
    return result.reshape(-1, count)


def _exact(screen: Screen, x: Array, row: Array, k: Array) -> Array:
    """y of pairs of a row and a component, directly, in float64."""
    loc, square, constant = screen.pairs
    result = constant[k].astype(np.float64)
    step = max(1, _DIFFERENCES // x.shape[1])
    for start in range(0, len(row), step):
        some = slice(start, start + step)
        difference = x[row[some]]
        difference -= loc[k[some]]
        difference *= difference
        result[some] += np.einsum("sd,sd->s", difference, square[k[some]])
    return result


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
