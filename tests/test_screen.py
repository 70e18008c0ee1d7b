"""The screen of events: it may leave out only what cannot matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import logsumexp

import lucid
from lucid.backends.numpy import screen
from lucid.backends.numpy.buffers import Buffers
from lucid.distributions import Categorical, Independent, MixtureSameFamily, Normal

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture(autouse=True)
def _numpy_on_the_cpu() -> None:
    lucid.set_default_device("cpu")
    lucid.set_cpu_engine("numpy")


def events(dtype: Any, spread: float, offset: float) -> tuple[Any, Any]:
    """A mixture of 150 normal components in 9 dimensions, and draws near and far."""
    rng = np.random.default_rng(23)
    loc = offset + spread * rng.normal(size=(150, 9))
    scale = rng.uniform(0.25, 2.0, (150, 9))
    x = loc[rng.integers(0, 150, 300)] + rng.normal(size=(300, 9))
    x[::5] = offset + 3 * spread * rng.normal(size=(60, 9))
    loc, scale, x = (array.astype(dtype) for array in (loc, scale, x))
    weights = Categorical(rng.uniform(0.1, 1, 150).astype(dtype))
    return MixtureSameFamily(weights, Independent(Normal(loc, scale), 1)), x


def far_apart(dtype: Any, size: float = 1.0) -> tuple[Any, Any]:
    """A mixture of 100 normal components in 64 dimensions, draws, and values far."""
    rng = np.random.default_rng(5)
    loc, scale = 30 * rng.normal(size=(100, 64)), rng.uniform(0.5, 2.0, (100, 64))
    x = loc[rng.integers(0, 100, 90)] + rng.normal(size=(90, 64))
    x[1::3] *= 2
    x[2::3, 7] = 1e5
    loc, scale, x = ((size * array).astype(dtype) for array in (loc, scale, x))
    weights = Categorical(rng.uniform(0.1, 1, 100).astype(dtype))
    return MixtureSameFamily(weights, Independent(Normal(loc, scale), 1)), x


def screen_of(given: Any, dtype: Any) -> Any:
    """The screen of a mixture that has been asked for its density."""
    return given._density().prepared["numpy screen", np.dtype(dtype)]


def a_dimension_seen_and_one_not(given: Any, x: Any) -> tuple[int, int]:
    """By the screen of some dimensions that this mixture has."""
    given.log_prob(x[:1])
    seen = screen_of(given, x.dtype).chosen
    return int(seen[0]), next(d for d in range(64) if d not in seen)


def log_density(given: Any, x: Any) -> Any:
    """log Σ_k w_k p_k(x) of an array in float64, by SciPy."""
    parts = given.component_log_probs(x.astype(np.float64)).numpy()
    logs = np.log(given.mixture_distribution.probs.numpy().astype(np.float64))
    return logsumexp(parts + logs, axis=-1)


@DTYPES
@pytest.mark.parametrize("offset", [0.0, 300.0])
@pytest.mark.parametrize("chosen", [None, [1, 4, 7]])
def test_what_the_screen_is_off_by(chosen: Any, offset: float, dtype: Any) -> None:
    """Never more than it says, and that is little beside what it looks for."""
    given, x = events(dtype, 9.0, offset)
    given.log_prob(x)
    found = screen._screen_over(screen_of(given, dtype).pairs, chosen, 1.0)
    loc, square, constant = (part.astype(np.float64) for part in found.pairs)
    parts = (x[:, None].astype(np.float64) - loc) ** 2 * square
    exact = parts[..., slice(None) if chosen is None else chosen].sum(-1) + constant
    terms = found.terms(x, np.empty(304 * 19, np.float32))
    rough = np.concatenate([terms @ tile for tile in found.weights], axis=-1)
    off = abs(rough.reshape(304, 150)[: len(x)] - exact).max(axis=1)
    bound = (terms @ found.error).reshape(-1)[: len(x)]
    assert (off <= bound).all()
    assert (off > 0).all()
    assert bound[offset == 0 :: 5].max() < 8.0


@DTYPES
def test_the_screen_leaves_out_what_does_not_matter(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few pairs are evaluated, and the sum is that of all of them."""
    given, x = events(dtype, 9.0, 0.0)
    given.log_prob(x[:1])
    pairs: list[int] = []
    real = screen._exact

    def spy(of: Any, x: Any, row: Any, k: Any, work: Any) -> Any:
        pairs.append(len(k))
        return real(of, x, row, k, work)

    monkeypatch.setattr(screen, "_exact", spy)
    found = given.log_prob(x).numpy()
    assert 300 <= sum(pairs) < 300 * 150 / 10
    expected = log_density(given, x)
    assert_allclose(found, expected, rtol=8 * float(np.finfo(dtype).eps))


