"""The CUDA backend's own work, without a GPU: layouts, launches, order of arguments.

The kernels run on the host (see host_device.py); the CPU backend is the oracle. What a
kernel computes is tested closer to it; here the shapes and strides are the point.
"""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from on_host import (
    CPU,
    F32,
    F64,
    FAMILIES,
    KEY,
    agree,
    mixture,
    multivariate,
    parameters,
    same_mixture,
    values,
)

from lucid.backends.cupy import choice, kernels, structs
from lucid.backends.protocol import Components, Weights
from lucid.distributions import Normal


@pytest.mark.parametrize("family", FAMILIES)
def test_elementwise_log_prob_broadcasts(backend, random, family):
    value = values(random, family, (5, 1, 7))
    given = parameters(random, family, (3, 1))
    found = backend.log_prob(family, value, given, F32)
    agree(found, CPU.log_prob(family, value, given, F32))


def test_elementwise_log_prob_writes_where_it_is_told(backend, random):
    value, given = values(random, Normal, (6,)), parameters(random, Normal, ())
    expected = CPU.log_prob(Normal, value, given, F32)
    out = np.empty(6, F32)
    assert backend.log_prob(Normal, value, given, F32, out) is out
    agree(out, expected)
    half = np.empty(6, np.float16)
    assert backend.log_prob(Normal, value, given, F32, half) is half
    np.testing.assert_array_equal(half, expected.astype(np.float16))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("shape", [(300, 1, 1), (50, 3, 1)])
def test_shared_parameters(backend, random, family, shape):
    components = mixture(random, family, 1, 21, 1, batch=shape[1], dead=[4])
    same_mixture(backend, components, values(random, family, shape))


def test_many_rows_share_a_load(backend, random):
    backend._device.multiprocessors = 1
    components = mixture(random, Normal, 1, 9, 1)
    names = same_mixture(backend, components, values(random, Normal, (2100, 1, 1)))
    assert "lucid_mixture_normal_float32_d1_rows8" in names


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("sets", [1, 3])
def test_a_shift_known_beforehand(backend, random, family, sets):
    components = mixture(random, family, sets, 41, 1, batch=3, dead=[4])
    value = values(random, family, (140, 3, 1))
    rows = kernels.compiled_rows(structs.of(family), "float32", 1)[0]
    with choice.force(kernel="fixed", rows=rows):
        names = same_mixture(backend, components, value)
    kinds = ["prepare", "mixture_shift", "mixture_fixed"]
    for name, kind in zip(names, kinds, strict=True):
        assert name.startswith(f"lucid_{kind}")
    assert backend._device.launches[-2].grid == (sets,)


def test_components_in_order_and_polynomials(backend, random):
    components = mixture(random, Normal, 3, 41, 1)
    value = values(random, Normal, (140, 3, 1))
    as_chosen = {"kernel": "fixed", "rows": 8, "polynomials": 2, "ordered": True}
    with choice.force(**as_chosen):
        same_mixture(backend, components, value)
        names = same_mixture(backend, components, value)
    assert [name.removeprefix("lucid_") for name in names] == [
        "prepare_normal_float32_float32",
        "mixture_order_normal_float32",
        "mixture_shift_float32",
        *["mixture_fixed_normal_float32_d1_rows8_polynomials2"] * 2,
    ]


def test_few_components_in_registers(backend, random):
    components = mixture(random, Normal, 1, 5, 1, batch=3, dead=[1])
    backend._device.multiprocessors = 1
    with choice.force(kernel="small", rows=4):
        names = same_mixture(backend, components, values(random, Normal, (4000, 3, 1)))
    assert names[-1] == "lucid_mixture_small_normal_float32_k5"
    assert backend._device.launches[-1].grid == (16,)


def test_events_with_a_shift_known_beforehand(backend, random):
    components = mixture(random, Normal, 3, 30, 3)
    with choice.force(kernel="fixed", rows=4):
        same_mixture(backend, components, values(random, Normal, (40, 3, 3)))


@pytest.mark.parametrize("event", [3, 12])
@pytest.mark.parametrize("sets", [1, 3])
def test_events_of_several_elements(backend, random, event, sets):
    components = mixture(random, Normal, sets, 10, event, batch=3)
    same_mixture(backend, components, values(random, Normal, (40, 3, event)))


