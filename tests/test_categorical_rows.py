"""Categorical: rows of logits longer than what is read of them at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax

from lucid.distributions import Categorical

pytestmark = pytest.mark.usefixtures("each_engine")

INF, NAN = math.inf, math.nan
FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@FLOATS
@pytest.mark.parametrize("count", [1023, 1024, 1025, 5000])
def test_long_rows(count: int, dtype: Any) -> None:
    """Rising, falling and level, at an offset, and with parts that do not exist."""
    rng = np.random.default_rng(count)
    logits = rng.normal(0, 3, (6, count))
    logits[0].sort()
    logits[1] = 40 - abs(np.sort(logits[1]))
    logits[2] = 0.25
    logits[3] += 1e4
    logits[4, : count - 2] = -INF
    logits[5, 1:900] = -INF
    logits = logits.astype(dtype)
    index = np.array([[0, count - 1, 7, 9, count - 1, 0], [count - 1] * 6])
    expected = log_softmax(logits.astype(np.float64), axis=-1)
    expected = np.take_along_axis(expected, index.T, axis=-1).T
    found = Categorical(logits=logits).log_prob(index).numpy()
    size = abs(expected[np.isfinite(expected)]).max()
    assert_allclose(found, expected, rtol=0, atol=4 * size * np.finfo(dtype).eps)


@FLOATS
def test_long_rows_of_bad_logits_are_nan(dtype: Any) -> None:
    logits = np.zeros((6, 3000), dtype)
    logits[1, 2999], logits[2, 0], logits[3, 1500] = NAN, NAN, INF
    logits[4] = -INF
    given = Categorical(logits=logits, validate_args=False)
    found = given.log_prob(np.full(6, 5)).numpy()
    assert_array_equal(np.isnan(found), [0, 1, 1, 1, 1, 0])
    assert_allclose(found[[0, 5]], -math.log(3000), rtol=1e-6)
