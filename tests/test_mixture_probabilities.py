"""Probabilities of a mixture at their limits: rounding, dead weights, wide batches."""

from __future__ import annotations

import inspect
import math
import tracemalloc
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import lucid
from lucid.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
    Poisson,
    Uniform,
    _mixture,
)

pytestmark = pytest.mark.usefixtures("each_engine")

INF, NAN = math.inf, math.nan
RNG = np.random.default_rng(12)


# ---- rounding


def test_probabilities_stay_probabilities() -> None:
    """Although the weights, each of them rounded, may sum to a little more than 1."""
    for count in range(2, 60):
        weights = np.random.default_rng(count).uniform(size=count)
        mixture = MixtureSameFamily(
            Categorical(weights), Uniform(np.zeros(count), np.ones(count))
        )
        x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 1e300])
        for name in ("cdf", "survival_function"):
            found = getattr(mixture, name)(x).numpy()
            assert ((found >= 0) & (found <= 1)).all()
        for name in ("log_cdf", "log_survival_function"):
            assert (getattr(mixture, name)(x).numpy() <= 0).all()
        assert not np.isnan(mixture.icdf(mixture.cdf(x)).numpy()).any()
    # There is something to hold back: the weights by themselves do exceed 1.
    sums = [
        Categorical(np.random.default_rng(n).uniform(size=n))._wide_weights().sum()
        for n in range(2, 60)
    ]
    assert max(sums) > 1


def test_far_tails_of_both_sides() -> None:
    weights, loc = np.array([0.25, 0.75]), np.array([-1.0, 2.0])
    mixture = MixtureSameFamily(Categorical(weights), Normal(loc, 1.0))
    x = np.array([-60.0, -9.0, 0.5, 9.0, 60.0])
    for name, tail in (
        ("log_cdf", stats.norm.logcdf),
        ("log_survival_function", stats.norm.logsf),
    ):
        near = np.logaddexp(*(np.log(weights)[:, None] + tail(x - loc[:, None])))
        other = {"log_cdf": stats.norm.sf, "log_survival_function": stats.norm.cdf}
        left = weights @ other[name](x - loc[:, None])
        left = np.log1p(-np.where(near < -0.5, 0.0, left))
        found = getattr(mixture, name)(x).numpy()
        assert_allclose(found, np.where(near < -0.5, near, left), rtol=1e-12)


# ---- dead weights

DEAD: dict[str, Any] = {
    "probs": {"probs": [0.0, 0.0]},
    "logits": {"logits": [-INF, -INF]},
    "NaN": {"probs": [NAN, 1.0]},
}


@pytest.mark.parametrize("dead", DEAD)
@pytest.mark.parametrize("nested", [False, True])
def test_no_weight_at_all_is_nan(dead: str, nested: bool) -> None:
    weights = Categorical(**DEAD[dead], validate_args=False)
    components: Any = Normal([0.0, 1.0], 1.0)
    if nested:
        components = MixtureSameFamily(
            Categorical([[1.0], [1.0]]), Normal([[0.0], [1.0]], 1.0)
        )
    mixture = MixtureSameFamily(weights, components)
    x = np.array([-1.0, 0.5, 3.0])
    names = ("log_prob", "cdf", "survival_function", "log_cdf", "log_survival_function")
    for name in names:
        assert_array_equal(getattr(mixture, name)(x).numpy(), [NAN] * 3, err_msg=name)
    assert_array_equal(mixture.icdf([0.0, 0.3, 1.0]).numpy(), [NAN] * 3)
    assert_array_equal(mixture.posterior_mode(x, True)[1].numpy(), [NAN] * 3)
    assert np.isnan(mixture.mean.item())
    assert np.isnan(mixture.variance.item())
    assert np.isnan(mixture.covariance.item())


def test_a_row_without_weights_leaves_the_others() -> None:
    weights = Categorical(np.array([[1.0, 3.0], [0.0, 0.0]]), validate_args=False)
    mixture = MixtureSameFamily(weights, Normal(np.array([0.0, 1.0]), 1.0))
    expected = 0.25 * stats.norm.cdf(0.5) + 0.75 * stats.norm.cdf(-0.5)
    assert_allclose(mixture.cdf(0.5).numpy(), [expected, NAN], rtol=1e-14)
    assert_allclose(mixture.icdf(expected).numpy(), [0.5, NAN], rtol=1e-13)


def test_a_weight_of_0_gives_no_warning_and_counts_for_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixture = MixtureSameFamily(
            Categorical(np.array([0.5, 0.5, 0.0])),
            Normal(np.array([0.0, 1.0, NAN]), 1.0, validate_args=False),
        )
        assert mixture.support.check(0.5).item()
        shown = repr(mixture)
        assert mixture.num_components == 3
        found = [mixture.mean, mixture.variance, mixture.stddev, mixture.covariance]
        found += [getattr(mixture, n)(0.5) for n in ("prob", "cdf", "log_cdf", "icdf")]
        found.append(mixture.log_survival_function(0.5))
    assert "Normal" in shown
    assert all(np.isfinite(result.numpy()).all() for result in found)


# ---- batches


