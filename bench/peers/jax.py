"""JAX: log densities as its users write them, compiled by jit."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

# Taken at once, most of a GPU's memory would be missing to the others.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp
from jax.scipy.stats import norm

from ..workloads import Array
from . import NotApplicableError, Peer

jax.config.update("jax_enable_x64", True)  # for float64; arrays of float32 stay so

Function = Callable[..., Any]


def compiled(function: Function) -> Function:
    """jax.jit, with a type."""
    found: Function = jax.jit(function)
    return found


class Jax(Peer):
    """logsumexp of norm.logpdf under jit, whose fusion keeps the N×K array away."""

    def __init__(self, device: str, threads: int) -> None:
        super().__init__(device, threads)
        try:
            self._device = jax.devices("gpu" if device == "cuda" else "cpu")[0]
        except RuntimeError:
            raise NotApplicableError("this build of JAX has no GPU") from None

    def scalar(self, weights: Any, loc: Any, scale: Any) -> Function:
        return partial(_mixture, jnp.log(weights), loc, scale)

    single = scalar

    def diagonal(self, weights: Any, loc: Any, scale: Any) -> Function:
        return partial(_diagonal, jnp.log(weights), loc, scale)

    def mdn(self) -> Function:
        return _density_network

    def categorical(self) -> Function:
        return _categorical

    def categorical_shared(self, logits: Any) -> Function:
        log_probs = jax.nn.log_softmax(logits)
        return partial(_take, log_probs)

    def draws(self, weights: Any, loc: Any, scale: Any, count: int) -> Function:
        draw = compiled(partial(_draw, count))
        return lambda seed: draw(weights, loc, scale, jax.random.key(seed))

    def array(self, array: Array) -> Any:
        return jax.device_put(array, self._device)

    def wait(self, result: Any) -> None:
        result.block_until_ready()


@compiled
def _mixture(log_weights: Any, loc: Any, scale: Any, value: Any) -> Any:
    return logsumexp(log_weights + norm.logpdf(value[..., None], loc, scale), axis=-1)


@compiled
def _diagonal(log_weights: Any, loc: Any, scale: Any, value: Any) -> Any:
    terms = norm.logpdf(value[:, None, :], loc, scale).sum(-1)
    return logsumexp(log_weights + terms, axis=-1)


@compiled
def _density_network(logits: Any, loc: Any, scale: Any, value: Any) -> Any:
    return _mixture(jax.nn.log_softmax(logits), loc, scale, value)


@compiled
def _categorical(logits: Any, value: Any) -> Any:
    picked = jnp.take_along_axis(logits, value[:, None], axis=-1)[:, 0]
    return picked - logsumexp(logits, axis=-1)


@compiled
def _take(log_probs: Any, value: Any) -> Any:
    return log_probs[value]


def _draw(count: int, weights: Any, loc: Any, scale: Any, key: Any) -> Any:
    """By jax.random.choice, which bisects: jax.random.categorical draws all N×K."""
    first, second = jax.random.split(key)
    index = jax.random.choice(first, weights.shape[0], (count,), p=weights)
    noise = jax.random.normal(second, (count,), weights.dtype)
    return loc[index] + scale[index] * noise
