"""The promises on a device. Where there is none, these are reported as not run."""

from __future__ import annotations

import numpy as np
import pytest

import lucid
from lucid import backends
from lucid.backends.protocol import Components, Weights
from lucid.backends.tables import IndexTable
from lucid.distributions import (
    Bernoulli,
    Gamma,
    Laplace,
    MultivariateNormal,
    Normal,
    Poisson,
    StudentT,
    Uniform,
)

pytestmark = pytest.mark.gpu

FAMILIES = (Normal, Laplace, StudentT, Gamma, Poisson, Bernoulli, Uniform)
DTYPES = ("float32", "float64")
KEY = (12345, 6)


@pytest.fixture
def gpu():
    return backends.get("cuda", 0)


@pytest.fixture
def random():
    return np.random.default_rng(20_260_102)


def parameters(random, family, shape, dtype):
    real = 2 * random.normal(size=shape)
    positive = random.uniform(0.5, 2, size=shape)
    chosen = {
        Normal: (real, positive),
        Laplace: (real, positive),
        StudentT: (3 + positive, real, positive),
        Gamma: (positive, positive),
        Poisson: (4 * positive,),
        Bernoulli: (real,),
        Uniform: (-positive, positive),
    }[family]
    return tuple(array.astype(dtype) for array in chosen)


def values(random, family, shape, dtype):
    value = 2 * random.normal(size=shape)
    if family is Poisson:
        value = np.floor(abs(value) * 3)
    elif family is Bernoulli:
        value = (value > 0) * 1.0
    elif family is Gamma:
        value = abs(value)
    return value.astype(dtype)


def mixture(random, family, sets, count, event, dtype, batch=None):
    """The same components on the CPU and, by `on`, on the device."""
    weights = random.uniform(0.1, 1, (sets, count))
    if count > 2:
        weights[:, 1] = 0
    total = weights.sum(axis=1, keepdims=True)
    given = parameters(random, family, (sets, count, event), dtype)
    batch = sets if batch is None else batch
    return Components(family, given, Weights(weights.astype(dtype), total), batch)


def on(gpu, components):
    weights = components.weights
    return Components(
        components.family,
        tuple(gpu.asarray(a) for a in components.parameters),
        weights and Weights(gpu.asarray(weights.given), gpu.asarray(weights.total)),
        components.batch,
    )


def agree(gpu, found, expected, dtype):
    unit = 128 * np.finfo(dtype).eps
    found = gpu.to_numpy(found)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=unit, atol=unit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
