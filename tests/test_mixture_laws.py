"""Moments, probabilities, quantiles and the entropy of a mixture."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import integrate, stats

import lucid
from lucid.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    Poisson,
    Uniform,
)
from tests.brute import EVERY_BATCH, KINDS, Brute, values
from tests.family_table import device as device

pytestmark = pytest.mark.usefixtures("each_engine")

INF, NAN = math.inf, math.nan

# ---- moments


@EVERY_BATCH
def test_moments_and_draws_in_batches(batches: Any) -> None:
    brute = Brute(*batches)
    mixture, batch = brute.mixture(), brute.batch
    loc, pi = brute.wide(brute.loc)
    square = brute.wide(brute.scale**2)[0] + loc**2
    mean = (pi * loc).sum(-1)
    variance = (pi * square).sum(-1) - mean**2
    assert mixture.mean.shape == mixture.variance.shape == batch
    assert_allclose(mixture.mean.numpy(), mean, rtol=1e-13, atol=1e-14)
    assert_allclose(mixture.variance.numpy(), variance, rtol=1e-12)
    assert_allclose(mixture.stddev.numpy(), np.sqrt(variance), rtol=1e-12)
    assert mixture.covariance.shape == (*batch, 1, 1)
    assert_allclose(mixture.covariance.numpy()[..., 0, 0], variance, rtol=1e-12)
    drawn, index = mixture.sample((5, 2), return_components=True)
    assert drawn.shape == index.shape == (5, 2, *batch)
    assert mixture.sample().shape == batch
    assert mixture.sample(3).shape == (3, *batch)


@EVERY_BATCH
@KINDS
def test_probabilities_in_batches(batches: Any, kind: str) -> None:
    brute = Brute(*batches)
    mixture, x = brute.mixture(), values(brute.batch, kind)
    below, above = brute.mixed(stats.norm.cdf, x), brute.mixed(stats.norm.sf, x)
    assert_allclose(mixture.cdf(x).numpy(), below, rtol=1e-12)
    assert_allclose(mixture.survival_function(x).numpy(), above, rtol=1e-12)
    assert_allclose(mixture.log_cdf(x).numpy(), np.log(below), rtol=1e-12, atol=1e-14)
    p = stats.norm.cdf(x / 4.0)  # any probabilities
    quantiles = mixture.icdf(p).numpy()
    assert quantiles.shape == below.shape
    assert_allclose(brute.mixed(stats.norm.cdf, quantiles), p + 0 * below, rtol=1e-12)


FULL = np.array([[[2.0, 0.9], [0.9, 1.0]], [[1.0, -0.5], [-0.5, 3.0]]])
MEANS = np.array([[0.0, 1.0], [2.0, -1.0]])


def total_covariance(pi: Any, means: Any, covariances: Any) -> Any:
    second = covariances + means[:, :, None] * means[:, None, :]
    mean = pi @ means
    return np.einsum("k,kij->ij", pi, second) - np.outer(mean, mean)


def test_covariance_of_dependent_elements() -> None:
    """Within a component too, however the component is wrapped."""
    pi = np.array([0.25, 0.75])
    normal = MultivariateNormal(MEANS, covariance_matrix=FULL)
    expected = total_covariance(pi, MEANS, FULL)
    for components in (normal, Independent(normal, 0)):
        mixture = MixtureSameFamily(Categorical(pi), components)
        assert_allclose(mixture.covariance.numpy(), expected, rtol=1e-12)
    # Two independent vectors make one event: blocks on the diagonal.
    pairs = MultivariateNormal(
        np.stack([MEANS, MEANS + 1], 1), covariance_matrix=FULL[:, None]
    )
    blocks = np.zeros((2, 4, 4))
    blocks[:, :2, :2] = blocks[:, 2:, 2:] = FULL
    means = np.concatenate([MEANS, MEANS + 1], -1)
    mixture = MixtureSameFamily(Categorical(pi), Independent(pairs, 1))
    expected = total_covariance(pi, means, blocks)
    assert_allclose(mixture.covariance.numpy(), expected, rtol=1e-12)


# ---- distribution functions and quantiles


def test_tails_keep_their_digits() -> None:
    pi, loc = [0.25, 0.75], [-1.0, 2.0]
    mixture = MixtureSameFamily(Categorical(np.array(pi)), Normal(np.array(loc), 1.0))
    parts = list(zip(pi, loc, strict=True))
    with mpmath.workdps(40):
        for x in (-60.0, -20.0, -9.0, 3.0, 9.0, 20.0):
            below = mpmath.fsum(w * mpmath.ncdf(x - m) for w, m in parts)
            above = mpmath.fsum(w * mpmath.ncdf(m - x) for w, m in parts)
            found = mixture.log_cdf(x).item()
            assert found == pytest.approx(float(mpmath.log(below)), rel=1e-13)
            found = mixture.survival_function(x).item()
            assert found == pytest.approx(float(above), rel=1e-12)


def test_quantiles_of_a_flat_distribution_function() -> None:
    """The lowest of the values that reach p."""
    mixture = MixtureSameFamily(
        Categorical(np.array([0.5, 0.25, 0.25, 0.0])),
        Uniform(np.array([0.0, 3.0, 7.0, -9.0]), np.array([1.0, 5.0, 8.0, -8.0])),
    )
    p = [0.0, 0.25, 0.5, 0.625, 0.75, 0.875, 1.0, -0.1, 1.1, NAN]
    expected = [0.0, 0.5, 1.0, 4.0, 5.0, 7.5, 8.0, NAN, NAN, NAN]
    assert_allclose(mixture.icdf(p).numpy(), expected, rtol=1e-15)
    above = mixture.icdf(np.nextafter(0.5, 1.0)).item()
    assert above == pytest.approx(3.0, abs=1e-14)


@pytest.mark.parametrize("p", [1e-300, 1e-20, 1e-3, 0.3, 0.9, 1 - 1e-9, 1 - 2.0**-53])
def test_a_quantile_is_the_first_number_that_reaches_p(p: float) -> None:
    mixture = MixtureSameFamily(
        Categorical(np.array([0.2, 0.3, 0.5, 0.0])),
        Normal(np.array([-5.0, 0.0, 1e3, 1e9]), np.array([1.0, 1e-3, 2.0, 1.0])),
    )
    x = mixture.icdf(p).item()
    assert mixture.cdf(x).item() >= p
    assert mixture.cdf(np.nextafter(x, -INF)).item() < p
    ends = mixture.icdf([0.0, 1.0]).numpy()
    assert_array_equal(ends, [-INF, INF])


def test_quantiles_of_discrete_components() -> None:
    weights, rates = np.array([0.5, 0.5, 0.0]), np.array([1.0, 80.0, 5000.0])
    mixture = MixtureSameFamily(Categorical(weights), Poisson(rates))
    cumulative = weights @ stats.poisson(rates[:, None]).cdf(np.arange(300))
    p = np.concatenate([np.linspace(0.001, 0.9995, 200), [1e-12, 1 - 1e-12]])
    assert_array_equal(mixture.icdf(p).numpy(), np.searchsorted(cumulative, p))
    # Just what the distribution function reaches at each step is reached there.
    steps = mixture.cdf(np.arange(100)).numpy()
    strict = np.flatnonzero(np.diff(steps, prepend=0.0) > 0)
    assert_array_equal(mixture.icdf(steps[strict]).numpy(), strict)
    assert_array_equal(mixture.icdf([0.0, 1.0]).numpy(), [0.0, INF])
    coins = MixtureSameFamily(Categorical([0.5, 0.5]), Bernoulli([0.125, 0.75]))
    assert_array_equal(coins.icdf([0.0, 0.5625, 0.57, 1.0]).numpy(), [0, 0, 1, 1])


# ---- entropy


def test_entropy_and_its_standard_error() -> None:
    """5σ each: 6 of 10⁷ seeds would fail one comparison.

    It finds a bias of 5 standard errors, 1% of a nat here."""
    with pytest.raises(ValueError, match=r"`sample_count` must be at least 2.*got 1"):
        MixtureSameFamily(Categorical([1.0]), Normal([0.0], 1.0)).entropy(1)
    loc = np.array([[0.0, 0.0], [-3.0, 3.0]])
    mixture = MixtureSameFamily(Categorical(np.array([0.25, 0.75])), Normal(loc, 1.0))
    n = 100_000
    found = mixture.entropy(n, generator=lucid.Generator(5))
    assert found._fields == ("estimate", "standard_error")
    assert found.estimate.shape == found.standard_error.shape == (2,)

    def surprise(x: float) -> float:
        density = 0.25 * stats.norm.pdf(x, -3) + 0.75 * stats.norm.pdf(x, 3)
        return float(-density * math.log(density))

    exact = [0.5 * math.log(2 * math.pi * math.e)]
    exact.append(integrate.quad(surprise, -12, 12, epsabs=1e-10)[0])
    error = found.standard_error.numpy()
    assert (abs(found.estimate.numpy() - exact) < 5 * error).all()
    # −log p of a normal has variance ½, its estimate a relative deviation of √(14/n).
    assert error[0] * math.sqrt(n) == pytest.approx(math.sqrt(0.5), rel=0.03)


def test_the_standard_error_is_that_of_the_estimate() -> None:
    """z-scores of 400 independent estimates: their deviation within 5·√(1/800)."""
    mixture = MixtureSameFamily(Categorical(np.ones(1)), Normal(np.zeros(1), 1.0))
    found = mixture.expand((400,)).entropy(2000, generator=lucid.Generator(8))
    exact = 0.5 * math.log(2 * math.pi * math.e)
    z = (found.estimate.numpy() - exact) / found.standard_error.numpy()
    assert abs(z.std() - 1.0) < 0.18
    assert abs(z.mean()) < 5 / math.sqrt(400)
