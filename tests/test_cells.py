"""Cells of the line: they may leave out only what cannot matter, whatever lies beside.

Mixtures are of `FEWEST` components or a few more: fewer have no cells.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.special import logsumexp

import lucid
from lucid.backends.numpy import cells
from lucid.backends.numpy.cells import Cells
from lucid.distributions import (
    Categorical,
    Laplace,
    MixtureSameFamily,
    Normal,
    StudentT,
)
from tests.bounds import bounded

FEWEST = cells._FEWEST_COMPONENTS
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53}
BITS = {np.float32: 28, np.float64: 57}

Parameters = tuple[Any, Any, Any]


@pytest.fixture(autouse=True)
def _on_the_cpu() -> None:
    lucid.set_default_device("cpu")


def spread_out(rng: np.random.Generator, count: int) -> Parameters:
    """Means thirty standard deviations apart."""
    weights, scale = rng.uniform(0.1, 1, count), rng.uniform(0.5, 2, count)
    return weights, 30 * rng.normal(size=count), scale


def far_from_zero(rng: np.random.Generator, count: int) -> Parameters:
    weights, loc, scale = spread_out(rng, count)
    return weights, loc + 1e6, scale


def of_all_weights(rng: np.random.Generator, count: int) -> Parameters:
    _, loc, scale = spread_out(rng, count)
    return 10.0 ** rng.uniform(-30, 0, count), loc, scale


def of_all_scales(rng: np.random.Generator, count: int) -> Parameters:
    weights, loc, _ = spread_out(rng, count)
    return weights, loc, 10.0 ** rng.uniform(-2, 0.5, count)


def with_giants(rng: np.random.Generator, count: int) -> Parameters:
    weights, loc, scale = spread_out(rng, count)
    scale[:3] = [1e4, 1e6, 1e9]
    return weights, loc, scale


def in_clusters(rng: np.random.Generator, count: int) -> Parameters:
    """Few places, most components with many duplicates."""
    weights, loc, scale = spread_out(rng, count)
    return weights, np.round(loc / 25) * 25, np.where(scale < 1, 0.01, 1.0)


def as_a_density_estimate(rng: np.random.Generator, count: int) -> Parameters:
    return np.ones(count), rng.normal(size=count), np.full(count, 0.02)


def mostly_dead(rng: np.random.Generator, count: int) -> Parameters:
    weights, loc, scale = spread_out(rng, 2 * count)
    weights[::2] = 0
    return weights, loc, scale


def with_faint_copies(rng: np.random.Generator, count: int) -> Parameters:
    """Each of 16 faint copies might be left out, but not all of them together."""
    weights, loc, scale = spread_out(rng, count)
    faint = np.repeat([1, 2.0**-31.5], [1, 16])
    return np.outer(faint, weights).ravel(), np.tile(loc, 17), np.tile(scale, 17)


MAKERS = [
    spread_out,
    far_from_zero,
    of_all_weights,
    of_all_scales,
    with_giants,
    in_clusters,
    as_a_density_estimate,
    mostly_dead,
]
MIXTURES = pytest.mark.parametrize("make", MAKERS)


class Given:
    """A mixture, its parameters, and its draws in a dtype."""

    def __init__(
        self, make: Callable[..., Parameters], dtype: Any, family: Any = Normal
    ) -> None:
        self.rng = np.random.default_rng(17)
        given = make(self.rng, FEWEST + 75)
        self.dtype = np.dtype(dtype)
        self.weights, self.loc, self.scale = (a.astype(dtype) for a in given)
        self.mixture = MixtureSameFamily(
            Categorical(self.weights), family(self.loc, self.scale)
        )

    def draws(self, count: int) -> Any:
        """Draws of the mixture."""
        share = self.weights.astype(np.float64)
        index = self.rng.choice(len(share), count, p=share / share.sum())
        noise = self.rng.normal(size=count)
        return (self.loc[index] + noise * self.scale[index]).astype(self.dtype)

    def log_prob(self, x: Any) -> Any:
        """log_prob as NumPy."""
        return self.mixture.log_prob(x).numpy()

    @property
    def cells(self) -> Cells | None:
        """The cells of the mixture, after `log_prob`."""
        found: Cells | None = self.mixture._density().prepared["cells", self.dtype]
        return found

    def members(self) -> Cells:
        """The cells, which there must be."""
        self.log_prob(self.draws(1))
        found = self.cells
        assert found is not None
        return found

    def edges(self) -> Any:
        """Values on the edges of all cells, and the numbers beside them."""
        found = self.members()
        step = 1.0 / np.float64(found.per_unit)
        edges = np.float64(found.low) + step * np.arange(found.count + 1)
        on = edges.astype(self.dtype)
        far = self.dtype.type(np.inf)
        return np.concatenate([on, np.nextafter(on, far), np.nextafter(on, -far)])


@DTYPES
@pytest.mark.parametrize("make", [*MAKERS, with_faint_copies])
def test_what_is_left_out_does_not_matter(make: Any, dtype: Any) -> None:
    """All of it together is 2⁻²⁸ or 2⁻⁵⁷ of a value's sum at most, near any edge."""
    given = Given(make, dtype)
    found = given.members()
    x = np.concatenate([given.edges(), given.draws(300)])
    loc, scale = given.loc.astype(np.float64), given.scale.astype(np.float64)
    with np.errstate(divide="ignore"):
        logs = np.log(given.weights.astype(np.float64)) - np.log(scale)
    y = logs - 0.5 * ((x[:, None].astype(np.float64) - loc) / scale) ** 2
    alive = np.flatnonzero(given.weights > 0)
    total, left = logsumexp(y, axis=1), 0
    for row, cell in enumerate(found.numbers(x).tolist()):
        if not 1 <= cell <= found.count:
            continue
        out = np.ones(len(loc), bool)
        out[alive[found.members[found.ends[cell - 1] : found.ends[cell]]]] = False
        left += out.sum()
        lost = logsumexp(y[row, out]) if out.any() else -np.inf
        assert lost <= total[row] - BITS[dtype] * np.log(2)
    assert left > 0.3 * len(alive) * len(x)


