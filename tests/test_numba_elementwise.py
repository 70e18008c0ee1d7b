"""Compiled log densities, element by element: each family, every layout, any batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import lucid

pytest.importorskip("numba")

from lucid.backends.numba import elementwise
from lucid.backends.numpy import elementwise as in_numpy
from lucid.distributions import Bernoulli, Gamma, Laplace, Normal, Poisson, constraints
from lucid.distributions.family import FamilyDistribution, Parameter
from tests.corpus import Case, load_cases
from tests.family_table import TABLE
from tests.test_engine import DTYPES
from tests.test_numerics import distribution

INF, NAN = math.inf, math.nan
SCALARS = pytest.mark.parametrize(
    "row", [row for row in TABLE if not row.is_vector], ids=lambda row: row.name
)
pytestmark = pytest.mark.usefixtures("numba_on_the_cpu")


@pytest.fixture
def in_blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many elements each block that NumPy evaluates has."""
    seen: list[int] = []
    real = in_numpy.block

    def count(fn: Any, family: Any, value: Any, *rest: Any, dtype: Any) -> Any:
        seen.append(value.size)
        return real(fn, family, value, *rest, dtype=dtype)

    monkeypatch.setattr(in_numpy, "block", count)
    return seen


# ---- each family, and no NumPy in secret


@DTYPES
@SCALARS
def test_every_family_compiles(row: Any, dtype: Any) -> None:
    wide, count = np.dtype(dtype), len(row.make()._family_arrays())
    for shared in (False, True):
        assert elementwise._score(row.family, count, wide, shared)
    assert elementwise._prepare(row.family, (wide,) * count, wide)
    assert elementwise._split(row.family, wide)


CORPUS = [
    case
    for dtype in ("float32", "float64")
    for case in load_cases(dtype)
    if case.given.layout == "elementwise" and case.given.values.ndim == 1
]


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: f"{case.name}-{case.dtype}")
def test_the_corpus_by_compiled_loops_alone(case: Case, in_blocks: list[int]) -> None:
    """To the promise, against sixty digits; alone and as one batch, bit for bit."""
    x = case.given.values
    found = distribution(case, "cpu").log_prob(x).numpy()
    failures = case.failures(found)
    assert not failures, "\n".join(failures)
    family = type(distribution(case, "cpu"))
    for i in range(0, len(x), 7):
        own = {name: p[i] for name, p in case.given.parameters.items()}
        assert family(**own).log_prob(x[i]).numpy().tobytes() == found[i].tobytes()
    if np.isfinite(case.expected).all():
        assert not in_blocks


# ---- any batch, any layout


