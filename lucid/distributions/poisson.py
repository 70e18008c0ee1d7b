"""The Poisson distribution."""

from __future__ import annotations

import math
from typing import Any

from lucid.backends.protocol import Array, Bits
from lucid.distributions import _draws, _tails, constraints
from lucid.distributions._special import (
    HALF_LOG_TWO_PI,
    deviance,
    split_log,
    stirling_error_of_count,
)
from lucid.distributions.family import FamilyDistribution, Parameter

# A normal float32, so that k = 0 under λ = 0 divides 0 by something.
_TINY = 1e-37


class Poisson(FamilyDistribution):
    """Poisson distribution on 0, 1, 2, …

        log P(k) = k log λ − λ − log k!

    rate  λ ≥ 0, the mean; λ = 0 puts all mass on 0
    Computed as −(k·log(k/λ) + λ − k) − ½ log 2πk − δ(k), with δ Stirling's error, whose
    terms do not cancel (Loader 2000). −∞ where k is no integer ≥ 0.
    """

    arg_constraints = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer
    rate = Parameter()

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        super().__init__(validate_args, rate=rate)

    @staticmethod
    def supports(fn: Any, value: Array) -> Array:
        """The integers from 0."""
        return (value >= 0) & (fn.floor(value) == value) & (value < math.inf)

    @staticmethod
    def row(fn: Any, value: Array) -> tuple[Array, ...]:
        """(k, log k in two parts, 0 for k = 0: it is multiplied by k)."""
        return (value, *split_log(fn, fn.maximum(value, 1.0)))

    @staticmethod
    def log_base_measure(fn: Any, value: Array) -> Array:
        """−½ log 2πk − δ(k); 0 for k = 0."""
        k = fn.maximum(value, 1.0)
        log_peak = 0.5 * fn.log(k) + HALF_LOG_TWO_PI + stirling_error_of_count(fn, k)
        return fn.where(value == 0, 0.0, -log_peak)

    @staticmethod
    def prepare(fn: Any, unit: float, rate: Array) -> tuple[Array, ...]:
        """(λ, λ to divide by, log λ in two parts, −unit, no constant)."""
        divisor = fn.maximum(rate, _TINY)
        negative_unit = fn.full_like(rate, -unit)
        return rate, divisor, *split_log(fn, rate), negative_unit, fn.zeros_like(rate)

    @staticmethod
    def pair(fn: Any, row: tuple[Array, ...], factors: tuple[Array, ...]) -> Array:
        """−(k·log(k/λ) + λ − k)."""
        k, k_coarse, k_fine = row
        rate, divisor, log_coarse, log_fine, negative_unit = factors
        difference = k - rate
        half = 0.5 * difference
        v = half / (half + divisor)  # (k − λ)/(k + λ), which k + λ could overflow
        far = k * ((k_coarse - log_coarse) + (k_fine - log_fine)) - difference
        return negative_unit * deviance(fn, difference, v, far)

    @staticmethod
    def draw(bits: Bits, rate: Array) -> Array:
        """Inversion for λ < 10, else transformed rejection (Hörmann 1993)."""
        return _draws.poisson(bits, rate)

    @staticmethod
    def _cdf_formula(fn: Any, x: Array, rate: Array) -> Array:
        k = fn.floor(x)
        return fn.where(k < 0, 0.0, _tails.gamma_upper(fn, _after(fn, k), rate))

    @staticmethod
    def _survival_formula(fn: Any, x: Array, rate: Array) -> Array:
        k = fn.floor(x)
        return fn.where(k < 0, 1.0, _tails.gamma_lower(fn, _after(fn, k), rate))

    @staticmethod
    def _log_cdf_formula(fn: Any, x: Array, rate: Array) -> Array:
        k = fn.floor(x)
        log = _tails.gamma_log_upper(fn, _after(fn, k), rate)
        return fn.where(k < 0, -math.inf, log)

    @staticmethod
    def _log_survival_formula(fn: Any, x: Array, rate: Array) -> Array:
        k = fn.floor(x)
        log = _tails.gamma_log_lower(fn, _after(fn, k), rate)
        return fn.where(k < 0, 0.0, log)

    @staticmethod
    def _icdf_formula(fn: Any, p: Array, rate: Array) -> Array:
        """Bisection over all k whose probability a float64 p can tell from 0 and 1."""
        spread = fn.sqrt(rate) + 0.0 * p
        low = fn.maximum(fn.floor(rate - 40.0 * spread), 0.0) - 1.0
        high = fn.ceil(rate + 10.0 * spread) + 50.0
        while bool((high - low > 1.0).any()):
            middle = fn.floor(0.5 * (low + high))
            enough = Poisson._cdf_formula(fn, middle, rate) >= p
            low, high = fn.where(enough, low, middle), fn.where(enough, middle, high)
        most = fn.where(rate == 0, 0.0, math.inf)
        return fn.where(p < 1.0, fn.where(p > 0.0, high, 0.0), most)

    @staticmethod
    def _mean_formula(fn: Any, rate: Array) -> Array:
        return rate

    @staticmethod
    def _variance_formula(fn: Any, rate: Array) -> Array:
        return rate

    @staticmethod
    def _stddev_formula(fn: Any, rate: Array) -> Array:
        return fn.sqrt(rate)

    @staticmethod
    def _entropy_formula(fn: Any, rate: Array) -> Array:
        """The sum of −P log P for λ < 100, else its series; either to 2e-12."""
        small, total = fn.minimum(rate, 100.0), 0.0 * rate
        for k in range(250):
            log_mass = fn.xlogy(k, small) - small - math.lgamma(k + 1.0)
            total = total + fn.entr(fn.exp(log_mass))
        w = 1.0 / fn.maximum(rate, 100.0)
        tail = 1 / 24 + w * (19 / 360 + w * (9 / 80 + w * (863 / 2520)))
        series = 0.5 + HALF_LOG_TWO_PI + 0.5 * fn.log(rate) - w * (1 / 12 + w * tail)
        return fn.where(rate < 100.0, total, series)


def _after(fn: Any, k: Array) -> Array:
    """k + 1: the arrival, in a process of rate 1, that k counts come before."""
    return fn.maximum(k, 0.0) + 1.0
