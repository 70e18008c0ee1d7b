"""Formulas of a mixture beside its log density: moments, probabilities, quantiles.

They run in float64 over blocks of rows, so that rows × K stays small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from lucid._random import key_of_part
from lucid.backends.protocol import Array
from lucid.distributions._layout import Shape
from lucid.distributions._parts import Key
from lucid.distributions.categorical import Categorical
from lucid.distributions.distribution import Distribution

# Elements of rows × K × event that a block holds.
BLOCK_ELEMENTS = 1 << 20
# Halvings of a float64 bracket: from the widest to neighbouring numbers.
_MOST_HALVINGS = 2200


class MixtureFormulas(Distribution):
    """A mixture's moments, probabilities and quantiles from its components' own.

    A component of weight 0 counts for nothing, whatever its parameters are. Where all
    weights are 0, or one is NaN, every weight is NaN, and so are the results.
    """

    _mixture: Categorical
    _components: Distribution

    @property
    def num_components(self) -> int:
        """K, the number of components."""
        return self._mixture.num_events

    # ---- log densities

    def _component_log_probs(self, value: Array, dtype: np.dtype[Any]) -> Array:
        """log p_k(x) as computed, [*sample_shape, *components' own batch]."""
        axis = value.ndim - len(self._event_shape)
        lifted = self._backend.xp.expand_dims(value, axis)
        shape = self._components._result_shape(lifted)
        return self._components._matching(shape)._log_prob(lifted, shape, dtype, None)

    def _joint(self, value: Array, dtype: np.dtype[Any]) -> Array:
        """log π_k + log p_k(x), −∞ for a component of weight 0 whatever it holds."""
        log_probs = self._component_log_probs(value, dtype)
        weights = self._mixture._log_weights().astype(dtype)
        joint = log_probs + weights
        return self._backend.xp.where(weights > -np.inf, joint, weights)

    # ---- moments

    def _mean(self) -> Array:
        """Σ_k π_k μ_k, corrected once so that rounding does not grow with K."""
        means, weights = self._last(self._components._mean(), self._event_shape)
        first = (weights * means).sum(axis=-1)
        rest = (weights * (means - first[..., None])).sum(axis=-1)
        xp = self._backend.xp
        return xp.where(xp.isfinite(rest), first + rest, first)

    def _variance(self) -> Array:
        """Σ_k π_k σ_k² + Σ_k π_k (μ_k − E[X])², never E[X²] − E[X]²."""
        variances, weights = self._last(self._components._variance(), self._event_shape)
        centred = self._centred_means()
        return (weights * variances).sum(axis=-1) + (weights * centred**2).sum(axis=-1)

    def _covariance(self) -> Array:
        """Σ_k π_k Cov_k + Σ_k π_k (μ_k − E[X])(μ_k − E[X])ᵀ, [*batch, D, D]."""
        xp, size = self._backend.xp, math.prod(self._event_shape)
        centred = self._centred_means()
        centred = centred.reshape((*self._batch_shape, size, self.num_components))
        between = (self._weights()[..., None, :] * centred) @ centred.swapaxes(-1, -2)
        blocks = self._components._covariance_blocks()  # [*batch, K, R, d, d]
        blocks, weights = self._last(blocks, blocks.shape[-3:])
        blocks = (weights * blocks).sum(axis=-1)  # [*batch, R, d, d]
        diagonal = xp.eye(blocks.shape[-3])[:, None, :, None] > 0
        within = xp.where(diagonal, blocks[..., :, :, None, :], 0.0)  # R, d, R, d
        return between + within.reshape(between.shape)

    def _covariance_blocks(self) -> Array:
        return self._covariance()[..., None, :, :]

    def _entropy(self) -> Array:
        raise NotImplementedError(
            f"{self._name} has no entropy in closed form. Its own method .entropy("
            "sample_count) estimates it by Monte Carlo; that of what is made of it is "
            "the mean of −log_prob over draws."
        )

    # ---- probabilities and quantiles

    def _cdf(self, value: Array) -> Array:
        return self._probability(value, lambda component, x: component._cdf(x))

    def _survival(self, value: Array) -> Array:
        return self._probability(value, lambda component, x: component._survival(x))

    def _log_cdf(self, value: Array) -> Array:
        return self._log_probability(
            value, lambda component, x: component._log_cdf(x), MixtureFormulas._survival
        )

    def _log_survival(self, value: Array) -> Array:
        return self._log_probability(
            value, lambda component, x: component._log_survival(x), MixtureFormulas._cdf
        )

    def _probability(
        self, value: Array, formula: Callable[[Distribution, Array], Array]
    ) -> Array:
        """Σ_k π_k formula(component, x), at most 1 although the weights are rounded."""

        def block(part: Self, x: Array) -> tuple[Array]:
            xp, weights = self._backend.xp, part._weights()
            terms = formula(part._components, x[..., None])  # [..., K]
            total = xp.where(weights > 0, weights * terms, weights).sum(axis=-1)
            return (xp.clip(total, 0.0, 1.0),)

        return self._by_rows(value, self._against(value), block)[0]

    def _log_probability(
        self,
        value: Array,
        formula: Callable[[Distribution, Array], Array],
        complement: Callable[[Self, Array], Array],
    ) -> Array:
        """logsumexp_k [log π_k + formula(component, x)], accurate in both tails."""

        def block(part: Self, x: Array) -> tuple[Array]:
            xp, log_weights = self._backend.xp, part._mixture._log_weights()
            terms = formula(part._components, x[..., None]) + log_weights
            terms = xp.where(log_weights > -np.inf, terms, log_weights)
            tail = part._log_sum_exp(terms)
            # Near 1 the logarithm needs what is left, not the probability itself.
            return (xp.where(tail < -0.5, tail, xp.log1p(-complement(part, x))),)

        return self._by_rows(value, self._against(value), block)[0]

    def _icdf(self, value: Array) -> Array:
        """inf{x : p ≤ F(x)} by bisection between the components' own quantiles."""
        shape = self._against(value)
        return self._by_rows(value, shape, lambda part, p: (part._quantiles(p),))[0]

    def _quantiles(self, p: Array) -> Array:
        xp, weights = self._backend.xp, self._weights()
        discrete = self._components.support.is_discrete
        quantiles = self._components._icdf(p[..., None])  # [..., K]
        low = xp.where(weights > 0, quantiles, np.inf).min(axis=-1)
        high = xp.where(weights > 0, quantiles, -np.inf).max(axis=-1)
        for _ in range(_MOST_HALVINGS):
            middle = low / 2 + high / 2
            middle = xp.floor(middle) if discrete else middle
            # Neighbouring numbers, a point, or an infinite end: nothing between.
            active = (low < high) & xp.isfinite(middle)
            if not discrete:
                active &= (low < middle) & (middle < high)
            if not bool(active.any()):
                break
            reached = self._cdf(middle) >= p
            high = xp.where(active & reached, middle, high)
            above = middle + 1 if discrete else middle
            low = xp.where(active & ~reached, above, low)
        # The lower end was never asked: it may be the quantile itself.
        finite = xp.isfinite(low)
        at_low = finite & (self._cdf(xp.where(finite, low, 0.0)) >= p)
        result = xp.where(at_low | (p == 0), low, high)
        known = (p >= 0) & (p <= 1) & (weights.sum(axis=-1) > 0)
        return xp.where(known, result, np.nan)

    # ---- draws

    def _draw_pairs(
        self, rows: Array, key: Key, start: int, dtype: np.dtype[Any]
    ) -> tuple[Array, Array]:
        """One draw from each of `rows` of the flattened batch, and its component."""
        weights, components = self._mixture, self._components
        own = self._rows_within(weights.batch_shape, rows)
        index = weights._draw_at(own, key, start, dtype)
        own = self._rows_within(components.batch_shape[:-1], rows)
        # One family takes the words beside the index; anything else needs more.
        inner = key if components._layout() is not None else key_of_part(key, 0)
        picked = own * self.num_components + index
        return components._draw_at(picked, inner, start, dtype), index

    def _draw_at(
        self, rows: Array, key: Key, start: int, dtype: np.dtype[Any]
    ) -> Array:
        return self._draw_pairs(rows, key, start, dtype)[0]

    def _rows_within(self, batch: Shape, rows: Array) -> Array:
        """Rows of the flattened batch as those of a part's `batch`, maybe smaller."""
        if batch == self._batch_shape:
            return rows
        xp = self._backend.xp
        own = xp.arange(math.prod(batch)).reshape(batch)
        return xp.broadcast_to(own, self._batch_shape).reshape(-1)[rows]

    # ---- shared

    def _against(self, value: Array) -> Shape:
        """The shape of a result for each of these scalar events."""
        return np.broadcast_shapes(value.shape, self._batch_shape)

    def _by_rows(
        self,
        value: Array,
        shape: Shape,
        formula: Callable[[Self, Array], tuple[Array, ...]],
        dtypes: tuple[Any, ...] = (np.float64,),
    ) -> tuple[Array, ...]:
        """formula(part of the batch, its values) block by block, each as `shape`."""
        xp, whole = self._backend.xp, self._matching(shape)
        results = tuple(xp.empty(shape, dtype) for dtype in dtypes)
        if not math.prod(shape):
            return results
        split = (-1, *whole._batch_shape)
        full = xp.broadcast_to(value, shape + self._event_shape)
        values = full.reshape(split + self._event_shape)
        targets = [result.reshape(split) for result in results]
        for part, key in whole._blocks(len(values)):
            for target, result in zip(targets, formula(part, values[key]), strict=True):
                target[key] = result
        return results

    def _blocks(self, rows: int) -> Iterator[tuple[Self, tuple[slice, ...]]]:
        """Parts of the batch, and which of the values [rows, *batch] are theirs."""
        batch = self._batch_shape
        row = self.num_components * math.prod(batch + self._event_shape)
        if row > BLOCK_ELEMENTS and max(batch, default=1) > 1:
            axis = next(i for i, size in enumerate(batch) if size > 1)
            step = max(1, batch[axis] * BLOCK_ELEMENTS // row)
            for i in range(0, batch[axis], step):
                cut = slice(i, i + step)
                for part, key in self._cut(axis - len(batch), cut)._blocks(rows):
                    yield part, (*key[: axis + 1], cut, *key[axis + 2 :])
            return
        step = max(1, BLOCK_ELEMENTS // max(1, row))
        for i in range(0, rows, step):
            yield self, (slice(i, i + step), *(slice(None) for _ in batch))

    def _log_sum_exp(self, terms: Array) -> Array:
        """log Σ_k exp(terms[…, k]) of a block of rows."""
        xp = self._backend.xp
        top = terms.max(axis=-1)
        pivot = xp.where(xp.isfinite(top), top, 0.0)
        total = xp.exp(terms - pivot[..., None]).sum(axis=-1, dtype=np.float64)
        return xp.where(top == np.inf, np.inf, pivot + xp.log(total))

    def _weights(self) -> Array:
        """Normalised weights in float64, [*weights' batch, K]."""
        return self._mixture._wide_weights()

    def _centred_means(self) -> Array:
        means, _ = self._last(self._components._mean(), self._event_shape)
        return means - self._mean()[..., None]

    def _last(self, values: Array, event: Shape) -> tuple[Array, Array]:
        """Components' values [*batch, *event, K] and weights that broadcast with them.

        A component of weight 0 gets the value 0.
        """
        xp, own = self._backend.xp, self._components.batch_shape
        full = xp.moveaxis(xp.broadcast_to(values, own + event), len(own) - 1, -1)
        weights = self._weights()
        weights = weights.reshape(
            weights.shape[:-1] + (1,) * len(event) + weights.shape[-1:]
        )
        shape = (*self._batch_shape, *event, self.num_components)
        return xp.where(weights > 0, xp.broadcast_to(full, shape), 0.0), weights
