"""The compiled screen of events: it may leave out only what cannot matter."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import logsumexp

import lucid

pytest.importorskip("numba")

from numba import types

from lucid.backends.numba import screen
from lucid.backends.numba.compiler import compiled
from lucid.backends.numba.loops import screen as loops
from lucid.backends.numba.mixture import Density
from lucid.backends.numba.source import compose
from lucid.distributions import Categorical, Independent, MixtureSameFamily, Normal

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
pytestmark = pytest.mark.usefixtures("numba_on_the_cpu", "no_numpy")


def mixture(loc: Any, scale: Any, dtype: Any, weights: Any = None) -> Any:
    """A mixture of normal components, of equal weights by default."""
    parts = Independent(Normal(loc.astype(dtype), scale.astype(dtype)), 1)
    weights = np.ones(len(loc)) if weights is None else weights
    return MixtureSameFamily(Categorical(weights.astype(dtype)), parts)


def far_apart(dtype: Any, offset: float = 0.0, size: float = 1.0) -> tuple[Any, Any]:
    """A mixture of 300 normal components in 64 dimensions, and values near and far.

    Draws; between two components; far from all.
    """
    rng = np.random.default_rng(11)
    loc, scale = 9 * rng.normal(size=(300, 64)), rng.uniform(0.5, 2.0, (300, 64))
    loc[100:110] = loc[:10] + 0.4  # these matter beside one another
    at = rng.integers(0, 300, 100)
    at[::4] = rng.integers(0, 10, 25)
    x = loc[at] + scale[at] * rng.normal(size=(100, 64))
    x[1::10] = (loc[at[1::10]] + loc[at[2::10]]) / 2
    x[2::10] *= 4
    weights = rng.uniform(0.1, 1.0, 300)
    loc, scale, x = size * (loc + offset), size * scale, size * (x + offset)
    return mixture(loc, scale, dtype, weights), x.astype(dtype)


def screen_of(given: Any, dtype: Any) -> Any:
    """The screen of a mixture."""
    given.log_prob(np.zeros((1, 64), dtype))
    return given._density().prepared["numba", np.dtype(dtype)][0].screen


def exactly(given: Any, x: Any) -> Any:
    """log(w_k p_k(x)) in float64, by SciPy."""
    parts = given.component_distribution
    loc, scale = (t.numpy().astype(np.float64) for t in (parts.mean, parts.stddev))
    logs = np.log(given.mixture_distribution.probs.numpy().astype(np.float64))
    return stats.norm.logpdf(x[:, None].astype(np.float64), loc, scale).sum(-1) + logs


def close(dtype: Any) -> float:
    """The relative error allowed."""
    return 8 * float(np.finfo(dtype).eps)


@DTYPES
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_what_bounds_are_off_by(offset: float, dtype: Any) -> None:
    """Never more than is said, and that is little beside what is looked for."""
    given, x = far_apart(dtype, offset)
    x[: loops.ROWS : 2] = offset + 30 * (x[: loops.ROWS : 2] - offset)
    of = screen_of(given, dtype)
    real, single = types.float32 if dtype is np.float32 else types.float64, np.float32
    text = compose(np.dtype(dtype).name, "arithmetic", "screen")

    def array(kind: Any, ndim: int) -> Any:
        return types.Array(kind, ndim, "C")

    rough = types.float32
    shift = compiled(
        text,
        "shift",
        types.void(
            array(real, 2),
            types.int64,
            types.int64,
            array(types.int64, 1),
            array(real, 1),
            array(rough, 1),
            array(rough, 2),
            array(rough, 1),
        ),
    )
    tuple_of = types.Tuple([array(rough, 4), array(rough, 4), array(rough, 3)])
    fill = compiled(
        text,
        "fill_bounds",
        types.void(
            array(rough, 2), types.int64, tuple_of, array(rough, 2), array(rough, 3)
        ),
    )
    count, size = loops.ROWS, len(of.chosen)
    shifted, reach = np.zeros((count, size), single), np.zeros(count, single)
    part = np.zeros((loops.TOGETHER, loops.WIDTH), single)
    bound = np.zeros((count, *of.rough[2].shape[1:]), single)
    shift(x, 0, count, of.chosen, of.centre, of.error, shifted, reach)
    fill(shifted, count, of.rough, part, bound)
    loc, square, constant = (part.astype(np.float64) for part in of.pairs)
    terms = (x[:count, None].astype(np.float64) - loc) ** 2 * square
    exact = terms[..., of.chosen].sum(axis=-1) + constant
    off = abs(bound.reshape(count, -1)[:, :300] - exact).max(axis=1)
    besides = of.limits[loops.NEAR] - screen.BITS[np.dtype(dtype)] - np.log2(300)
    assert (off <= reach + besides).all()
    assert (off > 0).all()
    assert (reach + besides).min() < 4.0


@DTYPES
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("groups", [1, 5])
def test_it_is_the_sum_over_the_components(
    groups: int, offset: float, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of which few are evaluated; some rows are left to all of them."""
    if groups > 1:
        monkeypatch.setattr(screen, "_GROUPS", 64)
    given, x = far_apart(dtype, offset)
    of = screen_of(given, dtype)
    assert len(of.rough[0]) == groups
    top, _, left = of.sums(x)[1]
    assert 0 < np.isnan(top).sum() < 50
    assert np.count_nonzero(left[~np.isnan(top)]) > 10
    expected = logsumexp(exactly(given, x), axis=-1)
    assert_allclose(given.log_prob(x).numpy(), expected, rtol=close(dtype))