def test_log_prob_is_that_of_the_cpu(gpu, random, family, dtype):
    value = values(random, family, (1000, 1), dtype)
    value[:3, 0] = np.nan, np.inf, -np.inf
    given = parameters(random, family, (7,), dtype)
    kind = np.dtype(dtype)
    expected = backends.get("cpu").log_prob(family, value, given, kind)
    on_device = tuple(map(gpu.asarray, given))
    found = gpu.log_prob(family, gpu.asarray(value), on_device, kind)
    agree(gpu, found, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("samples", "batch", "sets", "count", "event"),
    [
        (100_000, 1, 1, 9, 1),
        (1000, 3, 1, 200, 2),
        (1000, 1, 1, 40, 20),
        (5, 1, 1, 3000, 1),
        (40, 3, 3, 20, 1),
        (1, 5000, 5000, 12, 1),
        (2, 700, 700, 6, 3),
    ],
)
def test_a_mixture_is_that_of_the_cpu(
    gpu, random, family, dtype, samples, batch, sets, count, event
):
    components = mixture(random, family, sets, count, event, dtype, batch)
    value = values(random, family, (samples, batch, event), dtype)
    value[0, 0, 0] = np.nan
    kind = np.dtype(dtype)
    expected = backends.get("cpu").mixture_log_prob(components, value, kind)
    components = on(gpu, components)
    found = gpu.mixture_log_prob(components, gpu.asarray(value), kind)
    agree(gpu, found, expected, dtype)
    again = gpu.mixture_log_prob(components, gpu.asarray(value), kind)
    np.testing.assert_array_equal(gpu.to_numpy(again), gpu.to_numpy(found))


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_mode_is_that_of_the_cpu(gpu, random, dtype):
    components = mixture(random, Normal, 1, 30, 2, dtype)
    value = values(random, Normal, (5000, 1, 2), dtype)
    kind = np.dtype(dtype)
    expected, expected_log = backends.get("cpu").mixture_mode(components, value, kind)
    index, log = gpu.mixture_mode(on(gpu, components), gpu.asarray(value), kind)
    agree(gpu, log, expected_log, dtype)
    # Two components may be equally probable but for the last bits.
    assert (gpu.to_numpy(index) == expected).mean() > 0.999


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "count", "event"), [(500, 20, 5), (200, 6, 100)])
def test_multivariate_normals(gpu, random, dtype, rows, count, event):
    factor = np.tril(random.normal(size=(1, count, event, event)) / event)
    factor[..., range(event), range(event)] = random.uniform(0.5, 2, event)
    given = (random.normal(size=(1, count, event)).astype(dtype), factor.astype(dtype))
    weights = Weights(np.ones((1, count)), np.full((1, 1), float(count)))
    components = Components(MultivariateNormal, given, weights, 1)
    value = values(random, Normal, (rows, 1, event), dtype)
    kind = np.dtype(dtype)
    expected = backends.get("cpu").mixture_log_prob(components, value, kind)
    components = on(gpu, components)
    found = gpu.mixture_log_prob(components, gpu.asarray(value), kind)
    agree(gpu, found, expected, dtype)
    drawn, index = gpu.draw(components, KEY, 3, 1000, kind)
    assert np.isfinite(gpu.to_numpy(drawn)).all()
    assert set(gpu.to_numpy(index)) <= set(range(count))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "count"), [(1000, 5), (300, 200), (50, 70_000)])
def test_categorical(gpu, random, dtype, rows, count):
    value = random.integers(-1, count + 1, (4, rows))
    for sets in (1, rows):
        logits = random.normal(size=(sets, count)).astype(dtype)
        logits[:, 0] = -np.inf
        kind = np.dtype(dtype)
        expected = backends.get("cpu").categorical_log_prob(logits, value, kind)
        found = gpu.categorical_log_prob(gpu.asarray(logits), gpu.asarray(value), kind)
        agree(gpu, found, expected, dtype)


@pytest.mark.parametrize("family", FAMILIES)
def test_draws_have_the_bits_of_the_cpu(gpu, random, family):
    kind = np.dtype("float64")
    components = mixture(random, family, 1, 12, 2, "float64")
    expected, chosen = backends.get("cpu").draw(components, KEY, 2**40, 20_000, kind)
    found, index = gpu.draw(on(gpu, components), KEY, 2**40, 20_000, kind)
    np.testing.assert_array_equal(gpu.to_numpy(index), chosen)
    found = gpu.to_numpy(found)
    # A rejection may fall the other way where two roundings differ: a row in a million.
    close = np.isclose(found, expected, rtol=1e-12, atol=1e-12).all(axis=1)
    assert close.mean() > 0.9999


def test_indices_have_the_bits_of_the_cpu(gpu, random):
    for shape in ((1_000_000,), (50, 30)):
        table = IndexTable.from_weights(random.uniform(size=shape))
        expected = backends.get("cpu").draw_index(table, KEY, 9, 100_000)
        found = gpu.to_numpy(gpu.draw_index(table, KEY, 9, 100_000))
        np.testing.assert_array_equal(found, expected)


def test_work_goes_to_the_current_stream(gpu, random):
    components = on(gpu, mixture(random, Normal, 1, 50, 1, "float32"))
    value = gpu.asarray(values(random, Normal, (1_000_000, 1, 1), "float32"))
    kind = np.dtype("float32")
    expected = gpu.to_numpy(gpu.mixture_log_prob(components, value, kind))
    gpu.xp.cuda.Device().synchronize()
    with gpu.xp.cuda.Stream(non_blocking=True) as stream:
        found = gpu.mixture_log_prob(components, value, kind)
        stream.synchronize()
    np.testing.assert_array_equal(gpu.to_numpy(found), expected)


