"""A formula's text says what the formula says; its arithmetic is right to an ulp."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("numba")

from numba import types

from lucid.backends.numba.compiler import compiled
from lucid.backends.numba.formula import family_text
from lucid.backends.numba.source import compose
from lucid.backends.tracing import FormulaError
from tests.test_program import (
    CHOICES,
    SPECIAL,
    direct,
    family,
    random_formula,
)

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def in_python(pair: Any, terms: int, factors: int, dtype: str) -> Any:
    """The text as Python runs it, on NumPy's scalars."""
    namespace: dict[str, Any] = {}
    text = compose(dtype, "arithmetic", family_text(family(pair), terms, factors))
    exec(text, namespace)
    return namespace["pair"]


def check(pair: Any, row: list[Any], factors: list[Any], dtype: str) -> None:
    """Both on every combination of values, bit for bit but for the sign of NaN."""
    written = in_python(pair, len(row[0]), len(factors[0]), dtype)
    real = np.dtype(dtype).type
    for x in row:
        for f in factors:
            own, other = tuple(map(real, x)), tuple(map(real, f))
            with np.errstate(all="ignore"):
                found = written(own, other)
                expected = direct(pair, own, other, real(0.0))
                assert_array_equal(real(found) + real(0.0), real(expected), strict=True)


@DTYPES
@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_numpys(name: str, dtype: str) -> None:
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        return CHOICES[name](fn, row[0], factors[0])

    if name == "named functions":  # exp and log1p round another way than NumPy's
        return
    check(pair, [(x,) for x in SPECIAL], [(a,) for a in SPECIAL], dtype)


@pytest.mark.parametrize("start", range(0, 600, 100))
def test_random_formulas_are_numpys(start: int) -> None:
    checked = 0
    for seed in range(start, start + 100):
        pair = random_formula(seed)
        text = family_text(family(pair), 2, 2)
        if any(f"{name}(" in text for name in ("exp", "log1p")):
            continue
        rng = np.random.default_rng(seed)
        values = rng.choice(SPECIAL[:6] + [2.0, -7.0], (4, 2))
        dtype = "float32" if seed % 2 else "float64"
        check(pair, [*map(tuple, values)], [(0.5, -1.25), (3.0, 0.1)], dtype)
        checked += 1
    assert checked > 20


@pytest.mark.parametrize(
    "formula",
    [
        lambda fn, x: fn.where(x, 1.0, x),
        lambda fn, x: fn.logical_and(x, x > 0.0),
        lambda fn, x: x + np.array([1.0, 2.0])[0:1],
        lambda fn, x: x + "1",
        lambda fn, x: fn.gammaln(x),
    ],
)
def test_what_has_no_text(formula: Any) -> None:
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        return formula(fn, row[0])

    with pytest.raises(FormulaError):
        family_text(family(pair), 1, 0)


# ---- arithmetic, compiled

LOOP = """
def every(x, out):
    for i in range(x.shape[0]):
        out[i] = {}(x[i])
"""


def evaluate(name: str, x: Any, loops: str = "arithmetic", body: str = LOOP) -> Any:
    """One function of the loops over an array, as Numba compiles it."""
    array = types.Array(getattr(types, x.dtype.name), 1, "C")
    text = compose(x.dtype.name, "arithmetic", *{loops} - {"arithmetic"})
    out = np.empty_like(x)
    signature = types.void(array, array)
    compiled(text + body.format(name), "every", signature)(x, out)
    return out


def ulps(found: Any, exact: list[Any]) -> float:
    """The largest relative error, in units of the dtype's u."""
    u = float(np.finfo(found.dtype).eps) / 2
    pairs = [(mpmath.mpf(float(f)), e) for f, e in zip(found, exact, strict=True) if e]
    return float(max(abs((f - e) / e) for f, e in pairs)) / u


def reference(function: Any, x: Any) -> list[Any]:
    with mpmath.workdps(50):
        return [function(mpmath.mpf(float(value))) for value in x]


@DTYPES
def test_exp2(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(-125, 1, 2000), -(10 ** rng.uniform(-20, 0, 500))])
    x = x.astype(dtype)
    exact = reference(lambda v: mpmath.mpf(2) ** v, x)
    assert ulps(evaluate("exp2", x), exact) < 1.3
    lowest = float(np.finfo(dtype).minexp)
    edge = np.array([0, -1, lowest, lowest - 1, -np.inf, np.nan, -3e38], dtype)
    least = 2.0**lowest
    expected = np.array([1, 0.5, least, least, least, np.nan, least], dtype)
    assert_array_equal(evaluate("exp2", edge), expected)