def test_what_looks_best_may_not_be() -> None:
    """The next best is tried, before a row is left for what is below a bad one."""
    rng = np.random.default_rng(7)
    loc, scale = 30 * rng.normal(size=(1024, 64)), rng.uniform(0.5, 2.0, (1024, 64))
    at = rng.integers(0, 1024, 2000)
    x = (loc[at] + scale[at] * rng.normal(size=(2000, 64))).astype(np.float32)
    given = mixture(loc, scale, np.float32)
    of = screen_of(given, np.float32)
    assert of.limits[loops.TRIES] > 1
    limits = of.limits.copy()
    limits[loops.TRIES] = 1
    lost = [np.isnan(s.sums(x)[1][0]).sum() for s in (of, replace(of, limits=limits))]
    assert lost[0] < 3
    assert lost[1] > 8
    expected = logsumexp(exactly(given, x), axis=1)
    assert_allclose(given.log_prob(x).numpy(), expected, rtol=close(np.float32))


@DTYPES
def test_a_value_has_the_same_bits_in_any_company(dtype: Any) -> None:
    given, x = far_apart(dtype)
    x[5, 3], x[6, 60] = np.nan, np.inf
    assert screen_of(given, dtype) is not None
    lucid.set_num_threads(3)
    found = [given.log_prob(x).numpy(), given.posterior_mode(x).numpy()]
    many = np.tile(x, (30, 1))
    assert_array_equal(given.log_prob(many).numpy(), np.tile(found[0], 30))
    alone = [given.log_prob(x[i : i + 1]).numpy()[0] for i in range(100)]
    modes = [given.posterior_mode(x[i : i + 1]).numpy()[0] for i in range(100)]
    assert_array_equal(alone, found[0])
    assert_array_equal(modes, found[1])


