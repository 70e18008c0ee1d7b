"""Values sorted into cells, and each cell's own sum for them: see `cells.py`.

A value's sum is that of `plain.py` over the components of its cell, tile by tile, with
the same bits however many values lie in the cell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lucid.backends.numpy import blocks, plain
from lucid.backends.numpy.blocks import COLUMNS, TILE
from lucid.backends.numpy.buffers import QuietLoops, Scratch
from lucid.backends.numpy.cells import Cells
from lucid.backends.numpy.plain import Finish, Plan
from lucid.backends.numpy.sums import PLAIN_SUM
from lucid.backends.numpy.threads import get_num_threads, run_blocks
from lucid.backends.protocol import Array, Components

# Values that are sorted at once, at most, and for a thread at least.
SORTED, FEWEST_SORTED = 1 << 16, 1 << 12
# Pairs of a cell's values and components that take less time beside those of others,
# and tiles of them at once.
_FEW_PAIRS, _TILES = 1 << 12, 1 << 10


def sums(
    components: Components, plan: Plan, cells: Cells, values: Array, finish: Finish
) -> None:
    """finish(rows, values, Σ_k w_k 2^y_k, buffers) for blocks of rows, over threads.

    A sum, in float64, is over the components of the value's cell.
    """
    lists: _Lists = components.once(
        ("numpy plain cells", plan.dtype), lambda: _Lists.of(plan, cells)
    )
    count = len(values)
    step = max(-(-count // get_num_threads()), FEWEST_SORTED)
    step = -(-step // -(-step // SORTED))
    # The groups of one block go over the threads where there is enough to do.
    threads = count <= step
    threads &= count * cells.share * plan.count > blocks.WORTH_A_THREAD

    def work(start: int, stop: int) -> None:
        for i in range(start, stop):
            rows = slice(i * step, min((i + 1) * step, count))
            x = np.ascontiguousarray(values[rows], plan.dtype)
            total = _by_cell(lists, cells, x, threads)
            with QuietLoops(), Scratch() as buffers:
                finish(rows, x, total, buffers)

    run_blocks(-(-count // step) if count else 0, 1, work)


@dataclass(frozen=True, eq=False)
class _Lists:
    """The components of cells 0 … C, as a plan of each.

    sizes             how many each cell has
    factors, weights  those of all cells in tiles side by side [TILE, tiles], a cell's
                      last one filled up by weights of 0
    first             the first tile of each cell, and the number of tiles
    """

    plans: list[Plan]
    sizes: Array
    factors: tuple[Array, ...]
    weights: Array
    first: Array

    @classmethod
    def of(cls, plan: Plan, cells: Cells) -> _Lists:
        """Those of a mixture's plan and cells."""
        plans = [plan]
        for first, last in zip(cells.ends[:-1], cells.ends[1:], strict=True):
            some = cells.members[first:last]
            factors = tuple(factor[some] for factor in plan.factors)
            plans.append(replace(plan, factors=factors, weights=plan.weights[some]))
        sizes = np.array([own.count for own in plans])
        first = np.add.accumulate([0, *-(-sizes // TILE)])
        members = np.concatenate([np.arange(plan.count), cells.members])
        # A cell's last component stands where its last tile has none.
        starts = np.add.accumulate(sizes) - sizes
        cell = np.repeat(np.arange(len(sizes)), np.diff(first))
        place = np.arange(TILE)[:, None] + TILE * (np.arange(first[-1]) - first[cell])
        inside = place < sizes[cell]
        some = members[starts[cell] + np.minimum(place, sizes[cell] - 1)]
        factors = tuple(factor[some] for factor in plan.factors)
        weights = np.where(inside, plan.weights[some], 0).astype(plan.dtype)
        return cls(plans, sizes, factors, weights, first)


def _by_cell(lists: _Lists, cells: Cells, x: Array, threads: bool) -> Array:
    with QuietLoops():
        order, chosen, ends = cells.sort(x)
    ordered, found = x.take(order, axis=0), np.empty(len(x))
    counts = np.diff(ends, prepend=0)
    few = counts * lists.sizes[chosen] <= _FEW_PAIRS
    few &= lists.sizes[chosen] <= PLAIN_SUM
    (large,) = np.nonzero(~few)

    def group(first: int, last: int) -> None:
        with QuietLoops(), Scratch() as buffers:
            for g in large[first:last]:
                part = slice(ends[g] - counts[g], ends[g])
                found[part] = _sums(lists.plans[chosen[g]], ordered[part], buffers)

    run_blocks(len(large), 1 if threads else max(1, len(large)), group)
    rest = np.repeat(few, counts)
    if rest.any():
        own = np.repeat(chosen[few], counts[few])
        with QuietLoops(), Scratch() as buffers:
            found[rest] = _together(lists, own, ordered[rest], buffers)
    total = np.empty_like(found)
    total[order] = found
    return total


def _together(lists: _Lists, cells: Array, values: Array, buffers: Scratch) -> Array:
    """Σ_k w_k 2^y_k of values in cells of their own: the bits of `_sums`."""
    plan = lists.plans[0]
    number = np.diff(lists.first)[cells]
    row = np.repeat(np.arange(len(values)), number)
    ends = np.add.accumulate(number)
    tile = np.arange(len(row)) + np.repeat(lists.first[cells] - ends + number, number)
    terms, sums = plan.row(values), np.empty(len(row), plan.dtype)
    for i in range(0, len(row), _TILES):
        part = slice(i, i + _TILES)
        # Fewer columns would be summed in another order.
        width = max(len(row[part]), COLUMNS)
        some, own = np.resize(tile[part], width), np.resize(row[part], width)
        columns = [term.take(own) for term in terms]
        factors = [factor.take(some, axis=1) for factor in lists.factors]
        work, *more = buffers.program(plan.program, plan.dtype, (TILE, width))
        plan.program.run((*columns, *factors), (work, *more))
        np.maximum(work, np.full(width, plan.clamp, plan.dtype), out=work)
        np.exp2(work, out=work)
        weights = lists.weights.take(some, axis=1)
        sums[part] = np.einsum("kt,kt->t", weights, work)[: len(row[part])]
    # In order of the tiles, one after the other.
    return np.bincount(row, weights=sums, minlength=len(values))


def _sums(plan: Plan, values: Array, buffers: Scratch) -> Array:
    """Σ_k w_k 2^y_k of values in one cell."""
    if plan.is_longer_along_tiles(len(values)):
        return plain.along_tiles(plan, values, buffers)
    most = blocks.BUFFER_BYTES // (plan.dtype.itemsize * TILE)
    cuts = range(0, len(values), most)
    found = [plain.along_values(plan, values[i : i + most], buffers) for i in cuts]
    return np.concatenate(found)
