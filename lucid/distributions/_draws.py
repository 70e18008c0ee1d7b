"""Samplers over counter-based bits, which the families' `draw` are made of.

Which word of which attempt serves what is said in lucid/_random.py. All is float64, one
value per row of `bits`: [n], or [n, D] where the bits are those of whole events. A row
whose parameters have no law (NaN, a negative rate) draws NaN.

`uniform01`, `open01` and `normal` take every function from `bits.fn`, so that they can
be traced and compiled; what rejects runs in NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucid.backends.protocol import Bits

Floats = NDArray[np.floating[Any]]
Words = NDArray[np.uint64]

_TINY = float(np.finfo(np.float64).tiny)


def uniform01(bits: Bits) -> Floats:
    """A uniform in [0, 1) for each row."""
    return _uniform01(bits.words(0)[..., 1])


def open01(bits: Bits) -> Floats:
    """A uniform in (0, 1) for each row, neither end included."""
    return _open01(bits.words(0)[..., 1])


def normal(bits: Bits) -> Floats:
    """A standard normal for each row."""
    words = bits.words(0)
    return _normal(words[..., 1], words[..., 2], bits.fn)


def linear_map(matrix: Floats, vectors: Floats) -> Floats:
    """matrix @ v of each vector v, [R, D]; the same bits whatever other rows there are.

    A matrix product by BLAS sums in an order that depends on the number of rows.
    """
    mapped: Floats = np.einsum("nj,ij->ni", vectors, matrix)
    return mapped


def standard_gamma(bits: Bits, concentration: Floats) -> Floats:
    """A Gamma(α, 1) > 0 for each row, by Marsaglia and Tsang (2000).

    For α < 1 it is Gamma(α + 1)·U^(1/α); what underflows becomes the least normal
    number, so that the draw lies in the support.
    """
    alpha = np.broadcast_to(concentration, (bits.size,))
    boosted = alpha < 1
    d = np.where(boosted, alpha + 1, alpha) - 1 / 3
    c = 1 / np.sqrt(9 * d)
    value = _reject(bits, _propose_gamma, (alpha > 0) & (alpha < np.inf), d, c)
    rows = np.flatnonzero(boosted)
    if rows.size:
        value[rows] *= _open01(bits.words(0)[rows, 3]) ** (1 / alpha[rows])
    return np.maximum(value, _TINY)


def poisson(bits: Bits, rate: Floats) -> Floats:
    """A Poisson(λ) for each row: inversion by search, PTRS (Hörmann 1993) from λ = 10.

    From λ = 2⁵³ on, counts are those that float64 can hold.
    """
    rate = np.broadcast_to(rate, (bits.size,))
    root = np.sqrt(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    scale = 1.1239 + 1.1328 / (b - 3.4)
    value = _reject(
        bits, _propose_poisson, (rate >= 10) & (rate < np.inf), rate, a, b, scale
    )
    rows = np.flatnonzero((rate >= 0) & (rate < 10))
    if rows.size:
        value[rows] = _poisson_by_search(uniform01(bits)[rows], rate[rows])
    return value


Proposal = Callable[..., tuple[Floats, NDArray[np.bool_]]]


def _reject(
    bits: Bits, propose: Proposal, wanted: NDArray[np.bool_], *parameters: Floats
) -> Floats:
    """Rounds of proposals until every wanted row accepts one; NaN in the others."""
    value = np.full(bits.size, np.nan)
    rows = np.flatnonzero(wanted)
    attempt = 1
    while rows.size:
        words = bits.words(attempt, None if rows.size == bits.size else rows)
        proposal, accepted = propose(words, *(p[rows] for p in parameters))
        value[rows[accepted]] = proposal[accepted]
        rows = rows[~accepted]
        attempt += 1
    return value


def _propose_gamma(
    words: Words, d: Floats, c: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """d·v with v = (1 + c·x)³, accepted if ln u < ½x² + d(1 − v + ln v)."""
    x = _normal(words[:, 0], words[:, 1])
    t = c * x
    # 1 − v + ln v in t, not in v: from α = 10¹² on, v would have lost the difference.
    # At t ≤ −1 the logarithm is −∞ or NaN, and the comparison says no.
    excess = 3 * (np.log1p(t) - t) - t * t * (3 + t)
    accepted = np.log(_open01(words[:, 2])) < 0.5 * x * x + d * excess
    root = 1 + t
    return d * (root * root * root), accepted


def _propose_poisson(
    words: Words, rate: Floats, a: Floats, b: Floats, scale: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """The transformed rejection, its squeezes left out: they decide nothing new."""
    u = _open01(words[:, 0]) - 0.5
    v = _open01(words[:, 1])
    reach = 0.5 - np.abs(u)
    k = np.floor((2 * a / reach + b) * u + rate + 0.43)
    log_ratio = np.log(v * scale / (a / (reach * reach) + b))
    return k, (k >= 0) & (log_ratio <= _log_poisson(np.maximum(k, 0), rate))


# ln k! − (k + ½) ln k + k − ½ ln 2π, the error of Stirling's formula, for small k.
_STIRLING_ERROR = np.array(
    [0.0]
    + [
        math.lgamma(k + 1) - (k + 0.5) * math.log(k) + k - 0.5 * math.log(2 * math.pi)
        for k in range(1, 16)
    ]
)


def _log_poisson(k: Floats, rate: Floats) -> Floats:
    """ln of the mass at k by its saddle point (Loader 2000): −λ + k ln λ cancels."""
    n = np.maximum(k, 1)
    inverse = 1 / n
    square = inverse * inverse
    series = inverse * (1 / 12 - square * (1 / 360 - square / 1260))
    small = n < len(_STIRLING_ERROR)
    error = np.where(small, _STIRLING_ERROR[np.where(small, n, 0).astype(int)], series)
    off = (n - rate) / rate
    deviance = rate * ((1 + off) * np.log1p(off) - off)
    mass = -deviance - 0.5 * np.log(2 * np.pi * n) - error
    return np.where(k == 0, -rate, mass)


def _poisson_by_search(uniform: Floats, rate: Floats) -> Floats:
    """The first k with u < F(k), summing the masses upward."""
    count = np.zeros(len(uniform))
    rows = np.arange(len(uniform))
    mass = np.exp(-rate)
    left = uniform - mass  # u − F(k), of the rows still searching
    # Rounding may keep F under the greatest u, but by k = 64 F is 1 to 10⁻³⁰.
    for k in range(1, 65):
        searching = left >= 0
        if not searching.any():
            break
        rows, rate = rows[searching], rate[searching]
        mass = mass[searching] * rate / k
        left = left[searching] - mass
        count[rows] = k
    return count


def _uniform01(words: Words) -> Floats:
    return (words >> np.uint64(11)) * 2.0**-53


def _open01(words: Words) -> Floats:
    # 52 bits: the greatest of 53 bits and a half would round to 1.
    return ((words >> np.uint64(12)) + 0.5) * 2.0**-52


def _normal(radius_words: Words, angle_words: Words, fn: Any = np) -> Floats:
    """√(−2 ln r)·cos 2πu, Box and Muller (1958); 53 bits of r end the tail at 8.6σ."""
    value: Floats = fn.log(((radius_words >> np.uint64(11)) + np.uint64(1)) * 2.0**-53)
    value *= -2.0
    value = fn.sqrt(value)
    value *= _cosine_of_turn(angle_words)
    return value


# sin(πx/2)/x − 1 in powers of x², x in [−1, 1], to within 2.6e-19 of sin(πx/2)/x: a
# minimax fit, the highest power first.
_SINE = (
    5.8706109588147584e-12,
    -6.684321719280943e-10,
    5.6921348726877746e-08,
    -3.5988430072083337e-06,
    0.00016044118470682185,
    -0.004681754135302642,
    0.07969262624616544,
    -0.6459640975062462,
    0.5707963267948967,
)


def _cosine_of_turn(words: Words) -> Floats:
    """cos 2πu as sin(πx/2) with x = |4u − 2| − 1, which is exact: within 2.1 ulp.

    An argument rounded to 2πu would lose the digits beside the cosine's zeros, and the
    mathematical library's cosine takes two to three times as long.
    """
    x = (words >> np.uint64(11)) * 2.0**-51
    x -= 2.0
    x = abs(x)
    x -= 1.0
    square = x * x
    value = square * _SINE[0]
    for coefficient in _SINE[1:-1]:
        value += coefficient
        value *= square
    value += _SINE[-1]
    value *= x
    value += x
    return value
