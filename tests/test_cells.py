"""Cells: they may leave out only what cannot matter to a value, whatever lies beside.

The mixtures are those of `tests.cells_mixtures`.
"""

from __future__ import annotations

import tracemalloc
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.special import logsumexp

import lucid
from lucid.distributions import (
    Categorical,
    Laplace,
    MixtureSameFamily,
    Normal,
    StudentT,
)
from tests.cells_mixtures import (
    FEWEST,
    MAKERS,
    Given,
    Parameters,
    in_clusters,
    of_all_scales,
    spread_out,
    with_faint_copies,
    with_giants,
)

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
SIZES = pytest.mark.parametrize("size", [1, 2, 3])
KINDS = [(make, size) for make in MAKERS for size in (1, 2)]
KINDS += [(spread_out, 3), (of_all_scales, 3), (with_giants, 3)]
MIXTURES = pytest.mark.parametrize(("make", "size"), KINDS)
UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53}
BITS = {np.float32: 28, np.float64: 57}


@pytest.fixture(autouse=True)
def _on_the_cpu() -> None:
    lucid.set_default_device("cpu")


@DTYPES
@pytest.mark.parametrize(("make", "size"), [*KINDS, (with_faint_copies, 1)])
def test_what_is_left_out_does_not_matter(make: Any, size: int, dtype: Any) -> None:
    """All of it together is 2⁻²⁸ or 2⁻⁵⁷ of a value's sum at most, near any edge."""
    given = Given(make, dtype, size)
    found = given.members()
    x = np.concatenate([given.edges(), given.draws(150)])
    y, left = given.alone(x), 0
    alive = np.flatnonzero(given.weights > 0)
    total = logsumexp(y, axis=1)
    for row, cell in enumerate(found.numbers(x).tolist()):
        if cell == 0:
            continue
        out = np.ones(len(given.loc), bool)
        out[alive[found.members[found.ends[cell - 1] : found.ends[cell]]]] = False
        left += out.sum()
        lost = logsumexp(y[row, out]) if out.any() else -np.inf
        assert lost <= total[row] - BITS[dtype] * np.log(2)
    assert left > 0.3 * len(alive) * len(x)


@pytest.mark.usefixtures("each_engine")
@MIXTURES
def test_accuracy_in_float32(make: Any, size: int) -> None:
    given = Given(make, np.float32, size)
    x = np.concatenate([given.edges()[::3], given.draws(500)])
    far = np.float32([[1e3], [-1e4], [1e7]]) + given.loc[0]
    x = np.concatenate([x, far, -far])
    expected = given.bounded(x)
    off = abs(given.log_prob(x) - expected.log_prob)
    assert (off <= 4 * UNIT[np.float32] * expected.bound).all()


@pytest.mark.usefixtures("each_engine")
@pytest.mark.parametrize(
    ("make", "size"),
    [*((make, 1) for make in MAKERS), (spread_out, 2), (in_clusters, 3)],
)
def test_accuracy_in_float64(make: Any, size: int) -> None:
    given = Given(make, np.float64, size)
    x = given.draws(6)
    alive = given.weights > 0
    parts = (a[alive].tolist() for a in (given.weights, given.loc, given.scale))
    components = list(zip(*parts, strict=True))
    with mpmath.workdps(40):
        total = mpmath.fsum(map(mpmath.mpf, given.weights.tolist()))
        root = mpmath.sqrt(2 * mpmath.pi) ** size
        expected = []
        for value in x.tolist():
            terms = [
                w / mpmath.fprod(scale) * mpmath.exp(-_squares(value, loc, scale) / 2)
                for w, loc, scale in components
            ]
            expected.append(mpmath.log(mpmath.fsum(terms) / total / root))
        found = [mpmath.mpf(float(y)) for y in given.log_prob(x)]
        off = [float(abs(a - b)) for a, b in zip(found, expected, strict=True)]
    assert (np.array(off) <= 4 * UNIT[np.float64] * given.bounded(x).bound).all()


def _squares(value: list[float], loc: list[float], scale: list[float]) -> Any:
    parts = zip(value, loc, scale, strict=True)
    return mpmath.fsum(((mpmath.mpf(x) - m) / s) ** 2 for x, m, s in parts)


@pytest.mark.usefixtures("each_engine")
@DTYPES
@SIZES
def test_a_value_has_the_bits_that_it_has_alone(size: int, dtype: Any) -> None:
    """In any order and however a batch is cut, over values of all kinds."""
    given = Given(spread_out, dtype, size)
    x = np.concatenate([given.draws(9000), given.edges(), 50 * given.draws(50)])
    x[[5, 50, 500], -1] = np.nan, np.inf, -np.inf
    whole = given.log_prob(x)
    order = given.rng.permutation(len(x))
    assert_array_equal(given.log_prob(x[order]), whole[order])
    for rows, most in ((1, 200), (3, 600), (17, 850), (1500, 3000)):
        parts = [given.log_prob(x[i : i + rows]) for i in range(0, most, rows)]
        assert_array_equal(np.concatenate(parts), whole[:most])
    assert_array_equal(given.log_prob(x[::-2]), whole[::-2])
    lucid.set_num_threads(1)
    assert_array_equal(given.log_prob(x), whole)


