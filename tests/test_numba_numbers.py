"""Compiled functions of one number, against NumPy's and mpmath's."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_array_equal

pytest.importorskip("numba")

from numba import types

from lucid.backends.numba.compiler import compiled
from lucid.backends.numba.source import compose
from tests.test_engine import DTYPES

INF, NAN = math.inf, math.nan

LOOP = """
def every(x, n, a, b, c):
    for i in range(x.shape[0]):
        a[i] = mantissa(x[i])
        b[i] = exponent(x[i])
        c[i] = ldexp(x[i], n[i])
"""
SPLIT = """
def every(x, coarse, fine):
    wide_vectors()
    for i in range(x.shape[0]):
        coarse[i], fine[i] = split_log(x[i])
"""


def every(dtype: Any, loop: str, *inputs: Any, results: int) -> Any:
    """What a loop over the functions of one number finds, [results, N]."""
    array = types.Array(getattr(types, np.dtype(dtype).name), 1, "C")
    signature = types.void(*[array] * (len(inputs) + results))
    text = compose(np.dtype(dtype).name, "arithmetic", "powers") + loop
    found = np.empty((results, len(inputs[0])), dtype)
    compiled(text, "every", signature)(*inputs, *found)
    return found


def of_every_size(dtype: Any) -> Any:
    """Numbers of random bits, and those at the edges."""
    limits = np.finfo(dtype)
    tiny, least, most = limits.tiny, limits.smallest_subnormal, limits.max
    edge = [0.0, -0.0, INF, -INF, NAN, least, -tiny / 7, tiny, 1.0, 0.5, -most]
    words = np.uint32 if dtype == np.float32 else np.uint64
    random = np.random.default_rng(0).integers(0, np.iinfo(words).max, 3000, words)
    return np.concatenate([np.array(edge, dtype), random.view(dtype)])


@DTYPES
def test_mantissa_exponent_and_ldexp_are_numpys(dtype: Any) -> None:
    x = of_every_size(dtype)
    most = 2.0 * np.finfo(dtype).maxexp - 48
    n = (np.arange(len(x)) % (2 * most + 1) - most).astype(dtype)
    found = every(dtype, LOOP, x, n, results=3)
    mantissa, exponent = np.frexp(x)
    finite = np.isfinite(x)
    assert_array_equal(found[0], mantissa)
    assert_array_equal(found[1][finite], exponent[finite])
    with np.errstate(all="ignore"):
        assert_array_equal(found[2], np.ldexp(x, n.astype(np.int64)))
    far = every(
        dtype, LOOP, np.ones(2, dtype), np.array([5000, -5000], dtype), results=3
    )
    assert_array_equal(far[2], [INF, 0])


@DTYPES
def test_logarithms_in_two_parts(dtype: Any) -> None:
    """To 2⁻²⁶ and 2⁻⁵⁶: less than their difference is rounded by where it counts."""
    x = abs(of_every_size(dtype))
    x = x[np.isfinite(x) & (x > 0)]
    coarse, fine = every(dtype, SPLIT, x, results=2)
    assert_array_equal(coarse * 65536, np.rint(coarse * 65536))
    assert (abs(fine) <= 2.0**-17 * 1.01).all()
    unit = 2.0**-26 if dtype == np.float32 else 2.0**-56
    with mpmath.workdps(40):
        for whole, part, given in zip(coarse, fine, x, strict=True):
            exact = mpmath.log(mpmath.mpf(float(given)))
            error = exact - mpmath.mpf(float(whole)) - mpmath.mpf(float(part))
            assert abs(error) <= unit
    odd = np.array([0.0, -0.0, -1.0, -INF, INF, NAN], dtype)
    coarse, fine = every(dtype, SPLIT, odd, results=2)
    assert_array_equal(coarse, 0)
    assert_array_equal(fine, [-INF, -INF, NAN, NAN, NAN, NAN])