@pytest.mark.usefixtures("each_engine")
@MIXTURES
def test_accuracy_in_float32(make: Any) -> None:
    given = Given(make, np.float32)
    x = np.concatenate([given.edges()[::3], given.draws(500)])
    far = np.float32([1e3, -1e4, 1e7]) + given.loc[0]
    x = np.concatenate([x, far, -far])
    with np.errstate(divide="ignore"):
        logs = np.log(given.weights.astype(np.float64))
    parameters = {"loc": given.loc, "scale": given.scale}
    expected = bounded("Normal", parameters, x, logs)
    off = abs(given.log_prob(x) - expected.log_prob)
    assert (off <= 4 * UNIT[np.float32] * expected.bound).all()


@pytest.mark.usefixtures("each_engine")
@MIXTURES
def test_accuracy_in_float64(make: Any) -> None:
    given = Given(make, np.float64)
    x = given.draws(12)
    weights = [mpmath.mpf(float(w)) for w in given.weights]
    with mpmath.workdps(40), np.errstate(divide="ignore"):
        total = mpmath.fsum(weights)
        expected = []
        for value in x.tolist():
            terms = [
                w / s * mpmath.exp(-(((mpmath.mpf(value) - m) / s) ** 2) / 2)
                for w, m, s in zip(
                    weights, given.loc.tolist(), given.scale.tolist(), strict=True
                )
                if w
            ]
            y = mpmath.log(mpmath.fsum(terms) / total / mpmath.sqrt(2 * mpmath.pi))
            expected.append(y)
        found = [mpmath.mpf(float(y)) for y in given.log_prob(x)]
        off = [float(abs(a - b)) for a, b in zip(found, expected, strict=True)]
        logs = np.log(given.weights)
    parameters = {"loc": given.loc, "scale": given.scale}
    bound = bounded("Normal", parameters, x, logs).bound
    assert (np.array(off) <= 4 * UNIT[np.float64] * bound).all()


@pytest.mark.usefixtures("each_engine")
@DTYPES
def test_a_value_has_the_bits_that_it_has_alone(dtype: Any) -> None:
    """In any order and however a batch is cut, over values of all kinds."""
    given = Given(spread_out, dtype)
    x = np.concatenate([given.draws(9000), given.edges(), 50 * given.draws(50)])
    x[[5, 50, 500]] = np.nan, np.inf, -np.inf
    whole = given.log_prob(x)
    order = given.rng.permutation(len(x))
    assert_array_equal(given.log_prob(x[order]), whole[order])
    for size in (1, 3, 17, 100, 1500):
        parts = [given.log_prob(x[i : i + size]) for i in range(0, 3000, size)]
        assert_array_equal(np.concatenate(parts)[:3000], whole[:3000])
    assert_array_equal(given.log_prob(x[::-2]), whole[::-2])
    lucid.set_num_threads(1)
    assert_array_equal(given.log_prob(x), whole)


