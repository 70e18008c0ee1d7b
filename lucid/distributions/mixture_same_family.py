"""Finite mixtures of one family."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from lucid._random import Generator
from lucid._tensor import Tensor
from lucid.backends.protocol import Array, Backend, Components
from lucid.distributions import constraints
from lucid.distributions._arguments import as_shape, compute_dtype
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
    validate_args           check the parts against each other (each of them has
                            checked its own parameters)

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
        _check_parts(mixture_distribution, component_distribution)
        self.mixture_distribution = mixture_distribution
        self.component_distribution = component_distribution
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
    def support(self) -> Constraint:
        """The union of the components' supports, over components of weight > 0."""
        alive = self.mixture_distribution._log_weights() > -np.inf
        return constraints.union(self.component_distribution.support, alive)

    # ---- components and posteriors

    def component_log_probs(self, value: Any) -> Tensor:
        """log p_k(x) of every component, without the weights.

        value    shape (*sample_shape, *batch_shape, *event_shape)
        Returns  shape (*sample_shape, *batch_shape, K): this one does hold rows × K.
        """
        with self._range("component_log_probs"):
            array = self._value(value)
            self._result_shape(array)
            return Tensor._wrap(self._component_log_probs(array))

    def posterior(self, value: Any) -> Categorical:
        """p(k | x) for each value, as a Categorical: memory is rows × K.

        Where the density is 0 the posterior does not exist and its probabilities are
        NaN.
        """
        with self._range("posterior"):
            array = self._value(value)
            self._result_shape(array)
            return Categorical(
                logits=Tensor._wrap(self._joint(array)), validate_args=False
            )

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
            shape = self._result_shape(array)
            index, log_probs = self._mode(array, shape)
            if not return_probs:
                return Tensor._wrap(index)
            probs = self._backend.xp.exp(log_probs).astype(array.dtype, copy=False)
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

    # ---- moments and probabilities

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

    def entropy(  # type: ignore[override]
        self, sample_count: int = 100_000, generator: Generator | None = None
    ) -> MonteCarlo:
        """Entropy −E[log p(X)] in nats by Monte Carlo, with its standard error.

        sample_count  how many draws for each element of the batch, at least 2
        Returns       (estimate, standard_error), each of shape batch_shape
        """
        if sample_count < 2:
            raise ValueError(
                "MixtureSameFamily: `sample_count` must be at least 2 for a standard "
                f"error, got {sample_count}."
            )
        with self._range("entropy"):
            draws = self.sample((sample_count,), generator)
            surprise = -self.log_prob(draws)._array.astype(np.float64)
            error = surprise.std(axis=0, ddof=1) / math.sqrt(sample_count)
            shape = self._batch_shape
            return MonteCarlo(
                self._wrap_parameterwise(surprise.mean(axis=0), shape),
                self._wrap_parameterwise(error, shape),
            )

    # ---- the formulas behind the base's public methods

    def _log_prob(
        self, value: Array, shape: Shape, dtype: np.dtype[Any], out: Array | None
    ) -> Array:
        if self._density() is not None:
            return super()._log_prob(value, shape, dtype, out)
        return self._by_rows(
            value, shape, lambda rows: self._log_sum_exp(self._joint(rows))
        )

    def _mode(self, value: Array, shape: Shape) -> tuple[Array, Array]:
        components = self._density()
        if components is None:
            joint = self._joint(value)
            index = joint.argmax(axis=-1)
            top = joint.max(axis=-1)
            return index, top - self._log_sum_exp(joint)
        dtype = compute_dtype(value.dtype)
        values = self._canonical(value, shape)
        index, log_probs = self._backend.mixture_mode(components, values, dtype)
        return index.reshape(shape), log_probs.reshape(shape)

    def _component_log_probs(self, value: Array) -> Array:
        axis = value.ndim - len(self._event_shape)
        lifted = Tensor._wrap(self._backend.xp.expand_dims(value, axis))
        return self.component_distribution.log_prob(lifted)._array

    def _joint(self, value: Array) -> Array:
        """log π_k + log p_k(x), −∞ for a component of weight 0 whatever it holds."""
        log_probs = self._component_log_probs(value)
        weights = self.mixture_distribution._log_weights().astype(log_probs.dtype)
        joint = log_probs + weights
        return self._backend.xp.where(weights > -np.inf, joint, weights)

    def _density(self) -> Components | None:
        found = self.__dict__.get("_cached_density")
        if found is None and (layout := self.component_distribution._layout()):
            weights = self.mixture_distribution._weights()
            found = layout.mixture(self._backend, self._batch_shape, weights)
            self.__dict__["_cached_density"] = found
        return found

    def _sample(
        self, sample_shape: Shape, generator: Generator | None
    ) -> tuple[Array, Array]:
        if self._density() is not None:
            return super()._sample(sample_shape, generator)
        return self._sample_all(sample_shape, generator)

    def _parameters(self) -> dict[str, Any]:
        return {
            "mixture_distribution": self.mixture_distribution,
            "component_distribution": self.component_distribution,
        }

    def _map_parts(self, move: Callable[[Any], Any], backend: Backend) -> None:
        self.mixture_distribution = move(self.mixture_distribution)
        self.component_distribution = move(self.component_distribution)

    def __repr__(self) -> str:
        return (
            f"MixtureSameFamily({self.mixture_distribution}, "
            f"{self.component_distribution})"
        )


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