@pytest.mark.parametrize("event", [1, 12])
def test_few_rows_split_the_components(backend, random, event):
    components = mixture(random, Normal, 1, 2500, event)
    names = same_mixture(backend, components, values(random, Normal, (5, 1, event)))
    assert names[-1] == "lucid_mixture_merge_normal_float32"
    assert backend._device.launches[-2].grid[2] == 3


def test_own_parameters_and_many_values(backend, random):
    scale = np.broadcast_to(random.uniform(1, 2, (3, 1, 1)).astype(F32), (3, 6, 1))
    loc = random.normal(size=(1, 6, 1)).astype(F32)
    weights = Weights.normalised(np.full((1, 6), -np.log(6), F32))
    components = Components(Normal, (loc, scale), weights, 3)
    names = same_mixture(backend, components, values(random, Normal, (40, 3, 1)))
    assert names[0] == "lucid_prepare_normal_float32_float32"


def test_a_plain_density_has_no_weights(backend, random):
    for sets in (1, 70):
        given = parameters(random, Normal, (sets, 1, 3))
        components = Components(Normal, given, None, 70)
        same_mixture(backend, components, values(random, Normal, (1, 70, 3)))


def test_what_is_prepared_is_kept(backend, random):
    components = mixture(random, Normal, 1, 5, 1)
    value = values(random, Normal, (9, 1, 1))
    first = backend.mixture_log_prob(components, value, F32)
    np.testing.assert_array_equal(
        backend.mixture_log_prob(components, value, F32), first
    )
    names = [launch.name for launch in backend._device.launches]
    assert [name.split("_")[1] for name in names] == ["prepare", "mixture", "mixture"]


def test_each_shape_has_launches_of_its_own(backend, random):
    """Those of the last call are kept, and serve its shape alone."""
    backend._device.multiprocessors = 1
    components = mixture(random, Normal, 1, 2500, 1)
    for rows in (5, 5, 700, 700, 5):
        backend._device.launches.clear()
        names = same_mixture(backend, components, values(random, Normal, (rows, 1, 1)))
        assert ("merge" in names[-1]) == (rows == 5)


def test_a_forced_choice_is_not_kept(backend, random):
    components = mixture(random, Normal, 1, 5, 1)
    value = values(random, Normal, (40, 1, 1))
    small = choice.force(kernel="small", rows=4)
    for forced in (False, True, False):
        with small if forced else nullcontext():
            names = same_mixture(backend, components, value)
        assert ("small" in names[-1]) == forced


def test_dtypes_of_parameters_and_result(backend, random):
    value = values(random, Normal, (9, 1, 1), F64)
    for source in (F32, F64, np.dtype("float16")):
        components = mixture(random, Normal, 1, 5, 1, dtype=source)
        same_mixture(backend, components, value, F64)


def test_any_layout_of_values_and_of_the_result(backend, random):
    components = mixture(random, Normal, 1, 5, 1, batch=4)
    value = values(random, Normal, (6, 4, 1))
    expected = backend.mixture_log_prob(components, value, F32)
    for layout in (np.asfortranarray(value), np.repeat(value, 2, axis=0)[::2]):
        found = backend.mixture_log_prob(components, layout, F32)
        np.testing.assert_array_equal(found, expected)
    for out in (np.empty((6, 4), F32), np.empty((4, 6), F32).T, np.empty((6, 4))):
        assert backend.mixture_log_prob(components, value, F32, out) is out
        np.testing.assert_array_equal(out, expected)


def test_nothing_is_launched_for_nothing(backend, random):
    components = mixture(random, Normal, 1, 5, 1, batch=3)
    empty = np.empty((0, 3, 1), F32)
    assert backend.mixture_log_prob(components, empty, F32).shape == (0, 3)
    assert backend.mixture_mode(components, empty, F32)[0].shape == (0, 3)
    assert backend.draw(components, KEY, 0, 0, F32)[0].shape == (0, 1)
    given = parameters(random, Normal, (3, 1))
    assert backend.log_prob(Normal, empty, given, F32).shape == (0, 3, 1)
    logits = np.zeros((3, 4), F32)
    none = np.empty((0, 3), np.int64)
    assert backend.categorical_log_prob(logits, none, F32).shape == (0, 3)
    assert backend._device.launches == []


