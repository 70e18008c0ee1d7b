"""Values sorted into cells, and each cell's own sum for them: see `cells.py`.

A value's sum is that of `plain.py` over the components of its cell, tile by tile, with
the same bits however many values lie in the cell.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lucid.backends.numpy import blocks, plain
from lucid.backends.numpy.blocks import TILE, QuietLoops, Scratch
from lucid.backends.numpy.cells import Cells
from lucid.backends.numpy.plain import Finish, Plan
from lucid.backends.numpy.threads import get_num_threads, run_blocks
from lucid.backends.protocol import Array, Components

# Values that are sorted at once, at most, and for a thread at least.
SORTED, FEWEST_SORTED = 1 << 16, 1 << 12


def sums(
    components: Components, plan: Plan, cells: Cells, values: Array, finish: Finish
) -> None:
    """finish(rows, values, Σ_k w_k 2^y_k, buffers) for blocks of rows, over threads.

    A sum, in float64, is over the components of the value's cell.
    """
    plans: list[Plan] = components.once(
        ("numpy plain cells", plan.dtype), lambda: _plans(plan, cells)
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
            total = _by_cell(plans, cells, x, threads)
            with QuietLoops(), Scratch() as buffers:
                finish(rows, x, total, buffers)

    run_blocks(-(-count // step) if count else 0, 1, work)


def _by_cell(plans: list[Plan], cells: Cells, x: Array, threads: bool) -> Array:
    with QuietLoops():
        order, chosen, ends = cells.sort(x)
    ordered, found, total = x[order], np.empty(len(x)), np.empty(len(x))

    def group(first: int, last: int) -> None:
        with QuietLoops(), Scratch() as buffers:
            for g in range(first, last):
                part = slice(ends[g - 1] if g else 0, ends[g])
                found[part] = _sums(plans[chosen[g]], ordered[part], buffers)

    run_blocks(len(chosen), 1 if threads else len(chosen), group)
    total[order] = found
    return total


def _plans(plan: Plan, cells: Cells) -> list[Plan]:
    """The plan of each cell."""
    found = [plan]
    for first, last in zip(cells.ends[:-1], cells.ends[1:], strict=True):
        some = cells.members[first:last]
        factors = tuple(factor[some] for factor in plan.factors)
        found.append(replace(plan, factors=factors, weights=plan.weights[some]))
    return [*found, plan]


def _sums(plan: Plan, values: Array, buffers: Scratch) -> Array:
    """Σ_k w_k 2^y_k of values in one cell."""
    if plan.is_longer_along_tiles(len(values)):
        return plain.along_tiles(plan, values, buffers)
    most = blocks.BUFFER_BYTES // (plan.dtype.itemsize * TILE)
    cuts = range(0, len(values), most)
    found = [plain.along_values(plan, values[i : i + most], buffers) for i in cuts]
    return np.concatenate(found)
