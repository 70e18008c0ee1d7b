"""What the corpus does not hold: draws, categories, modes, batches, special rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import stats
from scipy.special import log_softmax, logsumexp

from lucid import distributions
from lucid.backends.numpy.philox import NumpyBits, NumpyVectorBits
from lucid.backends.tables import IndexTable
from tests.kernels import calls
from tests.kernels.host import Host
from tests.kernels.sources import HEADERS, PARAMETERS, TYPES

dtypes = pytest.mark.parametrize("dtype", list(TYPES))
families = pytest.mark.parametrize("family", list(HEADERS))
KEY = (2**63 + 12345, 7)
LAWS = {
    "Normal": {"loc": [-1.0, 3.0, 0.0], "scale": [0.5, 2.0, 1.0]},
    "Laplace": {"loc": [-1.0, 3.0, 0.0], "scale": [0.5, 2.0, 1.0]},
    "StudentT": {
        "df": [1.0, 4.0, np.inf],
        "loc": [-1.0, 3.0, 0.0],
        "scale": [0.5, 2, 1],
    },
    "Gamma": {"concentration": [0.003, 1.0, 50.0], "rate": [2.0, 1.0, 5.0]},
    "Poisson": {"rate": [0.5, 9.0, 60.0]},
    "Bernoulli": {"logits": [-2.0, 0.0, 1.5]},
    "Uniform": {"low": [-1.0, 0.0, 2.0], "high": [0.5, 1.0, 7.0]},
}


def parameters(family: str, dtype: str) -> list[Any]:
    """Of three components, [K, 1]."""
    return [np.array(LAWS[family][p], dtype)[:, None] for p in PARAMETERS[family]]


def test_sanitizer_catches_a_read_past_the_end(folder: Path) -> None:
    """One log probability too few for the category asked for."""
    source = """#include "server.hpp"
#include "categorical.cuh"
static void gather(const float* table, long long value, float* out) {
  *out = lucid::categorical_gather(table, value, 4);
}
ENROLL(gather);
"""
    broken = Host(source, folder=folder)
    with pytest.raises(RuntimeError, match="heap-buffer-overflow"):
        broken("gather", (1,), 1, np.zeros(3, "f4"), 3, np.zeros(1, "f4"))
    broken.close()


def test_a_missing_barrier_shows(folder: Path) -> None:
    """Whichever of two threads comes first, in one of two rounds it is the other."""
    source = """#include "server.hpp"
static void exchange(int step, int* out) {
  __shared__ int staged[64];
  for (int round = 0; round < 2; ++round) {
    staged[threadIdx.x] = 10 * round + threadIdx.x;
    out[64 * round + threadIdx.x] = staged[(threadIdx.x + step) % 64];
    __syncthreads();
  }
}
ENROLL(exchange);
"""
    planted = Host(source, folder=folder)
    first = np.arange(64)
    for step in (1, 63):
        found = planted("exchange", (1,), 64, step, np.zeros(128, "i4"))[-1]
        right = np.roll(first, -step)
        assert (found != np.concatenate([right, right + 10])).any()
    planted.close()


def test_halves_are_read(host: Host) -> None:
    """All of them, NaN and denormals too."""
    bits = np.arange(2**16, dtype=np.uint16)
    for part in bits.reshape(-1, 1024):
        found = host("halves", (1,), 1024, part, np.empty(1024, "f4"))[-1]
        np.testing.assert_array_equal(found, part.view(np.float16).astype("f4"))


def test_philox_known_answers(host: Host) -> None:
    """Those of Random123 (Salmon et al. 2011, kat_vectors), and NumPy's words."""
    ones = 2**64 - 1
    digits = (
        (
            0x243F6A8885A308D3,
            0x13198A2E03707344,
            0xA4093822299F31D0,
            0x082EFA98EC4E6C89,
        ),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
    )
    known = [
        (
            (0,) * 4,
            (0, 0),
            "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b",
        ),
        (
            (ones,) * 4,
            (ones,) * 2,
            "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
        ),
        (
            *digits,
            "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
        ),
    ]
    for counter, key, words in known:
        found = host(
            "philox", (1,), 1, np.array(counter, "u8"), np.zeros(4, "u8"), *key
        )
        assert " ".join(f"{word:016x}" for word in found[-1]) == words
    for element in (0, 1, 2**64 - 1):
        found = host(
            "philox",
            (1,),
            1,
            np.array([element, 3, 2, 0], "u8"),
            np.zeros(4, "u8"),
            *KEY,
        )[-1]
        words = NumpyBits(KEY, element, 1, block=3).words(2, np.zeros(1, np.int64))
        np.testing.assert_array_equal(found, words[0])