def test_a_call_can_be_captured_in_a_graph(gpu, random):
    components = on(gpu, mixture(random, Normal, 1, 50, 1, "float32"))
    value = gpu.asarray(values(random, Normal, (10_000, 1, 1), "float32"))
    kind = np.dtype("float32")
    out = gpu.xp.empty((10_000, 1), kind)
    expected = gpu.to_numpy(gpu.mixture_log_prob(components, value, kind, out)).copy()
    stream = gpu.xp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        gpu.mixture_log_prob(components, value, kind, out)
        graph = stream.end_capture()
        out.fill(0)
        graph.launch()
        stream.synchronize()
    np.testing.assert_array_equal(gpu.to_numpy(out), expected)


def test_more_than_two_to_the_31_elements(gpu):
    rows = 2**31 + 1000
    if gpu.xp.cuda.Device().mem_info[0] < 10 * rows:
        pytest.skip("not run: too little memory on the device")
    value = gpu.xp.empty((rows, 1, 1), "float32")
    value[...] = 0
    edge = slice(2**31 - 500, 2**31 + 500)
    value[edge, 0, 0] = gpu.xp.arange(1000)
    weights = Weights.normalised(gpu.asarray(np.log(np.full((1, 2), 0.5))))
    given = (
        gpu.asarray(np.zeros((1, 2, 1), "f4")),
        gpu.asarray(np.ones((1, 2, 1), "f4")),
    )
    components = Components(Normal, given, weights, 1)
    kind = np.dtype("float32")
    found = gpu.mixture_log_prob(components, value, kind, value[..., 0])
    expected = -0.5 * np.arange(1000.0) ** 2 - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(gpu.to_numpy(found[edge, 0]), expected, rtol=1e-5)
    assert gpu.to_numpy(found[-1, 0]) == pytest.approx(expected[0], rel=1e-6)


def test_out_of_memory_is_an_error_and_not_the_end(gpu, random):
    components = on(gpu, mixture(random, Normal, 1, 5, 1, "float32"))
    kind = np.dtype("float32")
    free = gpu.xp.cuda.Device().mem_info[0]
    pool = gpu.xp.get_default_memory_pool()
    limit = pool.get_limit()
    pool.set_limit(size=pool.total_bytes() + 2**20)
    try:
        value = gpu.xp.broadcast_to(gpu.asarray(np.zeros(1, "f4")), (free, 1, 1))
        with pytest.raises((gpu.xp.cuda.memory.OutOfMemoryError, MemoryError)):
            gpu.mixture_log_prob(components, value, kind)
    finally:
        pool.set_limit(size=limit)
    one = gpu.asarray(np.zeros((1, 1, 1), "f4"))
    assert np.isfinite(gpu.to_numpy(gpu.mixture_log_prob(components, one, kind))).all()


def test_the_public_call_runs_on_the_device():
    device = lucid.device("cuda")
    weights = lucid.tensor([0.3, 0.7], device=device)
    loc, scale = (lucid.tensor(a, device=device) for a in ([-2.0, 2.0], [0.5, 1.0]))
    distribution = lucid.distributions.MixtureSameFamily(
        lucid.distributions.Categorical(probs=weights), Normal(loc=loc, scale=scale)
    )
    here = distribution.to("cpu")
    value = np.linspace(-5, 5, 1001, dtype="float32")
    found, expected = distribution.log_prob(value), here.log_prob(value)
    assert str(found.device) == "cuda:0"
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)
    generators = [lucid.Generator(7, device=d) for d in (device, "cpu")]
    drawn = [
        d.sample((500,), generator=g).numpy()
        for d, g in zip((distribution, here), generators, strict=True)
    ]
    np.testing.assert_allclose(*drawn, rtol=1e-5, atol=1e-5)
