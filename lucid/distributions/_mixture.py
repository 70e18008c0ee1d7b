"""Formulas of a mixture beside its log density: moments, probabilities, quantiles.

They run in float64 over blocks of rows, so that rows × K stays small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lucid._random import Generator, default_generator
from lucid.backends.protocol import Array
from lucid.distributions._layout import Shape
from lucid.distributions.distribution import Distribution

if TYPE_CHECKING:
    from lucid.distributions.mixture_same_family import MixtureSameFamily

# Elements of rows × K that a block holds.
BLOCK_ELEMENTS = 1 << 20
# Halvings of a float64 bracket: from the widest to neighbouring numbers.
_MOST_HALVINGS = 2200


def by_rows(
    mixture: MixtureSameFamily,
    value: Array,
    shape: Shape,
    formula: Callable[[Array], Array],
) -> Array:
    """formula(value) over blocks of the sample axes, as `shape`."""
    xp = mixture._backend.xp
    batch, event = mixture.batch_shape, mixture.event_shape
    full = xp.broadcast_to(value, shape + event)
    if math.prod(shape) == 0:
        return xp.empty(shape)
    # The batch as the value sees it: longer where its axes of length 1 are broadcast.
    batch = shape[len(shape) - len(batch) :]
    rows = full.reshape((-1, *batch, *event))
    step = max(1, BLOCK_ELEMENTS // (mixture.num_components * math.prod(batch)))
    parts = [formula(rows[i : i + step]) for i in range(0, len(rows), step)]
    return xp.concatenate(parts).reshape(shape)


def weighted(
    mixture: MixtureSameFamily,
    value: Array,
    formula: Callable[[Distribution, Array], Array],
) -> Array:
    """Σ_k π_k formula(component, x), for scalar events."""
    xp, weights = mixture._backend.xp, _weights(mixture)

    def block(x: Array) -> Array:
        terms = formula(mixture.component_distribution, x[..., None])  # [..., K]
        return xp.where(weights > 0, weights * terms, 0.0).sum(axis=-1)

    shape = np.broadcast_shapes(value.shape, mixture.batch_shape)
    return by_rows(mixture, value, shape, block)


def log_cdf(mixture: MixtureSameFamily, value: Array) -> Array:
    """logsumexp_k [log π_k + log F_k(x)], accurate in the left tail."""
    xp = mixture._backend.xp
    log_weights = mixture.mixture_distribution._log_weights()

    def block(x: Array) -> Array:
        terms = mixture.component_distribution._log_cdf(x[..., None]) + log_weights
        return log_sum_exp(mixture, xp.where(log_weights > -np.inf, terms, -np.inf))

    shape = np.broadcast_shapes(value.shape, mixture.batch_shape)
    return by_rows(mixture, value, shape, block)


def icdf(mixture: MixtureSameFamily, value: Array) -> Array:
    """inf{x : p ≤ F(x)} by bisection between the components' own quantiles."""
    xp, weights = mixture._backend.xp, _weights(mixture)
    discrete = mixture.support.is_discrete

    def block(p: Array) -> Array:
        quantiles = mixture.component_distribution._icdf(p[..., None])  # [..., K]
        low = xp.where(weights > 0, quantiles, np.inf).min(axis=-1)
        high = xp.where(weights > 0, quantiles, -np.inf).max(axis=-1)
        for _ in range(_MOST_HALVINGS):
            middle = xp.floor(low / 2 + high / 2) if discrete else low / 2 + high / 2
            # Neighbouring numbers, a point, or an infinite end: nothing between.
            active = (low < high) & xp.isfinite(middle)
            if not discrete:
                active &= (low < middle) & (middle < high)
            if not bool(active.any()):
                break
            reached = mixture._cdf(middle) >= p
            high = xp.where(active & reached, middle, high)
            above = middle + 1 if discrete else middle
            low = xp.where(active & ~reached, above, low)
        # The lower end was never asked: it may be the quantile itself.
        finite = xp.isfinite(low)
        at_low = finite & (mixture._cdf(xp.where(finite, low, 0.0)) >= p)
        result = xp.where(at_low | (p == 0), low, high)
        return xp.where((p >= 0) & (p <= 1), result, np.nan)

    shape = np.broadcast_shapes(value.shape, mixture.batch_shape)
    return by_rows(mixture, value, shape, block)


def mean(mixture: MixtureSameFamily) -> Array:
    """Σ_k π_k μ_k, corrected once so that rounding does not grow with K."""
    means, weights = _last(mixture, mixture.component_distribution._mean())
    first = (weights * means).sum(axis=-1)
    rest = (weights * (means - first[..., None])).sum(axis=-1)
    xp = mixture._backend.xp
    return xp.where(xp.isfinite(rest), first + rest, first)