@pytest.mark.usefixtures("each_engine")
@DTYPES
@SIZES
def test_values_that_no_cell_holds(size: int, dtype: Any) -> None:
    given = Given(spread_out, dtype, size)
    given.members()
    x = np.zeros((6, size), dtype)
    x[:, -1] = np.nan, np.inf, -np.inf, 1e5, -1e5, 0.0
    found = given.log_prob(x)
    assert_array_equal(found[:3], [np.nan, -np.inf, -np.inf])
    expected = given.bounded(x[3:])
    off = abs(found[3:] - expected.log_prob)
    assert (off <= 4 * UNIT[dtype] * expected.bound).all()
    assert given.log_prob(np.empty((0, size), dtype)).shape == (0,)


@DTYPES
@SIZES
def test_cells_lie_where_the_mixture_does(size: int, dtype: Any) -> None:
    """What is outside meets all components, in any dimension; NaN does, too."""
    given = Given(spread_out, dtype, size)
    found = given.members()
    draws = given.draws(2000)
    assert np.count_nonzero(found.numbers(draws) == 0) < 20
    for value in (np.nan, np.inf, -np.inf, 1e30, -1e30):
        for d in range(size):
            x = draws[:50].copy()
            x[:, d] = value
            assert not found.numbers(x).any()


@pytest.mark.usefixtures("each_engine")
@SIZES
def test_laplace(size: int) -> None:
    def make(rng: np.random.Generator, count: int, size: int) -> Parameters:
        weights, loc, scale = spread_out(rng, count, size)
        return weights, loc, scale / 4

    given = Given(make, np.float32, size, Laplace)
    x = np.concatenate([given.edges()[::3], given.draws(500)])
    expected = given.bounded(x, "Laplace")
    off = abs(given.log_prob(x) - expected.log_prob)
    assert (off <= 4 * UNIT[np.float32] * expected.bound).all()


@DTYPES
@pytest.mark.parametrize(
    ("size", "share", "listed"), [(1, 0.35, 6), (2, 0.1, 25), (3, 0.25, 70)]
)
def test_cells_hold_what_few_values_meet(
    size: int, share: float, listed: float, dtype: Any
) -> None:
    """Values meet few components, and all cells together hold each a few times."""
    given = Given(spread_out, dtype, size)
    found = given.members()
    numbers = found.numbers(given.draws(5000))
    lengths = np.concatenate([[len(given.loc)], np.diff(found.ends)])
    assert lengths[numbers].mean() < share * len(given.loc)
    assert found.share == pytest.approx(lengths[numbers].mean() / len(given.loc), 0.1)
    assert len(found.members) < listed * len(given.loc)


def _on_the_line(count: int) -> Parameters:
    weights, loc, scale = spread_out(np.random.default_rng(0), count, 1)
    return weights, loc[:, 0], scale[:, 0]


def test_no_cells_where_they_would_not_pay() -> None:
    """Components that all matter, that are few, or whose tails are heavy."""

    def close(rng: np.random.Generator, count: int, size: int) -> Parameters:
        weights, loc, scale = spread_out(rng, count, size)
        return weights, loc / 10, scale

    def few(rng: np.random.Generator, count: int, size: int) -> Parameters:
        return spread_out(rng, FEWEST - 1, size)

    for make in (close, few):
        given = Given(make, np.float32)
        given.log_prob(given.draws(3))
        assert given.cells is None
    weights, loc, scale = _on_the_line(FEWEST)
    heavy = MixtureSameFamily(Categorical(weights), StudentT(3.0, loc, scale))
    heavy.log_prob(loc)
    assert heavy._density().prepared["cells", np.dtype(np.float64)] is None


@pytest.mark.usefixtures("each_engine")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_cells_where_a_parameter_is_not_finite(bad: float) -> None:
    weights, loc, scale = _on_the_line(FEWEST)
    loc[7] = bad
    x = np.linspace(-9, 9, 5)
    given = Normal(loc, scale, validate_args=False)
    found = MixtureSameFamily(Categorical(weights), given).log_prob(x).numpy()
    if np.isnan(bad):
        assert np.isnan(found).all()
    else:
        rest = MixtureSameFamily(
            Categorical(np.delete(weights, 7)),
            Normal(np.delete(loc, 7), np.delete(scale, 7)),
        )
        lost = np.log1p(-weights[7] / weights.sum())
        np.testing.assert_allclose(found, rest.log_prob(x).numpy() + lost, rtol=1e-13)


@pytest.mark.usefixtures("each_engine")
@pytest.mark.parametrize(("dtype", "size"), [(np.float32, 1e-30), (np.float64, 1e-280)])
def test_scales_near_the_end_of_the_range(dtype: Any, size: float) -> None:
    """Far apart for their scale, and no sum of theirs has a plain exponent."""

    def make(rng: np.random.Generator, count: int, event: int) -> Parameters:
        weights, loc, scale = spread_out(rng, count, event)
        return weights, loc * size, scale * size

    for event in (1, 2):
        given = Given(make, dtype, event)
        x = given.draws(200)
        expected = given.bounded(x)
        off = abs(given.log_prob(x) - expected.log_prob)
        assert (off <= (4 * UNIT[dtype] + 1e-15) * expected.bound).all()


@pytest.mark.usefixtures("each_engine")
def test_memory_does_not_grow_with_the_values() -> None:
    given = Given(spread_out, np.float32)
    x = np.resize(given.draws(5000)[:, 0], 400_000)
    out = lucid.empty(len(x), dtype=lucid.float32)
    given.mixture.log_prob(x, out=out)
    tracemalloc.start()
    try:
        given.mixture.log_prob(x, out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10e6
