"""What the host cannot show of the CUDA backend: real streams, real element types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from on_host import CPU, F16, F32, F64, KEY, mixture, parameters, values

from lucid import backends
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
