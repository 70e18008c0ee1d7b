"""Many values under one categorical distribution: looked up, blocks over threads."""

from __future__ import annotations

import importlib
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax

import lucid
from lucid.backends.numpy import categorical
from lucid.distributions import Categorical

COUNT = 300
INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@pytest.fixture(autouse=True)
def _on_the_cpu(each_engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value compiled, where the engine compiles."""
    lucid.set_default_device("cpu")
    if each_engine == "numba":
        compiled = importlib.import_module("lucid.backends.numba.categorical")
        monkeypatch.setattr(compiled, "MANY", 1)
        monkeypatch.setattr(compiled, "SHARE", 500)


def weights(dtype: Any = np.float64) -> tuple[Categorical, Any]:
    """A distribution over COUNT categories, and its log probabilities in float64."""
    logits = np.random.default_rng(0).normal(0.0, 3.0, COUNT).astype(dtype)
    logits[7] = -np.inf
    return Categorical(logits=logits), log_softmax(logits.astype(np.float64))


def expected_at(value: Any, log: Any) -> Any:
    """log p of the integers 0 … COUNT − 1, −∞ elsewhere, in plain Python."""
    place = {k: log[k] for k in range(COUNT)}
    return np.array([place.get(v, -np.inf) for v in value.tolist()])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_of_every_width(dtype: str) -> None:
    given, log = weights()
    limits = np.iinfo(dtype)
    edges = [limits.min, limits.min + 1, limits.max - 1, limits.max]
    edges += [k for k in (-1, 0, 7, COUNT - 1, COUNT) if limits.min <= k <= limits.max]
    value = np.array(edges, dtype)
    found = given.log_prob(value).numpy()
    assert_allclose(found, expected_at(value, log), rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_that_are_no_index(dtype: Any) -> None:
    given, log = weights(dtype)
    odd = [0.5, -0.5, -0.0, -1.0, 2.0**31, 2.0**63, -(2.0**63), 2.0**64, 1e30, -1e30]
    value = np.array([*odd, np.inf, -np.inf, np.nan, 0.0, 7.0, 299.0, 300.0], dtype)
    found = given.log_prob(value).numpy()
    assert np.isnan(found[12])
    value[12] = -1.0
    found[12] = -np.inf
    rtol = 4 * float(np.finfo(dtype).eps)
    assert_allclose(found, expected_at(value, log), rtol=rtol)


@pytest.mark.parametrize("kind", [np.int64, np.float32])
def test_blocks_strides_and_threads(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, however values lie in memory and whoever looks them up."""
    given, log = weights()
    value = np.random.default_rng(1).integers(-3, COUNT + 3, (50, 21, 4)).astype(kind)
    expected = expected_at(value.reshape(-1), log).reshape(value.shape)
    monkeypatch.setattr(categorical, "_LOOKUP", 200)
    monkeypatch.setattr(categorical, "_SHARE", 500)
    for threads in (1, 3):
        lucid.set_num_threads(threads)
        for axes in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
            moved = given.log_prob(value.transpose(axes)).numpy()
            assert_allclose(moved, expected.transpose(axes), rtol=1e-14)
        assert_array_equal(
            given.log_prob(value[::-1, ::2, 1:3]).numpy(),
            given.log_prob(value).numpy()[::-1, ::2, 1:3],
        )
    assert given.log_prob(value[:0]).shape == (0, 21, 4)


def test_a_value_for_a_whole_batch() -> None:
    """One result each, of which each can be written to."""
    given, log = weights()
    wide = given.expand((2, 3))
    found = wide.log_prob(5).numpy()
    assert_allclose(found, np.full((2, 3), log[5]), rtol=1e-14)
    found[0, 0] = 1.0
    assert found[1, 1] == pytest.approx(log[5])
    assert wide.log_prob(np.array([[5], [300]])).numpy()[1].tolist() == [-np.inf] * 3


def test_nothing_is_kept_beside_the_result() -> None:
    given, _ = weights(np.float32)
    value = np.random.default_rng(2).integers(0, COUNT, 1_000_000)
    lucid.set_num_threads(1)
    given.log_prob(value)
    tracemalloc.start()
    try:
        result = given.log_prob(value)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - result.numpy().nbytes < value.nbytes / 16
