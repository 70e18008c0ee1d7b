"""Mixtures by compiled loops: one that all values share, or a few, one by one.

The loops are in loops/mixture.py and loops/mode.py; before them, screen.py may leave
out most components of events of many dimensions. Rows that they cannot decide (a NaN
that no value explains) are left to the caller, who scores them in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from lucid.backends.numba import kernels
from lucid.backends.numba.loops.mixture import LN2
from lucid.backends.numba.scoring import (
    ROWS,
    Mixture,
    Rows,
    limits_of,
    plain_scratch,
    scratch,
)
from lucid.backends.numba.screen import screen_of
from lucid.backends.numpy.blocks import Call
from lucid.backends.numpy.prepare import FEW_MIXTURES, KEPT_ELEMENTS
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import BITS, NATS, Array, Components

# Components whose sum is formed by one thread: it decides the rounding. Rows whose sums
# of all chunks are kept at once.
CHUNK, GROUP = 1 << 12, 1 << 12


def log_prob(
    fn: Any, components: Components, value: Array, dtype: Any, out: Array
) -> Array | None:
    """Fill `out` [S, B]; the positions s·B + b that NumPy must score, usually none.

    None where nothing was done: NumPy must score all.
    """

    def rows(mixture: Mixture, values: Array, target: Array) -> Rows:
        return Density(fn, components.family, mixture, values, target)

    return each(fn, components, value, dtype, rows, out)


def mode(
    fn: Any, components: Components, value: Array, dtype: Any, out: Array, index: Array
) -> Array | None:
    """Fill `index` and `out` [S, B], and return the like of `log_prob`."""

    def rows(mixture: Mixture, values: Array, target: Array, best: Array) -> Rows:
        return _Mode(fn, components.family, mixture, values, target, best)

    return each(fn, components, value, dtype, rows, out, index)


def each(
    fn: Any,
    components: Components,
    value: Array,
    dtype: Any,
    rows: Callable[..., Rows],
    *targets: Array,
) -> Array | None:
    """Score the values of every mixture, where that is worth while."""
    key = "numba", np.dtype(dtype)
    mixtures: list[Mixture] | None = components.prepared.get(key)
    if mixtures is None:
        if components.family.family_event_ndim or not value.size:
            return None
        few = value.shape[1] <= FEW_MIXTURES and keeps(components)
        if not (few or _shared(components)):
            return None
        call = Call(fn, components, value, dtype)
        mixtures = components.once(key, lambda: _prepare(call))
    if not mixtures:
        return None
    if len(mixtures) == 1:
        flat = (target.reshape(-1) for target in targets)
        return rows(mixtures[0], value.reshape(-1, value.shape[2]), *flat).run()
    undecided = []
    for b, mixture in enumerate(mixtures):
        own = (target[:, b] for target in targets)
        undecided.append(rows(mixture, value[:, b], *own).run() * len(mixtures) + b)
    return np.concatenate(undecided)


def _given(components: Components) -> list[Array]:
    """The parameters and, where there are some, the weights."""
    weights = components.weights
    given = () if weights is None else (weights.given,)
    return [*components.parameters, *given]


def _shared(components: Components) -> bool:
    """Whether all values meet the same mixture."""
    return all(array.shape[0] == 1 for array in _given(components))


def keeps(components: Components) -> bool:
    """Whether NumPy keeps what it prepares."""
    return all(array.size <= KEPT_ELEMENTS for array in _given(components))


def _prepare(call: Call) -> list[Mixture]:
    """Every mixture; none where the family's formula does not compile."""
    prepared = call.prepared(slice(None))
    count, size = prepared.count, call.value.shape[2]
    terms = len(call.family.row(call.fn, np.ones((1, 1), call.dtype)))
    loops = call.family, terms, len(prepared.factors), call.dtype, size
    plain = count > 1 and size <= kernels.FEW_ELEMENTS
    if (kernels.add_terms if plain else kernels.fill)(*loops) is None:
        return []
    every = 1 if call.shared else call.mixtures
    factors = [np.broadcast_to(f, (count, size, every)) for f in prepared.factors]
    constant = np.broadcast_to(prepared.constant, (count, every))
    scale = 1.0 if prepared.unit == NATS else 1.0 / BITS
    found = []
    for b in range(every):
        own = np.empty((count, size, len(factors)), call.dtype)
        for i, factor in enumerate(factors):
            own[:, :, i] = factor[:, :, b]
        base = constant[:, b].copy()
        limits = limits_of(base) if plain else None
        found.append(Mixture(loops, own, base, limits, prepared.kept, scale))
    traits = kernels.traits(call.family)
    alone = traits.row_is_value and not (traits.base_measure or traits.supports)
    if call.shared and not plain and alone:
        found[0] = replace(found[0], screen=screen_of(prepared))
    return found


def picked(
    components: Components, value: Array, positions: Array
) -> tuple[Components, Array]:
    """The values at positions s·B + b as [1, n, D], and the mixtures they meet."""
    mixtures = positions % value.shape[1]
    values = value.reshape(1, -1, value.shape[2])[:, positions]
    weights = components.weights
    if _shared(components):
        return components, values  # which keep what they prepared

    def own(array: Array) -> Array:
        return array if array.shape[0] == 1 else array[mixtures]

    weights = None if weights is None else weights.map(own)
    parameters = tuple(map(own, components.parameters))
    some = Components(components.family, parameters, weights, len(mixtures))
    return some, values


