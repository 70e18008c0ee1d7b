"""The uniform distribution."""

from __future__ import annotations

import math
from typing import Any

from lucid.backends.protocol import Array, Bits
from lucid.distributions import _draws, constraints
from lucid.distributions.constraints import Constraint
from lucid.distributions.distribution import validating
from lucid.distributions.family import FamilyDistribution, Parameter, check_parameters


class Uniform(FamilyDistribution):
    """Uniform distribution on the closed interval [low, high], scalar.

        log p(x) = −log(high − low) for low ≤ x ≤ high, else −∞

    low, high  the interval's ends, low < high
    """

    arg_constraints = {"low": constraints.real, "high": constraints.real}
    low = Parameter()
    high = Parameter()

    def __init__(
        self, low: Any = 0.0, high: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        super().__init__(False, low=low, high=high)
        if validating(validate_args):
            ends = {name: self._broadcast(a) for name, a in self._arrays.items()}
            above = constraints.greater_than(ends["low"], "`low`")
            rules = {"low": constraints.real, "high": above}
            check_parameters(self._name, self._backend, ends, rules)

    @property
    def support(self) -> Constraint:
        """The interval [low, high], ends included."""
        return constraints.interval(*map(self._broadcast, self._family_arrays()))

    @staticmethod
    def supports(fn: Any, value: Array) -> Array:
        """Every number; NaN is none, which `pair` would not say."""
        return value == value

    @staticmethod
    def prepare(fn: Any, unit: float, low: Array, high: Array) -> tuple[Array, ...]:
        """(low, high, the constant)."""
        return low, high, -unit * fn.log(high - low)

    @staticmethod
    def pair(fn: Any, row: tuple[Array, ...], factors: tuple[Array, ...]) -> Array:
        """0 inside, −∞ outside: the support is the component's own."""
        (x,) = row
        low, high = factors
        return fn.where((x >= low) & (x <= high), 0.0, -math.inf)

    @staticmethod
    def draw(bits: Bits, low: Array, high: Array) -> Array:
        """low + (high − low)·u."""
        return low + (high - low) * _draws.uniform01(bits)

    @staticmethod
    def _cdf_formula(fn: Any, x: Array, low: Array, high: Array) -> Array:
        return fn.clip((x - low) / (high - low), 0.0, 1.0)

    @staticmethod
    def _survival_formula(fn: Any, x: Array, low: Array, high: Array) -> Array:
        return fn.clip((high - x) / (high - low), 0.0, 1.0)

    @staticmethod
    def _icdf_formula(fn: Any, p: Array, low: Array, high: Array) -> Array:
        return low + (high - low) * p

    @staticmethod
    def _mean_formula(fn: Any, low: Array, high: Array) -> Array:
        return 0.5 * low + 0.5 * high

    @staticmethod
    def _variance_formula(fn: Any, low: Array, high: Array) -> Array:
        return (high - low) ** 2 / 12.0

    @staticmethod
    def _stddev_formula(fn: Any, low: Array, high: Array) -> Array:
        return (high - low) / math.sqrt(12.0)

    @staticmethod
    def _entropy_formula(fn: Any, low: Array, high: Array) -> Array:
        return fn.log(high - low)