@pytest.mark.parametrize("batch", [(7,), (1, 7), (2, 3), (3, 1)], ids=str)
@pytest.mark.parametrize("weighted", [(), (1,), "batch"], ids=str)
def test_blocks_of_the_batch_change_nothing(
    batch: Any, weighted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever part the batch is of, and values longer than it where it is 1."""
    weighted = batch if weighted == "batch" else weighted
    mixture = MixtureSameFamily(
        Categorical(RNG.uniform(size=(*weighted, 4))),
        Normal(
            RNG.normal(size=(*batch, 4)),
            RNG.uniform(0.5, 2.0, (*(1 for _ in batch), 4)),
        ),
    )
    longer = tuple(5 if size == 1 else size for size in batch)
    names = ("cdf", "survival_function", "log_cdf", "icdf")
    for shape in ((), batch, (6, *batch), longer):
        x = RNG.uniform(size=shape)
        expected = [getattr(mixture, name)(x).numpy() for name in names]
        for elements in (1, 8, 40):
            with monkeypatch.context() as patch:
                patch.setattr(_mixture, "BLOCK_ELEMENTS", elements)
                for name, result in zip(names, expected, strict=True):
                    found = getattr(mixture, name)(x).numpy()
                    assert_allclose(found, result, rtol=1e-14, err_msg=name)


def test_memory_is_that_of_a_block_of_the_batch() -> None:
    """cdf of 60,000 mixtures of 100: rows × K is 48 MB in float64, several times."""
    rows, count = 60_000, 100
    mixture = MixtureSameFamily(
        Categorical(np.ones((rows, count), np.float32)),
        Normal(np.zeros((rows, count), np.float32), np.float32(1)),
    )
    x = np.linspace(-3, 3, rows).astype(np.float32)
    tracemalloc.start()
    try:
        found = mixture.cdf(x).numpy()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 96 * 2**20
    assert_allclose(found, stats.norm.cdf(x.astype(float)), rtol=1e-6)


def test_components_against_the_whole_batch() -> None:
    weights = RNG.uniform(size=(3, 2))
    mixture = MixtureSameFamily(Categorical(weights), Normal(np.array([0.0, 2.0]), 1.0))
    parts = mixture.component_log_probs(0.5).numpy()
    assert_allclose(parts, np.tile(stats.norm.logpdf(0.5, [0.0, 2.0]), (3, 1)))
    posterior = mixture.posterior(0.5)
    assert posterior.batch_shape == (3,)
    joint = weights * stats.norm.pdf(0.5, [0.0, 2.0])
    expected = joint / joint.sum(-1, keepdims=True)
    assert_allclose(posterior.probs.numpy(), expected, rtol=1e-12)
    wide = mixture.expand((4, 3))
    assert wide.component_log_probs(0.5).shape == (4, 3, 2)
    assert wide.posterior(np.zeros((5, 1, 3))).probs.shape == (5, 4, 3, 2)
    parts = wide.component_log_probs(np.float32(0.5))
    parts._array[0] = 0.0  # a tensor of its own, not a view that repeats one row
    assert (parts.numpy()[1] != 0).all()


@pytest.mark.parametrize("size", [1, 4])
def test_the_mode_of_values_longer_than_the_batch(size: int) -> None:
    loc = np.array([[[-2.0, 2.0]], [[5.0, 0.0]]])  # [2, 1, K]
    mixture = MixtureSameFamily(Categorical(np.ones(2)), Normal(loc, 1.0))
    x = RNG.normal(size=(3, 2, size)) * 3
    expected = abs(x[..., None] - loc).argmin(-1)
    assert_array_equal(mixture.posterior_mode(x).numpy(), expected)


# ---- what is refused, what is documented


@pytest.mark.parametrize("count", [2.5, "a", None, [3]])
def test_a_sample_count_is_an_int(count: Any) -> None:
    mixture = MixtureSameFamily(Categorical([1.0]), Normal([0.0], 1.0))
    with pytest.raises(TypeError, match="MixtureSameFamily: `sample_count` must be an"):
        mixture.entropy(count)
    assert mixture.entropy(np.int64(10)).estimate.shape == ()


def test_the_formulas_stand_where_users_look() -> None:
    texts = {
        name: inspect.getdoc(vars(MixtureSameFamily)[name]) or ""
        for name in ("__init__", "mean", "variance", "log_prob", "sample")
    }
    assert "ValueError" in texts["__init__"]
    assert "component_distribution" in texts["__init__"]
    assert "Σ_k π_k μ_k" in texts["mean"]
    assert "Σ_k π_k σ_k² + Σ_k π_k (μ_k − E[X])²" in texts["variance"]
    assert "logsumexp_k [log π_k + log p_k(x)]" in texts["log_prob"]
    assert "component" in texts["sample"]


def test_discrete_quantiles_round_trip() -> None:
    mixture = MixtureSameFamily(
        Categorical(RNG.uniform(size=40)), Poisson(RNG.uniform(0.5, 9.0, 40))
    )
    x = np.arange(30.0)
    assert_array_equal(mixture.icdf(mixture.cdf(x)).numpy(), x)
    same = MixtureSameFamily(
        mixture.mixture_distribution, Independent(mixture.component_distribution, 0)
    )
    assert_array_equal(same.icdf(same.cdf(x)).numpy(), x)
    assert same.sample((3,), lucid.Generator(1)).shape == (3,)
