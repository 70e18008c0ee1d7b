"""The Bernoulli distribution."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lucid._tensor import Tensor
from lucid.backends.protocol import Array, Bits
from lucid.distributions import _draws, constraints
from lucid.distributions._special import log_sigmoid
from lucid.distributions.family import FamilyDistribution


class Bernoulli(FamilyDistribution):
    """Bernoulli distribution: 1 with probability p, else 0.

        log P(1) = log p,  log P(0) = log(1 − p)

    probs   p in [0, 1]
    logits  log(p/(1 − p)), any real; give exactly one of the two
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    family_parameters = ("logits",)
    support = constraints.boolean

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        if (probs is None) == (logits is None):
            raise ValueError("Bernoulli: give exactly one of `probs` and `logits`.")
        given = {"probs": probs} if logits is None else {"logits": logits}
        super().__init__(validate_args, **given)

    @property
    def probs(self) -> Tensor:
        """p, of shape batch_shape."""
        return self.mean

    @property
    def logits(self) -> Tensor:
        """log(p/(1 − p)), of shape batch_shape."""
        with self._range("logits"):
            (logits,) = self._family_arrays()
            return Tensor._wrap(self._broadcast(logits.astype(self._dtype, copy=False)))

    def _family_arrays(self) -> tuple[Array, ...]:
        if "logits" in self._arrays:
            return (self._arrays["logits"],)
        return (self._kept("logits", self._logits_of_probs),)

    def _logits_of_probs(self) -> Array:
        fn, probs = self._backend.fn, self._arrays["probs"].astype(np.float64)
        with np.errstate(all="ignore"):
            return fn.log(probs) - fn.log1p(-probs)

    @staticmethod
    def supports(fn: Any, value: Array) -> Array:
        """0 and 1 only."""
        return (value == 0) | (value == 1)

    @staticmethod
    def prepare(fn: Any, unit: float, logits: Array) -> tuple[Array, ...]:
        """(log p, log(1 − p), no constant); from the logits, neither cancels."""
        one, zero = log_sigmoid(fn, logits), log_sigmoid(fn, -logits)
        return unit * one, unit * zero, fn.zeros_like(logits)

    @staticmethod
    def pair(fn: Any, row: tuple[Array, ...], factors: tuple[Array, ...]) -> Array:
        """A choice, not x·log p + (1 − x)·log(1 − p), which is 0·∞ at p = 0 or 1."""
        (x,) = row
        one, zero = factors
        return fn.where(x == 1, one, zero)

    @staticmethod
    def draw(bits: Bits, logits: Array) -> Array:
        """Whether a uniform falls under p."""
        return _draws.uniform01(bits) < 1.0 / (1.0 + bits.fn.exp(-logits))

    @staticmethod
    def _cdf_formula(fn: Any, x: Array, logits: Array) -> Array:
        return fn.where(
            x < 0, 0.0, fn.where(x < 1, fn.expit(-logits), fn.minimum(x, 1.0))
        )

    @staticmethod
    def _survival_formula(fn: Any, x: Array, logits: Array) -> Array:
        return fn.where(
            x < 0, 1.0, fn.where(x < 1, fn.expit(logits), fn.maximum(1.0 - x, 0.0))
        )

    @staticmethod
    def _log_cdf_formula(fn: Any, x: Array, logits: Array) -> Array:
        log = fn.where(x < 0, -math.inf, log_sigmoid(fn, -logits))
        return fn.where(x < 1, log, fn.minimum(0.0, x))

    @staticmethod
    def _log_survival_formula(fn: Any, x: Array, logits: Array) -> Array:
        log = fn.where(x < 0, 0.0, log_sigmoid(fn, logits))
        return fn.where(x < 1, log, fn.where(x >= 1, -math.inf, x))

    @staticmethod
    def _icdf_formula(fn: Any, p: Array, logits: Array) -> Array:
        return fn.where(p <= fn.expit(-logits), 0.0, 1.0)

    @staticmethod
    def _mean_formula(fn: Any, logits: Array) -> Array:
        return fn.expit(logits)

    @staticmethod
    def _variance_formula(fn: Any, logits: Array) -> Array:
        return fn.expit(logits) * fn.expit(-logits)

    @staticmethod
    def _stddev_formula(fn: Any, logits: Array) -> Array:
        """√(p·(1 − p)): the product of logits ±750 underflows, its root does not."""
        root = fn.exp(-0.5 * abs(logits))  # of the odds
        return root / (1.0 + root * root)

    @staticmethod
    def _entropy_formula(fn: Any, logits: Array) -> Array:
        """q·|logits| − log(1 − q), q the lesser probability: 1 − q has lost it."""
        size = abs(logits)
        mean = fn.expit(-size) * size
        return fn.where(size < math.inf, mean, 0.0) - log_sigmoid(fn, size)
