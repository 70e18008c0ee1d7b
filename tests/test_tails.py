"""Tails far beyond where the libraries' functions give out, against mpmath."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lucid
from lucid.distributions import Gamma, Laplace, Normal, Poisson, StudentT, _tails

mp: Any = mpmath.mp
FN = lucid.backends.get("cpu").fn


@pytest.fixture(autouse=True)
def _digits() -> Any:
    with mp.workdps(50), np.errstate(all="ignore"):
        yield


def wide(family: Any, *parameters: float) -> Any:
    return family(*(np.float64(p) for p in parameters))


def gamma_tail(a: float, x: float) -> Any:
    """P(Gamma(a, 1) ≤ x) if x < a, else P(Gamma(a, 1) > x)."""
    shape, start = mp.mpf(float(a)), mp.mpf(float(x))
    if a <= 1e4:
        ends = (0, start) if x < a else (start, mp.inf)
        return mp.gammainc(shape, *ends, regularized=True)

    def relative(t: Any) -> Any:  # density: mpmath's quadrature ends at 1e-50
        return mp.exp((shape - 1) * mp.log(t / start) - (t - start))

    length = min(mp.sqrt(shape), start / abs(start - shape))
    length = -length if x < a else length
    ends = [start + length * i for i in (0, 1, 3, 10, 30, 60, 100)]
    at_start = (shape - 1) * mp.log(start) - start - mp.loggamma(shape)
    return mp.exp(at_start) * abs(mp.quad(relative, ends))


def student_t_tail(df: float, z: float) -> Any:
    square = mp.mpf(float(z)) ** 2
    part = mp.mpf(df) / (mp.mpf(df) + square)
    return mp.betainc(mp.mpf(df) / 2, 0.5, 0, part, regularized=True) / 2


GAMMAS = [
    (1.0, 1e3),
    (0.5, 800.0),
    (1e-3, 900.0),
    (10.0, 1e-40),
    (10.0, 1e-300),
    (10.0, 1e3),
    (2.5, 1e-200),
    (300.0, 5.0),
    (3e3, 700.0),
    (3e3, 6e3),
    (1e4, 6e3),
    (1e5 + 1, 1e5 - 1500.0),
    (1e6, 1e6 - 5e3),
    (1e6, 1e6 + 6e4),
    (1e10, 1e10 - 4.5e5),
    (1e10, 1e10 - 6e5),
    (1e10, 1e10 + 6e6),
    (1e15, 1e15 - 2e8),
]


@pytest.mark.parametrize(("a", "x"), GAMMAS)
def test_gamma_tails(a: float, x: float) -> None:
    exact = gamma_tail(a, x)
    log, given = float(mp.log(exact)), (FN, np.float64(a), np.float64(x))
    if x < a:
        tail, log_tail = _tails.gamma_lower(*given), _tails.gamma_log_lower(*given)
    else:
        tail, log_tail = _tails.gamma_upper(*given), _tails.gamma_log_upper(*given)
    assert_allclose(log_tail, log, rtol=1e-14, atol=2e-13)
    # A factor of exp(log): what the logarithm rounds away.
    assert_allclose(tail, float(exact), rtol=1e-12 + 1e-15 * abs(log), atol=0)


def test_a_tail_joins_the_librarys() -> None:
    """No step where one formula takes over from the other."""
    a, z = np.float64(1e5 + 1), np.array([-4.5, -4.41, -4.39, -4.3])
    for x in (a + z * np.sqrt(a), np.array([1e4, 9e4])):
        expected = np.exp(_tails._log_gamma_tail(FN, a, x))
        assert_allclose(_tails.gamma_lower(FN, a, x), expected, rtol=1e-11)
    x = np.array([1.0, 0.05, 0.01, 1e-3])
    log = _tails.gamma_log_lower(FN, np.float64(100.0), x)
    expected = [float(mp.log(gamma_tail(100.0, v))) for v in x]
    assert_allclose(log, expected, rtol=1e-14)
    df, z = np.float64(20.0), np.array([1e12, 1e14, 1e15, 1e16])
    log = _tails.student_t_log_tail(FN, df, z)
    expected = [float(mp.log(student_t_tail(20.0, v))) for v in z]
    assert_allclose(log, expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("df", "z"),
    [
        (1.0, 1e160),
        (1.0, 1e9),
        (0.5, 1e200),
        (0.01, 1e300),
        (3.0, 1e150),
        (30.0, 1e30),
        (1e3, 100.0),
        (5e4, 50.0),
        (9.9e4, 300.0),
        (2e5, 60.0),
        (2e5, 1e4),
    ],
)
def test_student_t_tails(df: float, z: float) -> None:
    exact = student_t_tail(df, z)
    given = FN, np.float64(df), np.float64(z)
    log = float(mp.log(exact))
    assert_allclose(_tails.student_t_log_tail(*given), log, rtol=5e-14, atol=5e-13)
    assert_allclose(_tails.student_t_tail(*given), float(exact), rtol=1e-12, atol=0)


@pytest.mark.parametrize("df", [1e24, 1e30])
def test_student_t_tails_become_the_normals(df: float) -> None:
    z = np.array([45.0, 60.0, 1e5])
    found = _tails.student_t_log_tail(FN, np.float64(df), z)
    assert_allclose(found, FN.log_ndtr(-z), rtol=1e-14)


@pytest.mark.parametrize(
    ("df", "p"),
    [(1.0, 1e-200), (0.5, 1e-100), (2.0, 1e-300), (7.0, 1e-40), (1.0, 1e-9)],
)
def test_student_t_quantiles(df: float, p: float) -> None:
    z = _tails.student_t_quantile(FN, np.float64(df), np.float64(p))
    assert_allclose(float(student_t_tail(df, z)), p, rtol=1e-12)


@pytest.mark.parametrize("a", [1.5e5, 1e8, 1e12])
@pytest.mark.parametrize("p", [1e-6, 1e-12, 1e-200])
def test_gamma_quantiles(a: float, p: float) -> None:
    x = _tails.gamma_quantile(FN, np.float64(a), np.float64(p))
    # What a step of x to the next float64 is worth, and the logarithm's own rounding.
    step = np.spacing(x) * abs(a - x) / x
    assert_allclose(float(mp.log(gamma_tail(a, x) / p)), 0.0, atol=step + 1e-12)


def test_through_the_public_methods() -> None:
    """The answers that were infinite or zero."""
    close = {"rtol": 1e-13}
    gamma, cauchy = wide(Gamma, 10, 1), wide(StudentT, 1)
    assert_allclose(gamma.log_cdf(1e-40).item(), -936.1384497706938, **close)
    assert_allclose(
        wide(Gamma, 10, 4).log_cdf(0.25e-40).item(),
        gamma.log_cdf(1e-40).item(),
        **close,
    )
    assert_allclose(wide(Poisson, 1000).log_cdf(0).item(), -1000, **close)
    assert_allclose(cauchy.icdf(1e-200).item(), -1e200 / math.pi, **close)
    assert_allclose(cauchy.cdf(-1e160).item(), 1e-160 / math.pi, **close)
    assert_allclose(cauchy.survival_function(1e160).item(), 1e-160 / math.pi, **close)
    large, k = wide(Poisson, 1e10), 1e10 + 602_000
    exact = gamma_tail(k + 1, 1e10)
    assert_allclose(large.survival_function(k).item(), float(exact), rtol=1e-12)
    found = large.log_survival_function(k).item()
    assert_allclose(found, float(mp.log(exact)), rtol=1e-13)


def test_log_survival_functions() -> None:
    below = wide(Gamma, 3, 2)
    x = np.array([0.1, 1.0, 400.0])
    exact = [mp.log(mp.gammainc(3, 2 * v, mp.inf, regularized=True)) for v in x]
    found = below.log_survival_function(x).numpy()
    assert_allclose(found, np.array(exact, float), rtol=1e-13)
    found = wide(Poisson, 2.5).log_survival_function(np.array([-1.0, 0, 1e3])).numpy()
    log = mp.log(mp.gammainc(1001, 0, 2.5, regularized=True))
    assert_allclose(found, [0.0, math.log(-math.expm1(-2.5)), float(log)], rtol=1e-13)
    found = wide(Poisson, 2.5).log_cdf(np.array([-1.0, 0, 1e3])).numpy()
    assert_allclose(found, [-np.inf, -2.5, 0.0], rtol=1e-13)
    found = wide(Normal, 1, 2).log_survival_function(np.array([-99.0, 101])).numpy()
    log = mp.log(mp.erfc(50 / mp.sqrt(2)) / 2)
    assert_allclose(found, [0.0, float(log)], rtol=1e-13)
    found = wide(Laplace, 1, 2).log_survival_function(np.array([-1999.0, 2001])).numpy()
    assert_allclose(found, [0.0, -1000 - math.log(2)], rtol=1e-13)
    t, z = wide(StudentT, 5, 1, 2), np.array([3.0, 1e100])
    exact = [float(mp.log(student_t_tail(5.0, (v - 1) / 2))) for v in z]
    assert_allclose(t.log_survival_function(z).numpy(), exact, rtol=1e-13)
    assert_allclose(t.log_cdf(2 - z).numpy(), exact, rtol=1e-13)
    least = lucid.distributions.Bernoulli(logits=np.float64(-800))
    x = np.array([-1.0, 0.0, 0.5, 1.0, np.nan])
    found = least.log_survival_function(x).numpy()
    assert_array_equal(found, [0, -800, -800, -np.inf, np.nan])
    found = lucid.distributions.Bernoulli(logits=np.float64(800)).log_cdf(x).numpy()
    assert_array_equal(found, [-np.inf, -800, -800, 0, np.nan])


@pytest.mark.parametrize("given", [(Gamma, 1e6, 1), (Poisson, 1e6), (StudentT, 3)])
def test_the_ends_of_the_line(given: Any) -> None:
    family, *parameters = given
    there, ends = wide(family, *parameters), np.array([-np.inf, np.inf, np.nan])
    assert_array_equal(there.log_cdf(ends).numpy(), [-np.inf, 0, np.nan])
    found = there.log_survival_function(ends).numpy()
    assert_array_equal(found, [0, -np.inf, np.nan])
    assert_array_equal(there.cdf(ends).numpy(), [0, 1, np.nan])
    assert_array_equal(there.survival_function(ends).numpy(), [1, 0, np.nan])
    assert_array_equal(wide(Poisson, 0).log_survival_function(ends).numpy(), found)
