"""The screen of events: it may leave out only what cannot matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import logsumexp

import lucid
from lucid.backends.numpy import screen
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


@DTYPES
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_what_the_screen_is_off_by(offset: float, dtype: Any) -> None:
    """Never more than it says, and that is little beside what it looks for."""
    given, x = events(dtype, 9.0, offset)
    given.log_prob(x)
    found = given._density().prepared["numpy screen", np.dtype(dtype)]
    loc, square, constant = (part.astype(np.float64) for part in found.pairs)
    exact = ((x[:, None].astype(np.float64) - loc) ** 2 * square).sum(-1) + constant
    terms = found.terms(x).reshape(-1, 19)[: len(x)]
    off = abs(terms @ found.weights - exact).max(axis=1)
    bound = terms @ found.error / 2  # the error of two terms, the largest and another
    assert (off <= bound).all()
    assert (off > 0).all()
    assert bound[offset == 0 :: 5].max() < 8.0


@DTYPES
def test_the_screen_leaves_out_what_does_not_matter(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few pairs are evaluated, and the sum is that of all of them."""
    given, x = events(dtype, 9.0, 0.0)
    pairs: list[int] = []
    real = screen._exact

    def spy(of: Any, x: Any, row: Any, k: Any) -> Any:
        pairs.append(len(row))
        return real(of, x, row, k)

    monkeypatch.setattr(screen, "_exact", spy)
    found = given.log_prob(x).numpy()
    assert 300 <= sum(pairs) < 300 * 150 / 10
    parts = given.component_log_probs(x.astype(np.float64)).numpy()
    logs = np.log(given.mixture_distribution.probs.numpy().astype(np.float64))
    expected = logsumexp(parts + logs, axis=-1)
    assert_allclose(found, expected, rtol=8 * float(np.finfo(dtype).eps))


@DTYPES
def test_no_screen_where_it_would_leave_out_little(dtype: Any) -> None:
    given, x = events(dtype, 0.01, 0.0)
    given.log_prob(x)
    assert given._density().prepared["numpy screen", np.dtype(dtype)] is None


@pytest.mark.parametrize(("far", "screened"), [(1e18, True), (3e18, False)])
def test_a_rough_value_that_overflows_leaves_nothing_out(
    far: float, screened: bool
) -> None:
    """At its own location a component is found beside others 10¹⁸ away."""
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
    built = given._density().prepared["numpy screen", np.dtype(np.float32)]
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
    pairs: list[int] = []
    real = screen._exact
    monkeypatch.setattr(
        screen, "_exact", lambda *of: pairs.append(len(of[2])) or real(*of)
    )
    found = given.log_prob(x).numpy()
    assert sum(pairs) < 150 * 150 / 10
    parts = given.component_log_probs(x.astype(np.float64)).numpy()
    logs = np.log(given.mixture_distribution.probs.numpy().astype(np.float64))
    expected = logsumexp(parts + logs, axis=-1)
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
