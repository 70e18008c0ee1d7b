"""Every family of tests/family_table.py × its moments, probabilities, draws, mixtures.

SciPy is the oracle, and mpmath where SciPy loses digits.
"""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp

import lucid
from lucid.distributions import Categorical, Independent, MixtureSameFamily
from tests.family_table import DTYPES, EVERY, SCALAR, UNIT, Row, batch, values
from tests.family_table import device as device

PROBABILITIES = np.array([1e-12, 1e-3, 0.01, 0.2, 0.37, 0.5, 0.75, 0.99, 1 - 1e-9])


# ---- moments and probabilities


@EVERY
def test_moments_are_scipys(row: Row) -> None:
    given = row.make()
    with np.errstate(all="ignore"):
        oracle = row.oracle()
        mean, variance = oracle.mean(), oracle.var()
        entropy = oracle.entropy()
    if row.name == "StudentT":  # SciPy's is ∞ where the mean does not exist
        mean = np.where(np.isinf(mean), np.nan, mean)
    assert_allclose(given.mean.numpy(), mean, rtol=1e-13)
    assert_allclose(given.variance.numpy(), variance, rtol=1e-13)
    assert_allclose(given.stddev.numpy(), np.sqrt(variance), rtol=1e-13)
    assert_allclose(given.entropy().numpy(), entropy, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "parameters", "entropy"),
    [
        # mpmath: the sum over k, and the closed forms where they cancel.
        ("Poisson", {"rate": 0.0}, 0.0),
        ("Poisson", {"rate": 99.875}, 3.7200596276985416),
        ("Poisson", {"rate": 100.0}, 3.720686072260259),
        ("Poisson", {"rate": 1e12}, 0.5 * math.log(2 * math.pi * math.e * 1e12)),
        ("Gamma", {"concentration": 99.875, "rate": 1.0}, 3.71755236475859),
        ("Gamma", {"concentration": 1e9, "rate": 1.0}, 11.780571451344546),
        ("StudentT", {"df": 99.875}, 1.4289759429475373),
        ("StudentT", {"df": 1e6}, 1.4189395332049228),
        ("StudentT", {"df": math.inf}, 0.5 * math.log(2 * math.pi * math.e)),
    ],
)
def test_entropy_where_it_changes_form(
    name: str, parameters: Any, entropy: float
) -> None:
    wide = {n: np.array(p, np.float64) for n, p in parameters.items()}
    found = getattr(lucid.distributions, name)(**wide).entropy().item()
    assert_allclose(found, entropy, rtol=2e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "parameters", "stddev"),
    [
        ("Normal", {"scale": 1e-200}, 1e-200),
        ("Normal", {"scale": 1e200}, 1e200),
        ("Laplace", {"scale": 1e-200}, math.sqrt(2) * 1e-200),
        ("StudentT", {"df": 4.0, "scale": 1e200}, math.sqrt(2) * 1e200),
        ("StudentT", {"df": math.inf, "scale": 1e-200}, 1e-200),
        ("StudentT", {"df": 1.5}, math.inf),
        ("StudentT", {"df": 1.0}, math.nan),
        ("Gamma", {"concentration": 4.0, "rate": 1e200}, 2e-200),
        ("Gamma", {"concentration": 4.0, "rate": 1e-200}, 2e200),
        ("Poisson", {"rate": 1e-200}, 1e-100),
        ("Bernoulli", {"logits": -1000.0}, math.exp(-500.0)),
        ("Bernoulli", {"logits": math.inf}, 0.0),
        ("Uniform", {"high": 1e-200}, 1e-200 / math.sqrt(12)),
        ("Uniform", {"high": 1e200}, 1e200 / math.sqrt(12)),
    ],
)
def test_a_stddev_is_no_root_of_what_overflowed(
    name: str, parameters: Any, stddev: float
) -> None:
    wide = {n: np.array(p, np.float64) for n, p in parameters.items()}
    found = getattr(lucid.distributions, name)(**wide).stddev.item()
    assert_allclose(found, stddev, rtol=1e-15)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("size", [0.0, 3.0, 36.7, 700.0, math.inf])
def test_the_entropy_of_a_near_certainty(sign: float, size: float) -> None:
    """Relative: the surer outcome's probability rounds to 1, its share may not."""
    expected = 0.0
    if size < math.inf:
        with mpmath.workdps(400):
            q = 1 / (1 + mpmath.exp(mpmath.mpf(size)))
            expected = float(-q * mpmath.log(q) - (1 - q) * mpmath.log1p(-q))
    given = lucid.distributions.Bernoulli(logits=np.float64(sign * size))
    assert_allclose(given.entropy().item(), expected, rtol=1e-15)


