"""Mixtures whose components are no single family: mixtures, categories, vectors."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp

import lucid
from lucid.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    _mixture,
)
from tests.nested import EVERY, RNG, factors, mixed, nested, normals, positive

pytestmark = pytest.mark.usefixtures("each_engine")

# ---- covariance


def test_covariance_keeps_what_is_inside_a_component() -> None:
    inner, outer = positive(3, 2), positive(3)
    loc, factor = RNG.normal(size=(3, 2, 4)), factors(3, 2, 4)
    vectors = MultivariateNormal(loc, scale_tril=factor)
    nest = MixtureSameFamily(
        Categorical(outer), MixtureSameFamily(Categorical(inner), vectors)
    )
    share = outer[:, None] / outer.sum() * inner / inner.sum(-1, keepdims=True)
    flat = MixtureSameFamily(
        Categorical(share.reshape(6)),
        MultivariateNormal(loc.reshape(6, 4), scale_tril=factor.reshape(6, 4, 4)),
    )
    assert_allclose(nest.covariance.numpy(), flat.covariance.numpy(), rtol=1e-12)
    wrapped = MixtureSameFamily(Categorical(outer), Independent(vectors, 1))
    own = factor @ factor.swapaxes(-1, -2)
    expected = np.zeros((8, 8))
    pi, mean = outer / outer.sum(), wrapped.mean.numpy().reshape(8)
    for k in range(3):
        expected[:4, :4] += pi[k] * own[k, 0]
        expected[4:, 4:] += pi[k] * own[k, 1]
        off = loc[k].reshape(8) - mean
        expected += pi[k] * np.outer(off, off)
    assert_allclose(wrapped.covariance.numpy(), expected, rtol=1e-12, atol=1e-15)
    # Scalars inside, mixtures of them, and a batch around.
    product = Independent(mixed(2, 4)(normals(5, 3, 2, 4)), 1)
    mixture = mixed(3)(product)
    diagonal = np.diagonal(mixture.covariance.numpy(), axis1=-2, axis2=-1)
    assert_allclose(diagonal, mixture.variance.numpy(), rtol=1e-13)
    assert mixture.covariance.shape == (5, 2, 2)


def test_covariance_of_many_elements_takes_one_matrix() -> None:
    """Not one for each of 64 components: 64 MB."""
    mixture = mixed(64)(Independent(normals(64, 360), 1))
    tracemalloc.start()
    try:
        covariance = mixture.covariance.numpy()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * covariance.nbytes
    variance = mixture.variance.numpy()
    assert_allclose(np.diagonal(covariance), variance, rtol=1e-12)


# ---- dtypes


def test_categories_beyond_what_a_float32_holds() -> None:
    count = 2**24 + 3
    weights = np.zeros(count, np.float32)
    weights[-3:] = [1.0, 2.0, 5.0]  # 2²⁴, 2²⁴ + 1, 2²⁴ + 2
    categories = Categorical(weights[None])
    last = np.arange(count - 3, count)
    expected = np.log(weights[-3:] / 8)
    one = Categorical(np.ones(1, np.float32))
    mixture = MixtureSameFamily(one, categories)
    assert_allclose(mixture.log_prob(last).numpy(), expected, rtol=1e-6)
    assert mixture.log_prob(last).numpy().dtype == np.float32
    product = Independent(categories, 1)
    assert_allclose(product.log_prob(last[:, None]).numpy(), expected, rtol=1e-6)
    around = MixtureSameFamily(one, Independent(categories, 0))
    index, probs = around.posterior_mode(last, return_probs=True)
    assert_array_equal(index.numpy(), 0)
    assert_array_equal(probs.numpy(), np.ones(3, np.float32))
    drawn = mixture.sample((100,), lucid.Generator(0)).numpy()
    assert set(drawn) == set(last)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_half_precision_is_rounded_once(dtype: Any) -> None:
    """At x = 300 the density is e⁻⁴⁵⁰⁰⁰: its logarithm fits, its parts' do not."""
    loc, x = np.array([[0.0, 1.0], [-40.0, 3.0]], dtype), np.array([300.0, 7.0], dtype)
    one = dtype(1)
    flat = MixtureSameFamily(Categorical(np.ones(4, dtype)), Normal(loc.ravel(), one))
    inner = MixtureSameFamily(Categorical(np.ones(2, dtype)), Normal(loc, one))
    mixture = MixtureSameFamily(Categorical(np.ones(2, dtype)), inner)
    wide = -0.5 * (x[:, None, None].astype(float) - loc) ** 2
    wide -= 0.5 * math.log(2 * math.pi)
    joint = logsumexp(wide, axis=-1) - math.log(4)
    eps = float(np.finfo(dtype).eps)
    for found in (flat.log_prob(x), mixture.log_prob(x)):
        assert found.numpy().dtype == dtype
        assert_allclose(found.numpy(), logsumexp(joint, axis=-1), rtol=eps)
    # The logits as computed, which float16 would round by 8.
    posterior = mixture.posterior(x)
    assert posterior.logits.numpy().dtype == np.float32
    expected = joint - logsumexp(joint, axis=-1, keepdims=True)
    assert_allclose(posterior.logits.numpy(), expected, rtol=1e-6, atol=0.01)
    parts = mixture.component_log_probs(x)
    assert parts.numpy().dtype == dtype
    assert_allclose(parts.numpy(), joint + math.log(2), rtol=eps)
    index, probs = mixture.posterior_mode(x, return_probs=True)
    assert_array_equal(index.numpy(), joint.argmax(-1))
    assert probs.numpy().dtype == dtype
    assert_allclose(probs.numpy(), np.exp(expected.max(-1)), rtol=0.01)


