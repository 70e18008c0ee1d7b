"""Intervals of the line, each with the components that matter to values in it.

Of many components spread out, most add nothing to a value's sum. Which those are is
bounded for all values of an interval, a *cell*, at once: where log densities fall with
the distance, none is above its own at the nearest point of the cell, and the sum is
above what the components have at the farthest. What is left out is 2^−(24 + 4) of the
sum at most, all of it together, for float64 2^−(53 + 4).

Cells follow from the components alone, so a value's result does not depend on the
values beside it. Beyond the last cells, and for NaN, all components count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lucid.backends.numpy.blocks import QuietLoops, kept
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array, Components, Family

# Fewer components are as fast without.
_FEWEST_COMPONENTS = 1024
# Bits below a row's sum that cannot matter, and what float64 and the rounding of
# prepared parameters can add to a bound, for each bit of it.
_BITS = {np.dtype(np.float32): 28.0, np.dtype(np.float64): 57.0}
_ROUNDING = {np.dtype(np.float32): 2.0**-20, np.dtype(np.float64): 2.0**-49}
# Draws of the mixture that show where its values lie; every fourth one's component and
# every 64th value show whether cells could pay.
_DRAWS, _SOME, _FEW = 2048, 4, 64
# The part of the components that a value may meet on average for cells to pay.
_PAYS = 0.6
# Cells at most. The width of one, as a part of the distance that components matter
# over: of many components, fewer and wider cells, for those hold less memory.
_MOST_CELLS = 1024
_WIDTH, _MANY, _WIDTH_OF_MANY = 0.6, 1 << 18, 1.0
# Components are told apart by their widths, too: up to the median, 2, 4 times, above.
_KINDS = 4
# Bounds of some cells and all components that are computed at once, about.
_AT_ONCE = 1 << 15
# By what part of itself a cell is taken to be wider: values are assigned with rounding.
_MARGIN = 1 / 64
# Quarters of a bit that what is left out is told apart by, at most.
_QUARTERS = 160


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells 1 … C side by side; 0 and C + 1 are all that lies below and above.

    low, per_unit  cell 1 begins at `low`; cells a unit, in the computation's dtype
    members        positions of the components of cells 1 … C, cell by cell, ascending
    ends           where each cell's end: cell c has members[ends[c − 1] : ends[c]]
    share          the part of the components that a value of the mixture meets
    """

    low: Any
    per_unit: Any
    members: Array
    ends: Array
    share: float

    @property
    def count(self) -> int:
        """C, the number of cells that leave components out."""
        return len(self.ends) - 1

    def numbers(self, x: Array) -> Array:
        """The cell of each value."""
        return _numbers(x, self.low, self.per_unit, self.count)

    def sort(self, x: Array) -> tuple[Array, Array, Array]:
        """(order, cells, ends): x[order] lies cell by cell, each up to its end."""
        numbers = self.numbers(x)
        order = np.argsort(numbers, kind="stable")
        counts = np.bincount(numbers, minlength=self.count + 2)
        (cells,) = np.nonzero(counts)
        return order, cells, np.add.accumulate(counts[cells])


def _numbers(x: Array, low: Any, per_unit: Any, count: int) -> Array:
    place = np.subtract(x, low)
    place *= per_unit
    place += 1
    # NaN is below all.
    np.fmin(np.fmax(place, 0, out=place), count + 1, out=place)
    return place.astype(np.uint8 if count < 255 else np.uint16)


def cells_of(fn: Any, components: Components, dtype: np.dtype[Any]) -> Cells | None:
    """The cells of components, kept; None where they would not pay."""
    found: Cells | None = components.once(
        ("cells", dtype), lambda: _cells(fn, components, dtype)
    )
    return found


def _cells(fn: Any, components: Components, dtype: np.dtype[Any]) -> Cells | None:
    family, parameters = components.family, components.parameters
    if components.count < _FEWEST_COMPONENTS or family.family_event_ndim:
        return None
    if not family.family_unimodal or any(a.shape[::2] != (1, 1) for a in parameters):
        return None
    with QuietLoops():
        terms = Terms.of(fn, components, dtype)
        reach = None if terms is None else terms.reach()
        if terms is None or reach is None:
            return None
        found = _Cut(terms, reach).cells()
        return found if found is not None and found.share <= _PAYS else None