def test_special_functions(host: Host) -> None:
    """δ(n) and log Γ(x + ½) − log Γ(x) − ½ log x, against mpmath."""
    x = np.array([1e-3, 0.1, 0.5, 0.999, 1, 1.5, 2, 5, 9.99, 10, 10.01, 100, 1e4, 1e8])
    empty = [np.empty_like(x), np.empty_like(x), *[np.empty(len(x), "f4")] * 2]
    found = host("special", (1,), len(x), x, *empty)[1:]
    mp: Any = mpmath.mp
    with mp.workdps(60):
        for i, n in enumerate(x):
            for single in (False, True):
                a = mp.mpf(float(np.float32(n) if single else n))
                stirling = mp.loggamma(a + 1) - (a + 0.5) * mp.log(a) + a
                stirling -= mp.log(2 * mp.pi) / 2
                ratio = mp.loggamma(a + 0.5) - mp.loggamma(a) - mp.log(a) / 2
                for expected, got in zip(
                    (stirling, ratio), found[2 * single :], strict=False
                ):
                    unit = 2.0 ** (-24 if single else -53)
                    error = abs(mp.mpf(float(got[i])) - expected)
                    assert error <= 4 * unit * max(1, abs(expected)), (
                        n,
                        got[i],
                        expected,
                    )


@dtypes
@families
def test_draws_are_the_cpus(host: Host, family: str, dtype: str) -> None:
    """The same indices, and values to a few ulp of what the CPU's formula draws."""
    count, size, start = 3, 500, 2**64 - 100
    table = IndexTable.from_weights(np.array([0.2, 0.5, 0.3]))
    given = parameters(family, dtype)
    views: list[Any] = []
    for parameter in [*given, None, None][:3]:
        views += [parameter, 0, 0, 0] if parameter is None else [parameter, 0, 1, 0]
    out, index = np.empty((size, 2), dtype), np.empty(size, np.int64)
    guide = table.guide
    found = host(
        f"draw_{family}_{TYPES[dtype]}", (2,), 256, *views, table.cumulative, guide, 1,
        len(guide), 1, count, 2, *KEY, start, size, out, index,
    )  # fmt: skip
    values, index = found[-2], found[-1]
    for block in range(2):
        bits = NumpyBits(KEY, start, 100, block)
        if block == 0:
            np.testing.assert_array_equal(index[:100], table.find(bits.words(0)[:, 0]))
        law = [p[index[:100], 0].astype(np.float64) for p in given]
        with np.errstate(invalid="ignore"):
            expected = getattr(distributions, family).draw(bits, *law)
        few = 8 * np.finfo(dtype).eps
        np.testing.assert_allclose(values[:100, block], expected, rtol=few, atol=few)
    if family == "Gamma":  # never 0: there log_prob is infinite
        assert values.min() == np.finfo(dtype).tiny
    assert np.bincount(index).min() > 60


@dtypes
def test_multivariate_normal_draws(host: Host, dtype: str) -> None:
    """loc + L·z with the normals of blocks 0 … D − 1."""
    rng = np.random.default_rng(1)
    loc = rng.normal(size=(2, 5)).astype(dtype)
    scale_tril = np.tril(rng.normal(size=(2, 5, 5))).astype(dtype)
    table = IndexTable.from_weights(np.array([0.4, 0.6]))
    out, index = np.empty((40, 5), dtype), np.empty(40, np.int64)
    name = f"draw_MultivariateNormal_{TYPES[dtype]}"
    found = host(
        name, (1,), 256, loc, scale_tril, 1, table.cumulative, table.guide, 1,
        len(table.guide), 1, 2, 5, *KEY, 10, 40, out, index,
    )  # fmt: skip
    words = NumpyVectorBits(KEY, 10, 40, 5).words(0)
    np.testing.assert_array_equal(found[-1], table.find(words[:, 0, 0]))
    radius = np.sqrt(-2 * np.log(((words[..., 1] >> 11) + np.uint64(1)) * 2.0**-53))
    z = radius * np.cos((words[..., 2] >> 11) * (2 * np.pi * 2.0**-53))
    k = found[-1]
    expected = loc[k] + np.einsum("rij,rj->ri", scale_tril[k].astype(np.float64), z)
    np.testing.assert_allclose(found[-2], expected, atol=50 * np.finfo(dtype).eps)


