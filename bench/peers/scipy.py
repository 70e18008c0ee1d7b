"""SciPy: stats.Mixture for numbers, logsumexp of norm.logpdf for the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import stats
from scipy.special import log_softmax, logsumexp

from . import NotApplicableError, Peer

Function = Callable[..., Any]
# Each component of a Mixture is a Python object: beyond these, one array is faster.
_OBJECTS = 1024


class SciPy(Peer):
    """On the CPU, with as many threads as NumPy takes for it: one."""

    def __init__(self, device: str, threads: int) -> None:
        super().__init__(device, threads)
        if device != "cpu":
            raise NotApplicableError("runs on the CPU")

    def scalar(self, weights: Any, loc: Any, scale: Any) -> Function:
        if weights.size > _OBJECTS:
            return self.single(weights, loc, scale)
        mixture = _mixture(weights, loc, scale)
        return lambda value: mixture.logpdf(value)

    def single(self, weights: Any, loc: Any, scale: Any) -> Function:
        log_weights = np.log(weights)
        return lambda value: logsumexp(
            log_weights + stats.norm.logpdf(value[..., None], loc, scale), axis=-1
        )

    def diagonal(self, weights: Any, loc: Any, scale: Any) -> Function:
        log_weights = np.log(weights)

        def log_prob(value: Any) -> Any:
            terms = stats.norm.logpdf(value[:, None, :], loc, scale).sum(axis=-1)
            return logsumexp(log_weights + terms, axis=-1)

        return log_prob

    def mdn(self) -> Function:
        return lambda logits, loc, scale, value: logsumexp(
            log_softmax(logits, axis=-1)
            + stats.norm.logpdf(value[:, None], loc, scale),
            axis=-1,
        )

    def categorical(self) -> Function:
        def log_prob(logits: Any, value: Any) -> Any:
            picked = np.take_along_axis(logits, value[:, None], axis=-1)[:, 0]
            return picked - logsumexp(logits, axis=-1)

        return log_prob

    def categorical_shared(self, logits: Any) -> Function:
        log_probs = log_softmax(logits)
        return lambda value: log_probs[value]

    def draws(self, weights: Any, loc: Any, scale: Any, count: int) -> Function:
        if weights.size > _OBJECTS:
            raise NotApplicableError(
                f"stats.Mixture holds a Python object a component: {weights.size:,}"
            )
        mixture = _mixture(weights, loc, scale)
        return lambda seed: mixture.sample((count,))


def _mixture(weights: Any, loc: Any, scale: Any) -> Any:
    components = [
        stats.Normal(mu=mean, sigma=deviation)
        for mean, deviation in zip(loc, scale, strict=True)
    ]
    wide = weights.astype(np.float64)  # which must sum to 1 within float64
    return stats.Mixture(components, weights=wide / wide.sum())
