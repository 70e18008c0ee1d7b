"""Student's t distribution."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.protocol import Array, Bits
from lucid.distributions import _draws, _tails, constraints
from lucid.distributions._special import HALF_LOG_TWO_PI, log_gamma_half_ratio
from lucid.distributions.family import FamilyDistribution, Parameter

# Beyond it the distribution is the normal one to 1e-28, and ν = ∞ needs no branch.
_MOST_DF = 1e30


class StudentT(FamilyDistribution):
    """Student's t distribution, scalar.

        log p(x) = −½(ν + 1) log(1 + z²/ν) + log Γ(½(ν + 1)) − log Γ(½ν)
                   − ½ log πν − log σ,   z = (x − μ)/σ

    df     degrees of freedom ν > 0; ∞ is the normal distribution
    loc    the centre μ, any real; the mean where ν > 1
    scale  σ > 0, in the unit of loc
    """

    arg_constraints = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    df = Parameter()
    loc = Parameter()
    scale = Parameter()

    def __init__(
        self,
        df: Any,
        loc: Any = 0.0,
        scale: Any = 1.0,
        validate_args: bool | None = None,
    ) -> None:
        super().__init__(validate_args, df=df, loc=loc, scale=scale)

    @staticmethod
    def prepare(
        fn: Any, unit: float, df: Array, loc: Array, scale: Array
    ) -> tuple[Array, ...]:
        """(μ, s, 1/(s²σ²ν), unit·½(ν + 1), the constant), the log Γ never subtracted.

        s is the power of two next below 1/(σ√ν): it scales without rounding.
        """
        df = fn.minimum(df, _MOST_DF)
        _, exponent = fn.frexp(1.0 / (scale * fn.sqrt(df)))
        step = fn.ldexp(0.5, exponent)
        ratio = log_gamma_half_ratio(fn, 0.5 * df)
        constant = unit * (ratio - HALF_LOG_TWO_PI - fn.log(scale))
        rest = 1.0 / (fn.square(scale * step) * df)
        return loc, step, rest, (0.5 * unit) * (df + 1.0), constant

    @staticmethod
    def pair(fn: Any, row: tuple[Array, ...], factors: tuple[Array, ...]) -> Array:
        """−½(ν + 1) log(1 + t²), t = z/√ν; two roundings of t² fewer than by t."""
        (x,) = row
        loc, step, rest, power = factors
        t = (x - loc) * step
        return -(power * fn.log1p(t * t * rest))

    @staticmethod
    def draw(bits: Bits, df: Array, loc: Array, scale: Array) -> Array:
        """A normal over the root of an independent χ²/ν."""
        half = 0.5 * np.minimum(df, _MOST_DF)
        chi_square = _draws.standard_gamma(bits, half) / half
        return loc + scale * _draws.normal(bits) / chi_square**0.5

    @staticmethod
    def _cdf_formula(fn: Any, x: Array, df: Array, loc: Array, scale: Array) -> Array:
        z = (x - loc) / scale
        tail = _tails.student_t_tail(fn, fn.minimum(df, _MOST_DF), z)
        return fn.where(z < 0, tail, 1.0 - tail)

    @staticmethod
    def _survival_formula(
        fn: Any, x: Array, df: Array, loc: Array, scale: Array
    ) -> Array:
        return StudentT._cdf_formula(fn, -x, df, -loc, scale)

    @staticmethod
    def _log_cdf_formula(
        fn: Any, x: Array, df: Array, loc: Array, scale: Array
    ) -> Array:
        z = (x - loc) / scale
        log_tail = _tails.student_t_log_tail(fn, fn.minimum(df, _MOST_DF), z)
        return fn.where(z < 0, log_tail, fn.log1p(-fn.exp(log_tail)))

    @staticmethod
    def _log_survival_formula(
        fn: Any, x: Array, df: Array, loc: Array, scale: Array
    ) -> Array:
        return StudentT._log_cdf_formula(fn, -x, df, -loc, scale)

    @staticmethod
    def _icdf_formula(fn: Any, p: Array, df: Array, loc: Array, scale: Array) -> Array:
        tail = fn.minimum(p, 1.0 - p)
        size = _tails.student_t_quantile(fn, fn.minimum(df, _MOST_DF), tail)
        return loc + scale * fn.where(p < 0.5, -size, size)

    @staticmethod
    def _mean_formula(fn: Any, df: Array, loc: Array, scale: Array) -> Array:
        return fn.where(df > 1.0, loc, fn.nan)

    @staticmethod
    def _variance_formula(fn: Any, df: Array, loc: Array, scale: Array) -> Array:
        df = fn.minimum(df, _MOST_DF)
        heavy = fn.where(df > 1.0, fn.inf, fn.nan)
        return fn.where(df > 2.0, scale * scale * (df / (df - 2.0)), heavy)

    @staticmethod
    def _stddev_formula(fn: Any, df: Array, loc: Array, scale: Array) -> Array:
        return scale * fn.sqrt(StudentT._variance_formula(fn, df, loc, 1.0))

    @staticmethod
    def _entropy_formula(fn: Any, df: Array, loc: Array, scale: Array) -> Array:
        half = 0.5 * fn.minimum(df, _MOST_DF)
        # (x + ½)(ψ(x + ½) − ψ(x)), by its series where the ψ would cancel.
        w = 1.0 / (half * half)
        series = 0.125 - w * (1 / 64 - w * (1 / 128 - w * (17 / 2048)))
        far = 0.5 + 0.25 / half + (half + 0.5) * w * series
        near = (half + 0.5) * (fn.digamma(half + 0.5) - fn.digamma(half))
        slope = fn.where(half < 50.0, near, far)
        ratio = log_gamma_half_ratio(fn, half)
        return slope + HALF_LOG_TWO_PI - ratio + fn.log(scale)
