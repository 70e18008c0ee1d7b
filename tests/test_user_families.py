"""Families that a user writes, in the operators and numbers that come to hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.special import logsumexp

import lucid
from lucid.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    constraints,
)
from lucid.distributions.family import FamilyDistribution, Parameter

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
pytestmark = pytest.mark.usefixtures("each_engine")


@pytest.fixture(autouse=True)
def _on_the_cpu() -> None:
    lucid.set_default_device("cpu")


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


@DTYPES
def test_plain_numbers_among_what_is_prepared(dtype: Any) -> None:
    loc = np.array([[-1.0, 0.0], [0.5, 3.0], [2.0, 2.0]], dtype)
    x = np.random.default_rng(0).normal(0.0, 4.0, (400, 2)).astype(dtype)
    terms = stats.hypsecant.logpdf(x[:, None].astype(np.float64) - loc)  # [400, 3, 2]
    rtol = 8 * float(np.finfo(dtype).eps)
    alone = HyperbolicSecant(loc[:, 0]).log_prob(x[:, :1]).numpy()
    assert_allclose(alone, terms[..., 0], rtol=rtol)
    weights = Categorical(np.ones(3, dtype))
    found = MixtureSameFamily(weights, HyperbolicSecant(loc[:, 0])).log_prob(x[:, 0])
    expected = logsumexp(terms[..., 0], axis=-1) - math.log(3.0)
    assert_allclose(found.numpy(), expected, rtol=rtol)
    events = MixtureSameFamily(weights, Independent(HyperbolicSecant(loc), 1))
    expected = logsumexp(terms.sum(axis=-1), axis=-1) - math.log(3.0)
    assert_allclose(events.log_prob(x).numpy(), expected, rtol=rtol)
    own = Categorical(np.ones((400, 3), dtype))
    per_row = HyperbolicSecant(np.broadcast_to(loc[:, 0], (400, 3)))
    expected = logsumexp(terms[..., 0], axis=-1) - math.log(3.0)
    found = MixtureSameFamily(own, per_row).log_prob(x[:, 0])
    assert_allclose(found.numpy(), expected, rtol=rtol)


@DTYPES
def test_powers(dtype: Any) -> None:
    scale = np.array([0.5, 1.0, 1.25], dtype)
    x = np.linspace(-3.0, 3.0, 301).astype(dtype)
    terms = powers_at(x[:, None].astype(np.float64), scale.astype(np.float64))
    rtol = 16 * float(np.finfo(dtype).eps)
    alone = Powers(scale).log_prob(x[:, None]).numpy()
    assert_allclose(alone, terms, rtol=rtol)
    weights = Categorical(np.ones(3, dtype))
    found = MixtureSameFamily(weights, Powers(scale)).log_prob(x).numpy()
    expected = logsumexp(terms, axis=-1) - math.log(3.0)
    assert_allclose(found, expected, rtol=rtol, atol=rtol)
