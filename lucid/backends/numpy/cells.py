"""Boxes of values, each with the components that matter to values in it.

Of many components spread out, most add nothing to a value's sum. Which those are is
bounded for all values of a box, a *cell*, at once: where log densities fall with the
distance, none is above its own at the nearest point of the cell, and the sum is above
what the components have at the farthest. What is left out is 2^−(24 + 4) of the sum at
most, all of it together, for float64 2^−(53 + 4).

Cells follow from the components alone, so a value's result does not depend on the
values beside it. Beyond the outermost cells, and for NaN, all components count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lucid.backends.numpy.buffers import QuietLoops
from lucid.backends.numpy.cells_terms import Terms
from lucid.backends.numpy.cells_tree import Grid, Tree
from lucid.backends.protocol import Array, Components

# The part of the components that a value may meet on average for cells to pay.
_PAYS = 0.6


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells 1 … C; cell 0 is all else.

    low, per_unit  [D] where a grid begins, and its boxes a unit, in the computation's
                   dtype
    table          the cell of each box of the grid, and of what lies around it
    members        positions of the components of cells 1 … C, cell by cell, ascending
    ends           where each cell's end: cell c has members[ends[c − 1] : ends[c]]
    share          the part of the components that a value of the mixture meets
    """

    low: Array
    per_unit: Array
    table: Array
    members: Array
    ends: Array
    share: float

    @property
    def count(self) -> int:
        """C, the number of cells that leave components out."""
        return len(self.ends) - 1

    def numbers(self, x: Array) -> Array:
        """The cell of each value [n, D], or [n] of one dimension."""
        place: Any = 0
        columns = x.reshape(len(x), -1).T
        for column, low, per_unit, size in zip(
            columns, self.low, self.per_unit, self.table.shape, strict=True
        ):
            own = np.subtract(column, low)
            own *= per_unit
            own += 1
            np.fmin(own, size - 1, out=own)  # NaN is above all
            np.maximum(own, 0, out=own)
            place = place * size + own.astype(np.intp)
        return self.table.take(place)

    def sort(self, x: Array) -> tuple[Array, Array, Array]:
        """(order, cells, ends): x[order] lies cell by cell, each up to its end."""
        numbers = self.numbers(x)
        order = np.argsort(numbers, kind="stable")
        counts = np.bincount(numbers, minlength=self.count + 1)
        (cells,) = np.nonzero(counts)
        return order, cells, np.add.accumulate(counts[cells])


def cells_of(fn: Any, components: Components, dtype: np.dtype[Any]) -> Cells | None:
    """The cells of components, kept; None where they would not pay."""
    found: Cells | None = components.once(
        ("cells", dtype), lambda: _cells(fn, components, dtype)
    )
    return found


def _cells(fn: Any, components: Components, dtype: np.dtype[Any]) -> Cells | None:
    with QuietLoops():
        terms = Terms.of(fn, components, dtype)
        reach = None if terms is None else terms.reach(_PAYS)
        if terms is None or reach is None:
            return None
        grid = Grid.of(terms, reach)
        if grid is None:
            return None
        tree = Tree(terms, grid)
        if not tree.lists:
            return None
        counts = np.concatenate([boxes.counts for boxes in tree.lists])
        members = np.concatenate([boxes.members for boxes in tree.lists])
        table, ends = np.pad(tree.table, 1), np.add.accumulate([0, *counts])
        found = Cells(grid.low, grid.per_unit, table, members, ends, 1.0)
        met = found.numbers(terms.draws[1].astype(dtype))
        share = float(np.array([terms.count, *counts])[met].mean()) / terms.count
        if share > _PAYS:
            return None
        return Cells(grid.low, grid.per_unit, table, members, ends, share)
