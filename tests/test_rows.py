"""Mixtures of which every row has its own: density networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import logsumexp

import lucid

pytest.importorskip("numba")

from lucid.backends.numba import kernels, rows
from lucid.backends.numpy import blocks, prepare
from lucid.distributions import (
    Categorical,
    Laplace,
    MixtureSameFamily,
    Normal,
    Uniform,
)
from tests.bounds import bounded
from tests.family_table import TABLE
from tests.test_engine import DTYPES

INF, NAN = math.inf, math.nan
KINDS = pytest.mark.parametrize("kind", ["probs", "logits"])
pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.fixture
def on_the_cpu(each_engine: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("lucid._device._chosen", lucid.device("cpu"))
    return each_engine


@pytest.fixture
def compiled(on_the_cpu: str, request: pytest.FixtureRequest) -> None:
    """Where Numba is the engine, it leaves nothing to NumPy."""
    if on_the_cpu == "numba":
        request.getfixturevalue("no_numpy")


def network(count: int, rows: int, dtype: Any) -> tuple[Any, ...]:
    """Weights, some of them 0, loc and scale [rows, count]."""
    rng = np.random.default_rng(count)
    shape = rows, count
    probs = rng.uniform(0.01, 1, shape) * (rng.random(shape) < 0.8)
    probs[:, 0] = 1.0
    loc, scale = rng.normal(0, 3, shape), rng.uniform(0.2, 2, shape)
    return probs.astype(dtype), loc.astype(dtype), scale.astype(dtype)


def weighted(kind: str, probs: Any) -> Categorical:
    """A Categorical of weights, or of their logarithms at an offset."""
    with np.errstate(divide="ignore"):
        given = probs if kind == "probs" else np.log(probs) + probs.dtype.type(30)
    return Categorical(**{kind: given}, validate_args=False)


# ---- right


@pytest.mark.usefixtures("compiled")
@DTYPES
@KINDS
@pytest.mark.parametrize("block", [1, 1 << 14])
@pytest.mark.parametrize("count", [1, 11, 16, 64, 75, 300, 1025])
def test_rows_of_their_own(
    count: int, block: int, kind: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "BLOCK_COMPONENTS", block)
    monkeypatch.setattr(blocks, "BLOCK_FACTORS", block)
    monkeypatch.setattr(prepare, "KEPT_ELEMENTS", block)
    probs, loc, scale = network(count, 200, dtype)
    given = MixtureSameFamily(weighted(kind, probs), Normal(loc, scale))
    x = np.random.default_rng(9).normal(0, 4, (3, 200)).astype(dtype)
    found = given.log_prob(x).numpy()
    terms = stats.norm.logpdf(x[..., None].astype(np.float64), loc, scale)
    total = probs.sum(-1, keepdims=True, dtype=np.float64)
    expected = logsumexp(terms, b=probs / total, axis=-1)
    assert_allclose(found, expected, rtol=16 * float(np.finfo(dtype).eps), atol=4e-6)
    assert_array_equal(given.log_prob(x[1]).numpy(), found[1])


@pytest.mark.usefixtures("compiled")
@KINDS
@pytest.mark.parametrize("family", [Normal, Laplace, Uniform])
@pytest.mark.parametrize("spread", [1.0, 8.0])
@pytest.mark.parametrize("count", [1, 2, 17, 40, 300])
def test_float32_is_within_its_promise(
    count: int, spread: float, family: Any, kind: str
) -> None:
    """4·u·B: narrow and wide components, near and far, light and heavy."""
    rng = np.random.default_rng(count)
    n = 20_000 // count
    wide = np.exp(rng.normal(0, spread, (n, count))).astype(np.float32)
    loc = (wide * rng.normal(0, 3, wide.shape)).astype(np.float32)
    weights = np.exp(rng.normal(0, spread, wide.shape)).astype(np.float32)
    picked = rng.integers(0, count, n), np.arange(n)
    own = loc[picked[1], picked[0]], wide[picked[1], picked[0]]
    x = (own[0] + own[1] * rng.uniform(0, 1, n)).astype(np.float32)
    second = loc + wide if family is Uniform else wide
    given = MixtureSameFamily(weighted(kind, weights), family(loc, second))
    names = ("low", "high") if family is Uniform else ("loc", "scale")
    logits = np.log(weights) + np.float32(30) if kind == "logits" else None
    logs = np.log(weights.astype(np.float64)) if logits is None else logits
    exact = bounded(
        family.__name__, dict(zip(names, (loc, second), strict=True)), x, logs
    )
    found = given.log_prob(x).numpy()
    finite = np.isfinite(exact.log_prob)
    assert_array_equal(found[~finite], exact.log_prob[~finite])
    error = abs(found - exact.log_prob)[finite] / exact.bound[finite]
    assert error.max() <= 4 * 2.0**-24


@DTYPES
@pytest.mark.parametrize(
    "row", [row for row in TABLE if not row.is_vector], ids=lambda row: row.name
)
def test_any_family(row: Any, dtype: Any) -> None:
    """Rows alike have the log density of one mixture that all share."""
    given = row.make()
    own = [array.reshape(-1)[:1].astype(dtype) for array in given._family_arrays()]
    alike = [np.repeat(array, 80 * 3).reshape(80, 3) for array in own]
    make = type(given)
    names = given.family_parameters
    shared = MixtureSameFamily(
        Categorical(np.ones(3, dtype)),
        make(**{name: a[0] for name, a in zip(names, alike, strict=True)}),
    )
    each = MixtureSameFamily(
        Categorical(np.ones((80, 3), dtype)),
        make(**dict(zip(names, alike, strict=True))),
    )
    x = shared.sample((80,), lucid.Generator(1)).numpy().astype(dtype)
    expected = shared.log_prob(x).numpy()
    assert_allclose(each.log_prob(x).numpy(), expected, rtol=1e-5, atol=1e-6)


@DTYPES
@pytest.mark.parametrize("family", ["Normal", "Laplace", "Uniform", "Bernoulli"])
def test_families_that_compile(family: str, dtype: Any) -> None:
    (row,) = (row for row in TABLE if row.name == family)
    parameters = len(row.make()._family_arrays())
    assert kernels.rows(row.family, 1, parameters, np.dtype(dtype)) is not None


# ---- each row for itself


@DTYPES
@KINDS
@pytest.mark.parametrize("count", [3, 20, 64, 300, 1025])
def test_a_row_alone_has_the_bits_that_it_has_among_others(
    count: int, kind: str, dtype: Any
) -> None:
    probs, loc, scale = network(count, 150, dtype)
    x = np.random.default_rng(1).normal(0, 4, 150).astype(dtype)
    whole = MixtureSameFamily(weighted(kind, probs), Normal(loc, scale)).log_prob(x)
    for part in (slice(0, 17), slice(70, 149), slice(130, 150)):
        given = MixtureSameFamily(
            weighted(kind, probs[part]), Normal(loc[part], scale[part])
        )
        assert_array_equal(given.log_prob(x[part]).numpy(), whole.numpy()[part])


@DTYPES
@KINDS
@pytest.mark.parametrize("count", [5, 70])
def test_many_values_of_each_row(count: int, kind: str, dtype: Any) -> None:
    probs, loc, scale = network(count, 70, dtype)
    given = MixtureSameFamily(weighted(kind, probs), Normal(loc, scale))
    x = np.random.default_rng(2).normal(0, 4, (37, 70)).astype(dtype)
    found = given.log_prob(x).numpy()
    for s in (0, 15, 16, 36):
        assert_array_equal(given.log_prob(x[s]).numpy(), found[s])


@pytest.mark.usefixtures("compiled")
@DTYPES
@KINDS
@pytest.mark.parametrize("count", [20, 70])
def test_what_rows_share_is_broadcast(count: int, kind: str, dtype: Any) -> None:
    """Weights, locations or scales of all rows, or of all components of a row."""
    probs, loc, scale = network(count, 90, dtype)
    x = np.random.default_rng(3).normal(0, 4, 90).astype(dtype)

    def found(probs: Any, loc: Any, scale: Any) -> Any:
        given = MixtureSameFamily(weighted(kind, probs), Normal(loc, scale))
        return given.log_prob(x).numpy()

    whole = np.broadcast_to
    expected = found(whole(probs[0], (90, count)).copy(), loc, scale)
    assert_array_equal(found(probs[0], loc, scale), expected)
    expected = found(probs, whole(loc[0], (90, count)).copy(), scale)
    assert_array_equal(found(probs, loc[0], scale), expected)
    expected = found(probs, loc, whole(scale[:, :1], (90, count)).copy())
    assert_array_equal(found(probs, loc, scale[:, :1]), expected)


# ---- special values


@DTYPES
@KINDS
@pytest.mark.parametrize("count", [6, 70])
def test_a_component_of_no_weight_leaves_no_trace(
    count: int, kind: str, dtype: Any
) -> None:
    probs, loc, scale = network(count, 80, dtype)
    probs[:, 4:] = 0.0
    x = np.random.default_rng(4).normal(0, 4, 80).astype(dtype)
    expected = MixtureSameFamily(weighted(kind, probs), Normal(loc, scale)).log_prob(x)
    loc[:, 4], loc[:, 5], scale[:, 4], scale[:, 5] = NAN, INF, -1.0, NAN
    components = Normal(loc, scale, validate_args=False)
    found = MixtureSameFamily(weighted(kind, probs), components).log_prob(x)
    assert_array_equal(found.numpy(), expected.numpy())


@DTYPES
@KINDS
@pytest.mark.parametrize("count", [2, 20, 70])
def test_rows_without_weights_are_nan_alone(count: int, kind: str, dtype: Any) -> None:
    none = 0.0 if kind == "probs" else -INF
    given = np.ones((24, count), dtype)
    given[1] = none
    given[3, 1], given[5, 0] = NAN, INF
    given[6, 0] = none
    x = np.zeros(24, dtype)
    x[7] = NAN
    weights = Categorical(**{kind: given}, validate_args=False)
    loc = np.ones((24, count), dtype)
    found = MixtureSameFamily(weights, Normal(loc, 1.0)).log_prob(x).numpy()
    assert_array_equal(np.flatnonzero(np.isnan(found)), [1, 3, 5, 7])
    assert_allclose(found[~np.isnan(found)], stats.norm.logpdf(1.0), rtol=1e-6)


@DTYPES
@KINDS
@pytest.mark.parametrize("count", [2, 70])
def test_weights_of_any_size_are_kept(count: int, kind: str, dtype: Any) -> None:
    """The least number beside the largest: neither is clamped, nor is their ratio."""
    info, none = np.finfo(dtype), [0.0] * (count - 2)
    probs = [[info.smallest_subnormal, 1.0, *none], [info.max, info.tiny, *none]]
    probs = np.tile(np.array(probs, dtype), (10, 1))
    loc = np.tile(np.array([[0.0, 50.0, *none], [0.0, 20.0, *none]], dtype), (10, 1))
    x = np.tile(np.array([0.0, 20.0], dtype), 10)
    given = MixtureSameFamily(weighted(kind, probs), Normal(loc, dtype(1)))
    with np.errstate(under="ignore", divide="ignore"):
        logs = np.log(probs) - np.log(probs.max(-1, keepdims=True))
    terms = stats.norm.logpdf(x[:, None], loc.astype(np.float64)) + logs
    expected = logsumexp(terms, axis=-1)
    assert_allclose(given.log_prob(x).numpy(), expected, rtol=1e-5)


@DTYPES
@KINDS
@pytest.mark.parametrize("count", [6, 70])
def test_infinite_values_and_values_far_away(count: int, kind: str, dtype: Any) -> None:
    probs, loc, scale = network(count, 20, dtype)
    x = np.array([INF, -INF, NAN] + [1e4, -1e4] * 8 + [0.0], dtype)
    found = MixtureSameFamily(weighted(kind, probs), Normal(loc, scale)).log_prob(x)
    assert np.isneginf(found.numpy()[:2]).all()
    assert np.isnan(found.numpy()[2])
    terms = stats.norm.logpdf(x[3:, None].astype(np.float64), loc[3:], scale[3:])
    expected = logsumexp(terms, b=probs[3:], axis=-1) - np.log(probs[3:].sum(-1))
    assert_allclose(found.numpy()[3:], expected, rtol=1e-6)


# ---- what is not computed


@pytest.mark.usefixtures("compiled")
@DTYPES
def test_weights_are_normalised_by_the_loops(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In no pass of its own: what normalises them is asked for by other methods."""
    probs, loc, scale = network(6, 40, dtype)
    asked: list[Any] = []
    real = Categorical._normaliser
    monkeypatch.setattr(
        Categorical, "_normaliser", lambda self: asked.append(self) or real(self)
    )
    given = MixtureSameFamily(weighted("logits", probs), Normal(loc, scale))
    given.log_prob(loc[:, 0])
    assert not asked
    share = probs / probs.sum(-1, keepdims=True, dtype=np.float64)
    assert_allclose(given.mean.numpy(), (share * loc).sum(-1), atol=1e-5)
    assert asked


def test_large_parameters_are_borrowed() -> None:
    """Those of a network's batch, which would take longer to copy than to score."""
    loc = np.zeros((1024, 1025), np.float32)
    assert np.shares_memory(Normal(loc, 1.0).loc.numpy(), loc)
    kept = loc[:, :1024]
    assert not np.shares_memory(Normal(kept, 1.0).loc.numpy(), kept)


@pytest.mark.parametrize("name", ["logits", "loc"])
def test_a_result_may_take_the_place_of_borrowed_parameters(name: str) -> None:
    rng = np.random.default_rng(5)
    shape = 70_000, 16
    given = {key: rng.normal(size=shape) for key in ("logits", "loc")}
    mixture = MixtureSameFamily(
        Categorical(logits=given["logits"]), Normal(given["loc"], 1.0)
    )
    x = rng.normal(size=len(given["loc"]))
    expected = mixture.log_prob(x).numpy()
    out = lucid.asarray(given[name].reshape(-1)[-70_000:], copy=False)
    assert_array_equal(mixture.log_prob(x, out=out).numpy(), expected)
