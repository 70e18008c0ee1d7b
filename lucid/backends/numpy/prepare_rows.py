"""Parameters of mixtures of which each has its own, as a density network gives them.

Read once for few values each, so preparing takes most of the time: they are turned
first, mixtures last, and what is right to a few roundings in the dtype of the
computation is computed in that. Weights are normalised in passing.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from lucid.backends.numpy import sums
from lucid.backends.protocol import BITS, Array, Components, Family, Weights
from lucid.backends.tracing import FormulaError, is_short

# Components whose weights are added in their own dtype.
_TILE = 32
# Elements that are turned at once, in the first-level cache: two to five times as fast.
_TURNED = 1 << 13


def prepare_rows(
    fn: Any,
    components: Components,
    unit: float,
    dtype: np.dtype[Any],
    mixtures: slice,
) -> tuple[tuple[Array, ...], Array]:
    """Factors [K, D, b or 1] and constants [K, b or 1] of some mixtures.

    Of a scalar family, in that unit, the log weights included.
    """
    family, weights = components.family, components.weights
    short = _is_short(family, len(components.parameters), unit)
    wide = dtype if short else np.dtype(np.float64)
    with np.errstate(all="ignore"):
        parameters = [_turned(array, mixtures, wide) for array in components.parameters]
        shape = np.broadcast_shapes(*(array.shape for array in parameters))
        *factors, constant = (
            whole(array, shape, wide) for array in family.prepare(fn, unit, *parameters)
        )
        # One element's constant as it is, or the sum of many in float64.
        size = shape[1]
        constant = constant[:, 0] if size == 1 else constant.sum(1, dtype=np.float64)
        factors = [factor.astype(dtype, copy=False) for factor in factors]
        constant = constant.astype(dtype, copy=False)
        if weights is not None:
            logs = _log_weights(weights, mixtures, dtype)
            constant, factors = _weighted(logs, constant, factors)
    return tuple(factors), constant


@functools.cache
def _is_short(family: type[Family], parameters: int, unit: float) -> bool:
    try:
        return is_short(family, parameters, unit)
    except FormulaError:
        return False


def _turned(array: Array, mixtures: slice, dtype: Any) -> Array:
    """A copy of [B or 1, K, …], of some mixtures, as [K, …, b or 1]."""
    part = array if len(array) == 1 else array[mixtures]
    turned: Array = np.empty((*part.shape[1:], len(part)), dtype)
    step = max(1, _TURNED // max(1, part[0].size))
    for i in range(0, len(part), step):
        turned[..., i : i + step] = np.moveaxis(part[i : i + step], 0, -1)
    return turned


def whole(array: Any, shape: tuple[int, ...], dtype: Any = np.float64) -> Array:
    """What a family's `prepare` gives; a number alone stands for an array of it."""
    return array if np.ndim(array) else np.full(shape, array, dtype)


def _log_weights(weights: Weights, mixtures: slice, dtype: np.dtype[Any]) -> Array:
    """Normalised log weights of some mixtures in bits, [K, b or 1]."""
    wide = dtype if weights.logarithms else np.float64
    logs = _turned(weights.given, mixtures, wide)
    top = np.maximum.reduce(logs, axis=0)
    if weights.logarithms:
        logs -= top
        logs *= BITS
    else:
        logs /= top
        logs = np.log2(logs).astype(dtype, copy=False)
    logs -= np.log2(_sum_of_powers(logs)).astype(dtype, copy=False)
    return logs


def _sum_of_powers(exponents: Array) -> Array:
    """Σ_k 2^exponents_k, the largest of which is 0, in float64."""
    least = np.empty_like(exponents[0])
    least.fill(sums.LEAST_EXPONENT[exponents.dtype])
    parts = []
    for first in range(0, len(exponents), _TILE):
        powers = np.maximum(exponents[first : first + _TILE], least)
        np.exp2(powers, out=powers)
        parts.append(sums.fold(powers).astype(np.float64))
    return sums.fold(np.stack(parts))


def _weighted(
    logs: Array, constant: Array, factors: list[Array]
) -> tuple[Array, list[Array]]:
    """The log weights in the constants; no trace left of a component of weight 0."""
    constant = constant + logs
    if logs.min() > -np.inf:
        return constant, factors
    dead: Array = np.isneginf(logs)
    constant = np.where(dead, -np.inf, constant)
    return constant, [np.where(dead[:, None], 0.0, f) for f in factors]
