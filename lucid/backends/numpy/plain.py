"""log Σ_k 2^y_k for values that share one mixture, without a maximum.

Σ w_k 2^y_k of moderate weights loses nothing to underflow where it comes out large
enough; other rows are left to the caller. A pair takes fewer passes so than under a
running maximum. A row's sum does not depend on the rows beside it, nor on the layout.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from lucid.backends.numpy import blocks, prepare, program
from lucid.backends.numpy.blocks import COLUMNS, TILE
from lucid.backends.numpy.buffers import Buffers, QuietLoops, Scratch
from lucid.backends.numpy.program import Program
from lucid.backends.numpy.sums import accumulate, losses
from lucid.backends.numpy.threads import get_num_threads, run_blocks
from lucid.backends.protocol import Array, Components, Family

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
# Loops run along the tiles of more components than these, for up to so many values a
# tile: loops along values take longer to begin, those along tiles to sum.
_FEW, _LONGER = 128, 8
# Tiles side by side, and bytes of their elements at once. Of each thread: sums that are
# kept until they are added, and the shares that it takes them in.
_TILES, _TILE_BYTES, _KEPT_SUMS, _SHARES = 512, 1 << 19, 1 << 16, 4
_FIRST_COLUMNS = np.arange(COLUMNS)
# Elements of a tile up to which new buffers take less time than those that are kept.
_FEW_ELEMENTS = 1 << 12
_NEW = Buffers()
# Elements of an event, at most.
_MOST_ELEMENTS = 3

Finish = Callable[[slice, Array, Array, Buffers], None]


@dataclass(frozen=True, eq=False)
class Plan:
    """Components as Σ w_k 2^(the program's result).

    row      of values [n] or events [n, D], the terms that the program takes
    factors  what it takes behind them, each [K]
    weights  [K]
    clamp    the least exponent: below it exp2 is slow, and products are denormal
    trusted  what a sum must reach so that nothing clamped mattered, and what it may
             reach without an overflow inside; ∞ where none can happen
    everywhere  whether a sum's logarithm is the log density
    """

    row: Callable[[Array], tuple[Array, ...]]
    program: Program
    factors: tuple[Array, ...]
    weights: Array
    clamp: float
    trusted: tuple[float, float]
    everywhere: bool

    @cached_property
    def count(self) -> int:
        """The number of components."""
        return len(self.weights)

    @cached_property
    def takes_one(self) -> bool:
        """Whether a single value's sum alone, by `of_one`, is worth while."""
        return self.everywhere and self.count <= TILE

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """That of the computation."""
        dtype: np.dtype[Any] = self.weights.dtype
        return dtype

    @cached_property
    def columns(self) -> tuple[Array, ...]:
        """The factors as [K, 1]."""
        return tuple(factor[:, None] for factor in self.factors)

    @cached_property
    def spread(self) -> tuple[tuple[Array, ...], Array, Array]:
        """The factors, the clamp, and places of values to take, as [K, COLUMNS].

        NumPy begins a loop over arrays of one shape in half the time that it takes to
        begin one that broadcasts.
        """
        shape = (self.count, COLUMNS)
        clamp = np.full(shape, self.clamp, self.dtype)
        operands = (*self.columns, np.arange(COLUMNS))
        full = (np.broadcast_to(operand, shape) for operand in operands)
        *factors, places = (np.ascontiguousarray(operand) for operand in full)
        return tuple(factors), clamp, places

    @cached_property
    def tiles(self) -> list[tuple[tuple[Array, ...], Array]]:
        """Some tiles after others: factors [TILE·m], weights [TILE, m] of m tiles.

        Component k of tile t is at place k·m + t. Two tiles at least, of which the
        last is filled up by weights of 0.
        """
        count = max(2, -(-self.count // TILE))
        found = []
        for some in np.array_split(np.arange(count), -(-count // _TILES)):
            order = np.arange(TILE)[:, None] + TILE * some
            last = np.minimum(order, self.count - 1)
            weights = np.where(order < self.count, self.weights[last], 0)
            factors = tuple(factor[last].ravel() for factor in self.factors)
            found.append((factors, weights.astype(self.dtype, copy=False)))
        return found

    def is_longer_along_tiles(self, count: int) -> bool:
        """Whether loops along the tiles take less time than along so many values."""
        return self.count > _FEW and _LONGER * self.count >= TILE * count


def plan_of(fn: Any, components: Components, dtype: np.dtype[Any]) -> Plan | None:
    """The plan of components, kept; None where sums need a maximum."""
    key = "numpy plain", dtype
    plan: Plan | None = components.once(key, _plan, fn, components, dtype)
    return plan


def _plan(fn: Any, components: Components, dtype: np.dtype[Any]) -> Plan | None:
    family, size = components.family, components.parameters[0].shape[2]
    if family.family_event_ndim or not 1 <= size <= _MOST_ELEMENTS:
        return None
    shared, prepared = blocks.kept(fn, components, dtype)
    if not shared or prepared is None or prepared.count == 1:
        return None
    constant = prepared.constant[:, 0]
    given = [factor[:, :, 0] for factor in prepared.factors]
    clamp, unit, most = _BITS[dtype]
    if prepared.square is not None and abs(prepared.peak) <= _WEIGHTS[dtype]:
        factors = _by_element([given[0], prepared.square])
        traced = program.square(size)
        weights = np.exp2(constant.astype(np.float64)).astype(dtype)
        high = max(prepared.peak, 0.0)
        clamp -= max(min(float(constant.min()), 0.0), -_WEIGHTS[dtype])
        most = np.inf  # no 2^−z² is above 1
    else:
        low, high = RANGE[dtype]
        if not low <= prepared.peak <= high:
            return None
        rows = len(family.row(fn, np.ones(1, dtype)))
        traced = program.trace(family, rows, len(given), size)
        factors = *_by_element(given), constant
        weights, high = np.ones_like(constant), 0.0
    low = 2.0 ** (clamp + unit + high) * prepared.count
    row = partial(family.row, fn) if size == 1 else partial(_of_events, family, fn)
    trusted, everywhere = (low, 2.0**most), prepare.is_everywhere(family)
    return Plan(row, traced, factors, weights, clamp, trusted, everywhere)


def _by_element(factors: list[Array]) -> tuple[Array, ...]:
    """Factors [K, D] as arrays [K]: all of the first element, then of the next."""
    every = range(factors[0].shape[1])
    return tuple(np.ascontiguousarray(f[:, d]) for d in every for f in factors)


def _of_events(family: type[Family], fn: Any, x: Array) -> tuple[Array, ...]:
    """The terms of events [n, D]: all of the first element, then of the next."""
    columns = np.ascontiguousarray(x.T)
    return tuple(term for column in columns for term in family.row(fn, column))


def sums(plan: Plan, values: Array, finish: Finish) -> None:
    """finish(rows, values, Σ_k w_k 2^y_k, buffers) for blocks of rows, over threads.

    A sum is of the plan's dtype where one tile holds it, else float64.
    """
    count = len(values)
    if 0 < count <= blocks.FEWEST_ROWS and plan.is_longer_along_tiles(count):
        x = np.ascontiguousarray(values, plan.dtype)
        found = along_tiles(plan, x)
        with QuietLoops(), Scratch() as buffers:
            finish(slice(count), x, found, buffers)
        return
    if 0 < count * min(plan.count, TILE) <= _FEW_ELEMENTS:
        x = np.ascontiguousarray(values, plan.dtype)
        finish(slice(count), x, along_values(plan, x, _NEW), _NEW)
        return
    size = plan.dtype.itemsize * min(plan.count, TILE)
    step = blocks.block_rows(size, plan.count, count)

    def work(start: int, stop: int) -> None:
        with QuietLoops(), Scratch() as buffers:
            for i in range(start, stop):
                rows = slice(i * step, min((i + 1) * step, count))
                x = np.ascontiguousarray(values[rows], plan.dtype)
                finish(rows, x, along_values(plan, x, buffers), buffers)

    run_blocks(-(-count // step), 1, work)


def of_one(plan: Plan, value: Array) -> Array:
    """Σ_k w_k 2^y_k of a single value under one tile, COLUMNS times: as among others.

    NumPy begins a loop with a number in less time than with an array spread out.
    """
    number = value.reshape(())
    if number.dtype is not plan.dtype:
        number = number.astype(plan.dtype, copy=False)
    return _full_sums(plan, plan.row(number))


def along_values(plan: Plan, values: Array, buffers: Buffers) -> Array:
    """Σ_k w_k 2^y_k of some values, loops running along the values."""
    terms: Iterable[Array] = plan.row(values)
    if len(values) <= COLUMNS:
        if plan.count <= TILE:
            return _few_sums(plan, terms)[: len(values)]
        terms = [term.take(_FIRST_COLUMNS, mode="clip") for term in terms]
    part = np.empty(max(len(values), COLUMNS), plan.dtype)
    clamp = np.empty_like(part)
    clamp.fill(plan.clamp)  # np.full takes three times as long
    tile = buffers.program(plan.program, plan.dtype, (min(plan.count, TILE), len(part)))
    if plan.count <= TILE:
        plan.program.run((*terms, *plan.columns), tile)
        return _weighted_sum(plan.weights, tile[0], clamp, part)
    total = np.zeros(len(part))
    lost = losses(plan.dtype, plan.count, total.shape)
    for first in range(0, plan.count, TILE):
        some = slice(first, first + TILE)
        weights = plan.weights[some]
        if len(weights) < TILE:
            tile = [buffer[: len(weights)] for buffer in tile]
        factors = (column[some] for column in plan.columns)
        plan.program.run((*terms, *factors), tile)
        accumulate(total, _weighted_sum(weights, tile[0], clamp, part), lost)
    if lost is not None:
        total += lost
    return total[: len(values)]


def _few_sums(plan: Plan, terms: Iterable[Array]) -> Array:
    """The sums over one tile of at most COLUMNS values, and of some to make it full."""
    places = plan.spread[2]
    return _full_sums(plan, [term.take(places, mode="clip") for term in terms])


def _full_sums(plan: Plan, terms: Iterable[Array]) -> Array:
    """The sums over one tile of terms [K, COLUMNS], or of one number for all."""
    factors, clamp, _ = plan.spread
    buffers = _NEW.program(plan.program, plan.dtype, clamp.shape)
    plan.program.evaluate(*buffers, *terms, *factors, *plan.program.numbers)
    return _weighted_sum(plan.weights, buffers[0], clamp)


def _weighted_sum(
    weights: Array, tile: Array, clamp: Array, out: Array | None = None
) -> Array:
    """Σ_k w_k 2^tile_k; the tile is written to."""
    np.maximum(tile, clamp, out=tile)
    np.exp2(tile, out=tile)
    total: Array = np.einsum("k,kr->r", weights, tile, out=out)
    return total


def along_tiles(plan: Plan, values: Array, buffers: Buffers | None = None) -> Array:
    """As `along_values`, loops running along the tiles: the same bits of a few values.

    Tiles lie side by side, and their sums are added in the same order. By threads where
    no buffers are given.
    """
    total = np.zeros(len(values))
    lost = losses(plan.dtype, plan.count, total.shape)
    kept = _KEPT_SUMS * (get_num_threads() if buffers is None else 1)
    some = max(1, kept // (len(values) * _TILES))
    for first in range(0, len(plan.tiles), some):
        sums = _tile_sums(plan, plan.tiles[first : first + some], values, buffers)
        _add_in_order(total, sums, lost)
    if lost is not None:
        total += lost
    return total


def _tile_sums(
    plan: Plan,
    parts: list[tuple[tuple[Array, ...], Array]],
    values: Array,
    buffers: Buffers | None,
) -> Array:
    """The sum of each tile of some parts for each value, [n, tiles]."""
    dtype, widest = plan.dtype, parts[0][1].shape[1]
    places = np.cumsum([0, *(weights.shape[1] for _, weights in parts)])
    sums = np.empty((len(values), places[-1]), dtype)
    terms = [term[:, None] for term in plan.row(values)]
    clamp = np.full(TILE * widest, plan.clamp, dtype)
    step = max(1, _TILE_BYTES // clamp.nbytes)
    steps = -(-len(values) // step)

    def fill(start: int, stop: int, buffers: Buffers) -> None:
        for i in range(start, stop):  # of one part after the other, which stays cached
            part, at = i // steps, i % steps * step
            (factors, weights), some = parts[part], slice(at, at + step)
            into = sums[some, places[part] : places[part + 1]]
            shape = len(into), weights.size
            tile, *rest = buffers.program(plan.program, dtype, shape)
            plan.program.run((*(t[some] for t in terms), *factors), (tile, *rest))
            np.maximum(tile, clamp[: weights.size], out=tile)
            np.exp2(tile, out=tile)
            tile = tile.reshape(-1, *weights.shape)
            np.einsum("km,rkm->rm", weights, tile, out=into)

    def work(start: int, stop: int) -> None:
        with QuietLoops(), Scratch() as own:
            fill(start, stop, own)

    count = len(parts) * steps
    if buffers is None:
        run_blocks(count, -(-count // (_SHARES * get_num_threads())), work)
    else:
        fill(0, count, buffers)
    return sums


def _add_in_order(total: Array, parts: Array, lost: Array | None) -> None:
    """Add rows of tiles' sums as `accumulate` does, from first to last."""
    running = np.empty((len(parts), parts.shape[1] + 1))
    running[:, 0], running[:, 1:] = total, parts
    np.add.accumulate(running, axis=1, out=running)
    total[...] = running[:, -1]
    if lost is None:
        return
    before, after = running[:, :-1], running[:, 1:]
    grown = after - before
    rounded = (before - (after - grown)) + (parts - grown)
    rounded[:, 0] += lost
    lost[...] = np.add.accumulate(rounded, axis=1, out=rounded)[:, -1]
