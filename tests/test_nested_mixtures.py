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
from lucid._random import key_of_part
from lucid.backends.numpy.philox import NumpyBits
from lucid.backends.tables import IndexTable
from lucid.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    _mixture,
    _parts,
)
from tests.test_random import philox4x64

RNG = np.random.default_rng(3)


def positive(*shape: int) -> Any:
    return RNG.uniform(0.2, 1.0, shape)


def factors(*shape: int) -> Any:
    size = shape[-1]
    return np.tril(RNG.normal(size=(*shape, size))) * 0.3 + np.eye(size)


def normals(*batch: int, dtype: Any = np.float64) -> Normal:
    return Normal(RNG.normal(0, 3, batch).astype(dtype), positive(*batch).astype(dtype))


def mixed(*weights: int) -> Any:
    """A function from components to their mixture."""
    return lambda parts: MixtureSameFamily(Categorical(positive(*weights)), parts)


NESTED: dict[str, Any] = {
    "mixtures": lambda: mixed(3)(mixed(3, 4)(normals(3, 4))),
    "mixtures, shared weights": lambda: mixed(3)(mixed(4)(normals(3, 4))),
    "mixtures of mixtures": lambda: mixed(2)(mixed(2, 3)(mixed(4)(normals(2, 3, 4)))),
    "mixtures, batch": lambda: mixed(5, 1, 3)(mixed(3, 4)(normals(2, 3, 4))),
    "categories": lambda: mixed(3)(Categorical(positive(3, 6))),
    "categories, batch": lambda: mixed(2, 3)(Categorical(logits=positive(3, 6))),
    "products of categories": lambda: mixed(3)(
        Independent(Categorical(positive(3, 2, 6)), 1)
    ),
    "products of mixtures": lambda: mixed(3)(
        Independent(mixed(2, 4)(normals(3, 2, 4)), 1)
    ),
    "vectors": lambda: mixed(3)(
        Independent(
            MultivariateNormal(RNG.normal(size=(3, 2, 4)), scale_tril=factors(3, 2, 4)),
            1,
        )
    ),
    "mixtures of vectors": lambda: mixed(3)(
        mixed(3, 2)(
            MultivariateNormal(RNG.normal(size=(3, 2, 4)), scale_tril=factors(2, 4))
        )
    ),
    "mixtures of products": lambda: mixed(3)(
        mixed(3, 2)(Independent(Bernoulli(positive(3, 2, 5)), 1))
    ),
    "no more than wrapped": lambda: mixed(3)(
        Independent(mixed(3, 4)(normals(3, 4)), 0)
    ),
}
EVERY = pytest.mark.parametrize("name", NESTED)


def nested(name: str) -> MixtureSameFamily:
    made: MixtureSameFamily = NESTED[name]()
    assert made._density() is None
    return made


# ---- draws


@EVERY
def test_two_samples_are_one_longer_sample(name: str) -> None:
    mixture = nested(name)
    generator = lucid.Generator(7)
    drawn = [
        mixture.sample((n,), generator, return_components=True) for n in (3, 0, 250)
    ]
    assert generator.position == 253 * math.prod(mixture.batch_shape)
    whole = mixture.sample((253,), lucid.Generator(7), return_components=True)
    for parts, expected in zip(zip(*drawn, strict=True), whole, strict=True):
        joined = np.concatenate([part.numpy() for part in parts])
        assert_array_equal(joined, expected.numpy())
        assert {part.numpy().dtype for part in parts} == {expected.numpy().dtype}
    assert whole[0].shape == (253, *mixture.batch_shape, *mixture.event_shape)


