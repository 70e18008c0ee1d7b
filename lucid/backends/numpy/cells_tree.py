"""A box around a mixture's values halved again and again, and who matters in each half.

A component that matters nowhere in a box matters in no part of it, so a part looks only
at the components of the whole. All boxes of one size are dealt with at once: the
components of one lie behind those of another.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from lucid.backends.numpy.buffers import QuietLoops
from lucid.backends.numpy.cells_terms import Terms
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array

# The log2 of the number of boxes, at most.
_MOST_LEVELS = 10
# The width of a box, as a part of the distance that components matter over: of many
# components, fewer and wider boxes, for those hold less memory.
_WIDTH, _MANY, _WIDER = {1: 0.6, 2: 0.8, 3: 1.0}, 1 << 18, 2.0
# Components of all boxes together, at most: so many, and more for each of them, but
# never more than these.
_LISTED, _LISTED_EACH, _MOST_LISTED = 1 << 20, 12, 1 << 23
# Components of a box that is not worth halving, and the part of all of them with which
# a box is none of its own.
_FEW, _MOST = 48, 0.75
# Pairs of a box and a component that are bounded at once, about.
_AT_ONCE = 1 << 13
# By what part of the least box a box is taken to be wider: values are assigned with
# rounding.
_MARGIN = 1 / 64
# Quarters of a bit that what is left out is told apart by, at most.
_QUARTERS = 160


@dataclass(frozen=True, eq=False)
class Grid:
    """The least boxes: 2^levels in each dimension, from `low`, so many a unit."""

    low: Array
    per_unit: Array
    levels: Array

    @classmethod
    def of(cls, terms: Terms, reach: Array) -> Grid | None:
        """A grid for components; None where their dtype cannot tell its boxes apart."""
        values = np.sort(terms.draws[1], axis=0)
        edge = len(values) // 128
        outer, inner = values[[0, -1]], values[[edge, -edge]]
        # Values far from all others would make all boxes wide.
        near = np.ptp(outer, axis=0) <= 4 * np.ptp(inner, axis=0)
        low, high = np.where(near, outer, inner)
        size = 1.2 * (high - low)
        width = reach * _WIDTH[len(size)] * (_WIDER if terms.count > _MANY else 1.0)
        levels = np.log2(size / width)
        if not np.isfinite(levels).all():
            return None
        levels = np.maximum(np.rint(levels), 0).astype(int)
        while levels.sum() > _MOST_LEVELS:
            levels[levels.argmax()] -= 1
        low = (low - size / 12).astype(terms.dtype)
        per_unit = (2.0**levels / size).astype(terms.dtype)
        if not (np.isfinite(low) & np.isfinite(per_unit) & (per_unit > 0)).all():
            return None
        return cls(low, per_unit, levels)

    @property
    def margin(self) -> Array:
        """How far beyond its edges a box is taken to reach."""
        return _MARGIN / self.per_unit.astype(np.float64)

    def boxes(self, at: Array, depth: Array) -> tuple[Array, Array]:
        """Middles [n, D] and widths [D] of boxes at places [n, D] of a depth."""
        width = 2.0 ** (self.levels - depth) / self.per_unit.astype(np.float64)
        return self.low + (at + 0.5) * width, width


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of one size: their places [n, D], the components of each, in turn."""

    at: Array
    counts: Array
    members: Array

    def take(self, some: Array) -> Boxes:
        """Some of them, given by a mask."""
        members = self.members[np.repeat(some, self.counts)]
        return Boxes(self.at[some], self.counts[some], members)

    def parts(self, whole: bool) -> list[list[Boxes]]:
        """Some after others, of about as many components.

        Each as a list of one, or of pieces of one large box where not all are `whole`.
        """
        ends = np.add.accumulate(self.counts)
        cuts = np.flatnonzero(np.diff(ends // _AT_ONCE)) + 1
        found = []
        for a, b in itertools.pairwise([0, *cuts.tolist(), len(ends)]):
            members = self.members[ends[a] - self.counts[a] : ends[b - 1]]
            if b > a + 1 or whole or len(members) < 2 * _AT_ONCE:
                found.append([Boxes(self.at[a:b], self.counts[a:b], members)])
                continue
            pieces = np.array_split(members, len(members) // _AT_ONCE)
            found.append([Boxes(self.at[a:b], np.array([len(p)]), p) for p in pieces])
        return found

    @classmethod
    def whole(cls, pieces: tuple[Boxes, ...]) -> Boxes:
        """Boxes of which these are pieces."""
        if len(pieces) == 1:
            return pieces[0]
        members = np.concatenate([piece.members for piece in pieces])
        return cls(pieces[0].at, sum(piece.counts for piece in pieces), members)

    @classmethod
    def joined(cls, boxes: list[Boxes]) -> Boxes:
        """All of several."""
        return cls(
            *(
                np.concatenate([getattr(some, name) for some in boxes])
                for name in ("at", "counts", "members")
            )
        )


class Tree:
    """Boxes that are halved, and those that are not any more.

    table  [2^levels] the number of the box that each of the least boxes is in
    lists  the components of boxes 1, 2, …; box 0 has all
    """

    def __init__(self, terms: Terms, grid: Grid) -> None:
        self.terms, self.grid = terms, grid
        size = len(grid.levels)
        self.table = np.zeros((1,) * size, np.uint16)
        self.lists: list[Boxes] = []
        self._listed = 0
        every = np.arange(terms.count, dtype=np.int32)
        boxes = Boxes(np.zeros((1, size), int), np.array([terms.count]), every)
        depth = self._grow(boxes, np.zeros(size, int))
        for d, more in enumerate(grid.levels - depth):
            self.table = np.repeat(self.table, 2**more, axis=d)

    def _grow(self, boxes: Boxes, depth: Array) -> Array:
        """Halve boxes until nothing is left to halve; the depth then."""
        whole = np.zeros(len(depth), bool)
        while len(boxes.at) and (depth < self.grid.levels).any():
            left = self.grid.levels - depth
            halved = left == left.max()
            last = left.sum() == halved.sum()
            children = self._parts(boxes, depth, halved, last)
            if self._listed + len(children.members) > self._most:
                self._keep(self._parts(boxes, depth, whole, True), depth)
                break
            depth = depth + halved
            for d in np.flatnonzero(halved):
                self.table = np.repeat(self.table, 2, axis=d)
            if last:
                self._keep(children, depth)
                break
            done = (children.counts <= _FEW) | (self._drawn(children, depth) == 0)
            if done.any():
                some = children.take(done)
                self._keep(self._parts(some, depth, whole, True), depth)
            boxes = children.take(~done)
        return depth

    @property
    def _most(self) -> int:
        return min(_LISTED + _LISTED_EACH * self.terms.count, _MOST_LISTED)

    def _drawn(self, boxes: Boxes, depth: Array) -> Array:
        """How many draws lie in each box."""
        grid = self.grid
        low, per_unit = (a.astype(np.float64) for a in (grid.low, grid.per_unit))
        place = np.floor((self.terms.draws[1] - low) * per_unit)
        inside = ((place >= 0) & (place < 2**grid.levels)).all(axis=1)
        places = place[inside].astype(int) >> (grid.levels - depth)
        shape = tuple(2**depth)
        numbers = np.ravel_multi_index(tuple(places.T), shape)
        counts = np.bincount(numbers, minlength=math.prod(shape))
        found: Array = counts[np.ravel_multi_index(tuple(boxes.at.T), shape)]
        return found

    def _keep(self, boxes: Boxes, depth: Array) -> None:
        """Make boxes of this depth cells of their own."""
        boxes = boxes.take(boxes.counts <= _MOST * self.terms.count)
        first = 1 + sum(len(others.at) for others in self.lists)
        self.table[tuple(boxes.at.T)] = first + np.arange(len(boxes.at))
        self._listed += len(boxes.members)
        self.lists.append(boxes)

    def _parts(self, boxes: Boxes, depth: Array, halved: Array, own: bool) -> Boxes:
        """Halves of boxes in some dimensions, with the components that matter there.

        Those that count in the end where each is to be a cell of its `own`.
        """
        parts = boxes.parts(own)
        pieces = [(i, piece) for i, part in enumerate(parts) for piece in part]
        found: list[list[Boxes]] = [[]] * len(pieces)

        def work(start: int, stop: int) -> None:
            with QuietLoops():
                for i in range(start, stop):
                    found[i] = self._halves(pieces[i][1], depth, halved, own)

        run_blocks(len(pieces), 1, work)
        halves: list[Boxes] = []
        for _, same in itertools.groupby(range(len(pieces)), lambda i: pieces[i][0]):
            halves += map(Boxes.whole, zip(*(found[i] for i in same), strict=True))
        return Boxes.joined(halves)

    def _halves(
        self, boxes: Boxes, depth: Array, halved: Array, own: bool
    ) -> list[Boxes]:
        terms, members = self.terms, boxes.members
        middles, widths = self.grid.boxes(boxes.at, depth)
        sides: list[list[tuple[Array, Array, Array]]] = []
        for d, twice in enumerate(halved):
            loc, scale = (factor[d].take(members) for factor in terms.factors)
            offset = loc - np.repeat(middles[:, d], boxes.counts)
            width = widths[d] / (1 + twice)
            half = 0.5 * width + self.grid.margin[d]
            sides.append([])
            for side in range(1 + twice):
                distance = abs(offset - (side - 0.5 * twice) * width)
                far = terms.pair(distance, -half, scale)
                near = terms.pair(np.maximum(distance, half), half, scale)
                sides[-1].append((boxes.at[:, d] * (1 + twice) + side, near, far))
        found = []
        constant = terms.constant.take(members)
        for some in itertools.product(*sides):
            upper, lower = constant, constant
            for _, near, far in some:
                upper, lower = upper + near, lower + far
            kept = self._matter(upper, lower, boxes.counts)
            chosen, counts = members[kept], _sums(kept, boxes.counts)
            if own:
                kept = self._all_matter(upper[kept], lower[kept], counts)
                chosen, counts = chosen[kept], _sums(kept, counts)
            at = np.stack([at for at, _, _ in some], axis=1)
            found.append(Boxes(at, counts, chosen))
        return found

    def _matter(self, upper: Array, lower: Array, counts: Array) -> Array:
        """Components that matter; the others are half of what may be left out."""
        floor = np.maximum.reduceat(lower, _starts(counts))
        least = self.terms.bound(floor) - math.log2(self.terms.count)
        return ~(upper < np.repeat(least, counts))  # NaN, too, of numbers that overflow

    def _all_matter(self, upper: Array, lower: Array, counts: Array) -> Array:
        """Components but for those that together are the other half."""
        top = np.maximum.reduceat(lower, _starts(counts))
        # −64 stands for all that is lower, and changes no bit of the sum.
        terms = np.exp2(np.maximum(lower - np.repeat(top, counts), -64.0))
        bound = self.terms.bound(top + np.log2(_sums(terms, counts)))
        return _kept(upper - np.repeat(bound, counts), counts)


def _starts(counts: Array) -> Array:
    """Where each group begins."""
    found: Array = np.add.accumulate(counts) - counts
    return found


def _sums(numbers: Array, counts: Array) -> Array:
    """The sum of each group."""
    kind = np.int64 if numbers.dtype == bool else None
    found: Array = np.add.reduceat(numbers, _starts(counts), dtype=kind)
    return found


def _kept(y: Array, counts: Array) -> Array:
    """True for all but the least numbers of each group, whose Σ 2^y is 1 at most."""
    quarters = np.clip(-4.0 * y, -1, _QUARTERS).astype(np.int64) + 1
    quarters[~(y <= 0)] = 0  # NaN, too: of numbers that overflow
    shape = len(counts), _QUARTERS + 2
    places = quarters + np.repeat(shape[1] * np.arange(shape[0]), counts)
    number = np.bincount(places, minlength=math.prod(shape)).reshape(shape)
    most = np.exp2(-0.25 * (np.arange(shape[1]) - 1)) * number
    most[:, 0] *= 2  # above 1 whatever their number is
    sums = np.add.accumulate(most[:, ::-1], axis=1)
    matters = np.count_nonzero(sums[:, ::-1] > 1.0, axis=1)
    kept: Array = quarters < np.repeat(matters, counts)
    return kept