@DTYPES
def test_a_screen_of_some_dimensions(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does for draws; values far off from all components need all dimensions."""
    given, x = far_apart(dtype)
    asked: list[tuple[int | None, int]] = []
    real = screen._log_sum

    def spy(of: Any, x: Any, buffers: Any) -> Any:
        asked.append((None if of.chosen is None else len(of.chosen), len(x)))
        return real(of, x, buffers)

    given.log_prob(x[:1])
    monkeypatch.setattr(screen, "_log_sum", spy)
    found = given.log_prob(x).numpy()
    few = len(screen_of(given, dtype).chosen)
    assert few < 32
    assert asked == [(few, 90), (None, 60)]
    expected = log_density(given, x)
    assert_allclose(found, expected, rtol=8 * float(np.finfo(dtype).eps))
    alone = [given.log_prob(x[i : i + 1]).numpy()[0] for i in range(90)]
    assert np.array_equal(found, alone)


@DTYPES
def test_more_components_than_a_product_has(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A product for some components at a time; the best may come late."""
    monkeypatch.setattr(screen, "_WIDTH", 64)
    for given, x in (events(dtype, 9.0, 0.0), far_apart(dtype)):
        found = given.log_prob(x).numpy()
        eps = float(np.finfo(dtype).eps)
        assert_allclose(found, log_density(given, x), rtol=8 * eps)


@DTYPES
def test_missing_and_infinite_values_under_a_screen_of_some_dimensions(
    dtype: Any,
) -> None:
    """Whether it looks at them or not."""
    given, x = far_apart(dtype)
    seen, unseen = a_dimension_seen_and_one_not(given, x)
    x[0, seen], x[1, seen], x[3, unseen], x[4, unseen] = np.nan, np.inf, np.nan, np.inf
    found = given.log_prob(x).numpy()
    assert np.isnan(found[[0, 3]]).all()
    assert np.isneginf(found[[1, 4]]).all()
    others = np.setdiff1d(np.arange(90), [0, 1, 3, 4])
    eps = float(np.finfo(dtype).eps)
    assert_allclose(found[others], log_density(given, x)[others], rtol=8 * eps)


@pytest.mark.parametrize(("dtype", "far"), [(np.float32, 3e19), (np.float64, 1e160)])
def test_squares_that_overflow_under_a_screen_of_some_dimensions(
    dtype: Any, far: float
) -> None:
    """z² is within range, (x − μ)² is not, whether the screen looks at it or not."""
    given, x = far_apart(dtype, 1e11)
    seen, unseen = a_dimension_seen_and_one_not(given, x)
    x[0, seen], x[3, unseen] = far, far
    found = given.log_prob(x).numpy()
    assert np.isfinite(found).all()
    eps = float(np.finfo(dtype).eps)
    assert_allclose(found, log_density(given, x), rtol=8 * eps)


def test_a_square_that_overflows_for_one_component_alone() -> None:
    """It may be the best: the row is left to a screen that sees it, or to none."""
    loc, square = np.zeros((2, 6), np.float32), np.full((2, 6), -1e-22, np.float32)
    loc[:, 4:] = [[5e17, -1.1e18], [-5e17, 1.1e18]]
    x = np.array([[0, 0, 0, 0, 1.8e19, 1.5e19]], np.float32)
    pairs = loc, square, np.zeros(2, np.float32)
    some = screen._screen_over(pairs, np.arange(4), 1e9)
    with np.errstate(over="ignore"):
        assert screen._log_sum(some, x, Buffers())[1].tolist() == [np.inf]
        assert np.isnan(screen._directly(some, x, Buffers())).all()
        x[0, 4] = 1.7e19  # with no overflow, both are evaluated
        assert screen._log_sum(some, x, Buffers())[1].tolist() == [1.0]


@DTYPES
def test_no_screen_where_it_would_leave_out_little(dtype: Any) -> None:
    given, x = events(dtype, 0.01, 0.0)
    given.log_prob(x)
    assert screen_of(given, dtype) is None


@pytest.mark.parametrize(("far", "screened"), [(1e14, True), (1e18, False)])
def test_a_rough_value_that_overflows_leaves_nothing_out(
    far: float, screened: bool
) -> None:
    """At its own location a component is found beside others that far away."""
    loc = np.random.default_rng(0).normal(size=(256, 4)) * far / 30
    loc[:4] = np.array([[far], [-far], [0.9 * far], [-0.9 * far]])
    scale = np.full((256, 4), 0.3)
    scale[2:4] = 0.1
    loc, scale = loc.astype(np.float32), scale.astype(np.float32)
    parts = Independent(Normal(loc, scale), 1)
    given = MixtureSameFamily(Categorical(np.ones(256, np.float32)), parts)
    expected = -2 * np.log(2 * np.pi) - 4 * np.log(scale[:4, 0]) - np.log(256)
    assert_allclose(given.log_prob(loc[:4]).numpy(), expected, rtol=1e-5, atol=1e-5)
    assert given.posterior_mode(loc[:4]).numpy().tolist() == [0, 1, 2, 3]
    built = screen_of(given, np.float32)
    assert (built is not None) is screened


@DTYPES
def test_rows_that_most_components_matter_to_are_evaluated_directly(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Far from all, no rough value tells components apart: no pair goes one by one."""
    x = events(dtype, 9.0, 0.0)[1]
    loc = events(dtype, 9.0, 0.0)[0].component_distribution.mean.numpy()
    parts = Independent(Normal(loc, np.ones_like(loc)), 1)
    given = MixtureSameFamily(Categorical(np.ones(150, dtype)), parts)
    x[1::2] *= dtype(1e8)
    given.log_prob(x[:1])
    pairs: list[int] = []
    real = screen._exact
    monkeypatch.setattr(
        screen, "_exact", lambda *of: pairs.append(len(of[3])) or real(*of)
    )
    found = given.log_prob(x).numpy()
    assert sum(pairs) < 150 * 150 / 10
    expected = log_density(given, x)
    assert_allclose(found, expected, rtol=8 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 1e11), (np.float64, 1e80)])
@pytest.mark.parametrize(("count", "size"), [(1, 2), (2, 2), (2, 3), (300, 4)])
def test_a_difference_whose_square_overflows(
    count: int, size: int, dtype: Any, scale: float
) -> None:
    """z² of 10¹⁷ or 10¹⁶⁰ is within range, though (x − μ)² is not."""
    far = 3e8 * scale if dtype is np.float32 else scale**2
    parts = Normal(np.zeros((count, size), dtype), np.full((count, size), dtype(scale)))
    given = MixtureSameFamily(Categorical(np.ones(count, dtype)), Independent(parts, 1))
    x = np.zeros((5, size), dtype)
    x[2] = far
    found = given.log_prob(x).numpy()
    assert_allclose(found[2], -0.5 * size * (float(x[2, 0]) / scale) ** 2, rtol=1e-5)
    assert_allclose(found[2:3], given.log_prob(x[2:3]).numpy(), rtol=0)
    log_scale = np.log(scale) + 0.5 * np.log(2 * np.pi)
    assert_allclose(np.delete(found, 2), -size * log_scale, rtol=1e-6)


@DTYPES
@pytest.mark.parametrize("elements", [1 << 16, 1 << 10])
def test_rows_that_no_screen_serves_over_all_components(
    elements: int, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one part or in several: what one row gets does not depend on the others."""
    given, x = events(dtype, 9.0, 0.0)
    loc = given.component_distribution.mean.numpy().copy()
    loc[75:] = loc[:75] + dtype(0.1)  # the same matter in each part
    parts = Independent(Normal(loc, np.ones_like(loc)), 1)
    given = MixtureSameFamily(given.mixture_distribution, parts)
    x[4], x[7, 2] = np.nan, np.inf
    x[10, 3], x[13, 3] = (1e19, 1.9e19) if dtype is np.float32 else (1e151, 1e160)
    given.log_prob(x[:1])
    assert screen_of(given, dtype) is not None
    real = screen._log_sum
    monkeypatch.setattr(
        screen, "_log_sum", lambda *of: (real(*of)[0], np.full(len(of[1]), np.inf))
    )
    monkeypatch.setattr(screen, "_FULL", 1)
    monkeypatch.setattr(screen, "_DIFFERENCES", elements)
    found = given.log_prob(x).numpy()
    eps = float(np.finfo(dtype).eps)
    assert_allclose(found, log_density(given, x), rtol=8 * eps)
    alone = [given.log_prob(x[i : i + 1]).numpy()[0] for i in range(60)]
    assert np.array_equal(found[:60], alone, equal_nan=True)
