"""log Σ_k 2^y_k for values that share one mixture of scalars, without a maximum.

Σ w_k 2^y_k of moderate weights loses nothing to underflow where it comes out large
enough; other rows are left to the caller. A pair takes fewer passes so than under a
running maximum. A row's sum does not depend on the rows beside it, nor on the layout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lucid.backends.numpy import blocks, program
from lucid.backends.numpy.blocks import COLUMNS, TILE, Call, QuietLoops, Scratch
from lucid.backends.numpy.program import Program
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array

# Bits within which the highest constant of a mixture lets sums go without a shift.
RANGE = {np.dtype(np.float32): (-60.0, 90.0), np.dtype(np.float64): (-600.0, 900.0)}
# The same where constants are weights: exponents beside them need room, too.
_WEIGHTS = {np.dtype(np.float32): 60.0, np.dtype(np.float64): 400.0}
# Bits of the lowest product, above the denormal numbers, which are slow; of the
# rounding unit and a little more; of the largest sum.
_BITS = {
    np.dtype(np.float32): (-125.0, 26.0, 120.0),
    np.dtype(np.float64): (-1020.0, 60.0, 1000.0),
}
# Components that a plain float64 sum serves within the accuracy promise.
_PLAIN_SUM = 2048
# Few values under as many tiles: loops run along the components instead, some values
# at a time, and this many sums of a tile are kept.
_MANY_TILES = 16
_SOME_VALUES = 8
_KEPT_SUMS = 1 << 19

Finish = Callable[[slice, Array, Array, Scratch], None]


@dataclass(frozen=True, eq=False)
class Plan:
    """Components as Σ w_k 2^(the program's result).

    factors  what the program takes behind the terms of a row, each [K]
    weights  [K]
    clamp    the least exponent: below it exp2 is slow, and products are denormal
    trusted  what a sum must reach so that nothing clamped mattered, and what it may
             reach without an overflow inside
    """

    program: Program
    factors: tuple[Array, ...]
    weights: Array
    clamp: float
    trusted: tuple[float, float]

    @property
    def count(self) -> int:
        """The number of components."""
        return len(self.weights)

    @cached_property
    def columns(self) -> tuple[Array, ...]:
        """The factors as [K, 1]."""
        return tuple(factor[:, None] for factor in self.factors)

    @cached_property
    def tiles(self) -> tuple[tuple[Array, ...], Array]:
        """Factors [TILE, 1, tiles], weights [TILE, tiles], padded by weights of 0."""
        count = -(-self.count // (TILE * COLUMNS)) * COLUMNS
        order = np.arange(count * TILE).reshape(count, TILE).T
        last = np.minimum(order, self.count - 1)
        weights = np.where(order < self.count, self.weights[last], 0)
        factors = (np.ascontiguousarray(f[last])[:, None] for f in self.factors)
        return tuple(factors), np.ascontiguousarray(weights, self.weights.dtype)


def plan_of(call: Call) -> Plan | None:
    """The plan of a call's components, kept; None where sums need a maximum."""
    if not call.shared or call.value.shape[2] != 1 or call.family.family_event_ndim:
        return None
    plan: Plan | None = call.components.once(
        ("numpy plain", call.dtype), lambda: _plan(call)
    )
    return plan


def _plan(call: Call) -> Plan | None:
    prepared, dtype = call.prepared(slice(None)), call.dtype
    if prepared.count == 1:
        return None
    constant = prepared.constant[:, 0]
    factors = tuple(factor[:, 0, 0] for factor in prepared.factors)
    clamp, unit, most = _BITS[dtype]
    if prepared.square is not None and abs(prepared.peak) <= _WEIGHTS[dtype]:
        factors, traced = (factors[0], prepared.square[:, 0]), program.square()
        weights = np.exp2(constant.astype(np.float64)).astype(dtype)
        high = max(prepared.peak, 0.0)
        clamp -= max(min(float(constant.min()), 0.0), -_WEIGHTS[dtype])
    else:
        low, high = RANGE[dtype]
        if not low <= prepared.peak <= high:
            return None
        rows = len(call.family.row(call.fn, np.ones(1, dtype)))
        traced = program.trace(call.family, rows, len(factors))
        factors, weights, high = (*factors, constant), np.ones_like(constant), 0.0
    low = 2.0 ** (clamp + unit + high) * prepared.count
    return Plan(traced, factors, weights, clamp, (low, 2.0**most))


def sums(call: Call, plan: Plan, finish: Finish) -> None:
    """finish(rows, values, Σ_k w_k 2^y_k, buffers) for blocks of rows, over threads.

    A sum is of the call's dtype where one tile holds it, else float64.
    """
    if call.samples <= blocks.FEWEST_ROWS and plan.count > _MANY_TILES * TILE:
        _over_components(call, plan, finish)
        return
    step = max(call.samples, 1)
    small = step <= blocks.FEWEST_ROWS
    if not small:
        step, _ = call.block_shape()

    def work(start: int, stop: int) -> None:
        quiet = np.errstate(all="ignore") if small else QuietLoops()
        with quiet, Scratch() as buffers:
            for i in range(start, stop):
                rows = slice(i * step, min((i + 1) * step, call.samples))
                x = np.ascontiguousarray(call.value[rows, 0, 0], call.dtype)
                finish(rows, x, _sum(call, plan, x, buffers), buffers)

    run_blocks(-(-call.samples // step), 1, work)


def _sum(call: Call, plan: Plan, values: Array, buffers: Scratch) -> Array:
    """Σ_k w_k 2^y_k of some values, loops running along the values."""
    x = values
    if len(values) < COLUMNS:
        x = np.empty(COLUMNS, values.dtype)
        x[:], x[: len(values)] = values[0], values
    dtype, size, count = call.dtype, len(x), plan.count
    tile, *rest = buffers.program(plan.program, dtype, (min(count, TILE), size))
    clamp = np.full(size, plan.clamp, dtype)
    part = np.empty(size, dtype)
    total, lost = part, None
    if count > TILE:
        total = np.zeros(size)
        lost = losses(dtype, count, (size,))
    terms = call.family.row(call.fn, x)
    for first in range(0, count, TILE):
        last = min(first + TILE, count)
        if last - first < len(tile):
            tile, *rest = (buffer[: last - first] for buffer in (tile, *rest))
        factors = (column[first:last] for column in plan.columns)
        plan.program.run((*terms, *factors), (tile, *rest))
        np.maximum(tile, clamp, out=tile)
        np.exp2(tile, out=tile)
        np.einsum("k,kr->r", plan.weights[first:last], tile, out=part)
        if count > TILE:
            accumulate(total, part, lost)
    if lost is not None:
        total += lost
    return total[: len(values)]


def losses(dtype: np.dtype[Any], count: int, shape: tuple[int, ...]) -> Array | None:
    """Where a sum keeps what rounding loses, if it is long enough to need that.

    Equal terms round the same way each time, so over many tiles the error of a
    float64 sum would grow with their number.
    """
    return np.zeros(shape) if _is_long(dtype, count) else None


def _is_long(dtype: np.dtype[Any], count: int) -> bool:
    return dtype == np.float64 and count > _PLAIN_SUM


def accumulate(total: Array, part: Array, lost: Array | None) -> None:
    """Add to `total` in place, and what rounding loses to `lost` (Knuth's TwoSum)."""
    if lost is None:
        total += part
        return
    before = total.copy()
    total += part
    grown = total - before
    lost += (before - (total - grown)) + (part - grown)


def _over_components(call: Call, plan: Plan, finish: Finish) -> None:
    """As `sums`, with tiles side by side: the same sums, formed in the same order."""
    most = max(1, _KEPT_SUMS // plan.tiles[1].shape[1])
    for start in range(0, call.samples, most):
        rows = slice(start, min(start + most, call.samples))
        value = np.ascontiguousarray(call.value[rows, 0, 0], call.dtype)
        parts = _tile_sums(call, plan, value)
        with QuietLoops(), Scratch() as buffers:
            total = np.array([_in_order(row, plan.count) for row in parts])
            finish(rows, value, total, buffers)


def _tile_sums(call: Call, plan: Plan, value: Array) -> Array:
    """The sum of each tile for each value, [n, tiles], loops along the tiles."""
    factors, weights = plan.tiles
    tiles = weights.shape[1]
    step = blocks.BUFFER_BYTES // (call.dtype.itemsize * TILE * _SOME_VALUES)
    step = max(step // COLUMNS, 1) * COLUMNS
    across = -(-tiles // step)
    sums = np.empty((len(value), tiles), call.dtype)

    def work(start: int, stop: int) -> None:
        with QuietLoops(), Scratch() as buffers:
            terms = [term[:, None] for term in call.family.row(call.fn, value)]
            clamp = np.full(step, plan.clamp, call.dtype)
            for i in range(start, stop):
                at, first = i // across * _SOME_VALUES, i % across * step
                some, columns = slice(at, at + _SOME_VALUES), slice(first, first + step)
                part = sums[some, columns]
                shape = (TILE, *part.shape)
                tile, *rest = buffers.program(plan.program, call.dtype, shape)
                mine = (factor[..., columns] for factor in factors)
                plan.program.run((*(t[some] for t in terms), *mine), (tile, *rest))
                np.maximum(tile, clamp[: part.shape[1]], out=tile)
                np.exp2(tile, out=tile)
                np.einsum("km,krm->rm", weights[:, columns], tile, out=part)

    run_blocks(-(-len(value) // _SOME_VALUES) * across, 1, work)
    return sums


def _in_order(parts: Array, count: int) -> Any:
    """The sum of a row's tiles as `accumulate` forms it, from the first to the last."""
    running = np.add.accumulate(parts, dtype=np.float64)
    if not _is_long(parts.dtype, count):
        return running[-1]
    before = np.concatenate([[0.0], running[:-1]])
    grown = running - before
    lost = (before - (running - grown)) + (parts - grown)
    return running[-1] + np.add.accumulate(lost)[-1]
