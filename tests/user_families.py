"""Families as users write them, each with its log density by SciPy or NumPy in float64.

Operators, numbers and functions that come to hand; names that are taken, or not ASCII.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from lucid.backends.cupy import sources
from lucid.distributions import constraints
from lucid.distributions.family import FamilyDistribution, Parameter


class HyperbolicSecant(FamilyDistribution):
    """log p(x) = −log(π cosh(x − μ)); its unit and its constant are plain numbers."""

    arg_constraints = {"loc": constraints.real}
    support = constraints.real
    loc = Parameter()

    def __init__(self, loc: Any) -> None:
        super().__init__(None, loc=loc)

    @staticmethod
    def prepare(fn: Any, unit: float, loc: Any) -> Any:
        return loc, unit, -unit * math.log(math.pi / 2)

    @staticmethod
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        z = abs(row[0] - factors[0])
        return -factors[1] * (z + fn.log1p(fn.exp(-2.0 * z)))


class Powers(FamilyDistribution):
    """log p(x) = −a·(a power of x of each kind), whatever that integrates to."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.real
    scale = Parameter()

    def __init__(self, scale: Any) -> None:
        super().__init__(None, scale=scale)

    @staticmethod
    def prepare(fn: Any, unit: float, scale: Any) -> Any:
        return unit * scale**3, scale**0.5, 0.0

    @staticmethod
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        (x,), (a, half) = row, factors
        size = abs(x) + 0.5
        powers = x**2 + size**3 + x**4 + size**0.5 + size**-1 + size**1.5 + size**half
        return -a * (powers + 2.0**x + 3.0**x)


def powers_at(x: Any, scale: Any) -> Any:
    """The same, by NumPy's functions in float64."""
    size, power = np.abs(x) + 0.5, np.power
    first = np.square(x) + power(size, 3) + power(x, 4) + np.sqrt(size) + 1 / size
    last = power(size, 1.5) + power(size, np.sqrt(scale)) + np.exp2(x) + power(3.0, x)
    return -power(scale, 3) * (first + last)


class Normal(FamilyDistribution):
    """A normal by its precision: called as one of lucid's own, and another family."""

    arg_constraints = {"loc": constraints.real, "precision": constraints.positive}
    support = constraints.real
    family_quadratic = True
    loc, precision = Parameter(), Parameter()

    def __init__(self, loc: Any, precision: Any) -> None:
        super().__init__(None, loc=loc, precision=precision)

    @staticmethod
    def prepare(fn: Any, unit: float, loc: Any, precision: Any) -> Any:
        constant = 0.5 * unit * (fn.log(precision) - math.log(2.0 * math.pi))
        return loc, fn.sqrt(0.5 * unit * precision), constant

    @staticmethod
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        return -(((row[0] - factors[0]) * factors[1]) ** 2)


class Beta(FamilyDistribution):
    """A special function in what is prepared; 1 is outside of its support."""

    arg_constraints = {"a": constraints.positive, "b": constraints.positive}
    support = constraints.real
    a, b = Parameter(), Parameter()

    def __init__(self, a: Any, b: Any) -> None:
        super().__init__(None, a=a, b=b)

    @staticmethod
    def supports(fn: Any, value: Any) -> Any:
        return (value > 0) & ~(value >= 1)

    @staticmethod
    def row(fn: Any, value: Any) -> Any:
        return fn.log(value), fn.log1p(-value)

    @staticmethod
    def prepare(fn: Any, unit: float, a: Any, b: Any) -> Any:
        beta = fn.gammaln(a) + fn.gammaln(b) - fn.gammaln(a + b)
        return unit * (a - 1), unit * (b - 1), -unit * beta

    @staticmethod
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        return factors[0] * row[0] + factors[1] * row[1]


