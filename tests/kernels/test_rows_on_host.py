"""Parameters and weights of each row's own: the CUDA backend on the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from on_host import (
    CPU,
    F16,
    F32,
    F64,
    FAMILIES,
    agree,
    mixture,
    parameters,
    same_mixture,
    values,
)

from lucid.backends.cupy import choice, kernels
from lucid.backends.protocol import Components, Weights
from lucid.distributions import Normal

NAMES = {"rows": "mixture_rows", "reduction": "mixture_per_row"}


@pytest.fixture(params=NAMES)
def kernel(request: Any) -> Iterator[str]:
    with choice.force(kernel=request.param):
        yield request.param


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("samples", "event"), [(1, 1), (3, 1), (2, 4)])
def test_parameters_of_each_row(backend, random, kernel, family, samples, event):
    components = mixture(random, family, 70, 6, event, dead=[2])
    value = values(random, family, (samples, 70, event))
    names = same_mixture(backend, components, value)
    assert len(names) == 1
    assert NAMES["reduction" if event > 1 else kernel] in names[0]


@pytest.mark.parametrize("lanes", kernels.ROW_LANES)
@pytest.mark.parametrize("logarithms", [False, True])
def test_threads_share_a_row(backend, random, lanes, logarithms):
    """Fewer components than threads, a few more than they read at once, and many."""
    for count in (1, 2, 4 * lanes - 1, 4 * lanes + 3, 9 * lanes):
        rows = 5 if lanes == 256 else 37
        given = random.uniform(0, 1, (rows, count)).astype(F32)
        given[:, count // 2 + 1 :: 5] = 0
        weights = Weights(given, given.sum(axis=1, keepdims=True, dtype=F64))
        if logarithms:
            with np.errstate(divide="ignore"):
                weights = Weights.lazy(np.log(given) + F32.type(900), True, refuse)
        own = parameters(random, Normal, (rows, count, 1))
        components = Components(Normal, own, weights, rows)
        with choice.force(lanes=lanes):
            value = values(random, Normal, (1, rows, 1))
            found = backend.mixture_log_prob(components, value, F32)
        (launch,) = backend._device.launches
        assert f"lanes{lanes}" in launch.name
        assert launch.grid == (-(-rows * lanes // 256),)
        backend._device.launches.clear()
        plain = Weights(given, given.sum(axis=1, keepdims=True, dtype=F64))
        same = Components(Normal, own, plain, rows)
        agree(found, CPU.mixture_log_prob(same, value, F32))


def refuse():
    raise AssertionError("weights are normalised as they are read")


@pytest.mark.parametrize(
    ("weights", "unit"),
    [
        ([np.nan, 1, 1], np.nan),
        ([np.inf, 1, 1], np.nan),
        ([-1, 1, 1], np.nan),
        ([0, 0, 0], np.nan),
        ([0, 2, 0], 1.0),
    ],
)
def test_what_is_no_weight_gives_no_density(backend, weights, unit):
    """Components of weight 0 are none, whatever their parameters are."""
    dead = np.nan if unit == 1 else 1.0
    loc, scale = np.zeros((2, 3, 1), F32), np.ones((2, 3, 1), F32)
    loc[:, 0], scale[:, 2] = dead, dead
    given = np.tile(np.array([weights], F32), (2, 1))
    components = Components(Normal, (loc, scale), Weights.lazy(given, False, refuse), 2)
    found = backend.mixture_log_prob(components, np.ones((1, 2, 1), F32), F32)
    expected = unit * (-0.5 - 0.5 * np.log(2 * np.pi))
    agree(found, np.full((1, 2), expected, F32))


def test_parameters_of_each_row_may_be_views(backend, random):
    loc = np.broadcast_to(random.normal(size=(1, 6, 1)).astype(F32), (1, 6, 2))
    scale = np.broadcast_to(random.uniform(1, 2, (70, 1, 2)).astype(F32), (70, 6, 2))
    weights = Weights.normalised(np.full((1, 6), -np.log(6), F32))
    components = Components(Normal, (loc, scale), weights, 70)
    names = same_mixture(backend, components, values(random, Normal, (1, 70, 2)))
    assert "per_row" in names[0]


@pytest.mark.parametrize("logarithms", [False, True])
@pytest.mark.parametrize("sets", [1, 70])
def test_weights_are_normalised_in_place(backend, random, kernel, logarithms, sets):
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


@pytest.mark.parametrize(
    ("source", "weighed", "result"), [(F16, F16, F32), (F32, F64, F32), (F32, F16, F64)]
)
def test_other_types_are_read_where_they_are(
    backend, random, kernel, source, weighed, result
):
    given = random.uniform(0.1, 1, (70, 6)).astype(weighed)
    weights = Weights(given, given.sum(axis=1, keepdims=True, dtype=F64))
    own = parameters(random, Normal, (70, 6, 1), source)
    components = Components(Normal, own, weights, 70)
    same_mixture(backend, components, values(random, Normal, (1, 70, 1)), result)
    (launch,) = backend._device.launches
    for array in (*own, given):
        assert array.ctypes.data in launch.addresses


@pytest.mark.parametrize(
    "scale", [1e-30, 2.0**-149, 1e30, 3e38], ids=["small", "least", "large", "largest"]
)
def test_weights_of_any_size(backend, random, kernel, scale):
    """Neither their sum nor their quotient leaves the range of float32."""
    own = parameters(random, Normal, (3, 4, 1))
    given = np.array([[1, 1, 0, 1], [1, 1e-30, 0.5, 0], [0, 1, 1, 1]]) * scale
    with np.errstate(over="ignore"):
        given = given.astype(F32)
    if scale < 1e-38:
        given = given.astype(F64)  # the device flushes float32's denormals
    weights = Weights(given, given.sum(axis=1, keepdims=True, dtype=F64))
    components = Components(Normal, own, weights, 3)
    value = values(random, Normal, (1, 3, 1))
    same_mixture(backend, components, value)
    # The one component that reaches so far has next to no weight.
    far = np.array([[[-50.0], [-50.0], [-50.0]]], F32)
    loc, width = np.full((3, 4, 1), 30, F32), np.ones((3, 4, 1), F32)
    loc[:, 1] = -50
    same_mixture(backend, Components(Normal, (loc, width), weights, 3), far)