@EVERY
def test_blocks_change_no_draw(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = nested(name)
    whole = mixture.sample((300,), lucid.Generator(7)).numpy()
    monkeypatch.setattr(_parts, "_BLOCK_ELEMENTS", 50)
    assert_array_equal(mixture.sample((300,), lucid.Generator(7)).numpy(), whole)


@EVERY
def test_no_draws_and_no_mixtures(name: str) -> None:
    mixture = nested(name)
    dtype = mixture.sample((2,)).numpy().dtype
    empty = mixture.sample((0, 2))
    assert empty.shape == (0, 2, *mixture.batch_shape, *mixture.event_shape)
    assert empty.numpy().dtype == dtype
    none = mixture.expand((0, *mixture.batch_shape))
    drawn, index = none.sample((2,), return_components=True)
    assert drawn.shape == (2, *none.batch_shape, *none.event_shape)
    assert index.shape == (2, *none.batch_shape)
    assert drawn.numpy().dtype == dtype
    assert none.log_prob(drawn).shape == (2, *none.batch_shape)


@EVERY
def test_draws_have_the_mixtures_law(name: str) -> None:
    """Components as often as weighted, and each draw from the one that it names.

    Over draws, the mean of p(k | x) is π_k, and [k was picked] − p(k | x) has mean 0,
    also times p(k | x). Each within 5σ: under 10⁻⁴ of all seeds would fail one of the
    230 comparisons. Draws from another component move the last by its posterior's
    variance, here over 20σ in every case.
    """
    mixture, n = nested(name), 20_000
    drawn, index = mixture.sample((n,), lucid.Generator(5), return_components=True)
    count = mixture.num_components
    share = np.broadcast_to(
        mixture.mixture_distribution.probs.numpy(), (*mixture.batch_shape, count)
    )
    found = (index.numpy()[..., None] == np.arange(count)).mean(0)
    assert (abs(found - share) < 5 * np.sqrt(share * (1 - share) / n)).all()
    posterior = mixture.posterior(drawn).probs.numpy()
    error = posterior.std(axis=0) / math.sqrt(n)
    assert (abs(posterior.mean(0) - share) < 5 * error + 1e-12).all()
    named = (index.numpy()[..., None] == np.arange(count)) - posterior
    for moment in (named, named * posterior):
        error = moment.std(axis=0) / math.sqrt(n)
        assert (abs(moment.mean(0)) < 5 * error + 1e-12).all()


def test_moments_of_draws_are_the_mixtures() -> None:
    """5σ for each of 8 means and 36 covariances."""
    mixture, n = nested("vectors"), 50_000
    drawn = mixture.sample((n,), lucid.Generator(6)).numpy().reshape(n, 8)
    off = drawn - mixture.mean.numpy().reshape(8)
    assert (abs(off.mean(0)) < 5 * off.std(axis=0) / math.sqrt(n)).all()
    products = off[:, :, None] * off[:, None, :]
    error = products.std(axis=0) / math.sqrt(n)
    difference = products.mean(0) - mixture.covariance.numpy()
    assert (abs(difference) < 5 * error).all()


def test_the_words_of_a_nested_draw() -> None:
    """Index by word 0 of the generator's key, the rest under the key of part 0."""
    mixture = nested("mixtures")
    inner: Any = mixture.component_distribution
    drawn, index = mixture.sample((40,), lucid.Generator(9), return_components=True)
    key = (9, 0)
    below = key_of_part(key, 0)

    def table(weights: Categorical, row: Any) -> IndexTable:
        return IndexTable.from_weights(weights._given[row])

    for i in range(40):
        k = table(mixture.mixture_distribution, ...).find(
            NumpyBits(key, i, 1).words(0)[:, 0]
        )[0]
        assert index.numpy()[i] == k
        words = NumpyBits(below, i, 1).words(0)
        j = table(inner.mixture_distribution, k).find(words[:, 0])[0]
        radius = math.sqrt(-2 * math.log(((int(words[0, 1]) >> 11) + 1) / 2**53))
        z = radius * math.cos(2 * math.pi * (int(words[0, 2]) >> 11) / 2**53)
        base = inner.component_distribution
        expected = base.loc.numpy()[k, j] + base.scale.numpy()[k, j] * z
        assert drawn.numpy()[i] == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("part", [0, 1, 2**40])
def test_the_key_of_a_part(part: int) -> None:
    """Two words of a counter that no draw of the key reads."""
    key = (0x452821E638D01377, 0xBE5466CF34E90C6C)
    assert key_of_part(key, part) == philox4x64((part, 0, 0, 1), key)[:2]


def test_elements_and_levels_share_no_words() -> None:
    """Element d and level n are independent: no two draws are alike."""
    same = Normal(np.zeros((1, 6, 1)), 1.0)
    one = Categorical(np.ones(1))
    product = Independent(MixtureSameFamily(one, same), 1)
    drawn = MixtureSameFamily(one, product).sample((50,), lucid.Generator(1)).numpy()
    plain = Normal(np.zeros(1), 1.0).sample((50,), lucid.Generator(1)).numpy()
    assert len(np.unique(np.append(drawn.ravel(), plain))) == 350


def test_vectors_are_drawn_as_by_themselves() -> None:
    """A row's words make the same vector, alone or as a component of one element."""
    loc, factor = RNG.normal(size=(3, 4)), factors(3, 4)
    normal = MultivariateNormal(loc, scale_tril=factor)
    rows = np.arange(60) % 3
    found = normal._draw_at(rows, (5, 0), 0, np.dtype(np.float64))
    expected = normal.sample((20,), lucid.Generator(5)).numpy().reshape(60, 4)
    assert_array_equal(found, expected)
    shuffled = RNG.permutation(60) % 3
    found = normal._draw_at(shuffled, (5, 0), 0, np.dtype(np.float64))
    mixture = normal._layout().density(normal._backend)
    for i in range(60):
        own = type(normal)(loc[shuffled[i]], scale_tril=factor[shuffled[i]])
        generator = lucid.Generator(5)
        generator.reserve(i)
        assert_array_equal(found[i], own.sample((), generator).numpy())
    assert mixture.batch == 3


@pytest.mark.parametrize("kind", ["categories", "vectors", "mixtures"])
def test_only_the_picked_component_is_drawn(kind: str) -> None:
    """Draws of 4000 components, by 2000 rows: a value for each pair is 64 MB."""
    count, size = 4000, 2000
    parts: dict[str, Distribution] = {
        "categories": Categorical(np.ones((count, 3))),
        "mixtures": MixtureSameFamily(
            Categorical(np.ones((count, 3))), normals(count, 3)
        ),
        "vectors": Independent(
            MultivariateNormal(np.zeros((count, 2, 2)), scale_tril=factors(2, 2)), 1
        ),
    }
    mixture = MixtureSameFamily(Categorical(np.ones(count)), parts[kind])
    mixture.sample((1,))
    tracemalloc.start()
    try:
        mixture.sample((size,))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * 2**20


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


def test_memory_is_that_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows × K is 16 MB for each of these, rows × K × event 64 MB."""
    monkeypatch.setattr(_mixture, "BLOCK_ELEMENTS", 1 << 14)
    count, rows = 50, 40_000
    inner = MixtureSameFamily(Categorical(np.ones(1)), normals(count, 4, 1))
    mixture = mixed(count)(Independent(inner, 1))
    x = RNG.normal(size=(rows, 4))
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
    around = mixed(2)(Independent(normals(2), 0))
    assert 0 < around.cdf(0.5).item() < 1
    with pytest.raises(NotImplementedError, match="events are not scalars"):
        Independent(normals(2), 1).cdf(np.zeros(2))


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(NotImplementedError, match=r"no entropy in closed form.*Monte"):
        Independent(mixed(3)(normals(2, 3)), 1).entropy()
    with pytest.raises(TypeError, match=r"`reinterpreted_batch_ndims`.*got 1\.0"):
        Independent(normals(2), 1.0)  # type: ignore[arg-type]
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
