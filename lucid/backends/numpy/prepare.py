"""Parameters made into what a block needs: factors and constants, once per component.

Prepared in float64 and rounded once; a component of weight 0 is left out altogether
where its weight is shared, and neutralised where other mixtures still use its place.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lucid.backends.numpy.prepare_rows import prepare_rows, whole
from lucid.backends.protocol import BITS, NATS, Array, Components, Family

# Up to this many elements are prepared at once and kept; beyond it (a mixture density
# network's [N, K]) each block prepares its own and forgets it.
KEPT_ELEMENTS = 1 << 20
# Mixtures of a batch up to which each has the bits that it has alone; Numba scores them
# one by one. The number of values decides nothing: a part has the bits of the whole.
FEW_MIXTURES = 16
# Bits of a factor whose square can stand for it.
_SQUARES = {np.dtype(np.float32): 40.0, np.dtype(np.float64): 300.0}
# Values and locations up to this have differences whose squares do not overflow.
MOST_SQUARED = {np.dtype(np.float32): 2.0**60, np.dtype(np.float64): 2.0**500}


@dataclass(frozen=True, eq=False)
class Prepared:
    """Components ready for blocks; the axis of mixtures comes last.

    factors   scalar families: each [K, D, B or 1]; vector families: [K, …, B or 1]
    constant  [K, B or 1], the log weight included
    kept      the original index of each component, where some were left out
    unit      bits for a sum over components, nats for a single one
    square    −factors[1]² [K, D], where a quadratic family's pair may be formed as
              (x − factors[0])²·square
    """

    factors: tuple[Array, ...]
    constant: Array
    kept: Array | None
    unit: float
    square: Array | None = None

    @property
    def count(self) -> int:
        """The number of components left."""
        return int(self.constant.shape[0])

    @cached_property
    def peak(self) -> float:
        """The highest constant; NaN if one is."""
        return float(self.constant.max())

    @property
    def poisoned(self) -> Array:
        """[K, B or 1]: a parameter of a component that exists is NaN."""
        bad = np.isnan(self.constant)
        for factor in self.factors:
            bad = bad | np.isnan(factor).any(axis=tuple(range(1, factor.ndim - 1)))
        return bad

    def of(self, mixtures: slice) -> Prepared:
        """The part of these mixtures; shared arrays serve all of them."""
        if self.constant.shape[-1] == 1 and all(f.shape[-1] == 1 for f in self.factors):
            return self

        def part(array: Array) -> Array:
            return array if array.shape[-1] == 1 else array[..., mixtures]

        return Prepared(
            tuple(part(factor) for factor in self.factors),
            part(self.constant),
            self.kept,
            self.unit,
        )


def prepare(
    fn: Any, components: Components, dtype: Any, mixtures: slice = slice(None)
) -> Prepared:
    """Prepared components of some mixtures, of all by default."""
    family = components.family
    unit = NATS if components.count == 1 else BITS
    if not family.family_event_ndim and _has_rows(components):
        own = prepare_rows(fn, components, unit, np.dtype(dtype), mixtures)
        return Prepared(*own, kept=None, unit=unit)
    parameters = [
        np.ascontiguousarray(a if a.shape[0] == 1 else a[mixtures], dtype=np.float64)
        for a in components.parameters
    ]
    log_weights, kept = None, None
    with np.errstate(all="ignore"):
        if components.weights is not None:
            log_weights = components.weights.log(mixtures)
            alive = log_weights > -np.inf
            if len(alive) == 1 and alive.any() and not alive.all():
                kept = np.flatnonzero(alive[0])
                log_weights = log_weights[:, kept]
                parameters = [a[:, kept] for a in parameters]
        *factors, constant = family.prepare(fn, unit, *parameters)
    if family.family_event_ndim == 0:
        shape = np.broadcast_shapes(*(array.shape for array in parameters))
        factors = [whole(factor, shape) for factor in factors]
        constant = whole(constant, shape)
        constant = constant.sum(axis=-1)  # [B or 1, K]
    if log_weights is not None:
        constant, factors = _weighted(unit, log_weights, constant, factors)
    return Prepared(
        tuple(_mixtures_last(factor, dtype) for factor in factors),
        _mixtures_last(constant, dtype),
        kept,
        unit,
        _square(family, factors, constant, dtype),
    )


def _has_rows(components: Components) -> bool:
    """Whether many mixtures have parameters or weights of their own."""
    given = () if components.weights is None else (components.weights.given,)
    return any(len(a) > FEW_MIXTURES for a in (*components.parameters, *given))


def _square(
    family: type[Family], factors: list[Array], constant: Array, dtype: np.dtype[Any]
) -> Array | None:
    """−factors[1]² of one mixture, where it and (x − factors[0])² stay in range."""
    if family.family_event_ndim or not family.family_quadratic:
        return None
    if len(constant) > 1 or any(len(factor) > 1 for factor in factors):
        return None
    if not factors[1].size:  # the empty event
        return None
    (loc,), (scale,), dtype = factors[0], factors[1], np.dtype(dtype)
    edge = 2.0 ** _SQUARES[dtype]
    if not (scale.min() >= 1 / edge and scale.max() <= edge):
        return None
    if not abs(loc).max() <= MOST_SQUARED[dtype]:
        return None
    square: Array = (-scale * scale).astype(dtype)
    return square


def _weighted(
    unit: float, log_weights: Array, constant: Array, factors: list[Array]
) -> tuple[Array, list[Array]]:
    """The log weights in the constants; no trace left of a component of weight 0."""
    dead = np.isneginf(log_weights)
    constant = constant + unit * np.where(dead, 0.0, log_weights)
    if dead.any():
        constant = np.where(dead, -np.inf, constant)
        factors = [
            np.where(dead.reshape(dead.shape + (1,) * (f.ndim - 2)), 0.0, f)
            for f in factors
        ]
    return constant, factors


def _mixtures_last(array: Array, dtype: Any) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        return np.ascontiguousarray(np.moveaxis(array, 0, -1), dtype=dtype)


def base_measure(fn: Any, family: type[Family], x: Array) -> Array | None:
    """The family's base measure in float64; None where it has none."""
    if not _has_base_measure(family):
        return None  # most families, whose x need not become float64
    return family.log_base_measure(fn, x.astype(np.float64))


@functools.cache
def _has_base_measure(family: type[Family]) -> bool:
    return family.log_base_measure(np, np.ones(1)) is not None


@functools.cache
def is_everywhere(family: type[Family]) -> bool:
    """Whether every number is in the support and there is no base measure."""
    return not _has_base_measure(family) and family.supports(np, np.ones(1)) is None