@dataclass(frozen=True, eq=False)
class Terms:
    """What components are made of, in float64, each [K]; the constants last."""

    family: type[Family]
    factors: tuple[Array, ...]
    constant: Array
    weights: Array
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, fn: Any, components: Components, dtype: np.dtype[Any]) -> Terms | None:
        """Those of components; None where bounds would not hold for them."""
        shared, prepared = kept(fn, components, dtype)
        weights = components.weights
        if not shared or prepared is None or weights is None:
            return None
        if prepared.count < _FEWEST_COMPONENTS:
            return None
        *factors, constant = (
            array.reshape(-1).astype(np.float64)
            for array in (*prepared.factors, prepared.constant)
        )
        if not all(np.isfinite(array).all() for array in (*factors, constant)):
            return None
        relative = weights.relative()[0]
        if prepared.kept is not None:
            relative = relative[prepared.kept]
        return cls(components.family, tuple(factors), constant, relative, dtype)

    def take(self, order: Array) -> Terms:
        """The same components in another order."""
        factors = tuple(factor[order] for factor in self.factors)
        return replace(
            self,
            factors=factors,
            constant=self.constant[order],
            weights=self.weights[order],
        )

    def at(self, x: Array, members: Any) -> Array:
        """Log densities in bits of some components at x, one or more for each."""
        factors = tuple(factor[members] for factor in self.factors)
        return self.family.pair(np, (x,), factors) + self.constant[members]

    def upper(self, low: Any, high: Any, members: Array) -> Array:
        """What no log density within [low, high] is above."""
        return self.at(np.clip(self.factors[0][members], low, high), members)

    def lower(self, low: Any, high: Any, members: Array) -> Array:
        """What no log density within [low, high] is below."""
        middle = 0.5 * (low + high)
        far = np.where(self.factors[0][members] > middle, low, high)
        return self.at(far, members)

    def bound(self, floor: Any) -> Any:
        """Where a sum is above 2^floor, the log2 of what may be left out, in two."""
        reach = abs(floor) + self.bits + 2 * self._highest
        return floor - _ROUNDING[self.dtype] * reach - 2.0**-10 - self.bits - 1

    @property
    def bits(self) -> float:
        """How far below a sum what is left out must be."""
        return _BITS[self.dtype]

    @property
    def slack(self) -> float:
        """How far below the largest term each of what is left out must be."""
        return self.bits + math.log2(len(self.constant))

    @cached_property
    def _highest(self) -> float:
        return float(abs(self.constant).max())

    @cached_property
    def draws(self) -> tuple[Array, Array]:
        """Components as likely as their weights, and a value of about each."""
        reached = np.add.accumulate(self.weights)
        at = (np.arange(_DRAWS) + 0.5) / _DRAWS * reached[-1]
        some = np.minimum(np.searchsorted(reached, at), len(reached) - 1)
        noise = np.random.default_rng(0).standard_normal(_DRAWS)
        # For a normal component the factor is 0.85/σ.
        return some, self.factors[0][some] + 0.85 * noise / self.factors[1][some]

    def reach(self) -> float | None:
        """The distance that components matter over; None where most matter anyway.

        As some of the components and some of the draws show.
        """
        some, values = self.draws
        some, x = some[::_SOME], values[::_FEW, None]
        y = self.at(x, some)
        near = y >= y.max(axis=1, keepdims=True) - self.slack
        if near.mean() > _PAYS:
            return None
        return 2 * float(abs(x - self.factors[0][some])[near].mean())


