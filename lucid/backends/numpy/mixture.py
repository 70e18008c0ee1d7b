"""log Σ_k w_k p_k(x) on the CPU, one tile of components at a time, no N×K array.

Each tile's log densities are folded into a running maximum and sum (Milakov and
Gimelshein, 2018), in base 2. A row's result does not depend on how rows are grouped
into blocks or spread over threads.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lucid.backends.numpy import blocks, grouped, plain, screen, sums
from lucid.backends.numpy.blocks import Block, Call, ScalarBlock
from lucid.backends.numpy.buffers import Buffers
from lucid.backends.numpy.cells import cells_of
from lucid.backends.numpy.plain import Plan
from lucid.backends.numpy.prepare import base_measure, is_everywhere
from lucid.backends.numpy.screen import Screen
from lucid.backends.protocol import NATS, Array, Components, Family

LN2 = math.log(2.0)


def log_prob(
    fn: Any, components: Components, value: Array, dtype: Any, out: Array
) -> None:
    """Fill `out` [S, B] with the log density of values [S, B, D]."""
    plan, size = plain.plan_of(fn, components, np.dtype(dtype)), value.shape[2]
    if value.size == 1 and plan and plan.takes_one and _of_one(plan, value, out):
        return
    cells = None if plan is None else cells_of(fn, components, plan.dtype)
    # Blocks of events take no longer where all components are met.
    if plan is None or (cells is None and size > 1):
        _by_blocks(Call(fn, components, value, dtype), out)
        return
    results, (low, high) = out.reshape(-1), plan.trusted

    def finish(rows: slice, x: Array, total: Array, buffers: Buffers) -> None:
        result = results[rows]
        np.log(total, out=result, dtype=result.dtype, casting="same_kind")
        # A NaN counts as the least. A reduction takes twice as long.
        enough = total[total.argmin()] >= low
        if not (enough and (high == np.inf or total[total.argmax()] <= high)):
            (rest,) = np.nonzero(~((total >= low) & (total <= high)))
            call = Call(fn, components, value, dtype)
            block = ScalarBlock(call, rows, slice(0, 1), buffers)
            result[rest] = _log_density(block.rows(rest))[0]
        if not plan.everywhere:
            full = _on_support(fn, components.family, np.atleast_2d(x.T), result)
            np.copyto(result, full, "same_kind")

    values = value.reshape(-1) if size == 1 else value.reshape(-1, size)
    if cells is None:
        plain.sums(plan, values, finish)
    else:
        grouped.sums(components, plan, cells, values, finish)


def _of_one(plan: Plan, value: Array, out: Array) -> bool:
    """Fill `out` with one value's log density; False where its sum says nothing."""
    total, (low, high) = plain.of_one(plan, value), plan.trusted
    trusted: bool = low <= total.item(0) <= high
    if trusted:
        np.log(total[:1], out=out)
    return trusted


def _by_blocks(call: Call, out: Array) -> None:
    """Fill `out` by a running maximum, or through a screen."""
    out = out.reshape(call.samples, call.mixtures)
    everywhere, chosen = is_everywhere(call.family), screen.screen_of(call)

    def work(block: Block) -> None:
        result = _log_density(block, chosen)
        if not everywhere:
            result = _on_support(call.fn, call.family, block.x, result)
        np.copyto(block.of(out), result, "same_kind")

    call.run(work, blocks.LIGHT if chosen is None else screen.LIGHT)


def mode(
    fn: Any, components: Components, value: Array, dtype: Any, out: Array, index: Array
) -> None:
    """Fill `index` with the most probable component, `out` with its log probability.

    Of equally probable components the first wins; NaN where every density is 0.
    """
    call = Call(fn, components, value, dtype)
    out = out.reshape(call.samples, call.mixtures)
    index = index.reshape(call.samples, call.mixtures)

    def work(block: Block) -> None:
        best = np.zeros(block.shape, np.int64)
        top, total = _sum(block, careful=True, best=best)
        kept = block.prepared.kept
        block.of(index)[...] = best if kept is None else kept[best]
        nowhere = top == -np.finfo(call.dtype).max
        result = np.where(nowhere, np.nan, -np.log(total))
        supported = block.family.supports(fn, block.x)
        if supported is not None:
            result = np.where(supported.all(axis=0), result, np.nan)
        np.copyto(block.of(out), result, "same_kind")

    call.run(work)


def _log_density(block: Block, chosen: Screen | None = None) -> Array:
    """log density in nats [outer, inner], without the base measure."""
    if chosen is None:
        result = _terms(block, careful=False)
    else:
        result, rest = screen.log_density(block, chosen)
        if rest.size:
            result[:, rest] = _terms(block.rows(rest), careful=False)
    strange = np.isnan(result)
    if strange.any() and (strange & ~_missing(block.x)).any():
        np.copyto(result, _terms(block, careful=True), where=strange)
    return result


def _terms(block: Block, careful: bool) -> Array:
    if block.prepared.count > 1:
        return _shifted(block, careful)
    _, tile = next(block.tiles(careful))
    nats = block.prepared.unit == NATS
    return tile[0].copy() if nats else tile[0] * np.float64(LN2)


def _shifted(block: Block, careful: bool) -> Array:
    """log density in nats through the largest term: right for any row."""
    top, total = _sum(block, careful)
    result = np.log2(total, out=total)
    result += top
    result *= LN2
    # No component reaches this row, or one has an infinite density at it.
    infinite = (top == -np.finfo(top.dtype).max) | (top == np.inf)
    if infinite.any():
        np.copyto(result, np.copysign(np.inf, top), where=infinite)
    return result


def _sum(block: Block, careful: bool, best: Array | None = None) -> tuple[Array, Array]:
    """The largest term y of each row and Σ 2^(y − largest) in float64.

    A row without any finite term has the dtype's lowest number as its largest.
    `best` receives the position of the largest term.
    """
    dtype = block.call.dtype
    top = np.full(block.shape, -np.finfo(dtype).max, dtype)
    peak, change = np.empty_like(top), np.empty_like(top)
    clamp, total = _clamp(block), np.zeros(block.shape)
    lost = sums.losses(dtype, block.prepared.count, block.shape)
    for first, tile in block.tiles(careful):
        np.maximum.reduce(tile, axis=0, out=peak)
        if best is not None:
            np.copyto(best, first + tile.argmax(axis=0), where=peak > top)
        np.maximum(peak, top, out=peak)
        if first:
            np.subtract(top, peak, out=change)
            np.exp2(change, out=change)
            total *= change
            if lost is not None:
                lost *= change
        top, peak = peak, top
        np.subtract(tile, top, out=tile)
        np.maximum(tile, clamp, out=tile)
        np.exp2(tile, out=tile)
        sums.accumulate(total, sums.fold(tile), lost)
    return top, total if lost is None else total + lost


def _clamp(block: Block) -> Array:
    """The least exponent of 2, for each row: as one number it would take twice as long.

    NumPy's maximum uses vector instructions for two arrays only.
    """
    return np.full(block.shape, sums.LEAST_EXPONENT[block.call.dtype], block.call.dtype)


def _missing(x: Array) -> Array:
    return np.isnan(x).any(axis=0)


def _on_support(fn: Any, family: type[Family], x: Array, result: Array) -> Array:
    """With the base measure added; −∞ off the support, NaN where the value is NaN."""
    measure = base_measure(fn, family, x)
    if measure is not None:
        result = result + measure.sum(axis=0)
    supported = family.supports(fn, x)
    if supported is None:
        return result
    lost = np.where(_missing(x), np.nan, -np.inf)
    return np.where(supported.all(axis=0), result, lost)