@DTYPES
def test_what_the_screen_leaves_is_scored_a_part_at_a_time(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bits of all of it at once."""
    given, x = far_apart(dtype)
    lost = int(np.isnan(screen_of(given, dtype).sums(x)[1][loops.TOP]).sum())
    expected = given.log_prob(x).numpy()
    parts: list[int] = []
    real = Density.score

    def spy(self: Any, part: slice, x: Any, rows: Any) -> None:
        parts.append(len(x))
        real(self, part, x, rows)

    monkeypatch.setattr(Density, "score", spy)
    monkeypatch.setattr("lucid.backends.numba.scoring.LEFT_ELEMENTS", 3 * 64)
    assert_array_equal(given.log_prob(x).numpy(), expected)
    assert sum(parts) == lost
    assert max(parts) == 3


@DTYPES
def test_missing_and_infinite_values(dtype: Any) -> None:
    """In a dimension that bounds are made of, and in another."""
    given, x = far_apart(dtype)
    chosen = screen_of(given, dtype).chosen
    seen, unseen = chosen[0], next(d for d in range(64) if d not in chosen)
    x[0, seen], x[1, seen], x[3, unseen], x[4, unseen] = np.nan, np.inf, np.nan, -np.inf
    found, modes = given.log_prob(x).numpy(), given.posterior_mode(x).numpy()
    assert np.isnan(found[[0, 3]]).all()
    assert np.isneginf(found[[1, 4]]).all()
    others = np.setdiff1d(np.arange(100), [0, 1, 3, 4])
    joint = exactly(given, x[others])
    assert_allclose(found[others], logsumexp(joint, axis=-1), rtol=close(dtype))
    assert_array_equal(modes[others], joint.argmax(axis=-1))


@pytest.mark.parametrize(("dtype", "far"), [(np.float32, 3e19), (np.float64, 1e160)])
def test_squares_that_overflow(dtype: Any, far: float) -> None:
    """z² is within range, (x − μ)² is not, whether bounds are made of it or not."""
    given, x = far_apart(dtype, size=1e11)
    chosen = screen_of(given, dtype).chosen
    x[0, chosen[0]] = far
    x[3, next(d for d in range(64) if d not in chosen)] = far
    found = given.log_prob(x).numpy()
    assert np.isfinite(found).all()
    assert_allclose(found, logsumexp(exactly(given, x), axis=-1), rtol=close(dtype))


def test_a_square_that_overflows_for_one_component_alone() -> None:
    """It may be the best: the row is left to loops that see it."""
    loc, square = np.zeros((2, 6), np.float32), np.full((2, 6), -1e-22, np.float32)
    loc[:, 4:] = [[5e17, -1.1e18], [-5e17, 1.1e18]]
    x = np.array([[0, 0, 0, 0, 1.8e19, 1.5e19]], np.float32)
    pairs = loc, square, np.zeros(2, np.float32)
    some = screen._screen_over(pairs, np.arange(4), 1e9, 1, loops.ROWS)
    assert some is not None
    assert np.isnan(some.sums(x)[1][loops.TOP, 0])
    x[0, 4] = 1.7e19  # with no overflow, both are evaluated
    assert np.isfinite(some.sums(x)[1][loops.TOP, 0])
    assert some.sums(x)[1][loops.LEFT, 0] == 1


@DTYPES
def test_bounds_that_overflow_are_none(dtype: Any) -> None:
    """Of locations so far apart that their squares are beyond float32."""
    rng = np.random.default_rng(3)
    loc, scale = 1e17 * rng.normal(size=(300, 64)), np.full((300, 64), 1e-10)
    given, loc = mixture(loc, scale, dtype), loc.astype(dtype)
    assert screen_of(given, dtype) is None
    square = np.full_like(loc, -0.7e20)
    pairs = loc, square, np.zeros(300, dtype)
    assert screen._screen_over(pairs, np.arange(4), 1e9, 1, loops.ROWS) is None
    expected = 64 * (np.log(1e10) - 0.5 * np.log(2 * np.pi)) - np.log(300)
    assert_allclose(given.log_prob(loc).numpy(), expected, rtol=1e-5)


@DTYPES
@pytest.mark.parametrize("groups", [1, 5])
def test_the_most_probable_component(
    groups: int, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of equal ones the first; a component of weight 0 keeps its place."""
    if groups > 1:
        monkeypatch.setattr(screen, "_GROUPS", 64)
    given, x = far_apart(dtype)
    parts = given.component_distribution
    loc, scale = parts.mean.numpy().copy(), parts.stddev.numpy().copy()
    weights = np.ones(300)
    weights[:5] = 0
    for copy in (slice(40, 60), slice(200, 220)):
        loc[copy], scale[copy] = loc[20:40], scale[20:40]
    given = mixture(loc, scale, dtype, weights)
    assert screen_of(given, dtype) is not None
    x[:20], x[30], x[31] = loc[200:220], 1e30, np.nan
    found = given.posterior_mode(x, return_probs=True)
    index, probs = (np.delete(t.numpy(), [30, 31]) for t in found)
    with np.errstate(divide="ignore"):
        joint = exactly(given, np.delete(x, [30, 31], axis=0))
    assert_array_equal(index[:20], np.arange(20, 40))
    best = np.take_along_axis(joint, index[:, None], axis=-1)[:, 0]
    assert_allclose(best, joint.max(axis=-1), rtol=close(dtype))
    expected = np.exp(best - logsumexp(joint, axis=-1))
    assert_allclose(probs, expected, atol=400 * float(np.finfo(dtype).eps))


@DTYPES
def test_no_screen_where_it_would_leave_out_little(dtype: Any) -> None:
    rng = np.random.default_rng(4)
    loc, scale = 0.1 * rng.normal(size=(300, 64)), np.ones((300, 64))
    assert screen_of(mixture(loc, scale, dtype), dtype) is None
