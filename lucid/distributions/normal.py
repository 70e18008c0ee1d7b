"""The normal distribution."""

from __future__ import annotations

import math
from typing import Any

from lucid.backends.protocol import Array, Bits
from lucid.distributions import _draws, constraints
from lucid.distributions.family import FamilyDistribution, Parameter

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)


class Normal(FamilyDistribution):
    """Normal (Gaussian) distribution, scalar.

        log p(x) = −½ ((x − μ)/σ)² − log σ − ½ log 2π

    loc    the mean μ, any real
    scale  the standard deviation σ > 0, in the unit of loc
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    family_quadratic = True
    family_unimodal = True
    loc = Parameter()
    scale = Parameter()

    def __init__(
        self, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        super().__init__(validate_args, loc=loc, scale=scale)

    @staticmethod
    def prepare(fn: Any, unit: float, loc: Array, scale: Array) -> tuple[Array, ...]:
        """(μ, √(unit/2)/σ, the constant): dividing by σ, since σ² may underflow."""
        constant = -unit * (fn.log(scale) + _HALF_LOG_TWO_PI)
        return loc, math.sqrt(0.5 * unit) / scale, constant

    @staticmethod
    def pair(fn: Any, row: tuple[Array, ...], factors: tuple[Array, ...]) -> Array:
        """−z², subtracting first: expanding the square would cancel."""
        (x,) = row
        loc, inverse_scale = factors
        z = (x - loc) * inverse_scale
        return -(z * z)

    @staticmethod
    def draw(bits: Bits, loc: Array, scale: Array) -> Array:
        """μ + σ·z, z by Box and Muller (1958)."""
        return loc + scale * _draws.normal(bits)

    @staticmethod
    def _cdf_formula(fn: Any, x: Array, loc: Array, scale: Array) -> Array:
        return fn.ndtr((x - loc) / scale)

    @staticmethod
    def _survival_formula(fn: Any, x: Array, loc: Array, scale: Array) -> Array:
        return fn.ndtr((loc - x) / scale)

    @staticmethod
    def _log_cdf_formula(fn: Any, x: Array, loc: Array, scale: Array) -> Array:
        return fn.log_ndtr((x - loc) / scale)

    @staticmethod
    def _log_survival_formula(fn: Any, x: Array, loc: Array, scale: Array) -> Array:
        return fn.log_ndtr((loc - x) / scale)

    @staticmethod
    def _icdf_formula(fn: Any, p: Array, loc: Array, scale: Array) -> Array:
        return loc + scale * fn.ndtri(p)

    @staticmethod
    def _mean_formula(fn: Any, loc: Array, scale: Array) -> Array:
        return loc

    @staticmethod
    def _variance_formula(fn: Any, loc: Array, scale: Array) -> Array:
        return scale * scale

    @staticmethod
    def _stddev_formula(fn: Any, loc: Array, scale: Array) -> Array:
        return scale

    @staticmethod
    def _entropy_formula(fn: Any, loc: Array, scale: Array) -> Array:
        return 0.5 + _HALF_LOG_TWO_PI + fn.log(scale)