class Density(Rows):
    """Log densities of values under one mixture."""

    def __init__(
        self, fn: Any, family: Any, mixture: Mixture, values: Array, out: Array
    ) -> None:
        super().__init__(fn, family, mixture, values, out)
        self.out = out
        wide = self.traits.base_measure
        self.dtype = np.dtype(np.float64) if wide else mixture.dtype

    def run(self) -> Array:
        """As of any rows; of many components, by chunks of them over threads."""
        mixture = self.mixture
        if mixture.limits is None or len(mixture.constant) <= CHUNK:
            return super().run()
        for start in range(0, len(self.values), GROUP):
            self._work(start, min(start + GROUP, len(self.values)))
        return self.rest()

    def summed(self, part: slice, best: Array, top: Array, total: Array) -> None:
        """Fill `out`."""
        found = (top + np.log2(total)) * LN2
        np.copyto(self.out[part], found, "same_kind")

    def score(self, part: slice, x: Array, rows: Array) -> None:
        """Fill `out`, through an array of its own where loops cannot write there."""
        mixture, out = self.mixture, self.out[part]
        direct = out.dtype == self.dtype and out.flags.carray
        found = out if direct else np.empty(len(out), self.dtype)
        if mixture.limits is None:
            missing = self._careful(rows, found)
        else:
            missing = self._plain(rows, mixture.limits, found)
            if missing:
                (rest,) = np.nonzero(np.isnan(found))
                again = np.empty(len(rest), self.dtype)
                missing = self._careful(rows.take(rest, axis=1), again)
                found[rest] = again
        if missing or self.traits.base_measure or self.traits.supports:
            self._finish(part, x, found)
        if not direct:
            np.copyto(out, found, "same_kind")

    def _careful(self, rows: Array, found: Array) -> int:
        """Fill `found` by way of each row's largest exponent; the number of NaN."""
        mixture = self.mixture
        missing: int = kernels.score(mixture.dtype, self.dtype)(
            kernels.fill(*mixture.loops),
            rows,
            mixture.factors,
            mixture.constant,
            mixture.scale,
            found,
            *scratch(mixture.dtype, rows.shape),
        )
        return missing

    def _plain(self, rows: Array, limits: Array, found: Array) -> int:
        """Fill `found` without; the number of NaN: rows that need it."""
        mixture, dtype = self.mixture, self.mixture.dtype
        components = mixture.factors, mixture.constant, limits
        add_terms = kernels.add_terms(*mixture.loops)
        if len(mixture.constant) <= CHUNK:
            missing: int = kernels.plain_score(dtype, self.dtype)(
                add_terms, rows, *components, found, *plain_scratch(dtype, rows.shape)
            )
            return missing
        count, chunks = rows.shape[1], -(-len(mixture.constant) // CHUNK)
        sums, loops = np.empty((chunks, count)), kernels.chunk_sums(dtype)

        def work(start: int, stop: int) -> None:
            for i in range(start, stop):
                some = slice(i // chunks * ROWS, (i // chunks + 1) * ROWS)
                c = i % chunks
                first, last = c * CHUNK, min((c + 1) * CHUNK, len(mixture.constant))
                own = rows[:, some]
                own = own if own.flags.carray else own.copy()
                block = plain_scratch(dtype, own.shape)
                loops(add_terms, own, *components, first, last, sums[c, some], *block)

        run_blocks(-(-count // ROWS) * chunks, 1, work)
        missing = kernels.finish(dtype, self.dtype)(sums, limits, found)
        return missing

    def _finish(self, part: slice, x: Array, found: Array) -> None:
        measure, unsupported = self.measure(x), self.unsupported(x)
        if measure is not None:
            found += measure
        nowhere = np.isnan(x).any(axis=-1)
        strange = np.isnan(found) & ~nowhere
        if unsupported is not None:
            found[unsupported] = np.where(nowhere[unsupported], np.nan, -np.inf)
            strange &= ~unsupported
        self.undecided(part, strange)


class _Mode(Rows):
    """The most probable components, and the log of their probabilities."""

    def __init__(
        self,
        fn: Any,
        family: Any,
        mixture: Mixture,
        values: Array,
        out: Array,
        index: Array,
    ) -> None:
        super().__init__(fn, family, mixture, values, out, index)
        self.out, self.index = out, index
        self.loops = kernels.mode(mixture.dtype)

    def summed(self, part: slice, best: Array, top: Array, total: Array) -> None:
        """Fill `index` and `out`."""
        kept = self.mixture.kept
        self.index[part] = best if kept is None else kept[best]
        np.copyto(self.out[part], -np.log(total), "same_kind")

    def score(self, part: slice, x: Array, rows: Array) -> None:
        """Fill `index` and `out`."""
        mixture, (terms, count, size) = self.mixture, rows.shape
        best, found = np.empty(count, np.int64), np.empty(count, mixture.dtype)
        tile, lines, state = scratch(mixture.dtype, (terms, count, size))
        running = np.empty(tile.shape[1], f"i{mixture.dtype.itemsize}")
        strange = self.loops(
            kernels.fill(*mixture.loops),
            rows,
            mixture.factors,
            mixture.constant,
            best,
            found,
            tile,
            lines,
            state,
            running,
        )
        unsupported = self.unsupported(x) if self.traits.supports else None
        if strange or unsupported is not None:
            undecided = np.isnan(found) & ~np.isnan(x).any(axis=-1)
            found[np.isneginf(found)] = np.nan
            if unsupported is not None:
                found[unsupported] = np.nan
                undecided &= ~unsupported
            self.undecided(part, undecided)
        self.index[part] = best if mixture.kept is None else mixture.kept[best]
        np.copyto(self.out[part], found, "same_kind")
