"""Values sorted into cells, each scored under its own components by compiled loops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lucid.backends.numba import kernels, mixture
from lucid.backends.numba.mixture import Density
from lucid.backends.numba.scoring import WORK_PAIRS, Mixture, Rows, plain_scratch
from lucid.backends.numpy import grouped
from lucid.backends.numpy.cells import Cells, cells_of
from lucid.backends.numpy.threads import get_num_threads, run_blocks
from lucid.backends.protocol import Array, Components


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """The components of all cells, cell by cell, and then all of them once more.

    factors, constant  as of a mixture
    ends               [C + 1, 2], the places of a cell's components
    """

    factors: Array
    constant: Array
    ends: Array


def members_of(components: Components, whole: Mixture, cells: Cells) -> Members:
    """The members of the cells of components, kept."""

    def build() -> Members:
        every = np.arange(len(whole.constant), dtype=np.int32)
        some = np.concatenate([cells.members, every])
        last = [len(cells.members), len(some)]
        own = np.stack([cells.ends[:-1], cells.ends[1:]], axis=1)
        ends = np.concatenate([[last], own])
        return Members(whole.factors[some], whole.constant[some], ends)

    members: Members = components.once(("numba cells", whole.dtype), build)
    return members


def log_prob(
    fn: Any, components: Components, value: Array, dtype: Any, out: Array
) -> Array | None:
    """As `mixture.log_prob`, by cells where they pay."""
    if not value.size:
        return mixture.log_prob(fn, components, value, dtype, out)
    cells = cells_of(fn, components, np.dtype(dtype))
    if cells is None:
        return mixture.log_prob(fn, components, value, dtype, out)
    chosen = cells

    def rows(whole: Mixture, values: Array, target: Array) -> Rows:
        if whole.limits is None:
            return Density(fn, components.family, whole, values, target)
        return GroupedDensity(fn, components, whole, chosen, values, target)

    return mixture.each(fn, components, value, dtype, rows, out)


class GroupedDensity(Density):
    """Log densities of values under one mixture, cell by cell."""

    def __init__(
        self,
        fn: Any,
        components: Components,
        whole: Mixture,
        cells: Cells,
        values: Array,
        out: Array,
    ) -> None:
        super().__init__(fn, components.family, whole, values, out)
        self.cells, self.members = cells, members_of(components, whole, cells)

    def run(self) -> Array:
        """As of any rows, in blocks large enough to be sorted."""
        count = len(self.values)
        step = max(-(-count // get_num_threads()), grouped.FEWEST_SORTED)
        step = -(-step // -(-step // grouped.SORTED))
        run_blocks(count, step, self._work)
        return self.rest()

    def _plain(self, rows: Array, limits: Array, found: Array) -> int:
        """Fill `found`, a group of values after the other; the number of NaN."""
        values, members, dtype = rows[0], self.members, self.mixture.dtype
        with np.errstate(all="ignore"):
            order, chosen, stops = self.cells.sort(values)
        ordered, results = values.take(order, axis=0), np.empty_like(found)
        groups = np.empty((len(chosen), 4), np.int64)
        groups[0, 0], groups[1:, 0], groups[:, 1] = 0, stops[:-1], stops
        groups[:, 2:] = members.ends[chosen]
        loops = kernels.score_groups(dtype, found.dtype)
        add_terms = kernels.add_terms(*self.mixture.loops)

        def score(first: int, last: int) -> None:
            loops(
                add_terms,
                ordered,
                groups[first:last],
                members.factors,
                members.constant,
                limits,
                results,
                *plain_scratch(dtype, rows.shape),
            )

        pairs = (groups[:, 1] - groups[:, 0]) @ (groups[:, 3] - groups[:, 2])
        alone = len(values) == len(self.values) and pairs > WORK_PAIRS
        run_blocks(len(groups), 1 if alone else len(groups), score)
        found[order] = results
        return int(np.count_nonzero(np.isnan(found)))
