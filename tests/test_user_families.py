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
from tests.user_families import USERS, HyperbolicSecant, Powers, User, powers_at

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
on_each_engine = pytest.mark.usefixtures("each_engine")


@pytest.fixture(autouse=True)
def _on_the_cpu() -> None:
    lucid.set_default_device("cpu")


@on_each_engine
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


@on_each_engine
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


@DTYPES
@pytest.mark.parametrize("user", USERS, ids=lambda user: user.family.__name__)
def test_every_family_is_scipys(user: User, dtype: Any) -> None:
    lucid.set_cpu_engine("numpy")  # compiled, some take seconds each
    x = np.array(user.values, dtype)
    terms = user.expected(x)
    u = float(np.finfo(dtype).eps)
    own = user.family(*user.arrays(dtype))
    assert_allclose(own.log_prob(x[:, None]).numpy(), terms, rtol=16 * u, atol=16 * u)
    mixed = MixtureSameFamily(Categorical(np.ones(3, dtype)), own)
    expected = logsumexp(terms, axis=-1) - math.log(3.0)
    found = mixed.log_prob(np.append(x, user.outside).astype(dtype)).numpy()
    assert_allclose(found[: len(x)], expected, rtol=16 * u, atol=16 * u)
    assert (found[len(x) :] == -np.inf).all()


class Exponential(FamilyDistribution):
    """What must be said, and no more."""

    arg_constraints = {"rate": constraints.positive}
    support = constraints.nonnegative
    rate = Parameter()

    def __init__(self, rate: Any) -> None:
        super().__init__(None, rate=rate)

    @staticmethod
    def prepare(fn: Any, unit: float, rate: Any) -> Any:
        return unit * rate, unit * fn.log(rate)

    @staticmethod
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        return -factors[0] * row[0]


@on_each_engine
@DTYPES
def test_the_density_is_zero_outside_the_support(dtype: Any) -> None:
    rate, x = np.array([0.5, 2.0], dtype), np.array([-1.0, -0.0, 1.5, np.nan], dtype)
    terms = stats.expon.logpdf(x[:, None].astype(np.float64), scale=1 / rate)
    rtol = 8 * float(np.finfo(dtype).eps)
    own = Exponential(rate)
    assert_allclose(own.log_prob(x[:, None]).numpy(), terms, rtol=rtol)
    mixed = MixtureSameFamily(Categorical(np.ones(2, dtype)), own)
    expected = logsumexp(terms, axis=-1) - math.log(2.0)
    assert_allclose(mixed.log_prob(x).numpy(), expected, rtol=rtol)


def test_what_a_family_does_not_define() -> None:
    own = Exponential([0.5, 2.0])
    weights = Categorical([0.5, 0.5])
    inner = MixtureSameFamily(weights, Exponential(np.ones((2, 2))))
    for given in (own, inner, MixtureSameFamily(weights, inner)):
        with pytest.raises(NotImplementedError, match=r"^Exponential .* no `draw`"):
            given.sample((3,))
    with pytest.raises(NotImplementedError, match="does not have an entropy in closed"):
        own.entropy()