@DTYPES
def test_exp(dtype: str) -> None:
    """Of what is not above 0; large numbers are reduced without rounding."""
    least = float(np.log(np.finfo(dtype).tiny))
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(least, 0, 2000), -(10 ** rng.uniform(-20, 0, 500))])
    x = x.astype(dtype)
    assert ulps(evaluate("exp", x), reference(mpmath.exp, x)) < 2.5
    edge = np.array([0, 2 * least, -np.inf, np.nan], dtype)
    found = evaluate("exp", edge)
    assert found[0] == 1.0
    assert_allclose(found[1:3], np.finfo(dtype).tiny, rtol=1e-4)
    assert np.isnan(found[3])


ROWS = """
def every(x, out):
    y = np.empty(max(x.shape[0], ROOM), real)
    for count in range(1, x.shape[0] + 1):
        for k in range(count):
            y[k] = x[k]
        out[count - 1] = {}
"""


@DTYPES
def test_the_largest_and_the_sum_of_a_row(dtype: str) -> None:
    """Of its first number, of its first two, …"""
    x = np.random.default_rng(0).normal(size=300).astype(dtype)
    largest = evaluate("largest(x[:count])", x, "reduce", ROWS)
    assert_array_equal(largest, np.maximum.accumulate(x))
    assert_array_equal(
        evaluate("largest(x[:count])", -abs(x), "reduce", ROWS),
        np.maximum.accumulate(-abs(x)),
    )
    edge = np.array([-np.inf, -0.0, 3.0, np.inf], dtype)
    assert_array_equal(evaluate("largest(x[:count])", edge, "reduce", ROWS), edge)
    sums = evaluate("pairwise_sum(y, count)", x, "reduce", ROWS)
    exact = np.cumsum(x.astype(np.float64))
    assert_allclose(sums, exact, rtol=0, atol=200 * float(np.finfo(dtype).eps))
    equal = np.full(10_000, 0.1, dtype)
    sums = evaluate("pairwise_sum(y, count)", equal[:3000], "reduce", ROWS)
    exact = np.arange(1, 3001) * float(equal[0])
    assert_allclose(sums, exact, rtol=8 * float(np.finfo(dtype).eps))


@DTYPES
def test_log(dtype: str) -> None:
    rng = np.random.default_rng(4)
    info = np.finfo(dtype)
    u = float(info.eps) / 2
    exponents = rng.uniform(info.minexp - info.nmant, info.maxexp, 1000)
    x = np.concatenate(
        [
            (rng.integers(0, 2**24, 2000) + 1) * u,
            1 - np.arange(1, 300) * u,
            1 + np.arange(1, 300) * 2 * u,
            2.0**exponents,
        ]
    )
    x = x.astype(dtype)
    assert ulps(evaluate("log", x), reference(mpmath.log, x)) < 2
    edge = np.array([0.0, -0.0, 1.0, np.inf, -1.0, -np.inf, np.nan], dtype)
    expected = np.array([-np.inf, -np.inf, 0, np.inf, np.nan, np.nan, np.nan], dtype)
    assert_array_equal(evaluate("log", edge), expected)


@DTYPES
def test_log1p(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate(
        [
            10 ** rng.uniform(-30, 30, 2000),
            -(10 ** rng.uniform(-20, -0.001, 1000)),
            rng.uniform(0, 3, 1000),
        ]
    ).astype(dtype)
    assert ulps(evaluate("log1p", x), reference(mpmath.log1p, x)) < 1.5
    edge = np.array([0, -1, -2, np.inf, -np.inf, np.nan], dtype)
    expected = np.array([0, -np.inf, np.nan, np.inf, np.nan, np.nan], dtype)
    assert_array_equal(evaluate("log1p", edge), expected)


def test_log2() -> None:
    """Of a row's sum, which lies in [2^-126, K]."""
    rng = np.random.default_rng(0)
    x = np.concatenate([2 ** rng.uniform(-126, 30, 2000), rng.uniform(0.5, 2, 1000)])
    exact = reference(lambda v: mpmath.log(v, 2), x)
    assert ulps(evaluate("log2", x, "mixture"), exact) < 3.0
    edge = np.array([1.0, 2.0, 0.5, np.nan])
    assert_array_equal(evaluate("log2", edge, "mixture"), [0.0, 1.0, -1.0, np.nan])


@DTYPES
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_extremes_carry_nan(name: str, dtype: str) -> None:
    def pair(fn: Any, row: Any, factors: Any) -> Any:
        return getattr(fn, name)(row[0], factors[0])

    check(pair, [(x,) for x in SPECIAL], [(a,) for a in SPECIAL], dtype)
