"""What the arithmetic of float32 is made of."""

from __future__ import annotations

from typing import Any

import numpy as np

real, integer = np.float32, np.int32

LOWEST = real(np.finfo(np.float32).min)
MANTISSA_BITS, SIGN_SHIFT = 23, np.int32(31)
# What a denormal number is multiplied by, and the exponent that this adds.
LEAST_NORMAL = real(np.finfo(np.float32).tiny)
RESCALE, RESCALE_EXPONENT = real(2.0**23), real(-23.0)
ROOT_HALF = np.int32(0x3F3504F3)  # the bits of √½
# Below it exp2 stays what it is there: a normal number.
LEAST_EXPONENT = real(-126.0)
# Added to |y| < 2²², it rounds to an integer, kept with the bias in the low bits.
ROUNDER = real(1.5 * 2.0**23 + 127.0)
LN2_COARSE, LN2_FINE = real(0.69313812255859375), real(9.058000614514e-06)


def exp2_polynomial(f: Any) -> Any:
    """2^f on [−½, ½], a minimax polynomial in error by 1.9e-9."""
    p = real(0.00015345812392661832)
    p = p * f + real(0.0013399931235364229)
    p = p * f + real(0.009618488955695042)
    p = p * f + real(0.05550328776936072)
    p = p * f + real(0.2402264689064806)
    p = p * f + real(0.6931472057372575)
    return p * f + real(1.0)


def exp2_short_polynomial(f: Any) -> Any:
    """2^f on [−½, ½], exact at 0, in error by 9.4e-8: 1.6 units of rounding."""
    p = real(0.0013269515475258231)
    p = p * f + real(0.009671290405094624)
    p = p * f + real(0.0555071085691452)
    p = p * f + real(0.24022246897220612)
    p = p * f + real(0.6931470036506653)
    return p * f + real(1.0)


def log_polynomial(w: Any) -> Any:
    """2(atanh(s)/s − 1) at w = s² ≤ 0.0295, relative to 1 in error by 1e-11."""
    p = real(0.23582292870046374)
    p = p * w + real(0.28537301534378942)
    p = p * w + real(0.4000033529344764)
    return w * (p * w + real(0.666666656650441))
