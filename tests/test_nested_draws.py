"""Draws of components that are no single family: their words, their law, their work."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lucid
from lucid._random import key_of_part
from lucid.backends.numpy.philox import NumpyBits
from lucid.backends.tables import IndexTable
from lucid.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    _parts,
)
from tests.nested import EVERY, RNG, factors, nested, normals
from tests.test_random import philox4x64


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
    300 comparisons. Draws from another component move the last by its posterior's
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


def test_vectors_are_drawn_as_by_themselves(each_engine: str) -> None:
    """A row's words make the same vector, alone or as a component of one element.

    To a few ulp where normals are compiled and vectors of them are not.
    """
    most = {"numpy": 0.0, "numba": 1e-14}[each_engine]
    loc, factor = RNG.normal(size=(3, 4)), factors(3, 4)
    normal = MultivariateNormal(loc, scale_tril=factor)
    rows = np.arange(60) % 3
    found = normal._draw_at(rows, (5, 0), 0, np.dtype(np.float64))
    expected = normal.sample((20,), lucid.Generator(5)).numpy().reshape(60, 4)
    assert_allclose(found, expected, rtol=0, atol=most)
    shuffled = RNG.permutation(60) % 3
    found = normal._draw_at(shuffled, (5, 0), 0, np.dtype(np.float64))
    mixture = normal._layout().density(normal._backend)
    for i in range(60):
        own = type(normal)(loc[shuffled[i]], scale_tril=factor[shuffled[i]])
        generator = lucid.Generator(5)
        generator.reserve(i)
        alone = own.sample((), generator).numpy()
        assert_allclose(found[i], alone, rtol=0, atol=most)
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
