"""Finite mixtures of one family."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Self, overload

import numpy as np

from lucid._random import Generator
from lucid._tensor import Tensor
from lucid.backends.protocol import Array, Backend, Components
from lucid.distributions import constraints
from lucid.distributions._arguments import as_shape, compute_dtype
from lucid.distributions._base import random_source
from lucid.distributions._layout import Shape, broadcast_shapes
from lucid.distributions._mixture import MixtureFormulas
from lucid.distributions.categorical import Categorical
from lucid.distributions.constraints import Constraint
from lucid.distributions.distribution import Distribution


class MonteCarlo(NamedTuple):
    """An estimate by sampling, and the standard error of it."""

    estimate: Tensor
    standard_error: Tensor


class MixtureSameFamily(MixtureFormulas):
    """Finite mixture whose components share one distribution family.

        log p(x) = log Σ_k π_k p_k(x) = logsumexp_k [log π_k + log p_k(x)]

    mixture_distribution    a Categorical over the K components, the weights π
    component_distribution  any distribution whose rightmost batch dimension is K

    The batch shapes of the weights and of the components (less K) broadcast, both
    ways. A component of weight 0 is skipped entirely. Memory is O(rows + K): no array
    of rows × K is made by log_prob, posterior_mode or sample.

    Raises ValueError if mixture_distribution is not a Categorical or if K differs.

    >>> import lucid
    >>> from lucid.distributions import MixtureSameFamily, Categorical, Normal
    >>> mix = Categorical(probs=lucid.tensor([0.3, 0.7]))
    >>> comp = Normal(
    ...     loc=lucid.tensor([-2.0, 2.0]),
    ...     scale=lucid.tensor([0.5, 1.0]),
    ... )
    >>> dist = MixtureSameFamily(mix, comp)
    >>> samples = dist.sample((200,))
    >>> samples.shape
    (200,)
    """

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        """Mix the components by the weights.

        mixture_distribution    Categorical over the K components; its batch_shape
                                broadcasts with that of the components, less K
        component_distribution  the components, batch_shape[-1] being K
        validate_args           no more to check: the parts have checked their own
                                parameters, and whether they fit is always checked

        Raises ValueError if mixture_distribution is not a Categorical, or if the
        rightmost batch dimension of component_distribution is not K.
        """
        _check_parts(mixture_distribution, component_distribution)
        self._mixture = mixture_distribution
        self._components = component_distribution
        batch_shape = broadcast_shapes(
            "MixtureSameFamily",
            mixture_distribution=mixture_distribution.batch_shape,
            component_distribution=component_distribution.batch_shape[:-1],
        )
        super().__init__(
            component_distribution._backend,
            np.result_type(mixture_distribution._dtype, component_distribution._dtype),
            batch_shape,
            component_distribution.event_shape,
        )

    @property
    def mixture_distribution(self) -> Categorical:
        """The weights π, a Categorical over the K components."""
        return self._mixture

    @property
    def component_distribution(self) -> Distribution:
        """The components, the last of their batch dimensions being K."""
        return self._components

    @property
    def support(self) -> Constraint:
        """The union of the components' supports, over components of weight > 0."""
        with self._range("support"):
            alive = self._mixture._log_weights() > -np.inf
            return constraints.union(self._components.support, alive)

    # ---- densities, components and posteriors

    def log_prob(self, value: Any, out: Tensor | None = None) -> Tensor:
        """Log density of the mixture, logsumexp_k [log π_k + log p_k(x)].

        value    shape (*sample_shape, *batch_shape, *event_shape), broadcast to it
        out      optional: the tensor that receives the result and is returned
        Returns  shape (*sample_shape, *batch_shape), in the dtype promoted from value
                 and parameters. −∞ outside the support; NaN where the value is NaN.
        """
        return super().log_prob(value, out)

    def component_log_probs(self, value: Any) -> Tensor:
        """log p_k(x) of every component, without the weights.

        value    shape (*sample_shape, *batch_shape, *event_shape)
        Returns  shape (*sample_shape, *batch_shape, K): this one does hold rows × K.
        """
        with self._range("component_log_probs"):
            array = self._value(value)
            shape = (*self._result_shape(array), self.num_components)
            dtype = self._result_dtype(array)
            parts = self._component_log_probs(array, compute_dtype(dtype))
            parts = parts.astype(dtype, copy=False)
            if parts.shape != shape:
                xp = self._backend.xp
                parts = xp.ascontiguousarray(xp.broadcast_to(parts, shape))
            return Tensor._wrap(parts)

    def posterior(self, value: Any) -> Categorical:
        """p(k | x) for each value, as a Categorical: memory is rows × K.

        Where the density is 0 the posterior does not exist and its probabilities are
        NaN. That of float16 is float32, as it is computed.
        """
        with self._range("posterior"):
            array = self._value(value)
            shape = (*self._result_shape(array), self.num_components)
            joint = self._joint(array, compute_dtype(self._result_dtype(array)))
            logits = Tensor._wrap(self._backend.xp.broadcast_to(joint, shape))
            return Categorical(logits=logits, validate_args=False)

    @overload
    def posterior_mode(
        self, value: Any, return_probs: Literal[False] = False
    ) -> Tensor: ...
    @overload
    def posterior_mode(
        self, value: Any, return_probs: Literal[True]
    ) -> tuple[Tensor, Tensor]: ...
    def posterior_mode(
        self, value: Any, return_probs: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The most probable component of each value, argmax_k p(k | x), int64.

        return_probs  also return p(k | x) of that component; NaN where the density is 0

        Equally probable components: the first. Memory is O(rows + K).
        """
        with self._range("posterior_mode"):
            array = self._value(value)
            shape, dtype = self._result_shape(array), self._result_dtype(array)
            index, log_probs = self._matching(shape)._mode(array, shape, dtype)
            if not return_probs:
                return Tensor._wrap(index)
            probs = self._backend.xp.exp(log_probs).astype(dtype, copy=False)
            return Tensor._wrap(index), Tensor._wrap(probs)

    # ---- draws

    @overload
    def sample(
        self,
        sample_shape: int | Sequence[int] = (),
        generator: Generator | None = None,
        *,
        return_components: Literal[False] = False,
    ) -> Tensor: ...
    @overload
    def sample(
        self,
        sample_shape: int | Sequence[int] = (),
        generator: Generator | None = None,
        *,
        return_components: Literal[True],
    ) -> tuple[Tensor, Tensor]: ...
    def sample(
        self,
        sample_shape: int | Sequence[int] = (),
        generator: Generator | None = None,
        *,
        return_components: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Ancestral draws, shape (*sample_shape, *batch_shape, *event_shape).

        generator          the source of random bits; the default one if None
        return_components  also return the index of each draw's component, int64

        For each draw: an index from the weights, that component's parameters, one draw
        from them. Its law is that of drawing every component and gathering the picked
        one, at 1/K of the work and memory. Not differentiable: the index is discrete.
        """
        with self._range("sample"):
            shape = as_shape(sample_shape)
            values, indices = self._sample(shape, generator)
            if return_components:
                return Tensor._wrap(values), Tensor._wrap(indices)
            return Tensor._wrap(values)

    # ---- moments

    @property
    def mean(self) -> Tensor:
        """Expected value by the law of total expectation, E[X] = Σ_k π_k μ_k.

        Shape (*batch_shape, *event_shape).
        """
        return super().mean

    @property
    def variance(self) -> Tensor:
        """Variance of each event element by the law of total variance.

            Var[X] = Σ_k π_k σ_k² + Σ_k π_k (μ_k − E[X])²

        Within the components, and between them. Shape (*batch_shape, *event_shape).
        """
        return super().variance

    @property
    def covariance(self) -> Tensor:
        """Covariance between event elements, shape (*batch_shape, D, D).

            Cov[X] = Σ_k π_k Cov_k + Σ_k π_k (μ_k − E[X])(μ_k − E[X])ᵀ

        D is the number of event elements, in C order (1 for scalar events).
        """
        with self._range("covariance"):
            size = math.prod(self._event_shape)
            shape = (*self._batch_shape, size, size)
            return self._wrap_parameterwise(self._covariance(), shape)

    # An estimate has an error, so it returns more than the base's closed forms do.
    def entropy(  # type: ignore[override]
        self, sample_count: int = 100_000, generator: Generator | None = None
    ) -> MonteCarlo:
        """Entropy −E[log p(X)] in nats by Monte Carlo, with its standard error.

        sample_count  how many draws for each element of the batch, at least 2
        Returns       (estimate, standard_error), each of shape batch_shape
        """
        try:
            count = operator.index(sample_count)
        except TypeError:
            raise TypeError(
                f"MixtureSameFamily: `sample_count` must be an int, got "
                f"{sample_count!r}."
            ) from None
        if count < 2:
            raise ValueError(
                "MixtureSameFamily: `sample_count` must be at least 2 for a standard "
                f"error, got {count}."
            )
        with self._range("entropy"):
            draws = self.sample((count,), generator)
            surprise = -self.log_prob(draws)._array.astype(np.float64)
            error = surprise.std(axis=0, ddof=1) / math.sqrt(count)
            shape = self._batch_shape
            return MonteCarlo(
                self._wrap_parameterwise(surprise.mean(axis=0), shape),
                self._wrap_parameterwise(error, shape),
            )

    # ---- the formulas behind the public methods

    def _log_prob_in_parts(
        self, value: Array, shape: Shape, dtype: np.dtype[Any]
    ) -> Array:
        def block(part: Self, rows: Array) -> tuple[Array]:
            return (part._log_sum_exp(part._joint(rows, dtype)),)

        return self._by_rows(value, shape, block, (dtype,))[0]

    def _mode(
        self, value: Array, shape: Shape, dtype: np.dtype[Any]
    ) -> tuple[Array, Array]:
        """The most probable component and the logarithm of its probability."""
        wide = compute_dtype(dtype)
        components = self._density()
        if components is not None:
            values = self._canonical(value, shape)
            index, log_probs = self._backend.mixture_mode(components, values, wide)
            return index.reshape(shape), log_probs.reshape(shape)

        def block(part: Self, rows: Array) -> tuple[Array, Array]:
            joint = part._joint(rows, wide)
            return joint.argmax(axis=-1), joint.max(axis=-1) - part._log_sum_exp(joint)

        index, log_probs = self._by_rows(value, shape, block, (np.int64, wide))
        return index, log_probs

    def _new_density(self) -> Components | None:
        layout = self._components._layout()
        if layout is None:
            return None
        weights = self._mixture._weights()
        return layout.mixture(self._backend, self._batch_shape, weights)

    def _sample(
        self, sample_shape: Shape, generator: Generator | None
    ) -> tuple[Array, Array]:
        if self._density() is not None:
            return super()._sample(sample_shape, generator)
        shape = sample_shape + self._batch_shape
        size, source = math.prod(shape), random_source(generator)
        start = source.reserve(size, self.device)
        rows = self._backend.xp.arange(size) % max(1, math.prod(self._batch_shape))
        values, index = self._draw_pairs(rows, source.key, start, self._dtype)
        return values.reshape(shape + self._event_shape), index.reshape(shape)

    # ---- its parts

    def _parameters(self) -> dict[str, Any]:
        return {
            "mixture_distribution": self._mixture,
            "component_distribution": self._components,
        }

    def _keeps_integers(self) -> bool:
        return self._components._keeps_integers()

    def _cut_parts(self, axis: int, rows: slice) -> None:
        self._mixture = self._mixture._cut(axis, rows)
        self._components = self._components._cut(axis - 1, rows)

    def _map_parts(self, move: Callable[[Any], Any], backend: Backend) -> None:
        self._mixture = move(self._mixture)
        self._components = move(self._components)

    def _result_dtype(self, value: Array) -> np.dtype[Any]:
        """That of results for this value: integers have the parameters'."""
        return value.dtype if value.dtype.kind == "f" else self._dtype

    def __repr__(self) -> str:
        natural = np.broadcast_shapes(
            self._mixture.batch_shape, self._components.batch_shape[:-1]
        )
        batch = self._batch_shape
        more = "" if batch == natural else f", batch_shape={batch}"
        return f"MixtureSameFamily({self._mixture}, {self._components}{more})"


def _check_parts(mixture: Any, components: Any) -> None:
    if not isinstance(mixture, Categorical):
        raise ValueError(
            "MixtureSameFamily: `mixture_distribution` must be a Categorical, got "
            f"{type(mixture).__name__}."
        )
    if not isinstance(components, Distribution):
        raise ValueError(
            "MixtureSameFamily: `component_distribution` must be a Distribution, got "
            f"{type(components).__name__}."
        )
    count = mixture.num_events
    if not components.batch_shape or components.batch_shape[-1] != count:
        raise ValueError(
            "MixtureSameFamily: the rightmost batch dimension of "
            f"`component_distribution` must be the {count} components of "
            f"`mixture_distribution`, but its batch_shape is {components.batch_shape}."
        )
    if mixture._backend is not components._backend:
        raise ValueError(
            f"MixtureSameFamily: `mixture_distribution` is on {mixture.device} and "
            f"`component_distribution` on {components.device}; move one with .to."
        )
