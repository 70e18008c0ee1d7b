"""Distributions on several streams and devices, on a stand-in that works late.

There, what one stream has not made yet is garbage to another that does not wait for it,
and an array that is used while another device is the current one is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import backends
from lucid.distributions import (
    Bernoulli,
    Categorical,
    Gamma,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    Uniform,
)
from tests.late_backend import device as device
from tests.late_backend import world as world
from tests.late_cuda import World

WEIGHTS = np.array([0.2, 0.5, 0.3], np.float32)
ROWS = np.array([[0.2, 0.5, 0.3], [0.7, 0.2, 0.1]], np.float32)
LOC = np.array([-2.0, 0.5, 3.0], np.float32)
FACTOR = np.array([[1.5, 0.0], [0.4, 0.8]], np.float32)

MADE: dict[str, Callable[[], Any]] = {
    "shared probs": lambda: Categorical(probs=WEIGHTS),
    "shared logits": lambda: Categorical(logits=np.log(WEIGHTS)),
    "probs of each row": lambda: Categorical(probs=ROWS),
    "logits of each row": lambda: Categorical(logits=np.log(ROWS)),
    "Bernoulli": lambda: Bernoulli(probs=WEIGHTS),
    "Independent": lambda: Independent(Bernoulli(probs=WEIGHTS), 1),
    "Normal": lambda: Normal(LOC, WEIGHTS),
    "Gamma": lambda: Gamma(WEIGHTS, WEIGHTS),
    "Uniform": lambda: Uniform(LOC, LOC + 1),
    "MultivariateNormal": lambda: MultivariateNormal(LOC[:2], scale_tril=FACTOR),
    "mixture": lambda: MixtureSameFamily(
        Categorical(logits=np.log(WEIGHTS)), Bernoulli(probs=WEIGHTS)
    ),
    "mixtures": lambda: MixtureSameFamily(
        Categorical(logits=np.log(ROWS)), Bernoulli(probs=ROWS)
    ),
}
CALLS = ("log_prob", "cdf", "survival_function", "entropy")
PROPERTIES = (
    "probs", "logits", "mode", "mean", "variance", "stddev", "covariance",
    "loc", "scale_tril", "covariance_matrix", "precision_matrix",
)  # fmt: skip


def found(made: Any, name: str) -> Any:
    """What a call gives, not yet waited for; None where there is no such thing."""
    if name == "entropy" and not isinstance(made, Categorical):
        return None  # estimated from draws
    try:
        if name in PROPERTIES:
            return getattr(made, name)
        one = np.ones((4, *made.batch_shape, *made.event_shape), np.float32)
        return getattr(made, name)(*(() if name == "entropy" else (one,)))
    except (AttributeError, NotImplementedError):
        return None


def numbers(tensor: Any) -> Any:
    return None if tensor is None else tensor.numpy()


@pytest.fixture
def away(device: str) -> Callable[[str], Any]:
    """A distribution on a device that is not the current one."""
    return lambda kind: MADE[kind]().to(device)


@pytest.mark.parametrize("kind", MADE)
def test_every_call_runs_on_the_device_of_its_distribution(
    kind: str, away: Callable[[str], Any]
) -> None:
    here, there, calls = MADE[kind]().to("cpu"), away(kind), 0
    for name in (*CALLS, *PROPERTIES):
        expected = numbers(found(here, name))
        if expected is not None:
            calls += 1
            result = numbers(found(there, name))
            np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-7)
    assert calls > 3


def test_a_factor_is_found_on_the_device_of_its_matrix(device: str) -> None:
    covariance = lucid.tensor(FACTOR @ FACTOR.T, device=device)
    made = MultivariateNormal(
        lucid.tensor(LOC[:2], device=device),
        covariance_matrix=covariance,
        validate_args=False,
    )
    assert made.scale_tril.shape == (2, 2)


@pytest.mark.parametrize("kind", MADE)
def test_what_a_distribution_keeps_is_there_on_every_stream(
    kind: str, world: World, device: str, away: Callable[[str], Any]
) -> None:
    namespace = world.namespace
    for name in (*CALLS, *PROPERTIES):
        here, there = MADE[kind]().to("cpu"), away(kind)
        expected = numbers(found(here, name))
        if expected is None:
            continue
        with namespace.cuda.Device(1):
            # The parameters are there, which it is up to the caller to see to.
            world.null[1].synchronize()
            first, second = (namespace.cuda.Stream(non_blocking=True) for _ in "12")
            with first:
                found(there, name)
            with second:
                result = numbers(found(there, name))
            first.synchronize()
        np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-7)


def test_nothing_is_kept_that_a_graph_only_recorded(world: World, device: str) -> None:
    there = Categorical(logits=np.log(WEIGHTS)).to(device)
    stream = world.null[1]
    stream.capturing = True
    there.log_prob(np.arange(3))
    stream.capturing = False
    assert not [name for name in vars(there) if name.startswith("_cached")]


def test_a_call_like_the_last_waits_for_nothing(world: World, device: str) -> None:
    there = MADE["mixture"]().to(device)
    value = lucid.tensor(np.ones(4, np.float32), device=device)
    there.log_prob(value).numpy()
    world.trace.clear()
    there.log_prob(value)
    assert world.trace == []


@pytest.mark.parametrize("step", [1, 2])
def test_a_copy_between_devices_takes_its_turn_on_both(
    world: World, device: str, step: int
) -> None:
    source = np.arange(12.0).reshape(4, 3)
    first, second = (backends.get("cuda", i) for i in range(2))
    streams = []
    for index in range(2):
        with world.namespace.cuda.Device(index):
            streams.append(world.namespace.cuda.Stream(non_blocking=True))
    with streams[0], backends.scope(second), streams[1]:
        with backends.scope(first):
            made = world.namespace.asarray(source)[:, ::step]
        there = second.copy_of(made, first)
        with backends.scope(first):
            del made
            world.namespace.asarray(np.zeros((4, 3)))
        back = first.copy_of(there, second, np.float32)
        assert (there.device.id, back.device.id, back.dtype) == (1, 0, np.float32)
        np.testing.assert_array_equal(second.to_numpy(there), source[:, ::step])
        np.testing.assert_array_equal(first.to_numpy(back), source[:, ::step])
