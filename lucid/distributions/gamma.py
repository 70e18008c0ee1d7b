"""The gamma distribution."""

from __future__ import annotations

import math
from typing import Any

from lucid.backends.protocol import Array, Bits
from lucid.distributions import _draws, _tails, constraints
from lucid.distributions._special import (
    HALF_LOG_TWO_PI,
    deviance,
    log_gamma,
    split_log,
    split_ratio,
    stirling_error,
)
from lucid.distributions.family import FamilyDistribution, Parameter

# Modes whose doubles and products stay in the range of every dtype.
_MODES = (1e-35, 1e37)


class Gamma(FamilyDistribution):
    """Gamma distribution, scalar.

        log p(x) = α log β + (α − 1) log x − βx − log Γ(α),   x ≥ 0

    concentration  the shape α > 0; α = 1 is the exponential distribution
    rate           β > 0, in units of 1/x
    At x = 0 the density is ∞ for α < 1, β for α = 1, and 0 beyond.
    Computed about the mode m = a/β, a = α − 1: the log of the density's height there,
    less a·log(m/x) + βx − a, which does not cancel (Loader 2000). For α ≤ 2 there is
    nothing to cancel, and the formula above is used in the unit 1/β.
    """

    arg_constraints = {
        "concentration": constraints.positive,
        "rate": constraints.positive,
    }
    support = constraints.nonnegative
    draws_above_zero = True
    concentration = Parameter()
    rate = Parameter()

    def __init__(
        self, concentration: Any, rate: Any, validate_args: bool | None = None
    ) -> None:
        super().__init__(validate_args, concentration=concentration, rate=rate)

    @staticmethod
    def supports(fn: Any, value: Array) -> Array:
        """0 ≤ x < ∞: at ∞ the density is 0, which ∞ − ∞ would not say."""
        return (value >= 0) & (value < math.inf)

    @staticmethod
    def row(fn: Any, value: Array) -> tuple[Array, ...]:
        """(x, log x in two parts)."""
        return (value, *split_log(fn, value))

    @staticmethod
    def prepare(
        fn: Any, unit: float, concentration: Array, rate: Array
    ) -> tuple[Array, ...]:
        """(m and log m in two parts each, a, β, −unit, most, the constant).

        `most` limits log(m/x): to 0 for a = 0, so that 0·log 0 is 0, else to ∞.
        """
        a = concentration - 1.0
        coarse, fine = split_ratio(fn, a, rate)
        mode = coarse + fine
        least, most = _MODES
        peaked = (a > 1.0) & (mode > least) & (mode < most)
        log_coarse, log_fine = split_log(fn, fn.where(peaked, mode, rate))
        log_a = fn.log(abs(a))
        tall = -stirling_error(fn, a) - HALF_LOG_TWO_PI - 0.5 * log_a
        low = fn.where(a > 1.0, a - a * log_a + tall, -log_gamma(fn, concentration))
        height = fn.where(peaked, tall, low)
        return (
            fn.where(peaked, coarse, 0.0),
            fn.where(peaked, fine, 0.0),
            fn.where(peaked, log_coarse, -log_coarse),
            fn.where(peaked, log_fine, -log_fine),
            a,
            rate,
            fn.full_like(a, -unit),
            fn.where(a == 0.0, 0.0, math.inf),
            unit * (fn.log(rate) + height),
        )

    @staticmethod
    def pair(fn: Any, row: tuple[Array, ...], factors: tuple[Array, ...]) -> Array:
        """−(a·log(m/x) + βx − a), or a·log βx − βx where m is given as 0."""
        x, x_coarse, x_fine = row
        mode, mode_fine, log_coarse, log_fine, a, rate, negative_unit, most = factors
        difference = (mode - x) + mode_fine
        half = 0.5 * difference
        v = half / (half + x)  # (m − x)/(m + x), which m + x could overflow
        log_ratio = fn.minimum((log_coarse - x_coarse) + (log_fine - x_fine), most)
        scaled = rate * difference
        return negative_unit * deviance(fn, scaled, v, a * log_ratio - scaled)

    @staticmethod
    def draw(bits: Bits, concentration: Array, rate: Array) -> Array:
        """A standard gamma by Marsaglia and Tsang (2000), over β."""
        return _draws.standard_gamma(bits, concentration) / rate

    @staticmethod
    def _cdf_formula(fn: Any, x: Array, concentration: Array, rate: Array) -> Array:
        return _tails.gamma_lower(fn, concentration, rate * fn.maximum(x, 0.0))

    @staticmethod
    def _survival_formula(
        fn: Any, x: Array, concentration: Array, rate: Array
    ) -> Array:
        return _tails.gamma_upper(fn, concentration, rate * fn.maximum(x, 0.0))

    @staticmethod
    def _log_cdf_formula(fn: Any, x: Array, concentration: Array, rate: Array) -> Array:
        return _tails.gamma_log_lower(fn, concentration, rate * fn.maximum(x, 0.0))

    @staticmethod
    def _log_survival_formula(
        fn: Any, x: Array, concentration: Array, rate: Array
    ) -> Array:
        return _tails.gamma_log_upper(fn, concentration, rate * fn.maximum(x, 0.0))

    @staticmethod
    def _icdf_formula(fn: Any, p: Array, concentration: Array, rate: Array) -> Array:
        return _tails.gamma_quantile(fn, concentration, p) / rate

    @staticmethod
    def _mean_formula(fn: Any, concentration: Array, rate: Array) -> Array:
        return concentration / rate

    @staticmethod
    def _variance_formula(fn: Any, concentration: Array, rate: Array) -> Array:
        return concentration / rate / rate

    @staticmethod
    def _stddev_formula(fn: Any, concentration: Array, rate: Array) -> Array:
        return fn.sqrt(concentration) / rate

    @staticmethod
    def _entropy_formula(fn: Any, concentration: Array, rate: Array) -> Array:
        a = concentration
        near = a + fn.gammaln(a) + (1.0 - a) * fn.digamma(a)
        # log Γ and ψ by Stirling's series, whose large terms are cancelled by hand.
        w = 1.0 / (a * a)
        psi_error = w * (1 / 12 - w * (1 / 120 - w * (1 / 252)))
        far = 0.5 + HALF_LOG_TWO_PI + 0.5 * fn.log(a) + stirling_error(fn, a)
        far = far - 0.5 / a + (a - 1.0) * psi_error
        return fn.where(a < 100.0, near, far) - fn.log(rate)
