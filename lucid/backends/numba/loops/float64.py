"""What the arithmetic of float64 is made of."""

from __future__ import annotations

from typing import Any

import numpy as np

real, integer = np.float64, np.int64

LOWEST = real(np.finfo(np.float64).min)
MANTISSA_BITS, SIGN_SHIFT = 52, np.int64(63)
# What a denormal number is multiplied by, and the exponent that this adds.
LEAST_NORMAL = real(np.finfo(np.float64).tiny)
RESCALE, RESCALE_EXPONENT = real(2.0**52), real(-52.0)
ROOT_HALF = np.int64(0x3FE6A09E667F3BCD)  # the bits of √½
# Below it exp2 stays what it is there: a normal number.
LEAST_EXPONENT = real(-1022.0)
# Added to |y| < 2⁵¹, it rounds to an integer, kept with the bias in the low bits.
ROUNDER = real(1.5 * 2.0**52 + 1023.0)
LN2_COARSE, LN2_FINE = real(0.6931471803691238), real(1.9082149292705877e-10)


def exp2_polynomial(f: Any) -> Any:
    """2^f on [−½, ½], a minimax polynomial in error by 3.1e-18."""
    p = real(4.435278969395707e-10)
    p = p * f + real(7.074105563531012e-09)
    p = p * f + real(1.0178198045509558e-07)
    p = p * f + real(1.321543308997008e-06)
    p = p * f + real(1.5252733489934501e-05)
    p = p * f + real(0.0001540353046251384)
    p = p * f + real(0.0013333558146789975)
    p = p * f + real(0.009618129107588335)
    p = p * f + real(0.055504108664819925)
    p = p * f + real(0.24022650695910155)
    p = p * f + real(0.6931471805599453)
    return p * f + real(1.0)


def exp2_short_polynomial(f: Any) -> Any:
    """2^f on [−½, ½]: one degree less would be in error by 2 units of rounding."""
    return exp2_polynomial(f)


def log_polynomial(w: Any) -> Any:
    """2(atanh(s)/s − 1) at w = s² ≤ 0.0295, relative to 1 in error by 3e-18."""
    p = real(0.1479610547125206)
    p = p * w + real(0.1531403583260894)
    p = p * w + real(0.18183564866769484)
    p = p * w + real(0.22222198563483558)
    p = p * w + real(0.28571428742474896)
    p = p * w + real(0.3999999999941424)
    return w * (p * w + real(0.6666666666666734))
