"""The CUDA backend's own work, without a GPU: layouts, launches, order of arguments.

The kernels run on the host (see host_device.py); the CPU backend is the oracle. What a
kernel computes is tested closer to it; here the shapes and strides are the point.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from host import COMPILER
from host_device import HostDevice

from lucid.backends import get
from lucid.backends.cupy import CupyBackend, kernels
from lucid.backends.protocol import Components, Weights
from lucid.backends.tables import IndexTable
from lucid.distributions import MultivariateNormal, Normal, Poisson, StudentT

F32, F64 = np.dtype("float32"), np.dtype("float64")
KEY = (0x9E3779B97F4A7C15, 3)
CPU = get("cpu")

pytestmark = pytest.mark.skipif(
    COMPILER is None, reason="not run: g++ is needed to run the kernels on the host"
)

FAMILIES = {Normal: 2, StudentT: 3, Poisson: 1}


@pytest.fixture(scope="module")
def device(request: pytest.FixtureRequest) -> Iterator[HostDevice]:
    specs = [kernels.draw_index(), kernels.categorical_gather("float32")]
    specs += [kernels.categorical_log_prob("float32", n) for n in kernels.LANES]
    for family, parameters in FAMILIES.items():
        name = family.__name__
        specs += [
            kernels.log_prob(name, parameters, "float32"),
            kernels.per_row_mixture(name, "float32"),
            kernels.prepare(name, "float32", "float32"),
            kernels.draw(name, "float32"),
        ]
        rows = dict.fromkeys(kernels.compiled_rows(name, "float32", 1))
        specs += [kernels.mixture(name, "float32", 1, r) for r in rows]
    specs += [
        kernels.prepare("Normal", "float32", "float64"),
        kernels.prepare("Normal", "float64", "float64"),
        kernels.mixture("Normal", "float32", 3, 1),
        kernels.mixture("Normal", "float64", 1, 1),
        kernels.mixture_diagonal("Normal", "float32"),
        kernels.mixture_merge("Normal", "float32"),
        kernels.mixture_mode("Normal", "float32"),
        *(kernels.mvn_prepare(dtype) for dtype in ("float32", "float64")),
        *(
            make("float32")
            for make in (
                kernels.mvn_mixture,
                kernels.mvn_merge,
                kernels.mvn_mode,
                kernels.mvn_draw,
            )
        ),
    ]
    device = HostDevice(specs, request.config.cache.mkdir("lucid-backend-on-host"))
    yield device
    device.close()


@pytest.fixture
def backend(device: HostDevice) -> CupyBackend:
    device.launches.clear()
    device.multiprocessors = 132
    return CupyBackend(device=device)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20_260_101)


def parameters(random, family, shape, dtype=F32):
    """Plausible parameters of each family, of one shape."""
    real = random.normal(size=shape)
    positive = random.uniform(0.5, 2, size=shape)
    chosen = {
        Normal: (real, positive),
        StudentT: (3 + positive, real, positive),
        Poisson: (4 * positive,),
    }[family]
    return tuple(array.astype(dtype) for array in chosen)


def mixture(random, family, sets, count, event, batch=None, dtype=F32, dead=()):
    """Components with `sets` parameter sets and one zero weight for each of `dead`."""
    weights = random.uniform(0.1, 1, size=(sets, count))
    weights[:, list(dead)] = 0
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights / weights.sum(axis=1, keepdims=True))
    return Components(
        family,
        parameters(random, family, (sets, count, event), dtype),
        Weights.normalised(log_weights.astype(dtype)),
        sets if batch is None else batch,
    )


def values(random, family, shape, dtype=F32):
    if family is Poisson:
        return random.integers(0, 12, size=shape).astype(dtype)
    return (2 * random.normal(size=shape)).astype(dtype)


def agree(found, expected, dtype=F32):
    assert found.dtype == dtype
    assert found.shape == expected.shape
    unit = np.finfo(dtype).eps
    np.testing.assert_allclose(found, expected, rtol=64 * unit, atol=64 * unit)


def same_mixture(backend, components, value, dtype=F32):
    """The backend's mixture log density, held to the CPU's."""
    found = backend.mixture_log_prob(components, value, dtype)
    fresh = Components(
        components.family,
        components.parameters,
        components.weights,
        components.batch,
    )
    agree(found, CPU.mixture_log_prob(fresh, value, dtype), dtype)
    return [launch.name for launch in backend._device.launches]


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


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("samples", "event"), [(1, 1), (3, 1), (2, 4)])
def test_parameters_of_each_row(backend, random, family, samples, event):
    components = mixture(random, family, 70, 6, event, dead=[2])
    value = values(random, family, (samples, 70, event))
    names = same_mixture(backend, components, value)
    assert len(names) == 1
    assert "per_row" in names[0]


def test_parameters_of_each_row_may_be_views(backend, random):
    loc = np.broadcast_to(random.normal(size=(1, 6, 1)).astype(F32), (1, 6, 2))
    scale = np.broadcast_to(random.uniform(1, 2, (70, 1, 2)).astype(F32), (70, 6, 2))
    weights = Weights.normalised(np.full((1, 6), -np.log(6), F32))
    components = Components(Normal, (loc, scale), weights, 70)
    names = same_mixture(backend, components, values(random, Normal, (1, 70, 2)))
    assert "per_row" in names[0]


@pytest.mark.parametrize("logarithms", [False, True])
@pytest.mark.parametrize("sets", [1, 70])
def test_weights_are_normalised_in_place(backend, random, logarithms, sets):
    given = random.uniform(0, 1e30, (sets, 6)).astype(F32)
    given[:, 2] = 0
    weights = Weights(given, given.sum(axis=1, keepdims=True, dtype=F64))
    if logarithms:
        with np.errstate(divide="ignore"):
            given = np.log(given)
        shift = given.max(axis=1, keepdims=True).astype(F64)
        total = np.exp(given - shift).sum(axis=1, keepdims=True)
        weights = Weights(given, total, shift)
    own = parameters(random, Normal, (70, 6, 1))
    components = Components(Normal, own, weights, 70)
    names = same_mixture(backend, components, values(random, Normal, (1, 70, 1)))
    assert len(names) == 1


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


def multivariate(random, sets, count, event, batch):
    factor = np.tril(random.normal(size=(sets, count, event, event)) / 4)
    factor[..., range(event), range(event)] = random.uniform(0.5, 2, size=event)
    loc = random.normal(size=(1, count, event))
    weights = random.uniform(0.1, 1, size=(sets, count))
    log_weights = np.log(weights / weights.sum(axis=1, keepdims=True)).astype(F32)
    given = (loc.astype(F32), factor.astype(F32))
    weights = Weights.normalised(log_weights)
    return Components(MultivariateNormal, given, weights, batch)


@pytest.mark.parametrize("sets", [1, 3])
def test_multivariate_normals(backend, random, sets):
    components = multivariate(random, sets, 4, 5, 3)
    value = values(random, Normal, (20, 3, 5))
    same_mixture(backend, components, value)
    index, log_posterior = backend.mixture_mode(components, value, F32)
    expected, expected_log = CPU.mixture_mode(components, value, F32)
    np.testing.assert_array_equal(index, expected)
    agree(log_posterior, expected_log)


def test_multivariate_normals_split(backend, random):
    components = multivariate(random, 1, 1100, 2, 1)
    value = values(random, Normal, (3, 1, 2))
    assert (
        same_mixture(backend, components, value)[-1] == "lucid_merge_partials_float32"
    )


@pytest.mark.parametrize("count", [5, 100, 3000])
@pytest.mark.parametrize("sets", [1, 4])
def test_categorical(backend, random, count, sets):
    # A row of logits that starts where four cannot be loaded at a time.
    flat = random.normal(size=sets * count + 1).astype(F32)
    logits = flat[1:].reshape(sets, count)
    value = random.integers(-1, count + 1, size=(9, 4))
    found = backend.categorical_log_prob(logits, value, F32)
    assert backend._device.launches[0].addresses[0] % 16 == 0
    agree(found, CPU.categorical_log_prob(logits, value, F32))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("sets", "event"), [(1, 1), (1, 2), (3, 1)])
def test_draws_are_those_of_the_cpu(backend, random, family, sets, event):
    components = mixture(random, family, sets, 5, event, batch=3, dead=[1])
    found, index = backend.draw(components, KEY, 2**40 + 5, 300, F32)
    expected, expected_index = CPU.draw(components, KEY, 2**40 + 5, 300, F32)
    np.testing.assert_array_equal(index, expected_index)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


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
