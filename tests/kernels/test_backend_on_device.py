"""What the host cannot show of the CUDA backend: real streams, real element types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from on_host import CPU, F16, F32, F64, KEY, mixture, parameters, values

from lucid import backends
from lucid.backends.cupy import choice
from lucid.backends.protocol import Components, Weights
from lucid.distributions import Normal

pytestmark = pytest.mark.gpu


@pytest.fixture
def gpu() -> Any:
    return backends.get("cuda", 0)


def on(gpu: Any, components: Components) -> Components:
    """The same components on the device."""
    weights = components.weights
    assert weights is not None
    parts = (weights.given, weights.total, weights.shift)
    return Components(
        components.family,
        tuple(gpu.asarray(a) for a in components.parameters),
        Weights(*(None if a is None else gpu.asarray(a) for a in parts)),
        components.batch,
    )


@pytest.mark.parametrize(
    ("source", "weighed", "result"), [(F16, F16, F32), (F32, F64, F32), (F32, F16, F64)]
)
@pytest.mark.parametrize("rows", [1, 700])
def test_other_types_are_read(gpu, random, source, weighed, result, rows):
    given = random.uniform(0.1, 1, (rows, 6)).astype(weighed)
    weights = Weights(given, given.sum(axis=1, keepdims=True, dtype=F64))
    own = parameters(random, Normal, (rows, 6, 1), source)
    components = Components(Normal, own, weights, rows)
    value = values(random, Normal, (1, rows, 1)).astype(result)
    expected = CPU.mixture_log_prob(components, value, result)
    found = gpu.mixture_log_prob(on(gpu, components), gpu.asarray(value), result)
    few = 64 * np.finfo(result).eps
    np.testing.assert_allclose(gpu.to_numpy(found), expected, rtol=few, atol=few)


@pytest.mark.parametrize("logarithms", [False, True])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
@pytest.mark.parametrize("samples", [1, 20])
def test_weights_of_each_mixture_pick(gpu, random, kind, logarithms, samples):
    rows = 3000
    given = random.uniform(0.1, 1, (rows, 9)).astype(kind)
    given[:, 1] = 0
    weights = Weights(given, given.sum(axis=1, keepdims=True, dtype=F64))
    if logarithms:
        with np.errstate(divide="ignore"):
            given = np.log(given)
        shift = given.max(axis=1, keepdims=True).astype(F64)
        total = np.exp(given - shift).sum(axis=1, keepdims=True)
        weights = Weights(given, total, shift)
    components = Components(
        Normal, parameters(random, Normal, (rows, 9, 1)), weights, rows
    )
    size = rows * samples
    expected, chosen = CPU.draw(components, KEY, 0, size, F32)
    found, index = gpu.draw(on(gpu, components), KEY, 0, size, F32)
    np.testing.assert_array_equal(gpu.to_numpy(index), chosen)
    np.testing.assert_allclose(gpu.to_numpy(found), expected, rtol=1e-5, atol=1e-6)


def test_another_stream_waits_for_what_is_kept(gpu, random):
    """The first call's stream is held up while it prepares; the second's is not."""
    components = on(gpu, mixture(random, Normal, 1, 50, 1))
    value = gpu.asarray(values(random, Normal, (5000, 1, 1)))
    fresh = on(gpu, mixture(np.random.default_rng(20_260_101), Normal, 1, 50, 1))
    expected = gpu.to_numpy(gpu.mixture_log_prob(components, value, F32))
    busy = gpu.xp.random.random((4096, 4096))
    first, second = (gpu.xp.cuda.Stream(non_blocking=True) for _ in range(2))
    gpu.xp.cuda.Device().synchronize()
    with first:
        for _ in range(5):
            busy = busy @ busy
            busy /= busy.max()
        gpu.mixture_log_prob(fresh, value, F32)
    with second:
        found = gpu.mixture_log_prob(fresh, value, F32)
        second.synchronize()
    np.testing.assert_array_equal(gpu.to_numpy(found), expected)


def test_nothing_is_kept_that_a_graph_only_recorded(gpu, random):
    components = on(gpu, mixture(random, Normal, 1, 50, 1))
    warm = on(gpu, mixture(np.random.default_rng(20_260_101), Normal, 1, 50, 1))
    value = gpu.asarray(values(random, Normal, (5000, 1, 1)))
    out = gpu.xp.empty((5000, 1), F32)
    expected = gpu.to_numpy(gpu.mixture_log_prob(warm, value, F32, out)).copy()
    log_weights = warm.weights.log()  # its kernels compiled, its memory in the pool
    del log_weights
    with gpu.xp.cuda.Stream(non_blocking=True) as stream:
        gpu.mixture_log_prob(warm, value, F32, out)
        stream.begin_capture()
        gpu.mixture_log_prob(components, value, F32, out)
        stream.end_capture()
    assert not components.prepared
    found = gpu.mixture_log_prob(components, value, F32)
    np.testing.assert_array_equal(gpu.to_numpy(found), expected)


@pytest.fixture
def apart(gpu, random) -> tuple[Any, Any, Any]:
    """Components that lie apart, where they are and on the device; and rows there."""
    loc = (30 * random.normal(size=(1, 4096, 1))).astype(F32)
    scale = random.uniform(0.5, 2, (1, 4096, 1)).astype(F32)
    scale[0, 7] = 1e5
    weights = Weights.normalised(random.normal(size=(1, 4096)))
    components = Components(Normal, (loc, scale), weights, 1)
    value = (31 * random.normal(size=(700_001, 1, 1))).astype(F32)
    value[:5, 0, 0] = np.nan, np.inf, -np.inf, 1e6, -3e5
    return components, on(gpu, components), value


def test_windows_change_nothing_but_the_time(gpu, apart):
    components, here, value = apart
    given = gpu.asarray(value)
    found = gpu.to_numpy(gpu.mixture_log_prob(here, given, F32))
    assert any(key[0] == "windows" for key in here.prepared)  # chosen by itself
    plain = {"kernel": "fixed", "rows": 8, "polynomials": 0, "ordered": True}
    with choice.force(**plain):
        every = gpu.to_numpy(gpu.mixture_log_prob(here, given, F32))
    few = 64 * np.finfo(F32).eps
    np.testing.assert_allclose(found, every, rtol=few, atol=few)
    some = slice(0, None, 350)
    expected = CPU.mixture_log_prob(components, value[some], F32)
    np.testing.assert_allclose(found[some], expected, rtol=few, atol=few)


def test_windows_leave_a_row_its_bits(gpu, apart):
    """Whatever rows stand beside it, in whatever order, recorded or not."""
    _, here, value = apart
    given = gpu.asarray(value)
    out = gpu.xp.empty(value.shape[:2], F32)
    expected = gpu.to_numpy(gpu.mixture_log_prob(here, given, F32, out)).copy()
    for rows in (slice(None, None, -1), slice(100_000, None)):
        part = gpu.xp.ascontiguousarray(given[rows])
        found = gpu.to_numpy(gpu.mixture_log_prob(here, part, F32))
        np.testing.assert_array_equal(found, expected[rows])
    with gpu.xp.cuda.Stream(non_blocking=True) as stream:
        gpu.mixture_log_prob(here, given, F32, out)
        stream.synchronize()
        stream.begin_capture()
        gpu.mixture_log_prob(here, given, F32, out)
        graph = stream.end_capture()
        out[...] = 0
        graph.launch(stream)
        stream.synchronize()
    np.testing.assert_array_equal(gpu.to_numpy(out), expected)