@pytest.mark.usefixtures("each_engine")
@DTYPES
def test_values_that_no_cell_holds(dtype: Any) -> None:
    given = Given(spread_out, dtype)
    given.members()
    x = np.array([np.nan, np.inf, -np.inf, 1e5, -1e5, 0.0], dtype)
    found = given.log_prob(x)
    assert_array_equal(found[:3], [np.nan, -np.inf, -np.inf])
    parameters = {"loc": given.loc, "scale": given.scale}
    expected = bounded("Normal", parameters, x[3:], np.log(given.weights))
    assert (
        abs(found[3:] - expected.log_prob) <= 4 * UNIT[dtype] * expected.bound
    ).all()
    assert given.log_prob(np.empty(0, dtype)).shape == (0,)


@pytest.mark.usefixtures("each_engine")
def test_laplace() -> None:
    def make(rng: np.random.Generator, count: int) -> Parameters:
        weights, loc, scale = spread_out(rng, count)
        return weights, loc, scale / 4

    given = Given(make, np.float32, Laplace)
    x = np.concatenate([given.edges()[::3], given.draws(500)])
    parameters = {"loc": given.loc, "scale": given.scale}
    expected = bounded("Laplace", parameters, x, np.log(given.weights))
    off = abs(given.log_prob(x) - expected.log_prob)
    assert (off <= 4 * UNIT[np.float32] * expected.bound).all()


@DTYPES
def test_cells_hold_what_few_values_meet(dtype: Any) -> None:
    """Values meet few components, and all cells together hold each a few times."""
    given = Given(spread_out, dtype)
    found = given.members()
    numbers = found.numbers(given.draws(5000))
    lengths = np.concatenate([[given.loc.size], np.diff(found.ends), [given.loc.size]])
    assert lengths[numbers].mean() < 0.35 * len(given.loc)
    assert found.share == pytest.approx(lengths[numbers].mean() / len(given.loc), 0.1)
    assert len(found.members) < 6 * len(given.loc)


def test_no_cells_where_they_would_not_pay() -> None:
    """Components that all matter, that are few, or whose tails are heavy."""

    def close(rng: np.random.Generator, count: int) -> Parameters:
        weights, loc, scale = spread_out(rng, count)
        return weights, loc / 10, scale

    def few(rng: np.random.Generator, count: int) -> Parameters:
        return spread_out(rng, FEWEST - 1)

    for make in (close, few):
        given = Given(make, np.float32)
        given.log_prob(given.draws(3))
        assert given.cells is None
    weights, loc, scale = spread_out(np.random.default_rng(0), FEWEST)
    heavy = MixtureSameFamily(Categorical(weights), StudentT(3.0, loc, scale))
    heavy.log_prob(loc)
    assert heavy._density().prepared["cells", np.dtype(np.float64)] is None


@pytest.mark.usefixtures("each_engine")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_no_cells_where_a_parameter_is_not_finite(bad: float) -> None:
    weights, loc, scale = spread_out(np.random.default_rng(0), FEWEST)
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

    def make(rng: np.random.Generator, count: int) -> Parameters:
        weights, loc, scale = spread_out(rng, count)
        return weights, loc * size, scale * size

    given = Given(make, dtype)
    x = given.draws(200)
    parameters = {"loc": given.loc, "scale": given.scale}
    expected = bounded("Normal", parameters, x, np.log(given.weights))
    off = abs(given.log_prob(x) - expected.log_prob)
    assert (off <= (4 * UNIT[dtype] + 1e-15) * expected.bound).all()


@pytest.mark.usefixtures("each_engine")
def test_memory_does_not_grow_with_the_values() -> None:
    given = Given(spread_out, np.float32)
    x = np.resize(given.draws(5000), 400_000)
    out = lucid.empty(len(x), dtype=lucid.float32)
    given.mixture.log_prob(x, out=out)
    tracemalloc.start()
    try:
        given.mixture.log_prob(x, out=out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10e6
