"""Functions of one number, without branches, so that loops over them vectorise."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.loops.float32 import (
    LEAST_EXPONENT,
    LEAST_NORMAL,
    LN2_COARSE,
    LN2_FINE,
    MANTISSA_BITS,
    RESCALE,
    RESCALE_EXPONENT,
    ROOT_HALF,
    ROUNDER,
    exp2_polynomial,
    exp2_short_polynomial,
    integer,
    log_polynomial,
    real,
)

NAT_BITS = real(1.4426950408889634)
LEAST_LOG = LEAST_EXPONENT * real(0.6931471805599453)
# ln 2 as a multiple of 2⁻¹⁶ and a rest.
GRID = real(65536.0)
LN2_ON_GRID, LN2_OFF_GRID = real(0.693145751953125), real(1.4286068203094172e-06)


def exp2(y: Any) -> Any:
    """2^y for y within the exponents of normal numbers, 2 to the least of them below.

    NaN stays NaN.
    """
    y = LEAST_EXPONENT if y < LEAST_EXPONENT else y
    biased = y + ROUNDER
    return times_power(exp2_polynomial(y - (biased - ROUNDER)), biased)


def shifted_exp2(y: Any, rounder: Any) -> Any:
    """2^(y + shift), as a term of a sum needs it, for rounder = ROUNDER + shift.

    The shift is an integer and so rounds nothing. y + shift lies within the exponents
    of normal numbers, or is one above: that gives ∞. NaN stays NaN.
    """
    biased = y + rounder
    return times_power(exp2_short_polynomial(y - (biased - rounder)), biased)


def exp(y: Any) -> Any:
    """e^y for y ≤ 0 within the exponents of normal numbers, as `exp2` below."""
    y = LEAST_LOG if y < LEAST_LOG else y
    biased = y * NAT_BITS + ROUNDER
    n = biased - ROUNDER
    # In two parts, so that a large |y| is reduced without rounding.
    p = exp2_polynomial(((y - n * LN2_COARSE) - n * LN2_FINE) * NAT_BITS)
    return times_power(p, biased)


def times_power(p: Any, biased: Any) -> Any:
    """p·2^n, where adding ROUNDER to n gave `biased`."""
    # A product keeps NaN, which adding to the exponent's bits might not.
    exponent = integer(real(biased).view(integer) << MANTISSA_BITS)
    return p * integer(exponent).view(real)


def log(x: Any) -> Any:
    """log x: −∞ at 0, NaN below."""
    tiny = x < LEAST_NORMAL  # its exponent says too little
    scaled = x * RESCALE if tiny else x
    found = logarithm(scaled, RESCALE_EXPONENT if tiny else real(0.0), real(0.0))
    found = found if x < real(np.inf) else x
    edge = real(-np.inf) if x == real(0.0) else real(np.nan)
    return found if x > real(0.0) else edge


def log1p(y: Any) -> Any:
    """log(1 + y): −∞ at −1, NaN below."""
    u = real(1.0) + y
    lost = (y - (u - real(1.0))) / u
    found = logarithm(u, real(0.0), lost)
    found = found if u < real(np.inf) else u
    edge = real(-np.inf) if u == real(0.0) else real(np.nan)
    return found if u > real(0.0) else edge


def logarithm(u: Any, exponent: Any, lost: Any) -> Any:
    """log(u·2^exponent) + lost for a normal u > 0, by the method of fdlibm."""
    power, f, half_square, rest = log_parts(u)
    k = power + exponent
    rest = rest + (k * LN2_FINE + lost)
    return k * LN2_COARSE - ((half_square - rest) - f)


def log_parts(u: Any) -> Any:
    """k, f, h and r of log u = k·ln 2 + f − (h − r), |h − r| ≤ 0.08, for u > 0."""
    bits = real(u).view(integer)
    # Rounded to `integer` at each step: LLVM then has no wider ones.
    power = integer(integer(bits - ROOT_HALF) >> MANTISSA_BITS)
    mantissa = integer(bits - integer(power << MANTISSA_BITS))
    f = integer(mantissa).view(real) - real(1.0)  # in [√½ − 1, √2 − 1]
    s = f / (real(2.0) + f)
    half_square = real(0.5) * f * f
    return real(power), f, half_square, s * (half_square + log_polynomial(s * s))


def split_log(x: Any) -> Any:
    """log x as `split_log` of distributions/_special.py has it, right to 2⁻²⁶ or 2⁻⁵⁶.

    f lies on a grid of the rounding of 1, and so its distance to `near` is exact.
    """
    tiny = x < LEAST_NORMAL
    power, f, half_square, rest = log_parts(x * RESCALE if tiny else x)
    k = power + (RESCALE_EXPONENT if tiny else real(0.0))
    less, part = half_square - rest, k * LN2_OFF_GRID
    near = real(np.rint(((f - less) + part) * GRID)) / GRID
    fine = ((f - near) - less) + part
    proper = (x > real(0.0)) & (x < real(np.inf))
    edge = real(-np.inf) if x == real(0.0) else real(np.nan)
    coarse = k * LN2_ON_GRID + near
    return coarse if proper else real(0.0), fine if proper else edge


def floor(x: Any) -> Any:
    """The largest integer up to x."""
    nearest = real(np.rint(x))  # of which LLVM has vectors, as it has not of floor
    return nearest - real(1.0) if nearest > x else nearest


def maximum(a: Any, b: Any) -> Any:
    """The larger; NaN where either is."""
    return a if (a >= b) | (a != a) else b


def minimum(a: Any, b: Any) -> Any:
    """The smaller; NaN where either is."""
    return a if (a <= b) | (a != a) else b
