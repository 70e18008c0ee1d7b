"""Tails of the gamma and Student's t distributions where the libraries' give out.

SciPy's functions and CuPy's, which are Cephes' and Boost's, underflow far out, and lose
the left tail of large gammas altogether. Out there a tail is the density at its start
times a smooth integral, which a few nodes give to 1e-14. All is float64.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.backends.protocol import Array
from lucid.distributions._special import (
    HALF_LOG_TWO_PI,
    deviance,
    log_gamma_half_ratio,
    stirling_error,
)

# A probability below this may have lost digits to underflow.
_LEAST = 1e-280
# From here on Cephes' series for the left tail stops too early beyond 4.5 deviations.
_LARGE_GAMMA = 1e5
_DEVIATIONS = 4.4
# From here on betainc's arguments round too much, and Hill's expansion is exact.
_MANY_DF = 1e5
# Where t² is so large, 1 + t² is t².
_FAR_T = 1e8
# The integrals' integrands are cut off at exp(−40).
_NODES, _CUT = 24, 40.0
# eˢ − 1 − s = s²(½ + s/6 + …) near 0, highest power first.
_EXCESS = tuple(1.0 / math.factorial(n) for n in range(8, 1, -1))


def gamma_lower(fn: Any, a: Array, x: Array) -> Array:
    """P(Gamma(a, 1) ≤ x), accurate in its left tail at any a; x ≥ 0."""
    far = (a > _LARGE_GAMMA) & (a - x > _DEVIATIONS * fn.sqrt(a))
    return _replaced(fn, fn.gammainc(a, x), far, _exp_gamma_tail, a, x)


def gamma_log_lower(fn: Any, a: Array, x: Array) -> Array:
    """log P(Gamma(a, 1) ≤ x), x ≥ 0."""
    below = gamma_lower(fn, a, x)
    log = _log(fn, below, fn.gammaincc(a, x))
    far = (below < _LEAST) & (x > 0.0) & (a < math.inf)
    return _replaced(fn, log, far, _log_gamma_tail, a, x)


def gamma_upper(fn: Any, a: Array, x: Array) -> Array:
    """P(Gamma(a, 1) > x), accurate in its right tail at any a; x ≥ 0."""
    return fn.gammaincc(a, x)


def gamma_log_upper(fn: Any, a: Array, x: Array) -> Array:
    """log P(Gamma(a, 1) > x), x ≥ 0."""
    above = fn.gammaincc(a, x)
    log = _log(fn, above, gamma_lower(fn, a, x))
    far = (above < _LEAST) & (x < math.inf)
    return _replaced(fn, log, far, _log_gamma_tail, a, x)


def gamma_quantile(fn: Any, a: Array, p: Array) -> Array:
    """x with P(Gamma(a, 1) ≤ x) = p."""
    far = (a > _LARGE_GAMMA) & (p > 0.0) & (p < 1e-5)
    return _replaced(fn, fn.gammaincinv(a, p), far, _large_gamma_quantile, a, p)


def student_t_tail(fn: Any, df: Array, z: Array) -> Array:
    """P(T > |z|) for Student's t of finite df."""
    square = z * z
    inner = fn.betainc(0.5, 0.5 * df, square / (df + square))
    outer = fn.betainc(0.5 * df, 0.5, df / (df + square))
    tail = 0.5 * fn.where(square < 1.0, 1.0 - inner, outer)
    # Hill, Algorithm 395 (1970): the normal deviate of the same probability.
    w = fn.sqrt((df - 0.5) * fn.log1p(square / df))
    normal = fn.ndtr(-w - (w * w + 3.0) * w / (48.0 * (df - 0.5) ** 2))
    tail = fn.where(df < _MANY_DF, tail, normal)
    far = abs(z) / fn.sqrt(df) > _FAR_T
    return _replaced(fn, tail, far, _exp_student_t_tail, df, z)


def student_t_log_tail(fn: Any, df: Array, z: Array) -> Array:
    """log P(T > |z|) for Student's t of finite df."""
    tail = student_t_tail(fn, df, z)
    far = (tail < _LEAST) & (abs(z) < math.inf)
    return _replaced(fn, fn.log(tail), far, _log_student_t_tail, df, z)


def student_t_quantile(fn: Any, df: Array, tail: Array) -> Array:
    """|z| with P(T > |z|) = tail ≤ ½ for Student's t of finite df."""
    outer = fn.betaincinv(0.5 * df, 0.5, 2.0 * tail)
    inner = fn.betaincinv(0.5, 0.5 * df, 1.0 - 2.0 * tail)
    odds = fn.where(tail < 0.2, (1.0 - outer) / outer, inner / (1.0 - inner))
    z = fn.ndtri(tail)
    w = fn.maximum(z, -40.0)  # beyond any but z = −∞, where ∞ − ∞ would be NaN
    w = z - (w * w + 3.0) * w / (48.0 * (df - 0.5) ** 2)
    odds = fn.where(df < _MANY_DF, odds, fn.expm1(w * w / (df - 0.5)))
    # Far out the tail is C·t⁻ᵛ, t = |z|/√ν.
    log_t = (_log_student_t_limit(fn, df) - fn.log(tail)) / df
    far = log_t > math.log(_FAR_T)
    return fn.sqrt(df) * fn.where(far, fn.exp(log_t), fn.sqrt(odds))


