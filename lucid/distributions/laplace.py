"""The Laplace distribution."""

from __future__ import annotations

import math
from typing import Any

from lucid.backends.protocol import Array, Bits
from lucid.distributions import _draws, constraints
from lucid.distributions.family import FamilyDistribution, Parameter


class Laplace(FamilyDistribution):
    """Laplace (double exponential) distribution, scalar.

        log p(x) = −|x − μ|/b − log 2b

    loc    the mean μ, any real
    scale  b > 0, in the unit of loc; the variance is 2b²
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    family_unimodal = True
    loc = Parameter()
    scale = Parameter()

    def __init__(
        self, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        super().__init__(validate_args, loc=loc, scale=scale)

    @staticmethod
    def prepare(fn: Any, unit: float, loc: Array, scale: Array) -> tuple[Array, ...]:
        """(μ, unit/b, the constant)."""
        return loc, unit / scale, -unit * (fn.log(scale) + math.log(2.0))

    @staticmethod
    def pair(fn: Any, row: tuple[Array, ...], factors: tuple[Array, ...]) -> Array:
        """−|x − μ|/b."""
        (x,) = row
        loc, inverse_scale = factors
        return -(abs(x - loc) * inverse_scale)

    @staticmethod
    def draw(bits: Bits, loc: Array, scale: Array) -> Array:
        """The quantile of one uniform, by the logarithm of the nearer tail alone."""
        fn, p = bits.fn, _draws.open01(bits)
        left = p < 0.5
        tail = fn.log(2.0 * fn.where(left, p, 1.0 - p))
        return loc + scale * fn.where(left, tail, -tail)

    @staticmethod
    def _cdf_formula(fn: Any, x: Array, loc: Array, scale: Array) -> Array:
        z = (x - loc) / scale
        tail = 0.5 * fn.exp(-abs(z))
        return fn.where(z < 0, tail, 1.0 - tail)

    @staticmethod
    def _survival_formula(fn: Any, x: Array, loc: Array, scale: Array) -> Array:
        return Laplace._cdf_formula(fn, -x, -loc, scale)

    @staticmethod
    def _log_cdf_formula(fn: Any, x: Array, loc: Array, scale: Array) -> Array:
        z = (x - loc) / scale
        right = fn.log1p(-0.5 * fn.exp(-abs(z)))
        return fn.where(z < 0, z - math.log(2.0), right)

    @staticmethod
    def _log_survival_formula(fn: Any, x: Array, loc: Array, scale: Array) -> Array:
        return Laplace._log_cdf_formula(fn, -x, -loc, scale)

    @staticmethod
    def _icdf_formula(fn: Any, p: Array, loc: Array, scale: Array) -> Array:
        left = fn.log(2.0 * p)
        return loc + scale * fn.where(p < 0.5, left, -fn.log(2.0 * (1.0 - p)))

    @staticmethod
    def _mean_formula(fn: Any, loc: Array, scale: Array) -> Array:
        return loc

    @staticmethod
    def _variance_formula(fn: Any, loc: Array, scale: Array) -> Array:
        return 2.0 * scale * scale

    @staticmethod
    def _stddev_formula(fn: Any, loc: Array, scale: Array) -> Array:
        return math.sqrt(2.0) * scale

    @staticmethod
    def _entropy_formula(fn: Any, loc: Array, scale: Array) -> Array:
        return 1.0 + math.log(2.0) + fn.log(scale)
