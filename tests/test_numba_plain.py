"""Compiled sums without a maximum: right wherever they are trusted, left where not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import logsumexp

import lucid

pytest.importorskip("numba")

from lucid.backends.numba import kernels, mixture
from lucid.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
    constraints,
)
from lucid.distributions.family import FamilyDistribution, Parameter
from tests.bounds import bounded
from tests.test_engine import DTYPES

UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53}
pytestmark = pytest.mark.usefixtures("numba_on_the_cpu")


@pytest.fixture
def careful(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each call left to the loops with a maximum."""
    seen: list[int] = []
    real = mixture.Density._careful

    def count(self: Any, rows: Any, found: Any) -> int:
        seen.append(rows.shape[1])
        return real(self, rows, found)

    monkeypatch.setattr(mixture.Density, "_careful", count)
    return seen


def normals(loc: Any, scale: Any, weights: Any) -> Any:
    return MixtureSameFamily(Categorical(weights), Normal(loc, scale))


# ---- what is trusted, and what is not


@DTYPES
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
@pytest.mark.parametrize("count", [2, 16, 33, 300])
def test_every_distance_is_within_the_bound(
    count: int, scale: float, dtype: Any, careful: list[int]
) -> None:
    """From the middle to where only the largest exponent keeps a digit, and beyond."""
    rng = np.random.default_rng(count)
    loc = (scale * rng.normal(size=count)).astype(dtype)
    scales = (scale * rng.uniform(0.5, 2, count)).astype(dtype)
    weights = rng.uniform(0.1, 1, count).astype(dtype)
    x = (scale * np.linspace(0, 300, 4001)).astype(dtype)
    found = normals(loc, scales, weights).log_prob(x).numpy().astype(np.float64)
    given = {"loc": loc.astype(np.float64), "scale": scales.astype(np.float64)}
    log_weights = np.log(weights / weights.sum(dtype=np.float64))
    expected, bound = bounded("Normal", given, x, log_weights)
    # The oracle is good to about 1e-15 itself.
    allowed = (4 * UNIT[dtype] + (1e-15 if dtype is np.float64 else 0.0)) * bound
    assert (abs(found - expected) <= allowed).all()
    assert 0 < sum(careful) < len(x)


@DTYPES
def test_near_values_need_no_maximum(dtype: Any, careful: list[int]) -> None:
    loc = np.linspace(-5, 5, 70).astype(dtype)
    x = np.linspace(-12, 12, 1000).astype(dtype)
    normals(loc, dtype(0.7), np.ones_like(loc)).log_prob(x)
    assert not careful


@DTYPES
@pytest.mark.parametrize("size", [2, 5, kernels.FEW_ELEMENTS, kernels.FEW_ELEMENTS + 1])
def test_events_of_few_elements_and_of_more(size: int, dtype: Any) -> None:
    rng = np.random.default_rng(size)
    loc = rng.normal(0, 2, (40, size)).astype(dtype)
    scale = rng.uniform(0.5, 2, loc.shape).astype(dtype)
    x = rng.normal(0, 4, (500, size)).astype(dtype)
    x[::50] *= 20
    components = Independent(Normal(loc, scale), 1)
    given = MixtureSameFamily(Categorical(np.ones(40, dtype)), components)
    wide = stats.norm.logpdf(x[:, None].astype(np.float64), loc, scale).sum(axis=-1)
    expected = logsumexp(wide - math.log(40), axis=-1)
    found = given.log_prob(x).numpy()
    assert_allclose(found, expected, rtol=40 * UNIT[dtype], atol=80 * UNIT[dtype])


class Tilted(FamilyDistribution):
    """log p(x) = θx − c, not normalised: pairs far above 0."""

    arg_constraints = {"tilt": constraints.real, "level": constraints.real}
    support = constraints.real
    tilt = Parameter()
    level = Parameter()

    def __init__(self, tilt: Any, level: Any) -> None:
        super().__init__(None, tilt=tilt, level=level)

    @staticmethod
    def prepare(fn: Any, unit: float, tilt: Any, level: Any) -> Any:
        return unit * tilt, -unit * level

    @staticmethod
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        return row[0] * factors[0]


@DTYPES
def test_pairs_above_zero(dtype: Any, careful: list[int]) -> None:
    """Also where 2^y is beyond the largest number, or wraps around it."""
    tilt = np.array([1.0, -2.0, 0.5], dtype)
    level = np.array([0.0, 3.0, -1.0], dtype)
    given = MixtureSameFamily(Categorical(np.ones(3, dtype)), Tilted(tilt, level))
    x = np.linspace(-2000, 2000, 4001).astype(dtype)
    terms = x[:, None].astype(np.float64) * tilt - level
    expected = logsumexp(terms - math.log(3.0), axis=-1)
    allowed = 8 * UNIT[dtype]
    assert_allclose(given.log_prob(x).numpy(), expected, rtol=allowed, atol=8 * allowed)
    assert 0 < sum(careful) < len(x)


# ---- many components


@DTYPES
def test_many_equal_components_lose_nothing(dtype: Any) -> None:
    """Equal terms all round the same way: a plain sum of 100,000 would be far off."""
    count = 100_000
    x = np.linspace(-3, 3, 7).astype(dtype)
    given = normals(np.zeros(count, dtype), dtype(1), np.ones(count, dtype))
    expected = stats.norm.logpdf(x.astype(np.float64))
    bound = 2 * math.log(count) + 2 * abs(expected) + 1
    error = abs(given.log_prob(x).numpy() - expected)
    assert (error <= 4 * UNIT[dtype] * bound).all()


@DTYPES
@pytest.mark.parametrize("count", [3, 50, mixture.CHUNK + 900])
def test_a_row_has_its_bits_among_any_others(count: int, dtype: Any) -> None:
    """For any number of rows and threads, however components are shared out."""
    rng = np.random.default_rng(2)
    loc = rng.normal(0, 3, count).astype(dtype)
    given = normals(loc, dtype(0.3), rng.uniform(0.1, 1, count).astype(dtype))
    x = rng.normal(0, 5, 1100).astype(dtype)
    lucid.set_num_threads(1)
    whole = given.log_prob(x).numpy()
    terms = stats.norm.logpdf(x[:100, None].astype(np.float64), loc, dtype(0.3))
    weights = given.mixture_distribution.probs.numpy().astype(np.float64)
    expected = logsumexp(terms + np.log(weights), axis=-1)
    assert_allclose(whole[:100], expected, rtol=2e-6, atol=2e-6)
    lucid.set_num_threads(3)
    assert_array_equal(given.log_prob(x).numpy(), whole)
    for size in (1, 2, 15, 16, 17, 31, 33, 63, 65, 129, 1023, 1025):
        assert_array_equal(given.log_prob(x[:size]).numpy(), whole[:size])
        assert_array_equal(given.log_prob(x[-size:]).numpy(), whole[-size:])


@DTYPES
def test_groups_of_rows_give_the_same_bits(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    loc = rng.normal(0, 3, mixture.CHUNK + 1).astype(dtype)
    given = normals(loc, dtype(1), np.ones_like(loc))
    x = rng.normal(0, 60, 700).astype(dtype)  # some of them left to other loops
    x[5], x[650] = math.nan, math.inf
    whole = given.log_prob(x).numpy()
    monkeypatch.setattr(mixture, "GROUP", 256)
    assert_array_equal(given.log_prob(x).numpy(), whole)
    assert np.isnan(whole[5])
    assert np.isneginf(whole[650])