def _log_gamma_tail(fn: Any, a: Array, x: Array) -> Array:
    """log P(Gamma(a, 1) ≤ x) for x well below a, log P(Gamma(a, 1) > x) well above.

    xᵃe⁻ˣ/Γ(a) times ∫₀^∞ exp(−|x − a|s − x(e^±s − 1 ∓ s)) ds: substituted xe^±s.
    """
    difference = a - x
    v = difference / (a + x)
    far = a * (fn.log(a) - fn.log(x)) - difference
    small = a < 1.0  # below Stirling's formula, and nothing to cancel
    height = 0.5 * fn.log(a) - stirling_error(fn, a) - HALF_LOG_TWO_PI
    height = height - deviance(fn, difference, v, far)
    height = fn.where(small, a * fn.log(x) - x - fn.gammaln(a), height)
    return height + fn.log(_gamma_integral(fn, a, x))


def _exp_gamma_tail(fn: Any, a: Array, x: Array) -> Array:
    return fn.exp(_log_gamma_tail(fn, a, x))


def _gamma_integral(fn: Any, a: Array, x: Array) -> Array:
    sign, rate = fn.where(x < a, -1.0, 1.0), abs(x - a)

    def exponent(s: Array) -> Array:
        step = sign * s
        excess = 0.0 * step
        for coefficient in _EXCESS:
            excess = excess * step + coefficient
        near = abs(step) < 0.05
        excess = fn.where(near, excess * step * step, fn.expm1(step) - step)
        return rate * s + x * excess

    return _integral(fn, exponent, rate, x)


def _large_gamma_quantile(fn: Any, a: Array, p: Array) -> Array:
    """By Newton's method on log P, whose slope in log x is 1/integral."""
    x = a * (1.0 - 1.0 / (9.0 * a) + fn.ndtri(p) / (3.0 * fn.sqrt(a))) ** 3
    for _ in range(4):  # from Wilson and Hilferty's cube (1931)
        excess = _log_gamma_tail(fn, a, x) - fn.log(p)
        x = x * fn.exp(-excess * _gamma_integral(fn, a, x))
    return x


def _log_student_t_tail(fn: Any, df: Array, z: Array) -> Array:
    """log P(T > |z|) for |z| well above 1.

    |z| times the density times ∫₀^∞ exp(s − h·log(1 + q(e²ˢ − 1))) ds, substituted
    |z|eˢ: h = ½(ν + 1), q = t²/(1 + t²), t = |z|/√ν.
    """
    t = abs(z) / fn.sqrt(df)
    half, w = 0.5 * (df + 1.0), 1.0 / (1.0 + t * t)
    q = fn.where(t < 1.0, t * t * w, 1.0 - w)

    def exponent(s: Array) -> Array:
        near = half * fn.log1p(q * fn.expm1(2.0 * s)) - s
        # Where t is large e²ˢ may overflow, so it is taken out of the logarithm.
        far = df * s + half * fn.log1p(w * fn.expm1(-2.0 * s))
        return fn.where(t < 1.0, near, far)

    rate, curvature = 2.0 * half * q - 1.0, 4.0 * half * w * q
    integral = _integral(fn, exponent, fn.maximum(rate, 0.0), curvature)
    log_square = fn.where(t > _FAR_T, 2.0 * fn.log(t), fn.log1p(t * t))
    height = _log_student_t_limit(fn, df) + fn.log(df) + 0.5 * fn.log(q)
    return height - 0.5 * df * log_square + fn.log(integral)


def _exp_student_t_tail(fn: Any, df: Array, z: Array) -> Array:
    return fn.exp(_log_student_t_tail(fn, df, z))


def _log_student_t_limit(fn: Any, df: Array) -> Array:
    """log of the limit of tᵛ·P(T > t√ν)."""
    return log_gamma_half_ratio(fn, 0.5 * df) - HALF_LOG_TWO_PI - 0.5 * fn.log(df)


def _integral(
    fn: Any, exponent: Callable[[Array], Array], rate: Array, curvature: Array
) -> Array:
    """∫₀^∞ exp(−exponent(s)) ds, exponent(s) ≈ rate·s + ½·curvature·s².

    Cut off where that is 40: between exp(−s) and a half bell, Gauss and Legendre's
    nodes see nothing sharper.
    """
    reach = fn.hypot(rate, fn.sqrt(2.0 * _CUT * curvature))
    span = 2.0 * _CUT / (rate + reach)
    total = 0.0 * span
    for node, weight in _gauss_legendre():
        total = total + weight * fn.exp(-exponent(node * span))
    return span * total


@functools.cache
def _gauss_legendre() -> tuple[tuple[float, float], ...]:
    """Nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    pairs = zip(0.5 + 0.5 * nodes, 0.5 * weights, strict=True)
    return tuple((float(node), float(weight)) for node, weight in pairs)


def _log(fn: Any, probability: Array, other: Array) -> Array:
    """log of a probability, from 1 − probability where that is the smaller."""
    low = probability < 0.5
    return fn.where(low, fn.log(probability), fn.log1p(-other))


def _replaced(
    fn: Any, result: Array, where: Array, formula: Callable[..., Array], *given: Array
) -> Array:
    """`result`, but formula(fn, *given) at the few places `where`."""
    if not bool(where.any()):
        return result
    result, where, *given_all = fn.broadcast_arrays(result, where, *given)
    replaced = result.copy()
    replaced[where] = formula(fn, *(array[where] for array in given_all))
    return replaced
