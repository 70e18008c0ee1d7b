"""Formulas that several families share, each over a function namespace `fn`.

What a `pair` uses keeps to arithmetic, comparisons and selects; what belongs to one
component or one value may use more.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lucid.backends.protocol import Array

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)

# ln 2 in two parts: e·LN2_COARSE is exact for the exponent e of any float, and
# LN2_FINE = ln 2 − LN2_COARSE carries the rest.
LN2_COARSE = 0.693145751953125
LN2_FINE = 1.4286068203094172e-06

# (atanh(v)/v − 1)/v² = 1/3 + v²/5 + v⁴/7 + … as a polynomial in w = v² ≤ 0.36, highest
# power first: a Chebyshev fit, in error by at most 3e-17.
_ATANH_TAIL = (
    0.8365131002390247,
    -1.6818770755943666,
    1.8081417178937134,
    -1.110833859499457,
    0.5416674431516729,
    -0.11908961414557044,
    0.08021059875977603,
    0.041349247321899325,
    0.05342189868604931,
    0.0587507250955127,
    0.06667146793837037,
    0.07692285771959832,
    0.09090909748545113,
    0.11111111099176876,
    0.1428571428582797,
    0.19999999999999574,
    0.3333333333333333,
)
# Stirling's error as a continued fraction (Stieltjes 1889): a₀/(x + a₁/(x + …)).
_STIRLING_FRACTION = (
    1 / 12,
    1 / 30,
    53 / 210,
    195 / 371,
    22999 / 22737,
    29944523 / 19733142,
    109535241009 / 48264275462,
)
# log Γ(x + ½) − log Γ(x) − ½ log x in odd powers of 1/x, highest first.
_HALF_RATIO_SERIES = (
    929569 / 15728640,
    -5461 / 425984,
    691 / 180224,
    -31 / 18432,
    17 / 14336,
    -1 / 640,
    1 / 192,
    -1 / 8,
)
# So many recurrences x → x + 1 bring those series to 2e-17.
_STEPS = 8


def deviance(fn: Any, difference: Array, v: Array, far: Array) -> Array:
    """a·log(a/b) − (a − b) ≥ 0, without the cancellation about a = b.

    difference  a − b
    v           (a − b)/(a + b)
    far         the same by logarithms; taken where one of a, b is 4 times the other
    Loader, Fast and Accurate Computation of Binomial Probabilities (2000), with his
    series taken further: at his limit |v| = 0.1 the logarithms still cancel.
    """
    w = v * v
    lead = difference * v
    near = lead + lead * ((v + w) * _atanh_tail(w))
    return fn.where(abs(v) < 0.6, near, far)


def split_log(fn: Any, x: Array) -> tuple[Array, Array]:
    """log x as a multiple of 2⁻¹⁶ and a rest below 2⁻¹⁷.

    log(a/b) = (coarse_a − coarse_b) + (fine_a − fine_b) then has the rounding of one
    sum, where a difference of two logarithms has that of the larger: the coarse parts
    subtract exactly, and the fine ones have digits to spare.
    """
    mantissa, exponent = fn.frexp(x.astype(np.float64))
    small = mantissa < math.sqrt(0.5)
    power = exponent - small  # of 2, the mantissa then in [√½, √2)
    log_mantissa = fn.log(fn.where(small, mantissa + mantissa, mantissa))
    # 2¹⁶·LN2_COARSE is an integer, so `whole` and its distance to `coarse` are exact.
    whole, part = power * LN2_COARSE, power * LN2_FINE
    coarse = fn.rint((whole + log_mantissa + part) * 65536.0) / 65536.0
    coarse = fn.where(x > 0, coarse, 0.0)  # log 0 = 0 − ∞
    fine = ((whole - coarse) + log_mantissa) + part
    return coarse.astype(x.dtype), fine.astype(x.dtype)


def split_ratio(fn: Any, a: Array, b: Array) -> tuple[Array, Array]:
    """a/b as a coarse part of 12 bits and a fine part, together beyond the dtype.

    x − a/b = (x − coarse) − fine then loses nothing where x is close to a/b.
    """
    ratio = a / b
    coarse, fine = _split(fn, ratio)
    b_coarse, b_fine = _split(fn, b)
    # The remainder a − ratio·b, product by product (Dekker 1971).
    remainder = ((a - coarse * b_coarse) - coarse * b_fine) - fine * b_coarse
    return coarse, fine + (remainder - fine * b_fine) / b


def stirling_error(fn: Any, x: Array) -> Array:
    """log Γ(x + 1) − ((x + ½) log x − x + ½ log 2π), for x ≥ 1; below, that of 1.

    A step x → x + 1 lowers it by (x + ½) log(1 + 1/x) − 1 = v²/3 + v⁴/5 + … at
    v = 1/(2x + 1): positive terms only.
    """
    x = fn.maximum(x, 1.0)
    total = 0.0 * x
    for _ in range(_STEPS):
        w = 1.0 / (2.0 * x + 1.0) ** 2
        total = total + w * _atanh_tail(w)
        x = x + 1.0
    return total + _stirling_fraction(x)


def stirling_error_of_count(fn: Any, k: Array) -> Array:
    """The same for integers k ≥ 0 (of 0, that of 1): the small ones from a table."""
    table = stirling_error(fn, fn.arange(1.0 + _STEPS))
    small = (k >= 0) & (k <= _STEPS)
    large = _stirling_fraction(fn.maximum(k, 1.0 + _STEPS))
    return fn.where(small, table[fn.where(small, k, 0).astype(np.int64)], large)


def log_gamma_half_ratio(fn: Any, x: Array) -> Array:
    """log Γ(x + ½) − log Γ(x) − ½ log x ≤ 0, for x > 0; about −1/(8x) for large x.

    A step x → x + 1 multiplies Γ(x + ½)/(Γ(x)√x) by 1/√(1 − w), w = 1/(2x + 1)².
    """
    first = 4.0 * x * (x + 1.0) / (2.0 * x + 1.0) ** 2  # 1 − w where w is near 1
    lost = 0.0 * x  # 1 − ∏(1 − w) over the other steps
    shifted = x + 1.0
    for _ in range(_STEPS):
        w = 1.0 / (2.0 * shifted + 1.0) ** 2
        lost = lost + w - lost * w
        shifted = shifted + 1.0
    one = fn.where(x < 1.0, fn.log(first), fn.log1p(-1.0 / (2.0 * x + 1.0) ** 2))
    w = 1.0 / shifted**2
    series = _polynomial(_HALF_RATIO_SERIES, w) / shifted
    return 0.5 * (one + fn.log1p(-lost)) + series


def log_sigmoid(fn: Any, x: Array) -> Array:
    """log 1/(1 + e⁻ˣ), without overflow."""
    return fn.minimum(x, 0.0) - fn.log1p(fn.exp(-abs(x)))


def _stirling_fraction(x: Array) -> Array:
    """Stirling's error for x ≥ 1 + _STEPS."""
    tail = x
    for numerator in reversed(_STIRLING_FRACTION[1:]):
        tail = x + numerator / tail
    return _STIRLING_FRACTION[0] / tail


def _atanh_tail(w: Array) -> Array:
    return _polynomial(_ATANH_TAIL, w)


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Horner's rule, highest power first."""
    value: Array = coefficients[0]
    for coefficient in coefficients[1:]:
        value = value * x + coefficient
    return value


def _split(fn: Any, x: Array) -> tuple[Array, Array]:
    """x as its first 12 bits and the rest."""
    mantissa, exponent = fn.frexp(x)
    coarse = fn.ldexp(fn.rint(mantissa * 4096.0) / 4096.0, exponent)
    return coarse, x - coarse
