"""Numbers taken apart into a mantissa and a power of two, without branches."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.numba.loops.float32 import (
    LEAST_EXPONENT,
    LEAST_NORMAL,
    MANTISSA_BITS,
    RESCALE,
    RESCALE_EXPONENT,
    integer,
    real,
)

BIAS = integer(1.0 - LEAST_EXPONENT)
HALF = integer(int(BIAS - 1) << MANTISSA_BITS)
SIGN_AND_MANTISSA = integer(~(int(2 * BIAS + 1) << MANTISSA_BITS))
# Twice the largest power of two that `ldexp` multiplies by at once.
MOST_EXPONENT = real(-2.0) * LEAST_EXPONENT


def mantissa(x: Any) -> Any:
    """In [½, 1) with the sign of x; what is 0, infinite or NaN stays so."""
    bits = real(normal(x)).view(integer)
    found = integer((bits & SIGN_AND_MANTISSA) | HALF).view(real)
    return found if proper(x) else x


def exponent(x: Any) -> Any:
    """x = mantissa(x)·2^exponent(x); 0 for what is 0, infinite or NaN."""
    size = abs(normal(x))
    bits = real(size).view(integer)
    found = real(integer(integer(bits >> MANTISSA_BITS) - (BIAS - 1)))
    found = found + RESCALE_EXPONENT if abs(x) < LEAST_NORMAL else found
    return found if proper(x) else real(0.0)


def normal(x: Any) -> Any:
    """x, or where it is denormal a multiple that is not."""
    return x * RESCALE if abs(x) < LEAST_NORMAL else x


def proper(x: Any) -> Any:
    """Whether x is neither 0 nor infinite nor NaN."""
    return (x != real(0.0)) & (abs(x) < real(np.inf))


def ldexp(x: Any, n: Any) -> Any:
    """x·2^n for an integer n, rounded at most once for |n| ≤ MOST_EXPONENT."""
    n = -MOST_EXPONENT if n < -MOST_EXPONENT else n
    n = MOST_EXPONENT if n > MOST_EXPONENT else n
    half = real(np.rint(real(0.5) * n))
    return (x * power(half)) * power(n - half)


def power(n: Any) -> Any:
    """2^n for an integer n within the exponents of normal numbers."""
    biased = integer(integer(n) + BIAS)
    return integer(biased << MANTISSA_BITS).view(real)