def test_index_tables(host: Host) -> None:
    """One table with its guide, a table a row by bisection; weight 0 is not picked."""
    rng = np.random.default_rng(2)
    weights = rng.exponential(size=(4, 300)) * (rng.random((4, 300)) < 0.5)
    one, many = IndexTable.from_weights(weights[0]), IndexTable.from_weights(weights)
    words = NumpyBits(KEY, 5, 2000).words(0)[:, 0]
    for table, guide, tables in ((one, one.guide, 1), (one, None, 1), (many, None, 4)):
        G = 0 if guide is None else len(guide)
        arguments = (table.cumulative, guide, tables, 300, G, *KEY, 5, 2000)
        found = host("draw_index", (8,), 256, *arguments, np.empty(2000, np.int64))[-1]
        np.testing.assert_array_equal(found, table.find(words))
        assert (weights[np.arange(2000) % tables, found] > 0).all()


def test_index_where_words_meet_sums(host: Host) -> None:
    """A threshold that equals a prefix sum belongs to the next category."""
    table = IndexTable.from_weights(np.array([1.0, 0.0, 1.0, 2.0]))
    words = np.array([0, 2**62 - 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)
    for guide in (table.guide, None):
        G, out = 0 if guide is None else len(guide), np.empty(len(words), np.int64)
        arguments = (table.cumulative, guide, 4, G, words, out)
        found = host("find_index", (1,), len(words), *arguments)[-1]
        np.testing.assert_array_equal(found, [0, 0, 2, 2, 3, 3])


@dtypes
def test_long_events_under_many_components(host: Host, dtype: str) -> None:
    """Elements and components both staged in several parts, components split too."""
    rng = np.random.default_rng(4)
    size, count = 37, 200
    loc = rng.normal(size=(count, size)).astype(dtype)
    scale = rng.uniform(0.5, 2, size=(count, size)).astype(dtype)
    logs = log_softmax(rng.normal(size=count)).astype(dtype)
    x = rng.normal(size=(150, size)).astype(dtype)
    prepared = calls.prepare(host, "Normal", [loc, scale], logs)
    wide = [a.astype(np.float64) for a in (x[:, None], loc, scale)]
    expected = logsumexp(logs + stats.norm.logpdf(*wide).sum(-1), axis=-1)
    few = 8 * np.finfo(dtype).eps
    for splits in (1, 3):
        found = calls.mixture(host, "Normal", prepared, x, splits, kernel="diagonal")
        np.testing.assert_allclose(found, expected, rtol=few)


@dtypes
@pytest.mark.parametrize(
    ("lanes", "count"), [(8, 1), (8, 13), (256, 1000), (256, 1001)]
)
def test_categorical(host: Host, dtype: str, lanes: int, count: int) -> None:
    """Per-row logits in one pass; −∞ where the index is out of bounds."""
    rng = np.random.default_rng(count)
    logits = (rng.normal(size=(3, count)) * 30 + 1000).astype(dtype)
    logits[:, 1::7] = -np.inf
    inside, outside = [0, count - 1, count // 2], [-1, count, 2**40]
    values = np.array([inside, outside, inside], np.int64)
    out = np.empty((3, 3), dtype)
    name = f"categorical{lanes}_{TYPES[dtype]}"
    # Two blocks for three rows, and the threads of each in either order; two more that
    # share their values.
    found, again, shared = (
        host(name, grid, 256, logits, values, out, 3, 3, count)[-1]
        for grid in ((2,), (2,), (2, 2))
    )
    np.testing.assert_array_equal(again, found)
    np.testing.assert_array_equal(shared, found)
    expected = log_softmax(logits.astype(np.float64), axis=-1)[np.arange(3), values[0]]
    tolerance = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(found[0], expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(found[2], found[0])
    assert (found[1] == -np.inf).all()


@dtypes
def test_mode(host: Host, dtype: str) -> None:
    """The first most probable component and its log posterior; NaN where none is."""
    loc = np.array([[0.0], [0.0], [4.0], [np.nan]], dtype)
    scale = np.array([[1.0], [1.0], [0.5], [1.0]], dtype)
    weights = np.array([0.3, 0.3, 0.4, 0.0], dtype)
    with np.errstate(divide="ignore"):
        logs = np.log(weights)
    prepared = calls.prepare(host, "Normal", [loc, scale], logs)
    x = np.array([0.1, 3.9, 30.0, np.nan, np.inf], dtype)[:, None]
    index, log_posterior = calls.mode(host, "Normal", prepared, x)
    joint = np.log(weights[:3]) + stats.norm.logpdf(x[:3], loc[:3, 0], scale[:3, 0])
    expected = joint.max(-1) - logsumexp(joint, axis=-1)
    np.testing.assert_array_equal(index, [0, 2, 0, 0, 0])
    np.testing.assert_allclose(
        log_posterior[:3], expected, atol=30 * np.finfo(dtype).eps
    )
    assert np.isnan(log_posterior[3:]).all()


@dtypes
@families
def test_special_rows(host: Host, family: str, dtype: str) -> None:
    """Dead components change nothing; NaN stays in its row; ±∞ and outside give −∞."""
    given = parameters(family, dtype)
    broken = [np.concatenate([p, [[np.nan]], [[np.inf]]]).astype(dtype) for p in given]
    logs = np.log(np.array([0.2, 0.5, 0.3], dtype))
    dead = np.concatenate([logs, [-np.inf, -np.inf]]).astype(dtype)
    x = np.array([1.0, np.nan, -np.inf, np.inf, 0.0, 1.0, -1.0], dtype)[:, None]
    clean = calls.prepare(host, family, given, logs)
    alive = calls.prepare(host, family, broken, dead)
    expected = calls.mixture(host, family, clean, x)
    assert np.isfinite(expected[[0, 5]]).all()
    assert np.isnan(expected[1])
    assert (expected[2:4] == -np.inf).all()
    for kernel in ("mixture", "diagonal"):
        found = calls.mixture(host, family, alive, x, kernel=kernel)
        np.testing.assert_allclose(found, expected, rtol=8 * np.finfo(dtype).eps)
    for kernel, components in (("fixed", alive), ("small3", clean)):
        found = calls.fixed(host, family, components, x, kernel)
        np.testing.assert_allclose(found, expected, rtol=8 * np.finfo(dtype).eps)
    rows = [np.broadcast_to(p, (len(x), *p.shape)) for p in broken]
    found = calls.per_row(host, family, rows, np.tile(dead, (len(x), 1)), x)
    np.testing.assert_allclose(found, expected, rtol=16 * np.finfo(dtype).eps)
    flat = [np.ascontiguousarray(p.T) for p in broken]
    for weights, logarithms in ((dead, True), (np.exp(dead), False)):
        own = (flat, np.tile(weights, (len(x), 1)), x[:, 0], 2, logarithms)
        found = calls.rows(host, family, *own)
        np.testing.assert_allclose(found, expected, rtol=16 * np.finfo(dtype).eps)
    # A NaN parameter of a component that does exist is not hidden.
    undead = calls.prepare(host, family, broken, np.full(5, np.log(0.2), dtype))
    assert np.isnan(calls.mixture(host, family, undead, x[:1])).all()


def test_gamma_edge(host: Host) -> None:
    """At 0 a shape under 1 has an infinite density, the shape 1 the density `rate`."""
    x = np.zeros((2, 1), "f4")
    for shape, expected in ((0.5, np.inf), (1.0, np.log(3.0)), (2.0, -np.inf)):
        law = [np.array([[shape]], "f4"), np.array([[3.0]], "f4")]
        prepared = calls.prepare(host, "Gamma", law, None)
        for kernel in ("mixture", "diagonal"):
            found = calls.mixture(host, "Gamma", prepared, x, kernel=kernel)
            np.testing.assert_allclose(found, expected, rtol=1e-6)


@dtypes
def test_batches_of_mixtures(host: Host, dtype: str) -> None:
    """Values [S, B], components [B, K]: each mixture its own, grid rows shared."""
    rng = np.random.default_rng(3)
    S, B, K = 5, 3, 40
    loc, scale = rng.normal(size=(B, K)), rng.uniform(0.5, 2, size=(B, K))
    logs = log_softmax(rng.normal(size=(B, K)), axis=-1)
    x = rng.normal(size=(S, B)).astype(dtype)
    sets = [a.astype(dtype) for a in (loc, scale, logs)]
    each = [
        calls.prepare(
            host, "Normal", [sets[0][b][:, None], sets[1][b][:, None]], sets[2][b]
        )
        for b in range(B)
    ]
    factors = np.stack([one.factors[0] for one in each])
    constants = np.stack([one.constants for one in each])
    joint = logs + stats.norm.logpdf(x[..., None], loc, scale)
    expected = logsumexp(joint, axis=-1)
    for name, threads, tail in (("mixture", 128, ()), ("diagonal", 256, (1,))):
        found = host(
            f"{name}_Normal_{TYPES[dtype]}", (1, 2, 1), threads, x, factors, constants,
            np.empty((S, B), dtype), None, S, B, K, *tail,
        )  # fmt: skip
        np.testing.assert_allclose(found[-1], expected, atol=30 * np.finfo(dtype).eps)