@SCALAR
def test_probabilities_are_scipys(row: Row) -> None:
    given, oracle = row.make(), row.oracle()
    x = np.concatenate([values(row), values(row) + 0.125, [[-np.inf], [np.inf]]])
    with np.errstate(all="ignore"):
        below, above = oracle.cdf(x), oracle.sf(x)
        log_below = np.where(below < 0.5, np.log(below), np.log1p(-above))
    assert_allclose(given.cdf(x).numpy(), below, rtol=1e-9, atol=1e-300)
    assert_allclose(given.survival_function(x).numpy(), above, rtol=1e-9, atol=1e-300)
    log_cdf = given.log_cdf(x).numpy()
    known = log_below > -500
    assert_allclose(log_cdf[known], log_below[known], rtol=1e-9, atol=1e-15)
    with np.errstate(all="ignore"):
        log_above = np.where(above < 0.5, np.log(above), np.log1p(-below))
    found = given.log_survival_function(x).numpy()
    known = log_above > -500
    assert_allclose(found[known], log_above[known], rtol=1e-9, atol=1e-15)
    assert np.isnan(given.log_survival_function(np.nan).numpy()).all()
    assert np.isnan(given.cdf(np.nan).numpy()).all()


@SCALAR
def test_quantiles_are_scipys(row: Row) -> None:
    given, p = row.make(), PROBABILITIES[:, None]
    quantiles = given.icdf(p).numpy()
    assert_allclose(quantiles, row.oracle().ppf(p), rtol=1e-8, atol=1e-13)
    back = given.cdf(quantiles).numpy()
    if row.discrete:
        assert (back >= p * (1 - 1e-12)).all()
        assert (given.cdf(quantiles - 1).numpy() < p).all()
    else:
        assert_allclose(back, np.broadcast_to(p, back.shape), rtol=1e-8, atol=1e-15)
    ends = given.icdf(np.array([[0.0], [1.0]])).numpy()
    lowest = row.oracle().support()[0]  # SciPy's quantile of 0 is one less for counts
    highest = row.oracle().ppf(1.0)
    assert_array_equal(ends, np.stack(np.broadcast_arrays(lowest, highest)))
    assert np.isnan(given.icdf(np.array([[-0.1], [1.1], [np.nan]])).numpy()).all()


# ---- draws


@EVERY
@DTYPES
def test_draws(row: Row, dtype: Any) -> None:
    given, count = row.make(dtype), batch(row)

    def draw(*shape: int) -> Any:
        return given.sample(shape, generator=lucid.Generator(7)).numpy()

    drawn = draw(50, 3)
    assert drawn.shape == (50, 3, count, *given.event_shape)
    assert drawn.dtype == dtype
    assert_array_equal(drawn, draw(50, 3))
    assert_array_equal(drawn.reshape(150, *drawn.shape[2:])[:20], draw(20))
    assert draw(0).shape == (0, count, *given.event_shape)
    assert given.support.check(drawn).numpy().all()
    assert np.isfinite(given.log_prob(drawn).numpy()).all()


@SCALAR
def test_draws_follow_the_cdf(row: Row) -> None:
    """Dvoretzky, Kiefer and Wolfowitz: false alarms 1e-9; sees 0.024 in F."""
    n, given = 20_000, row.make()
    drawn = np.sort(given.sample((n,), generator=lucid.Generator(1)).numpy(), axis=0)
    reach = math.sqrt(math.log(2 / 1e-9) / (2 * n))
    with np.errstate(all="ignore"):
        oracle = row.oracle()
        at, before = oracle.cdf(drawn), oracle.cdf(np.nextafter(drawn, -np.inf))
    rank = np.arange(n)[:, None]
    if not row.discrete:
        assert (abs(at - (rank + 0.5) / n) <= reach).all()
    for k in range(batch(row)):
        x = drawn[:, k]
        assert (abs(np.searchsorted(x, x, "right") / n - at[:, k]) <= reach).all()
        assert (abs(np.searchsorted(x, x, "left") / n - before[:, k]) <= reach).all()


# ---- as a component


@EVERY
@DTYPES
def test_as_components_of_a_mixture(row: Row, dtype: Any) -> None:
    components = row.make(dtype)
    weights = np.linspace(1.0, 2.0, batch(row), dtype=dtype)
    weights /= weights.sum()
    mixture = MixtureSameFamily(Categorical(probs=weights), components)
    x = np.concatenate([np.asarray(row.values, dtype)] * 3)
    x = x[:, 0] if row.is_vector else x
    parts = row.make().log_prob(x[:, None].astype(np.float64)).numpy()
    expected = logsumexp(parts + np.log(weights.astype(np.float64)), axis=-1)
    found = mixture.log_prob(x).numpy()
    assert found.dtype == dtype
    # An offset of a few hundred nats at the most: a coarse check of the plumbing, the
    # bound itself is held by the corpus.
    assert_allclose(found, expected, rtol=100 * UNIT[dtype], atol=400 * UNIT[dtype])
    assert mixture.component_log_probs(x).shape == (len(x), batch(row))
    best = mixture.posterior_mode(x).numpy()
    joint = parts + np.log(weights.astype(np.float64))
    picked = np.take_along_axis(joint, best[:, None], axis=-1)[:, 0]
    assert (picked >= joint.max(-1) - 1e3 * UNIT[dtype] * (1 + abs(picked))).all()
    mean = np.tensordot(weights, row.make().mean.numpy(), 1)
    assert_allclose(mixture.mean.numpy(), mean, rtol=1e-5)
    drawn = mixture.sample((100,), generator=lucid.Generator(3)).numpy()
    assert np.isfinite(mixture.log_prob(drawn).numpy()).all()