class _Cut:
    """The line cut into cells of one width, and components sorted into buckets.

    A bucket holds components of one cell and of about one width, so that one bound
    serves them all: most buckets matter to no value of a cell, and what is in them
    need not be looked at.
    """

    def __init__(self, terms: Terms, reach: float) -> None:
        self.terms = terms
        kind, size = terms.dtype.type, len(terms.constant)
        values = np.sort(terms.draws[1])
        outer, inner = values[[0, -1]], values[[_DRAWS // 128, -_DRAWS // 128]]
        # Values far from all others would make all cells wide.
        low, high = outer if np.ptp(outer) <= 4 * np.ptp(inner) else inner
        margin = 0.1 * (high - low)
        width = reach * (_WIDTH_OF_MANY if size > _MANY else _WIDTH)
        count = np.fmin((high - low + 2 * margin) / width, _MOST_CELLS)
        self.count = int(np.fmax(count, 1))
        self.low = kind(low - margin)
        self.per_unit = kind(self.count / (high - low + 2 * margin))

    def cells(self) -> Cells | None:
        """The cells; None where the numbers of their dtype cannot tell them apart."""
        terms, low, per_unit = self.terms, self.low, self.per_unit
        if not (np.isfinite(low) and 0 < per_unit < np.inf):
            return None
        step = 1.0 / float(per_unit)
        self.lows = float(low) + step * (np.arange(self.count) - _MARGIN)
        self.highs = self.lows + step * (1 + 2 * _MARGIN)
        self._fill_buckets()
        lists: list[Array] = [np.empty(0, np.int32)] * self.count
        step = max(1, _AT_ONCE // len(terms.constant))

        def work(start: int, stop: int) -> None:
            with QuietLoops():
                lists[start:stop] = self._members(slice(start, stop))

        run_blocks(self.count, step, work)
        lengths = np.array([0, *map(len, lists), 0])
        met = _numbers(terms.draws[1].astype(terms.dtype), low, per_unit, self.count)
        lengths[[0, -1]] = len(terms.constant)
        share = float(lengths[met].mean()) / len(terms.constant)
        ends = np.add.accumulate([0, *lengths[1:-1]])
        return Cells(low, per_unit, np.concatenate(lists), ends, share)

    def _fill_buckets(self) -> None:
        given, count = self.terms, self.count
        loc, scale = given.factors
        place = np.clip((loc - float(self.low)) * float(self.per_unit), 0, count - 1)
        wider = np.ceil(np.log2(np.median(scale[given.draws[0]]) / scale))
        place += count * np.clip(wider, 0, _KINDS - 1)
        bucket = place.astype(np.uint16)
        self.order = np.argsort(bucket, kind="stable").astype(np.int32)
        self.terms = terms = given.take(self.order)
        counts = np.bincount(bucket)
        buckets, counts = np.flatnonzero(counts), counts[counts > 0]
        self.ends = np.add.accumulate(counts)
        self.starts = self.ends - counts
        loc, scale = terms.factors
        self.first = np.minimum.reduceat(loc, self.starts)
        self.last = np.maximum.reduceat(loc, self.starts)
        self.widest = np.minimum.reduceat(scale, self.starts)
        self.top = np.maximum.reduceat(terms.constant, self.starts)
        # The best of each bucket in its own cell stands for it.
        cell = np.repeat(buckets % count, counts)
        lower = terms.lower(self.lows[cell], self.highs[cell], slice(None))
        best = np.maximum.reduceat(lower, self.starts)
        (at,) = np.nonzero(lower == np.repeat(best, counts))
        self.best = at[np.searchsorted(at, self.starts)]

    def _members(self, cells: slice) -> list[Array]:
        """The components that may matter in each of some cells, in ascending order."""
        terms = self.terms
        low, high = self.lows[cells, None], self.highs[cells, None]
        floor = terms.lower(low, high, self.best).max(axis=1, keepdims=True)
        # All K of them together are half of what may be left out.
        least = terms.bound(floor) - math.log2(len(terms.constant))
        nearest = np.maximum(np.maximum(self.first - high, low - self.last), 0.0)
        pair = terms.family.pair(np, (nearest,), (0.0 * nearest, self.widest))
        near = np.flatnonzero((pair + self.top >= least).any(axis=0))
        cuts = np.flatnonzero(np.diff(near) > 1)  # buckets side by side are one run
        runs = self.starts[near[[0, *cuts + 1]]], self.ends[near[[*cuts, -1]]]
        found, uppers = [], []
        for first, last in zip(*(run.tolist() for run in runs), strict=True):
            upper = terms.upper(low, high, slice(first, last))
            matters = np.flatnonzero((upper >= least).any(axis=0))
            found.append(first + matters)
            uppers.append(upper[:, matters])
        some, upper = np.concatenate(found), np.concatenate(uppers, axis=1)
        lower = terms.lower(low, high, some)
        top = lower.max(axis=1, keepdims=True)
        # −64 stands for all that is lower, and changes no bit of the sum.
        sums = np.exp2(np.maximum(lower - top, -64.0)).sum(axis=1, keepdims=True)
        own = _kept(upper - terms.bound(top + np.log2(sums)))
        order = self.order[some]
        return [np.sort(order[cell]) for cell in own]


def _kept(y: Array) -> Array:
    """True for all but the least numbers of each row, whose Σ 2^y is 1 at most."""
    quarters = np.clip(-4.0 * y, -1, _QUARTERS).astype(np.int64) + 1
    quarters[~(y <= 0)] = 0  # NaN, too: of numbers that overflow
    shape = len(y), _QUARTERS + 2
    places = quarters + shape[1] * np.arange(shape[0])[:, None]
    counts = np.bincount(places.ravel(), minlength=math.prod(shape)).reshape(shape)
    most = np.exp2(-0.25 * (np.arange(shape[1]) - 1)) * counts
    most[:, 0] *= 2  # above 1 whatever their number is
    sums = np.add.accumulate(most[:, ::-1], axis=1)
    return quarters < np.count_nonzero(sums[:, ::-1] > 1.0, axis=1, keepdims=True)