@pytest.mark.parametrize(("sets", "event"), [(1, 1), (3, 1), (1, 3)])
def test_the_most_probable_component(backend, random, sets, event):
    components = mixture(random, Normal, sets, 7, event, batch=3, dead=[0])
    value = values(random, Normal, (30, 3, event))
    index, log_posterior = backend.mixture_mode(components, value, F32)
    fresh = Components(Normal, components.parameters, components.weights, 3)
    expected, expected_log = CPU.mixture_mode(fresh, value, F32)
    assert index.dtype == np.int64
    np.testing.assert_array_equal(index, expected)
    agree(log_posterior, expected_log)


@pytest.mark.parametrize("kind", ["int8", "uint64", "float16", "float32", "float64"])
def test_what_is_looked_up(backend, kind):
    table = np.array([-8.0, 1.0, 2.0, 3.0, 9.0], F32)
    value = np.array([[0, 2, 3], [1, 100, 5]], kind)
    if kind == "int8":
        value[1, 1:] = -1, -128
    if kind == "uint64":
        value[1, 1:] = 2**63, 2**64 - 1
    if kind.startswith("float"):
        value = np.append(value, [[np.nan, 0.5, 2.5], [-1, -0.5, -np.inf]], axis=0)
    expected = CPU.lookup(table, value)
    found = backend.lookup(table, value)
    assert found.dtype == F32
    np.testing.assert_array_equal(found, expected)
    out = np.empty(value.shape, F32)
    assert backend.lookup(table, value[::-1], out) is out
    np.testing.assert_array_equal(out, expected[::-1])
    assert len(backend._device.launches) == 2
    backend.lookup(table, value[:0])
    assert len(backend._device.launches) == 2


def test_values_of_few_categoricals_are_shared_out(backend, random):
    """Several blocks score the many values of one row of logits."""
    logits = random.normal(size=(2, 9)).astype(F32)
    value = random.integers(-1, 10, (1000, 2))
    found = backend.categorical_log_prob(logits, value, F32)
    agree(found, CPU.categorical_log_prob(logits, value, F32))
    (launch,) = backend._device.launches
    assert launch.grid == (1, 112)  # not fewer values than logits each
    backend.categorical_log_prob(logits, value[:9], F32)
    assert backend._device.launches[-1].grid == (1, 1)


@pytest.mark.parametrize(("sets", "event"), [(1, 5), (3, 5), (1, 37)])
def test_multivariate_normals(backend, random, sets, event):
    components = multivariate(random, sets, 4, event, 3)
    value = values(random, Normal, (20, 3, event))
    same_mixture(backend, components, value)
    index, log_posterior = backend.mixture_mode(components, value, F32)
    expected, expected_log = CPU.mixture_mode(components, value, F32)
    np.testing.assert_array_equal(index, expected)
    # A posterior is a difference of squares that grow with the event's size.
    np.testing.assert_allclose(
        log_posterior, expected_log, rtol=1e-5, atol=2e-6 * event
    )


def test_multivariate_normals_split(backend, random):
    components = multivariate(random, 1, 1100, 2, 1)
    value = values(random, Normal, (3, 1, 2))
    assert (
        same_mixture(backend, components, value)[-1] == "lucid_merge_partials_float32"
    )


def test_arrays_of_the_device_stay_where_they_are(backend, random):
    value = values(random, Normal, (3,))
    assert backend.asarray(value) is value
    assert backend.asarray(value, F32, copy=True) is not value
    assert backend.asarray(value, F64).dtype == F64
    assert backend.asarray([1.0, 2.0], F32).dtype == F32
    with pytest.raises(ValueError, match="only by a copy"):
        backend.asarray(value, F64, copy=False)
    with pytest.raises(ValueError, match="without a copy"):
        backend.asarray([1.0], copy=False)
    assert backend.to_numpy(value) is value


def test_an_array_of_another_device_is_refused(backend, random, monkeypatch):
    monkeypatch.setattr(backend._device, "index_of", lambda array: 1)
    with pytest.raises(ValueError, match="cuda:1 was given to cuda:0"):
        backend.asarray(values(random, Normal, (3,)))