class Größe(FamilyDistribution):
    """Weibull's, with a base measure; no component has a pair of 0·∞."""

    arg_constraints = {"k": constraints.positive, "scale": constraints.positive}
    support = constraints.positive
    k, scale = Parameter(), Parameter()

    def __init__(self, k: Any, scale: Any) -> None:
        super().__init__(None, k=k, scale=scale)

    @staticmethod
    def supports(fn: Any, value: Any) -> Any:
        return fn.logical_and(value > 0, fn.isfinite(value))

    @staticmethod
    def log_base_measure(fn: Any, value: Any) -> Any:
        return -fn.log(value)

    @staticmethod
    def prepare(fn: Any, unit: float, k: Any, scale: Any) -> Any:
        return scale, k, fn.full_like(k, unit), unit * fn.log(k)

    @staticmethod
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        scale, k, unit = factors
        power = k * fn.log(row[0] / scale)
        return unit * (power - fn.exp(power))


class Logistic(FamilyDistribution):
    """With draws, by the quantile of one uniform."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    loc, scale = Parameter(), Parameter()

    def __init__(self, loc: Any, scale: Any) -> None:
        super().__init__(None, loc=loc, scale=scale)

    @staticmethod
    def prepare(fn: Any, unit: float, loc: Any, scale: Any) -> Any:
        return loc, 1 / scale, fn.full_like(loc, unit), -unit * fn.log(scale)

    @staticmethod
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        loc, inverse_scale, unit = factors
        z = abs(row[0] - loc) * inverse_scale
        return -unit * (z + 2 * fn.log1p(fn.exp(-z)))

    @staticmethod
    def draw(bits: Any, loc: Any, scale: Any) -> Any:
        word = bits.words(0)[..., 1]
        p = ((word >> np.uint64(12)) + 0.5) * 2.0**-52
        return loc + scale * (bits.fn.log(p) - bits.fn.log1p(-p))


class ByHand(Logistic):
    """The same with its CUDA by hand: what kernels/README.md shows."""

    family_cuda = (
        (sources.folder() / "README.md")
        .read_text(encoding="utf-8")
        .split("```cuda\n")[1]
        .split("```")[0]
    )


@dataclass(frozen=True)
class User:
    """A family of a user's and where to look.

    log_density  of float64 values and the parameters in order
    parameters   three of each, exact in float32
    values       inside the support
    outside      where the density is 0
    """

    family: type[FamilyDistribution]
    parameters: Mapping[str, list[float]]
    log_density: Callable[..., Any]
    values: list[float]
    outside: list[float] = field(default_factory=list)

    def arrays(self, dtype: Any) -> list[Any]:
        """The parameters, each [3]."""
        return [np.array(values, dtype) for values in self.parameters.values()]

    def expected(self, x: Any) -> Any:
        """The log density of values [N], as [N, 3]."""
        wide = np.asarray(x, np.float64)[:, None]
        return self.log_density(wide, *self.arrays(np.float64))


LINE = np.linspace(-3.0, 3.0, 49).tolist()
USERS = [
    User(
        HyperbolicSecant,
        {"loc": [-1.0, 0.5, 2.0]},
        lambda x, loc: stats.hypsecant.logpdf(x - loc),
        [*LINE, -40.0, 30.0],
    ),
    User(Powers, {"scale": [0.5, 1.0, 1.25]}, powers_at, LINE),
    User(
        Normal,
        {"loc": [-1.0, 0.5, 2.0], "precision": [0.25, 1.0, 4.0]},
        lambda x, loc, precision: stats.norm.logpdf(x, loc, precision**-0.5),
        LINE,
    ),
    User(
        Beta,
        {"a": [0.5, 1.0, 4.0], "b": [2.0, 1.0, 0.25]},
        stats.beta.logpdf,
        np.linspace(0.0, 1.0, 66)[1:-1].tolist(),
        [0.0, 1.0, -0.5, 2.0],
    ),
    User(
        Größe,
        {"k": [0.5, 1.0, 4.0], "scale": [2.0, 1.0, 0.5]},
        lambda x, k, scale: stats.weibull_min.logpdf(x, k, scale=scale),
        np.linspace(0.0, 2.0, 65)[1:].tolist(),
        [0.0, -0.5],
    ),
    *(
        User(
            family,
            {"loc": [-1.0, 0.5, 2.0], "scale": [0.5, 1.0, 4.0]},
            stats.logistic.logpdf,
            LINE,
        )
        for family in (Logistic, ByHand)
    ),
]