def variance(mixture: MixtureSameFamily) -> Array:
    """Σ_k π_k σ_k² + Σ_k π_k (μ_k − E[X])², never E[X²] − E[X]²."""
    variances, weights = _last(mixture, mixture.component_distribution._variance())
    means, _ = _last(mixture, mixture.component_distribution._mean())
    centred = means - mean(mixture)[..., None]
    return (weights * variances).sum(axis=-1) + (weights * centred**2).sum(axis=-1)


def covariance(mixture: MixtureSameFamily) -> Array:
    """Σ_k π_k Cov_k + Σ_k π_k (μ_k − E[X])(μ_k − E[X])ᵀ, [*batch, D, D]."""
    xp, component = mixture._backend.xp, mixture.component_distribution
    size = math.prod(mixture.event_shape)
    means, weights = _last(mixture, component._mean())
    centred = means - mean(mixture)[..., None]
    flat = (*mixture.batch_shape, size, mixture.num_components)
    spread = weights * xp.ones(centred.shape)
    centred, spread = centred.reshape(flat), spread.reshape(flat)
    between = (spread * centred) @ centred.swapaxes(-1, -2)
    own = getattr(component, "covariance_matrix", None)
    if own is None:  # event elements independent within a component
        variances, weights = _last(mixture, component._variance())
        within = (weights * variances).sum(axis=-1).reshape(flat[:-1])
        return between + within[..., None] * xp.eye(size)
    matrices = own._array.astype(np.float64)  # [*batch, K, D, D]
    share = _weights(mixture)[..., None, None]
    return between + xp.where(share > 0, share * matrices, 0.0).sum(axis=-3)


def log_sum_exp(mixture: MixtureSameFamily, terms: Array) -> Array:
    """log Σ_k exp(terms[…, k]) of a block of rows."""
    xp = mixture._backend.xp
    with np.errstate(all="ignore"):
        top = terms.max(axis=-1)
        pivot = xp.where(xp.isfinite(top), top, 0.0)
        total = xp.exp(terms - pivot[..., None]).sum(axis=-1, dtype=np.float64)
        return xp.where(top == np.inf, np.inf, pivot + xp.log(total))


def sample(
    mixture: MixtureSameFamily, sample_shape: Shape, generator: Generator | None
) -> tuple[Array, Array]:
    """Draws for components that are no single family: all K drawn, one kept."""
    xp = mixture._backend.xp
    source = default_generator() if generator is None else generator
    weights = mixture.mixture_distribution.expand(mixture.batch_shape)
    shape = sample_shape + mixture.batch_shape
    index, _ = weights._sample(sample_shape, source)
    components = mixture.component_distribution.expand(
        (*mixture.batch_shape, mixture.num_components)
    )
    rows = index.reshape((-1, *mixture.batch_shape))
    step = max(
        1,
        BLOCK_ELEMENTS
        // max(1, math.prod(components.batch_shape + components.event_shape)),
    )
    parts = []
    events = (1,) * len(mixture.event_shape)
    for i in range(0, len(rows), step):
        picked = rows[i : i + step]
        draws, _ = components._sample((len(picked),), source)
        axis = draws.ndim - len(events) - 1
        chosen = picked.reshape(picked.shape + (1,) + events)
        parts.append(xp.take_along_axis(draws, chosen, axis=axis).squeeze(axis))
    if not parts:
        return xp.empty(shape + mixture.event_shape, mixture.dtype), index
    return xp.concatenate(parts).reshape(shape + mixture.event_shape), index


def _weights(mixture: MixtureSameFamily) -> Array:
    """Normalised weights in float64, [*weights' batch, K]."""
    return mixture.mixture_distribution._wide_weights()


def _last(mixture: MixtureSameFamily, values: Array) -> tuple[Any, Any]:
    """Components' values [*batch, *event, K] and weights that broadcast with them.

    A component of weight 0 gets the value 0, whatever its parameters are.
    """
    xp, event = mixture._backend.xp, mixture.event_shape
    component = mixture.component_distribution
    full = xp.broadcast_to(values, component.batch_shape + event)
    full = xp.moveaxis(full, len(component.batch_shape) - 1, -1)
    weights = _weights(mixture)
    shape = weights.shape[:-1] + (1,) * len(event) + weights.shape[-1:]
    weights = weights.reshape(shape)
    full = xp.broadcast_to(full, (*mixture.batch_shape, *event, mixture.num_components))
    return xp.where(weights > 0, full, 0.0), weights
