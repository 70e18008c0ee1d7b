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
# Stirling's error in odd powers of 1/x, highest first, and for 1 ≤ x ≤ 9 in powers of
# s = (x − 3)/(x + 3), which takes its singularity at 0 to −1: a Chebyshev fit on
# |s| ≤ ½, in error by 3e-18.
_STIRLING_SERIES = (
    -174611 / 125400,
    43867 / 244188,
    -3617 / 122400,
    1 / 156,
    -691 / 360360,
    1 / 1188,
    -1 / 1680,
    1 / 1260,
    -1 / 360,
    1 / 12,
)
_STIRLING_NEAR = (
    0.10517692581875211,
    -0.10821352012046632,
    -0.07920405128615944,
    0.08129721341445459,
    0.07138764480483621,
    -0.07353454770692935,
    0.0013487549279416046,
    -0.0016251711694868134,
    0.025485050208084094,
    -0.02651320412913008,
    0.022473549346283653,
    -0.023530185894252396,
    0.02548045629557334,
    -0.02676303359249302,
    0.028078720422305005,
    -0.029614783850301446,
    0.03130636721790054,
    -0.033153000095288564,
    0.03517121353683293,
    -0.03736572058171815,
    0.039728828016581064,
    -0.042234816643225134,
    0.044831240330628866,
    -0.047430982620281545,
    0.04990852832280307,
    -0.05210500903918183,
    0.053845481850220506,
    -0.05496772141785527,
    0.02767792568499834,
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
# And for 1 ≤ x ≤ 9, as above, in error by 3e-18.
_HALF_RATIO_NEAR = (
    -0.11609418155226436,
    0.11985341680598903,
    0.08655497248155662,
    -0.08907686369296533,
    -0.07921877917388297,
    0.08192097057675571,
    -0.002622551962496106,
    0.003074985547176121,
    -0.029584501483664084,
    0.031014303956955078,
    -0.026899375155535202,
    0.028447945562096573,
    -0.031049060463955454,
    0.032994497376678006,
    -0.035069030816485096,
    0.03749472627454646,
    -0.04021734796318747,
    0.04325389901440325,
    -0.046638797951622055,
    0.050389160599277824,
    -0.05449950433939289,
    0.05892907048789847,
    -0.06358437817955903,
    0.06830295557674175,
    -0.07284532822227031,
    0.07690448140825375,
    -0.08013976018319195,
    0.08223383328065624,
    -0.04147972254692593,
)
# log Γ(x)/((x − 1)(x − 2)) on [1, 2] in powers of x − 3/2, highest first: a
# Chebyshev fit, in error by at most 6e-17.
_LOG_GAMMA = (
    1.1820969445467145e-05,
    -1.8527803997032962e-05,
    1.3584275459130943e-05,
    -2.148770252062576e-05,
    4.281642862794779e-05,
    -6.793733027397047e-05,
    0.00010541715222185904,
    -0.0001685717945035172,
    0.00027130273545114005,
    -0.00043803516132580534,
    0.0007115202752051298,
    -0.001164411377219605,
    0.0019229162321227923,
    -0.0032120742206072908,
    0.005446457842219553,
    -0.009425622444829649,
    0.01679709863121395,
    -0.03130848750105327,
    0.06291140107456485,
    -0.14595989591430594,
    0.4831289505409809,
)
# From here on those series are right to 2e-17.
_FAR = 9.0


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
    if hasattr(type(fn), "split_log"):  # compiled loops have one that vectorises
        coarse, fine = fn.split_log(x)
        return coarse, fine
    dtype = fn.result_type(x)
    mantissa, exponent = fn.frexp(fn.asarray(x, dtype=np.float64))
    small = mantissa < math.sqrt(0.5)
    power = exponent - small  # of 2, the mantissa then in [√½, √2)
    log_mantissa = fn.log(fn.where(small, mantissa + mantissa, mantissa))
    # 2¹⁶·LN2_COARSE is an integer, so `whole` and its distance to `coarse` are exact.
    whole, part = power * LN2_COARSE, power * LN2_FINE
    coarse = fn.rint((whole + log_mantissa + part) * 65536.0) / 65536.0
    coarse = fn.where(x > 0, coarse, 0.0)  # log 0 = 0 − ∞
    fine = ((whole - coarse) + log_mantissa) + part
    return fn.asarray(coarse, dtype=dtype), fn.asarray(fine, dtype=dtype)


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
    """log Γ(x + 1) − ((x + ½) log x − x + ½ log 2π), for x ≥ 1; below, that of 1."""
    x = fn.maximum(x, 1.0)
    near = _polynomial(_STIRLING_NEAR, _near(fn, x))
    return fn.where(x < _FAR, near, _odd_powers(_STIRLING_SERIES, x))


def stirling_error_of_count(fn: Any, k: Array) -> Array:
    """The same for integers k ≥ 0 (of 0, that of 1): the small ones from a table."""
    table = stirling_error(fn, fn.arange(_FAR))
    small = (k >= 0) & (k < _FAR)
    large = _odd_powers(_STIRLING_SERIES, fn.maximum(k, _FAR))
    index = fn.asarray(fn.where(small, k, 0), dtype=np.int64)
    return fn.where(small, fn.take(table, index), large)


def log_gamma_half_ratio(fn: Any, x: Array) -> Array:
    """log Γ(x + ½) − log Γ(x) − ½ log x ≤ 0, for x > 0; about −1/(8x) for large x.

    The step x → x + 1 multiplies Γ(x + ½)/(Γ(x)√x) by 1/√(1 − w), w = 1/(2x + 1)².
    """
    square = fn.square(2.0 * x + 1.0)
    first = 4.0 * x * (x + 1.0) / square  # 1 − w where w is near 1
    one = fn.where(x < 1.0, fn.log(first), fn.log1p(-1.0 / square))
    shifted = x + 1.0
    near = _polynomial(_HALF_RATIO_NEAR, _near(fn, shifted))
    far = _odd_powers(_HALF_RATIO_SERIES, shifted)
    return 0.5 * one + fn.where(shifted < _FAR, near, far)


def log_gamma(fn: Any, x: Array) -> Array:
    """log Γ(x) for 0 < x ≤ 2, right to a few units of rounding of 1 + |log Γ(x)|."""
    z = fn.where(x < 1.0, x + 1.0, x)
    log_gamma_z = (z - 1.0) * (z - 2.0) * _polynomial(_LOG_GAMMA, z - 1.5)
    return log_gamma_z - fn.where(x < 1.0, fn.log(x), 0.0)


def log_sigmoid(fn: Any, x: Array) -> Array:
    """log 1/(1 + e⁻ˣ), without overflow."""
    return fn.minimum(x, 0.0) - fn.log1p(fn.exp(-abs(x)))


def _near(fn: Any, x: Array) -> Array:
    """(x − 3)/(x + 3) for 1 ≤ x ≤ 9, and beyond that of 9."""
    x = fn.minimum(x, _FAR)
    return (x - 3.0) / (x + 3.0)


def _odd_powers(coefficients: tuple[float, ...], x: Array) -> Array:
    """A polynomial in 1/x of odd powers, highest first."""
    inverse = 1.0 / x
    return _polynomial(coefficients, inverse * inverse) * inverse


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