def operands(dtype: Any, *shape: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(5)
    x = rng.normal(0, 3, shape).astype(dtype)
    return x, rng.normal(0, 2, shape).astype(dtype), np.exp(x[::-1] / dtype(4))


@DTYPES
@pytest.mark.parametrize("block", [1, 100, 1 << 20])
def test_any_block_gives_the_same_bits(
    block: int, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, loc, scale = operands(dtype, 331, 5)
    x[3, 1], x[40, 2], x[41] = NAN, INF, -INF
    given = [
        Normal(loc, scale),
        Normal(loc[0], scale[:, :1]),
        Laplace(loc[:1, :1], scale),
        Laplace(dtype(0.3), dtype(2)),
        Gamma(scale, scale[0]),
        Gamma(dtype(2.5), dtype(0.7)),
    ]

    def every() -> list[bytes]:
        return [one.log_prob(x).numpy().tobytes() for one in given]

    expected = every()
    monkeypatch.setattr(elementwise, "BLOCK", block)
    monkeypatch.setattr(elementwise, "BLOCK_ALONE", block)
    assert every() == expected


@DTYPES
def test_a_part_of_a_batch_has_the_bits_of_the_whole(dtype: Any) -> None:
    """Down to one element, whose parameters are then one number each."""
    x, loc, scale = operands(dtype, 300)
    makers = (Normal, lambda a, b: Gamma(abs(a) + 1, b), lambda a, b: Poisson(b))
    values = x, abs(x), np.floor(abs(x))
    for make, value in zip(makers, values, strict=True):
        whole = make(loc, scale).log_prob(value).numpy()
        for part in (slice(7, 8), slice(0, 64), slice(3, 68), slice(299, None)):
            found = make(loc[part], scale[part]).log_prob(value[part]).numpy()
            assert found.tobytes() == whole[part].tobytes()
        lone = make(loc[7], scale[7]).log_prob(value).numpy()
        assert lone[7:8].tobytes() == whole[7:8].tobytes()


SHAPES = [
    ((), ()),
    ((6,), (1,)),
    ((7, 6), (6,)),
    ((7, 6), (7, 1)),
    ((7, 6), (1, 6)),
    ((7, 1), (1, 6)),
    ((200, 3, 5), (3, 1)),
    ((2, 3, 5), (2, 1, 5)),
    ((1, 1, 9), (4, 1, 1)),
    ((64, 4), (64, 4)),
]


@DTYPES
@pytest.mark.parametrize("block", [8, 1 << 14])
@pytest.mark.parametrize(("shape", "other"), SHAPES)
def test_operands_broadcast(
    shape: Any, other: Any, block: int, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bitwise as the same operands written out, on axes in any order."""
    monkeypatch.setattr(elementwise, "BLOCK", block)
    rng = np.random.default_rng(9)
    x = rng.normal(size=shape).astype(dtype)
    loc = rng.normal(size=other).astype(dtype)
    scale = rng.uniform(0.5, 2, other[-1:]).astype(dtype)
    whole = np.broadcast_shapes(shape, other)
    found = Normal(loc, scale).log_prob(x).numpy()
    assert found.shape == whole
    full = [np.ascontiguousarray(np.broadcast_to(a, whole)) for a in (x, loc, scale)]
    written = Normal(*full[1:]).log_prob(full[0]).numpy()
    assert found.tobytes() == written.tobytes()
    expected = stats.norm.logpdf(*(a.astype(np.float64) for a in full))
    assert_allclose(found, expected, rtol=16 * float(np.finfo(dtype).eps))
    turned = Normal(full[1].T, full[2].T).log_prob(full[0].T).numpy()
    assert_array_equal(turned.T, written)
    backwards = Normal(*(np.flip(a) for a in full[1:])).log_prob(np.flip(full[0]))
    assert_array_equal(np.flip(backwards.numpy()), written)


@DTYPES
def test_few_long_rows_are_cut_along_the_last_axis(
    dtype: Any, in_blocks: list[int]
) -> None:
    x, _, scale = operands(dtype, 2, 70_000)
    eps = 4 * float(np.finfo(dtype).eps)
    expected = stats.norm.logpdf(x.astype(np.float64), 0.5, scale[:, :1])
    for engine in ("numba", "numpy"):
        lucid.set_cpu_engine(engine)
        found = Normal(dtype(0.5), scale[:, :1]).log_prob(x)
        assert_allclose(found.numpy(), expected, rtol=eps, atol=eps)
    assert max(in_blocks) <= in_numpy.BLOCK


def test_other_dtypes_and_no_elements() -> None:
    counts = np.array([0, 1, 5, -1])
    expected = stats.poisson.logpmf(counts, 2.5)
    assert_allclose(Poisson(2.5).log_prob(counts).numpy(), expected, rtol=1e-6)
    half = Normal(np.float16(1), np.float16(0.5)).log_prob(np.float16([300.0, -2.0]))
    assert half.numpy().dtype == np.float16
    exact = stats.norm.logpdf([300.0, -2.0], 1, 0.5)
    with np.errstate(over="ignore"):
        assert_array_equal(half.numpy(), exact.astype(np.float16))
    swapped = Laplace(np.arange(3, dtype=">f4"), np.int64(2))
    assert_allclose(
        swapped.log_prob(np.ones(3, ">f4")).numpy(),
        stats.laplace.logpdf(1, [0, 1, 2], 2),
        rtol=1e-6,
    )
    for shape in ((0,), (5, 0), (0, 3)):
        x = np.empty(shape, np.float32)
        assert Normal(np.ones(shape[-1:]), 1.0).log_prob(x).shape == shape


@DTYPES
def test_out(dtype: Any) -> None:
    x, loc, scale = operands(dtype, 200)
    for given in (Normal(loc, scale), Normal(dtype(1), dtype(2))):
        expected = given.log_prob(x).numpy()
        out = lucid.asarray(np.empty_like(x))
        assert given.log_prob(x, out=out) is out
        assert_array_equal(out.numpy(), expected)
        own = lucid.asarray(x.copy())
        given.log_prob(own, out=own)
        assert_array_equal(own.numpy(), expected)


# ---- special values


@DTYPES
def test_only_what_is_not_explained_goes_to_numpy(
    dtype: Any, in_blocks: list[int]
) -> None:
    """∞ · 0 of an infinite scale at an infinite value is no density: −∞."""
    x = np.array([0.0, INF, -INF, NAN, 1.0], dtype)
    scale = np.array([1.0, INF, 2.0, 1.0, NAN], dtype)
    given = Normal(np.zeros(5, dtype), scale, validate_args=False)
    found = given.log_prob(x).numpy()
    assert in_blocks == [2]
    assert_allclose(found[0], -0.5 * math.log(2 * math.pi), rtol=1e-6)
    assert_array_equal(found[1:], [-INF, -INF, NAN, NAN])
    lone = Normal(dtype(0), dtype(INF), validate_args=False).log_prob(x).numpy()
    assert_array_equal(lone, [-INF, -INF, -INF, NAN, -INF])


@DTYPES
def test_off_the_support_whatever_the_parameters(dtype: Any) -> None:
    x = np.array([-1.0, 0.5, NAN, INF, 2.0, -1.0], dtype)
    rate = np.array([1.0, 2.0, 3.0, 1.0, NAN, NAN], dtype)
    found = Poisson(rate, validate_args=False).log_prob(x).numpy()
    assert_array_equal(found, [-INF, -INF, NAN, -INF, NAN, -INF])
    probs = np.array([0.25, 0.25, 0.25, 0.25, NAN, NAN], dtype)
    found = Bernoulli(probs, validate_args=False).log_prob(x).numpy()
    assert_array_equal(found, [-INF, -INF, NAN, -INF, -INF, -INF])
    zero = Gamma(np.array([0.5, 1.0, 2.0], dtype), dtype(3)).log_prob(dtype(0)).numpy()
    assert_allclose(zero, [INF, math.log(3), -INF], rtol=1e-6)


# ---- a user's families


class Registered(FamilyDistribution):
    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    loc = Parameter()
    scale = Parameter()

    def __init__(self, loc: Any, scale: Any, validate_args: Any = None) -> None:
        super().__init__(validate_args, loc=loc, scale=scale)

    @staticmethod
    def prepare(fn: Any, unit: float, loc: Any, scale: Any) -> Any:
        return loc, 1.0 / scale, -unit * fn.log(scale)

    @staticmethod
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        (x,), (loc, inverse_scale) = row, factors
        z = (x - loc) * inverse_scale
        return -0.5 * z * z


class LogNormal(Registered):
    """Its row, support and base measure all compile."""

    @staticmethod
    def supports(fn: Any, value: Any) -> Any:
        return (value > 0) & (fn.rint(value) < INF)

    @staticmethod
    def row(fn: Any, value: Any) -> Any:
        return (fn.log(value),)

    @staticmethod
    def log_base_measure(fn: Any, value: Any) -> Any:
        return -fn.log(value) - 0.5 * math.log(2 * math.pi)


class Wide(LogNormal):
    """Its row asks for more than the range of float32."""

    @staticmethod
    def row(fn: Any, value: Any) -> Any:
        return (fn.log(fn.asarray(value, dtype=np.float64) * 1e60 / 1e60),)


class InNumPyAlone(LogNormal):
    """Its row has no text, nor its parameters: only its pair compiles."""

    @staticmethod
    def row(fn: Any, value: Any) -> Any:
        return (np.log(np.asarray(value)),)

    @staticmethod
    def prepare(fn: Any, unit: float, loc: Any, scale: Any) -> Any:
        return LogNormal.prepare(np, unit, np.asarray(loc) + 0.0, np.asarray(scale))


class Opaque(LogNormal):
    """Its pair has no text: NumPy evaluates all."""

    @staticmethod
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        return LogNormal.pair(fn, tuple(fn.ascontiguousarray(x) for x in row), factors)


@DTYPES
@pytest.mark.parametrize("family", [LogNormal, Wide, InNumPyAlone, Opaque])
def test_a_users_family(family: Any, dtype: Any, in_blocks: list[int]) -> None:
    x, loc, scale = operands(dtype, 500)
    x[::50], x[1::50], x[2::50] = NAN, INF, 0
    wide = [a.astype(np.float64) for a in (x, loc, scale)]
    eps = 64 * float(np.finfo(dtype).eps)
    with np.errstate(all="ignore"):
        own = stats.lognorm.logpdf(wide[0], wide[2], scale=np.exp(wide[1]))
        lone = stats.lognorm.logpdf(wide[0], 2.0, scale=math.exp(0.5))
    own[x == INF], lone[x == INF] = -INF, -INF
    found = family(loc, scale).log_prob(x).numpy()
    assert_allclose(found, own, rtol=eps, atol=eps)
    found = family(dtype(0.5), dtype(2)).log_prob(x).numpy()
    assert_allclose(found, lone, rtol=eps, atol=eps)
    assert bool(in_blocks) == (family is Opaque)