# ---- blocks


@EVERY
def test_blocks_of_rows_and_of_the_batch_change_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture = nested(name)
    wide = mixture.expand((4, *mixture.batch_shape))
    x = wide.sample((5,), lucid.Generator(2)).numpy()
    expected = wide.log_prob(x).numpy()
    modes = wide.posterior_mode(x, return_probs=True)
    for elements in (1, 7, 30):
        monkeypatch.setattr(_mixture, "BLOCK_ELEMENTS", elements)
        assert_allclose(wide.log_prob(x).numpy(), expected, rtol=1e-13)
        for found, mode in zip(
            wide.posterior_mode(x, return_probs=True), modes, strict=True
        ):
            assert_allclose(found.numpy(), mode.numpy(), rtol=1e-12)


@pytest.mark.parametrize(("rows", "size"), [(40_000, 2), (4000, 64)])
def test_memory_is_that_of_a_block(
    rows: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows × K × event is 32 MB and 100 MB; a block of rows × K alone 16 MB."""
    monkeypatch.setattr(_mixture, "BLOCK_ELEMENTS", 1 << 14)
    count = 50
    inner = MixtureSameFamily(Categorical(np.ones(1)), normals(count, size, 1))
    mixture = mixed(count)(Independent(inner, 1))
    x = RNG.normal(size=(rows, size))
    for call in (mixture.log_prob, mixture.posterior_mode):
        call(x[:2])
        tracemalloc.start()
        try:
            call(x)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 4 * 2**20


# ---- what an Independent says of itself


def test_wrapped_without_dimensions() -> None:
    mixture = mixed(3)(normals(3))
    same, x = Independent(mixture, 0), np.linspace(-4, 4, 9)
    names = ("log_prob", "cdf", "survival_function", "log_cdf", "log_survival_function")
    for name in names:
        found, expected = (getattr(d, name)(x).numpy() for d in (same, mixture))
        assert_array_equal(found, expected)
    p = np.array([0.1, 0.5])
    assert_array_equal(same.icdf(p).numpy(), mixture.icdf(p).numpy())
    weights, parts = Categorical(positive(3)), mixed(3, 4)(normals(3, 4))
    drawn = [
        MixtureSameFamily(weights, d).sample((9,), lucid.Generator(1)).numpy()
        for d in (parts, Independent(parts, 0))
    ]
    assert_array_equal(*drawn)
    around = mixed(2)(Independent(normals(2), 0))
    assert 0 < around.cdf(0.5).item() < 1
    with pytest.raises(NotImplementedError, match="events are not scalars"):
        Independent(normals(2), 1).cdf(np.zeros(2))


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(NotImplementedError, match=r"no entropy in closed form.*Monte"):
        Independent(mixed(3)(normals(2, 3)), 1).entropy()
    with pytest.raises(TypeError, match=r"`reinterpreted_batch_ndims`.*got 1\.0"):
        Independent(normals(2), 1.0)
    with pytest.raises(NotImplementedError, match="Categorical does not have a mean"):
        assert nested("categories").mean


def test_parts_are_read_only() -> None:
    mixture, product = mixed(3)(normals(3)), Independent(normals(2), 1)
    for owner, name in (
        (mixture, "mixture_distribution"),
        (mixture, "component_distribution"),
        (product, "base_distribution"),
        (product, "reinterpreted_batch_ndims"),
    ):
        with pytest.raises(AttributeError):
            setattr(owner, name, getattr(owner, name))


def test_repr_shows_an_expanded_batch() -> None:
    normal = Normal(np.zeros(2), 1.0)
    wide = normal.expand((3, 2))
    assert repr(wide) == "Normal(loc=[0.0, 0.0], scale=1.0, batch_shape=(3, 2))"
    assert "batch_shape" not in repr(normal)
    vectors = MultivariateNormal(np.zeros(2), scale_tril=np.eye(2))
    assert "batch_shape" not in repr(vectors)
    assert repr(vectors.expand((3,))).endswith("batch_shape=(3,))")
    weights = Categorical(np.ones(2))
    assert repr(weights.expand((3,))) == (
        "Categorical(probs=[1.0, 1.0], batch_shape=(3,))"
    )
    mixture = MixtureSameFamily(weights, normal)
    assert repr(mixture.expand((3,))) == (
        f"MixtureSameFamily({weights}, {normal}, batch_shape=(3,))"
    )
    assert repr(Independent(wide, 1)) == f"Independent({wide}, 1)"
