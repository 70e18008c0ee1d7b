"""Draws, categories and what is kept between calls, by the CUDA backend on the host."""

from __future__ import annotations

import numpy as np
import pytest
from on_host import (
    CPU,
    F16,
    F32,
    FAMILIES,
    KEY,
    agree,
    mixture,
    multivariate,
    parameters,
    values,
)

from lucid.backends.protocol import Components, Weights
from lucid.backends.tables import IndexTable
from lucid.distributions import MultivariateNormal, Normal


@pytest.mark.parametrize("count", [5, 100, 3000])
@pytest.mark.parametrize("sets", [1, 4])
def test_categorical(backend, random, count, sets):
    # A row of logits that starts where four cannot be loaded at a time.
    flat = random.normal(size=sets * count + 1).astype(F32)
    logits = flat[1:].reshape(sets, count)
    value = random.integers(-1, count + 1, size=(9, 4))
    found = backend.categorical_log_prob(logits, value, F32)
    # Read where it is: the kernel finds the boundary by itself.
    assert backend._device.launches[0].addresses[0] == logits.ctypes.data
    agree(found, CPU.categorical_log_prob(logits, value, F32))


def test_half_precision_logits_are_read_as_they_are(backend, random):
    logits = random.normal(size=(4, 30)).astype(F16)
    value = random.integers(0, 30, size=(9, 4))
    found = backend.categorical_log_prob(logits, value, F32)
    assert backend._device.launches[0].addresses[0] == logits.ctypes.data
    agree(found, CPU.categorical_log_prob(logits, value, F32))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("sets", "event"), [(1, 1), (1, 2), (3, 1)])
def test_draws_are_those_of_the_cpu(backend, random, family, sets, event):
    components = mixture(random, family, sets, 5, event, batch=3, dead=[1])
    found, index = backend.draw(components, KEY, 2**40 + 5, 300, F32)
    expected, expected_index = CPU.draw(components, KEY, 2**40 + 5, 300, F32)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def weighed(random, sets, count, kind, logarithms):
    """Weights of each mixture's own, given so or as logarithms; none of category 1."""
    given = random.uniform(0.1, 1, (sets, count)) * 3
    given[:, 1] = 0
    if not logarithms:
        given = given.astype(kind)
        return Weights(given, given.sum(axis=1, keepdims=True, dtype="float64"))
    with np.errstate(divide="ignore"):
        given = np.log(given).astype(kind)
    shift = given.max(axis=1, keepdims=True).astype("float64")
    return Weights(given, np.exp(given - shift).sum(axis=1, keepdims=True), shift)


@pytest.mark.parametrize("logarithms", [False, True])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_weights_of_each_mixture_pick_without_a_table(
    backend, random, kind, logarithms
):
    weights = weighed(random, 70, 9, kind, logarithms)
    own = parameters(random, Normal, (70, 9, 1))
    picked, tabled = (Components(Normal, own, weights, 70) for _ in range(2))
    parts = [backend.draw(picked, KEY, start, 140, F32) for start in range(0, 700, 140)]
    names = {launch.name for launch in backend._device.launches}
    assert names == {f"lucid_pick_{kind}", "lucid_draw_normal_float32_float32"}
    assert all(
        weights.given.ctypes.data in launch.addresses
        for launch in backend._device.launches[::2]
    )
    # More draws make a table of the same weights: the same draws.
    values, index = backend.draw(tabled, KEY, 0, 700, F32)
    assert f"lucid_row_tables_{kind}" in {n.name for n in backend._device.launches}
    np.testing.assert_array_equal(np.concatenate([p[1] for p in parts]), index)
    np.testing.assert_array_equal(np.concatenate([p[0] for p in parts]), values)
    _, expected = CPU.draw(Components(Normal, own, weights, 70), KEY, 0, 700, F32)
    np.testing.assert_array_equal(index, expected)
    assert np.unique(index).tolist() == [0, 2, 3, 4, 5, 6, 7, 8]


def test_where_nothing_can_be_picked_nothing_is_drawn(backend, random):
    given = np.array([[1, 2], [0, 0], [np.nan, 1], [np.inf, 1]], F32)
    weights = Weights(given, given.sum(axis=1, keepdims=True, dtype="float64"))
    own = parameters(random, Normal, (4, 2, 3))
    for samples in (1, 8):
        components = Components(Normal, own, weights, 4)
        values, index = backend.draw(components, KEY, 0, 4 * samples, F32)
        assert (index.reshape(samples, 4)[:, 1:] == -1).all()
        assert np.isnan(values.reshape(samples, 4, 3)[:, 1:]).all()
        assert np.isfinite(values.reshape(samples, 4, 3)[:, 0]).all()


def test_half_precision_is_drawn_in_single(backend, random):
    given = parameters(random, Normal, (1, 3, 2), F16)
    weights = Weights.normalised(np.log(np.full((1, 3), 1 / 3)))
    components = Components(Normal, given, weights, 1)
    factor = (np.zeros((1, 1, 2), F16), np.eye(2, dtype=F16)[None, None])
    plain = Components(MultivariateNormal, factor, None, 1)
    for one in (components, plain):
        found, index = backend.draw(one, KEY, 7, 60, F16)
        expected, expected_index = CPU.draw(one, KEY, 7, 60, F16)
        assert found.dtype == F16
        np.testing.assert_array_equal(index, expected_index)
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)
    assert backend.draw(components, KEY, 7, 0, F16)[0].dtype == F16


def test_draws_of_one_component_and_of_vectors(backend, random):
    given = parameters(random, Normal, (3, 1, 2))
    for components in (
        Components(Normal, given, None, 3),
        multivariate(random, 1, 4, 5, 3),
        multivariate(random, 3, 4, 5, 3),
    ):
        found, index = backend.draw(components, KEY, 7, 60, F32)
        expected, expected_index = CPU.draw(components, KEY, 7, 60, F32)
        np.testing.assert_array_equal(index, expected_index)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(1000,), (4, 30)])
def test_indices_are_those_of_the_cpu(backend, random, shape):
    table = IndexTable.from_weights(random.uniform(size=shape))
    found = backend.draw_index(table, KEY, 11, 900)
    np.testing.assert_array_equal(found, CPU.draw_index(table, KEY, 11, 900))
    assert backend.draw_index(table, KEY, 11, 0).shape == (0,)


def test_what_is_kept_is_waited_for(backend, random):
    """Another stream may ask for what this one has not finished making."""
    device = backend._device
    components = mixture(random, Normal, 1, 5, 1)
    value = values(random, Normal, (9, 1, 1))
    backend.mixture_log_prob(components, value, F32)
    backend.mixture_log_prob(components, value, F32)
    assert device.waits == [1, 1]  # behind the first launch, which prepares
    table = IndexTable.from_weights(np.ones(4))
    before = len(device.launches)
    backend.draw_index(table, KEY, 0, 3)
    backend.draw_index(table, KEY, 0, 3)
    assert device.waits[2:] == [before, before]


def test_nothing_that_a_graph_only_recorded_is_kept(backend, random):
    components = mixture(random, Normal, 1, 5, 1)
    value = values(random, Normal, (9, 1, 1))
    backend._device.captured = True
    backend.mixture_log_prob(components, value, F32)
    assert not components.prepared
    backend._device.captured = False
    backend.mixture_log_prob(components, value, F32)
    assert {key[0] for key in components.prepared} == {"factors", "plan"}
    backend._device.captured = True
    backend.mixture_log_prob(components, value, F32)
    names = [launch.name.split("_")[1] for launch in backend._device.launches]
    assert names == ["prepare", "mixture"] * 2 + ["mixture"]