@EVERY
def test_a_component_of_weight_0_changes_nothing(row: Row) -> None:
    bad = {}
    for name, array in row.parameters.items():
        bad[name] = np.array(array, np.float64)
        bad[name][0] = np.nan
    components = row.make(validate_args=False, **bad)
    weights = np.ones(batch(row))
    weights[0] = 0.0
    mixture = MixtureSameFamily(Categorical(probs=weights), components)
    rest = {n: np.array(a, np.float64)[1:] for n, a in row.parameters.items()}
    alive = MixtureSameFamily(Categorical(probs=weights[1:]), row.make(**rest))
    x = values(row)[:, 0]
    found = mixture.log_prob(x).numpy()
    assert np.isfinite(found).any()
    assert_allclose(found, alive.log_prob(x).numpy(), rtol=1e-14, atol=1e-14)
    assert_allclose(mixture.mean.numpy(), alive.mean.numpy(), rtol=1e-12)
    drawn = mixture.sample((500,), generator=lucid.Generator(2))
    assert not np.isnan(drawn.numpy()).any()


@SCALAR
@DTYPES
def test_under_independent(row: Row, dtype: Any) -> None:
    event = Independent(row.make(dtype), 1)
    x = np.asarray(row.values, dtype)[:, None].repeat(batch(row), axis=1)
    with np.errstate(invalid="ignore"):
        expected = row.make().log_prob(x.astype(np.float64)).numpy().sum(axis=-1)
    found = event.log_prob(x).numpy()
    scale = 1 + abs(row.make().log_prob(x.astype(np.float64)).numpy()).sum(axis=-1)
    inside = np.isfinite(expected)
    error = abs(found - expected)[inside]
    assert (error <= 20 * UNIT[dtype] * scale[inside]).all()
    assert_array_equal(found[~inside], expected[~inside])
    assert event.sample((3,)).shape == (3, batch(row))


# ---- families with a choice of parameters


def test_bernoulli_takes_probs_or_logits() -> None:
    for given in ({}, {"probs": 0.5, "logits": 0.0}):
        with pytest.raises(ValueError, match="exactly one of"):
            lucid.distributions.Bernoulli(**given)
    logits = np.array([-3.0, 0.0, 20.0])
    given = lucid.distributions.Bernoulli(logits=logits)
    assert_array_equal(given.logits.numpy(), logits)
    assert_allclose(given.probs.numpy(), 1 / (1 + np.exp(-logits)), rtol=1e-15)
    back = lucid.distributions.Bernoulli(probs=given.probs)
    assert_allclose(back.logits.numpy(), logits, rtol=1e-7)


def test_multivariate_normal_takes_one_of_three_matrices() -> None:
    family = lucid.distributions.MultivariateNormal
    rng = np.random.default_rng(3)
    loc = rng.normal(size=(2, 4))
    root = rng.normal(size=(2, 4, 4))
    covariance = root @ root.swapaxes(-2, -1) + 0.1 * np.eye(4)
    x = rng.normal(size=(5, 1, 4))
    given = {
        "covariance_matrix": covariance,
        "precision_matrix": np.linalg.inv(covariance),
        "scale_tril": np.linalg.cholesky(covariance),
    }
    made = {name: family(loc, **{name: matrix}) for name, matrix in given.items()}
    for one in made.values():
        expected = made["scale_tril"].log_prob(x).numpy()
        assert_allclose(one.log_prob(x).numpy(), expected, rtol=1e-11)
        for name, matrix in given.items():
            assert_allclose(getattr(one, name).numpy(), matrix, rtol=1e-9, atol=1e-10)
    for wrong in ({}, {"scale_tril": given["scale_tril"], "covariance_matrix": loc}):
        with pytest.raises(ValueError, match="exactly one of covariance_matrix, prec"):
            family(loc, **wrong)
    with pytest.raises(
        ValueError, match=r"`scale_tril` \(\.\.\., D, D\), got \(2, 4\)"
    ):
        family(loc, scale_tril=np.eye(3))
    upper = given["scale_tril"].swapaxes(-2, -1)
    with pytest.raises(
        ValueError, match="must be a lower-triangular matrix with a pos"
    ):
        family(loc, scale_tril=upper)


def test_multivariate_normal_draws_have_its_covariance() -> None:
    """Whitened draws: the mean of n z zᵀ − 1 has standard error √2/√n; 6σ."""
    covariance = np.array([[4.0, 1.9, 0.0], [1.9, 1.0, -0.1], [0.0, -0.1, 9.0]])
    loc, n = np.array([1.0, -2.0, 100.0]), 40_000
    given = lucid.distributions.MultivariateNormal(loc, covariance)
    drawn = given.sample((n,), generator=lucid.Generator(5)).numpy()
    z = np.linalg.solve(np.linalg.cholesky(covariance), (drawn - loc).T)
    assert (abs(z.mean(axis=1)) < 6 / math.sqrt(n)).all()
    assert (abs(z @ z.T / n - np.eye(3)) < 6 * math.sqrt(2 / n)).all()
