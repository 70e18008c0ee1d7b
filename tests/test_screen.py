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
    """A mixture of 50 normal components in 9 dimensions, and draws near and far."""
    rng = np.random.default_rng(23)
    loc = offset + spread * rng.normal(size=(50, 9))
    scale = rng.uniform(0.25, 2.0, (50, 9))
    x = loc[rng.integers(0, 50, 300)] + rng.normal(size=(300, 9))
    x[::5] = offset + 3 * spread * rng.normal(size=(60, 9))
    loc, scale, x = (array.astype(dtype) for array in (loc, scale, x))
    weights = Categorical(rng.uniform(0.1, 1, 50).astype(dtype))
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
    assert 300 <= sum(pairs) < 300 * 50 / 10
    parts = given.component_log_probs(x.astype(np.float64)).numpy()
    logs = np.log(given.mixture_distribution.probs.numpy().astype(np.float64))
    expected = logsumexp(parts + logs, axis=-1)
    assert_allclose(found, expected, rtol=8 * float(np.finfo(dtype).eps))


@DTYPES
def test_no_screen_where_it_would_leave_out_little(dtype: Any) -> None:
    given, x = events(dtype, 0.01, 0.0)
    given.log_prob(x)
    assert given._density().prepared["numpy screen", np.dtype(dtype)] is None
