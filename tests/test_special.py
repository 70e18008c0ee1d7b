"""The families' shared formulas against mpmath, in both dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from lucid import backends
from lucid.distributions import _special

mp: Any = mpmath.mp
FN = backends.get("cpu").fn
UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def errors(found: Any, exact: Callable[..., Any], *arguments: Any) -> Any:
    """|found − exact(arguments)| at 60 digits."""
    with mp.workdps(60):
        return np.array(
            [
                float(abs(mp.mpf(float(y)) - exact(*map(mp.mpf, map(float, given)))))
                for y, *given in zip(found, *arguments, strict=True)
            ]
        )


def positive(dtype: Any, low: float, high: float, size: int = 300) -> Any:
    """Numbers of every size between two powers of ten."""
    return (10 ** np.random.default_rng(0).uniform(low, high, size)).astype(dtype)


@DTYPES
def test_stirling_error(dtype: Any) -> None:
    x = np.concatenate([np.arange(1, 40), positive(dtype, 0, 9)]).astype(dtype)

    def exact(x: Any) -> Any:
        main = (x + 0.5) * mp.log(x) - x + mp.log(2 * mp.pi) / 2
        return mp.loggamma(x + 1) - main

    assert errors(_special.stirling_error(FN, x), exact, x).max() <= 0.5 * UNIT[dtype]


@DTYPES
def test_log_gamma_half_ratio(dtype: Any) -> None:
    x = np.concatenate([positive(dtype, -6, 2), positive(dtype, 2, 15)])

    def exact(x: Any) -> Any:
        return mp.loggamma(x + 0.5) - mp.loggamma(x) - mp.log(x) / 2

    found = _special.log_gamma_half_ratio(FN, x)
    assert (errors(found, exact, x) <= 2.5 * UNIT[dtype] * (1 + abs(found))).all()


@DTYPES
def test_stirling_error_of_counts(dtype: Any) -> None:
    k = np.concatenate([np.arange(1, 30), [1e3, 1e6, 1e9]]).astype(dtype)
    found = _special.stirling_error_of_count(FN, k)
    np.testing.assert_allclose(found, _special.stirling_error(FN, k), rtol=0, atol=1e-7)
    expected = _special.stirling_error(FN, k.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.5 * UNIT[dtype])
    odd = _special.stirling_error_of_count(FN, np.array([0, -3, np.nan], dtype))
    np.testing.assert_array_equal(np.isnan(odd), [False, False, True])


def test_log_gamma() -> None:
    near = 1.0 + np.array([-1e-3, -1e-9, 0.0, 1e-9, 1e-3])
    x = np.concatenate([near, near + 0.999, np.linspace(0.01, 2, 300), [1e-9, 1e-300]])
    found = _special.log_gamma(FN, x)
    unit = 2.5 * UNIT[np.float64]
    assert (errors(found, mp.loggamma, x) <= unit * (1 + abs(found))).all()


@DTYPES
def test_split_log(dtype: Any) -> None:
    a, b = positive(dtype, -37, 37), positive(dtype, -37, 37)[::-1]
    b[::3] = a[::3] * dtype(1.001)
    (a_coarse, a_fine), (b_coarse, b_fine) = (_special.split_log(FN, x) for x in (a, b))
    np.testing.assert_array_equal(a_coarse * 65536, np.rint(a_coarse * 65536))
    assert (abs(a_fine) <= 2.0**-17 * 1.01).all()
    found = (a_coarse - b_coarse) + (a_fine - b_fine)
    error = errors(found, lambda a, b: mp.log(a / b), a, b)
    # Half an ulp of the sum; in float64 each logarithm of a mantissa adds its own.
    own = 2.0**-52 if dtype == np.float64 else 2.0**-40
    assert (error <= UNIT[dtype] * abs(found) + own).all()


@DTYPES
def test_split_ratio(dtype: Any) -> None:
    a, b = positive(dtype, 0, 6), positive(dtype, -5, 5)[::-1]
    coarse, fine = _special.split_ratio(FN, a, b)
    error = errors(fine, lambda a, b, c: a / b - c, a, b, coarse)
    assert (error <= UNIT[dtype] * 2.0**-11 * a / b).all()


@DTYPES
@pytest.mark.parametrize("spread", [1e-3, 0.1, 1.0, 5.0])
def test_deviance(dtype: Any, spread: float) -> None:
    """Relative, near a = b and far: 8u is what the promise leaves of it."""
    a = np.rint(positive(dtype, 2, 6))
    step = np.random.default_rng(1).normal(0, spread, a.size)
    b = np.rint(a * np.exp(step)).astype(dtype) + dtype(0.5)
    (a_coarse, a_fine), (b_coarse, b_fine) = (_special.split_log(FN, x) for x in (a, b))
    difference = a - b
    log_ratio = (a_coarse - b_coarse) + (a_fine - b_fine)
    far = a * log_ratio - difference
    found = _special.deviance(FN, difference, difference / (a + b), far)

    def exact(a: Any, b: Any) -> Any:
        return a * mp.log(a / b) - (a - b)

    assert (errors(found, exact, a, b) <= 8 * UNIT[dtype] * found).all()


@DTYPES
def test_log_sigmoid(dtype: Any) -> None:
    x = np.concatenate([-positive(dtype, -3, 4), positive(dtype, -3, 1.8)])
    found = _special.log_sigmoid(FN, x)
    error = errors(found, lambda x: -mp.log1p(mp.exp(-x)), x)
    assert (error <= 3 * UNIT[dtype] * (abs(found) + 1e-30)).all()
    infinite = np.array([-np.inf, np.inf], dtype)
    assert _special.log_sigmoid(FN, infinite).tolist() == [-np.inf, 0.0]
