"""Compiled mixtures: on every family, right without NumPy, the same for any block."""

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

from lucid.backends.numba import kernels, scoring
from lucid.backends.numpy.operations import NumpyOperations
from lucid.distributions import (
    Categorical,
    MixtureSameFamily,
    Normal,
    constraints,
)
from lucid.distributions.family import FamilyDistribution, Parameter
from tests.corpus import Case, load_cases
from tests.family_table import TABLE
from tests.test_engine import CASES, DTYPES, EVERY_CASE
from tests.test_numerics import distribution, log_prob
from tests.test_numerics_layouts import LAYOUTS

INF, NAN = math.inf, math.nan
pytestmark = pytest.mark.usefixtures("numba_on_the_cpu")


@pytest.fixture
def in_numpy(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each mixture handed to NumPy had."""
    seen: list[int] = []
    real = NumpyOperations.mixture_log_prob

    def count(self: Any, components: Any, value: Any, dtype: Any, out: Any) -> None:
        seen.append(out.size)
        real(self, components, value, dtype, out)

    monkeypatch.setattr(NumpyOperations, "mixture_log_prob", count)
    return seen


# ---- every family, and no NumPy in secret


@DTYPES
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("loops", ["fill", "add_terms"])
@pytest.mark.parametrize(
    "row", [row for row in TABLE if not row.is_vector], ids=lambda row: row.name
)
def test_every_family_compiles(row: Any, loops: str, size: int, dtype: Any) -> None:
    given = row.make()
    wide = [a.astype(np.float64) for a in given._family_arrays()]
    with np.errstate(all="ignore"):
        terms = len(row.family.row(given._backend.fn, np.ones(1)))
        factors = len(row.family.prepare(given._backend.fn, 1.0, *wide)) - 1
    compiled = getattr(kernels, loops)
    assert compiled(row.family, terms, factors, np.dtype(dtype), size)


SHARED = [
    case
    for dtype in ("float32", "float64")
    for case in load_cases(dtype)
    if case.given.layout == "shared"
    and case.given.weights is not None
    and case.given.family in ("Normal", "Laplace", "StudentT")
    and np.isfinite(case.given.values).all()
    and np.isfinite(case.expected).all()
]


@pytest.mark.usefixtures("no_numpy")
@pytest.mark.parametrize("case", SHARED, ids=lambda case: f"{case.name}-{case.dtype}")
def test_the_corpus_by_compiled_loops_alone(case: Case) -> None:
    failures = case.failures(log_prob(distribution(case, "cpu"), case.given.values))
    assert not failures, "\n".join(failures)


@pytest.mark.usefixtures("no_numpy")
@DTYPES
def test_values_far_away_infinite_or_missing_need_no_numpy(dtype: Any) -> None:
    loc = np.array([-1.0, 0.5, 2.0], dtype)
    given = MixtureSameFamily(Categorical(np.ones(3, dtype)), Normal(loc, dtype(0.5)))
    x = np.array([0.0, NAN, 1e4, INF, -INF, 1.0, -3e38], dtype)
    found = given.log_prob(x).numpy()
    with np.errstate(over="ignore"):
        terms = stats.norm.logpdf(x[:, None].astype(np.float64), loc, 0.5)
        expected = logsumexp(terms - np.log(3.0), axis=-1)
    expected[[3, 4, 6] if dtype is np.float32 else [3, 4]] = -INF
    assert_allclose(found, expected.astype(dtype), rtol=1e-6)


# ---- special rows


@DTYPES
def test_only_undecided_rows_go_to_numpy(dtype: Any, in_numpy: list[int]) -> None:
    """∞ · 0 is no density: of an infinite scale, at an infinite value."""
    scale = np.array([1.0, INF], dtype)
    given = MixtureSameFamily(Categorical(np.ones(2, dtype)), Normal(dtype(0), scale))
    x = np.array([0.0, INF, 1.0, NAN, -INF, 2.0], dtype)
    found = given.log_prob(x).numpy()
    assert in_numpy == [2]
    near = stats.norm.logpdf(x[[0, 2, 5]]) - math.log(2.0)
    assert_allclose(found[[0, 2, 5]], near, rtol=1e-6)
    assert np.isneginf(found[[1, 4]]).all()
    assert np.isnan(found[3])


@DTYPES
def test_undecided_rows_of_a_batch(dtype: Any, in_numpy: list[int]) -> None:
    """Each with the parameters and weights of its own mixture."""
    scale = np.array([[1.0, 2.0], [0.5, INF], [1.0, INF]], dtype)
    weights = np.array([[1.0, 2.0], [3.0, 1.0], [1.0, 1.0]], dtype)
    given = MixtureSameFamily(Categorical(weights), Normal(np.zeros_like(scale), scale))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 3)).astype(dtype)
    x[7, 1], x[60, 2], x[80, 0] = INF, -INF, NAN
    found = given.log_prob(x).numpy()
    assert in_numpy == [2]
    assert np.isneginf([found[7, 1], found[60, 2]]).all()
    with np.errstate(invalid="ignore"):
        terms = stats.norm.logpdf(x[..., None].astype(np.float64), 0.0, scale)
    shares = np.log(weights / weights.sum(-1, keepdims=True, dtype=np.float64))
    expected = logsumexp(np.where(np.isinf(scale), -INF, terms) + shares, axis=-1)
    rest = np.isfinite(x)
    assert_allclose(found[rest], expected[rest], rtol=2e-6)
    assert np.isnan(found[80, 0])


# ---- the same bits for any block


@DTYPES
@EVERY_CASE
def test_any_block_gives_the_same_bits(
    name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, x = CASES[dtype][name]
    expected = given.log_prob(x).numpy().tobytes()
    for most, pairs, size in ((64, 1, 1), (128, 1 << 12, 1 << 20), (256, 1 << 30, 4)):
        monkeypatch.setattr(scoring, "ROWS", most)
        monkeypatch.setattr(scoring, "LINE_BYTES", 4 * most)
        monkeypatch.setattr(scoring, "PLAIN_LINE_BYTES", 8 * most)
        monkeypatch.setattr(scoring, "WORK_PAIRS", pairs)
        monkeypatch.setattr(scoring, "BLOCK_BYTES", size)
        monkeypatch.setattr(scoring, "PREPARED_ROWS", most)
        lucid.set_num_threads(3)
        assert given.log_prob(x).numpy().tobytes() == expected, (most, pairs, size)


@DTYPES
def test_a_mixture_of_a_batch_is_itself(dtype: Any) -> None:
    """Its values have the bits that they have under that mixture alone."""
    rng = np.random.default_rng(5)
    loc = rng.normal(size=(3, 20)).astype(dtype)
    weights = rng.uniform(0.1, 1, 20).astype(dtype)
    given = MixtureSameFamily(Categorical(weights), Normal(loc, dtype(0.5)))
    x = rng.normal(0, 2, (130, 3)).astype(dtype)
    found = given.log_prob(x).numpy()
    for b in range(3):
        alone = MixtureSameFamily(Categorical(weights), Normal(loc[b], dtype(0.5)))
        assert_array_equal(found[:, b], alone.log_prob(x[:, b].copy()).numpy())


# Few mixtures, many of few components or of more, and rows that NumPy does not keep.
BATCHES = {"few": (3, 4), "many": (40, 3), "wide": (40, 20), "rows": (75000, 14)}


@DTYPES
@pytest.mark.parametrize("half", [False, True], ids=["", "half"])
@pytest.mark.parametrize("batch", BATCHES)
def test_a_part_of_the_values_has_the_bits_of_the_whole(
    batch: str, half: bool, dtype: Any
) -> None:
    count, components = BATCHES[batch]
    rng = np.random.default_rng(6)
    loc = rng.normal(size=(count, components)).astype(dtype)
    probs = rng.uniform(0.1, 1, loc.shape).astype(dtype)
    x = rng.normal(0, 2, (4 if batch == "rows" else 128, count))
    x = x.astype(np.float16 if half else dtype)

    def found(values: Any) -> list[Any]:  # by a mixture that keeps nothing yet
        given = MixtureSameFamily(Categorical(probs), Normal(loc, dtype(0.5)))
        both = given.posterior_mode(values, return_probs=True)
        return [given.log_prob(values).numpy(), *(array.numpy() for array in both)]

    whole = found(x)
    for stop in (1, 3, len(x) - 1):
        for part, all_of_it in zip(found(x[:stop]), whole, strict=True):
            assert_array_equal(part, all_of_it[:stop])


@DTYPES
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("batch", ["few", "many", "wide"])
def test_any_layout_gives_the_same_bits(batch: str, layout: str, dtype: Any) -> None:
    """Of values and of parameters: read-only, strided, unaligned or byte-swapped."""
    count, components = BATCHES[batch]
    rng = np.random.default_rng(7)
    loc = rng.normal(size=(count, components)).astype(dtype)
    logits = rng.normal(size=loc.shape).astype(dtype)
    x = rng.normal(0, 2, (2, count)).astype(dtype)
    index = rng.integers(0, components, (2, count))
    laid = LAYOUTS[layout]

    def found(loc: Any, logits: Any, x: Any, index: Any) -> list[Any]:
        categories = Categorical(logits=logits)
        given = MixtureSameFamily(categories, Normal(loc, dtype(0.5)))
        one = given.log_prob(x[0])
        every = given.log_prob(x), one, given.posterior_mode(x)
        return [array.numpy() for array in (*every, categories.log_prob(index))]

    expected = found(loc, logits, x, index)
    with np.errstate(invalid="ignore"):  # an integer's NaN between the others
        given = laid(loc), laid(logits), laid(x), laid(index)
    for part, whole in zip(found(*given), expected, strict=True):
        assert_array_equal(part, whole)


@DTYPES
@EVERY_CASE
def test_any_block_gives_the_same_mode(
    name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, x = CASES[dtype][name]

    def found() -> list[bytes]:
        both = given.posterior_mode(x, return_probs=True)
        return [tensor.numpy().tobytes() for tensor in both]

    expected = found()
    monkeypatch.setattr(scoring, "LINE_BYTES", 256)
    monkeypatch.setattr(scoring, "WORK_PAIRS", 1)
    lucid.set_num_threads(3)
    assert found() == expected


# ---- the most probable component


@pytest.mark.usefixtures("no_numpy")
@DTYPES
@pytest.mark.parametrize("count", [2, 16, 17, 300])
def test_the_mode_by_compiled_loops_alone(count: int, dtype: Any) -> None:
    rng = np.random.default_rng(count)
    loc = rng.normal(0, 5, count).astype(dtype)
    given = MixtureSameFamily(Categorical(np.ones(count, dtype)), Normal(loc, dtype(1)))
    x = rng.normal(0, 8, 1000).astype(dtype)
    index, probs = given.posterior_mode(x, return_probs=True)
    distance = abs(x[:, None].astype(np.float64) - loc)
    nearest = np.take_along_axis(distance, index.numpy()[:, None], axis=1)[:, 0]
    assert_allclose(nearest, distance.min(axis=1), rtol=1e-5, atol=1e-5)
    terms = -0.5 * distance**2
    best = np.exp(terms.max(axis=1) - logsumexp(terms, axis=1))
    assert_allclose(probs.numpy(), best, rtol=400 * float(np.finfo(dtype).eps))
    assert probs.numpy().max() <= 1.0


# ---- families of the user


class Logistic(FamilyDistribution):
    """log p(x) = −z − 2 log(1 + e⁻ᶻ) − log s, z = |x − μ|/s."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    loc = Parameter()
    scale = Parameter()

    def __init__(self, loc: Any, scale: Any) -> None:
        super().__init__(None, loc=loc, scale=scale)

    @staticmethod
    def prepare(fn: Any, unit: float, loc: Any, scale: Any) -> Any:
        return loc, 1.0 / scale, fn.full_like(loc, unit), -unit * fn.log(scale)

    @staticmethod
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        (x,) = row
        loc, inverse, unit = factors
        z = abs(x - loc) * inverse
        return -unit * (z + 2.0 * fn.log1p(fn.exp(-z)))


class Uncompilable(Logistic):
    """The same, by way of a function that Numba does not have."""

    @staticmethod
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        return Logistic.pair(fn, row, factors) + 0.0 * fn.heaviside(row[0], 1.0)


def logistics(family: Any, dtype: Any) -> Any:
    loc, scale = np.array([-1.0, 0.0, 3.0], dtype), np.array([1.0, 0.5, 2.0], dtype)
    return MixtureSameFamily(Categorical(np.ones(3, dtype)), family(loc, scale))


@DTYPES
@pytest.mark.parametrize("family", [Logistic, Uncompilable])
def test_a_family_of_the_user(family: Any, dtype: Any, in_numpy: list[int]) -> None:
    x = np.linspace(-30, 30, 500).astype(dtype)
    found = logistics(family, dtype).log_prob(x).numpy()
    terms = stats.logistic.logpdf(
        x[:, None].astype(np.float64), [-1.0, 0.0, 3.0], [1.0, 0.5, 2.0]
    )
    expected = logsumexp(terms, axis=-1) - math.log(3.0)
    assert_allclose(found, expected, rtol=4 * float(np.finfo(dtype).eps))
    assert in_numpy == ([] if family is Logistic else [500])
