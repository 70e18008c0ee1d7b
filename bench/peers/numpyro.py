"""numpyro.distributions.MixtureSameFamily, compiled by jit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from numpyro.distributions import Categorical, MixtureSameFamily, Normal

from .jax import Jax, compiled

Function = Callable[..., Any]


class NumPyro(Jax):
    """The distributions as JAX compiles them, without validation."""

    def scalar(self, weights: Any, loc: Any, scale: Any) -> Function:
        return partial(_log_prob, weights, loc, scale)

    single = scalar

    def diagonal(self, weights: Any, loc: Any, scale: Any) -> Function:
        return partial(_log_prob_of_vectors, weights, loc, scale)

    def mdn(self) -> Function:
        return _density_network

    def categorical(self) -> Function:
        return _categorical

    def categorical_shared(self, logits: Any) -> Function:
        return partial(_categorical, logits)

    def draws(self, weights: Any, loc: Any, scale: Any, count: int) -> Function:
        draw = compiled(partial(_draw, count))
        return lambda seed: draw(weights, loc, scale, jax.random.key(seed))


def _mixture(weights: Any, loc: Any, scale: Any, event: int = 0) -> Any:
    components = Normal(loc, scale, validate_args=False).to_event(event)
    mixing = Categorical(probs=weights, validate_args=False)
    return MixtureSameFamily(mixing, components, validate_args=False)


@compiled
def _log_prob(weights: Any, loc: Any, scale: Any, value: Any) -> Any:
    return _mixture(weights, loc, scale).log_prob(value)


@compiled
def _log_prob_of_vectors(weights: Any, loc: Any, scale: Any, value: Any) -> Any:
    return _mixture(weights, loc, scale, 1).log_prob(value)


@compiled
def _density_network(logits: Any, loc: Any, scale: Any, value: Any) -> Any:
    mixing = Categorical(logits=logits, validate_args=False)
    components = Normal(loc, scale, validate_args=False)
    return MixtureSameFamily(mixing, components, validate_args=False).log_prob(value)


@compiled
def _categorical(logits: Any, value: Any) -> Any:
    return Categorical(logits=logits, validate_args=False).log_prob(value)


def _draw(count: int, weights: Any, loc: Any, scale: Any, key: Any) -> Any:
    return _mixture(weights, loc, scale).sample(key, (count,))
