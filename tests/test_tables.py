"""The index table: exact in every boundary, whatever the weights."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from lucid.backends.tables import IndexTable, mulhi64

MASK = 2**64 - 1
RNG = np.random.default_rng(20250101)


def words(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def random_words(count: int) -> np.ndarray:
    drawn = RNG.integers(0, MASK, size=count, dtype=np.uint64, endpoint=True)
    return np.concatenate([words(0, 1, MASK - 1, MASK), drawn])


def geometric(count: int) -> np.ndarray:
    return 0.5 ** np.arange(count)


WEIGHTS = {
    "one": np.array([0.3]),
    "equal": np.ones(16),
    "ramp": np.arange(1.0, 38.0),
    "geometric": geometric(62),
    "zeros around": np.array([0.0, 0.0, 0.2, 0.0, 0.8, 0.0]),
    "one giant among dwarfs": np.r_[np.full(5000, 1e-13), 1.0, np.full(5000, 1e-13)],
    "subnormal": np.array([5e-324, 1e-323, 0.0, 5e-324]),
    "huge": np.array([1e308, 3e307]),
    "float32": np.array([0.1, 0.2, 0.7], dtype=np.float32),
    "random": RNG.random(4096),
}
weights = pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS.keys())


def test_mulhi_is_exact() -> None:
    a, b = random_words(1000), random_words(1000)[::-1]
    expected = [int(x) * int(y) >> 64 for x, y in zip(a, b, strict=True)]
    assert mulhi64(a, b).tolist() == expected
    assert mulhi64(a, words(MASK)[0]).tolist() == [int(x) * MASK >> 64 for x in a]


@weights
def test_integer_weights_are_the_weights(weights: np.ndarray) -> None:
    table = IndexTable.from_weights(weights)
    assert 2**61 < int(table.total) < 2**63 + 2**20
    integers = [int(w) for w in np.diff(table.cumulative, prepend=np.uint64(0))]
    # In exact fractions, one power of two takes every weight to its integer.
    exact = [Fraction(float(weight)) for weight in weights]
    scale = Fraction(2) ** (62 - math.floor(math.log2(max(exact))))
    while max(exact) * scale > max(integers) + 1:
        scale /= 2
    assert integers == [math.floor(weight * scale) for weight in exact]


@weights
def test_every_boundary_is_exact(weights: np.ndarray) -> None:
    table = IndexTable.from_weights(weights)
    total, below = int(table.total), 0
    cumulative = table.cumulative.tolist()
    picked = [k for k in range(len(weights)) if cumulative[k] > below]
    least, greatest, expected = [], [], []
    for k, above in enumerate(cumulative):
        if above > below:  # words u with below ≤ ⌊u·T/2⁶⁴⌋ < above
            least.append(-(-(below << 64) // total))
            greatest.append(-(-(above << 64) // total) - 1)
            expected.append(k)
        below = above
    assert expected == picked or 0.0 in weights
    assert (least[0], greatest[-1]) == (0, MASK)
    assert table.find(words(*least)).tolist() == expected
    assert table.find(words(*greatest)).tolist() == expected


@weights
def test_a_weight_of_zero_is_never_picked(weights: np.ndarray) -> None:
    found = IndexTable.from_weights(weights).find(random_words(20_000))
    assert np.all(weights[found] > 0)


@weights
def test_guide_is_the_category_of_the_least_word_of_each_bucket(
    weights: np.ndarray,
) -> None:
    table = IndexTable.from_weights(weights)
    size, total = len(table.guide), int(table.total)
    assert size & (size - 1) == 0
    assert size >= len(weights)
    for bucket in {0, 1, size // 3, size // 2, size - 1}:
        threshold = bucket * total // size
        first = next(k for k, c in enumerate(table.cumulative) if int(c) > threshold)
        assert table.guide[bucket] == first


@weights
def test_rows_of_tables_find_what_single_tables_find(weights: np.ndarray) -> None:
    rows = np.stack([np.roll(weights, shift) for shift in range(3)])
    tables = IndexTable.from_weights(rows)
    drawn = random_words(2996)
    for first in (0, 1, 3001):
        found = tables.find(drawn, first)
        for row in range(3):
            own = slice((row - first) % 3, None, 3)
            expected = IndexTable.from_weights(rows[row]).find(drawn[own])
            assert np.array_equal(found[own], expected)


def test_a_power_of_two_changes_nothing() -> None:
    table = IndexTable.from_weights(WEIGHTS["random"])
    for scale in (2.0**-900, 0.25, 2.0**900):
        other = IndexTable.from_weights(WEIGHTS["random"] * scale)
        assert np.array_equal(table.cumulative, other.cumulative)


def test_log_weights_are_the_weights() -> None:
    given = np.array([[0.25, 0.0, 0.5, 0.25], [0.125, 0.375, 0.5, 0.0]])
    with np.errstate(divide="ignore"):
        table = IndexTable.from_log_weights(np.log(given) - 5000.0)
    shares = np.diff(table.cumulative.astype(float), prepend=0.0) / 2.0**62
    assert shares / shares.sum(axis=1, keepdims=True) == pytest.approx(given)
    found = table.find(random_words(5000))
    assert np.all(found[0::2] != 1)
    assert np.all(found[1::2] != 3)


def test_a_million_weights_all_survive() -> None:
    weights = RNG.random(10**6) + 1e-3
    table = IndexTable.from_weights(weights)
    integers = np.diff(table.cumulative, prepend=np.uint64(0))
    share = integers.astype(float) / float(table.total)
    assert np.max(np.abs(share - weights / weights.sum())) < 2.0**-60
    some = RNG.integers(1, 10**6, size=2000)
    total = int(table.total)
    least = [-(-(int(c) << 64) // total) for c in table.cumulative[some - 1]]
    assert np.array_equal(table.find(words(*least)), some)
    assert np.array_equal(table.find(words(*least) - np.uint64(1)), some - 1)


@pytest.mark.parametrize(
    "weights", [[0.0, 0.0], [1.0, np.inf], [1.0, np.nan], [[1.0, 0.0], [0.0, 0.0]]]
)
def test_what_has_no_law_is_refused(weights: object) -> None:
    with pytest.raises(ValueError, match="weights must be finite, with a positive sum"):
        IndexTable.from_weights(np.array(weights))
    with pytest.raises(ValueError, match="weights must be finite, with a positive sum"):
        IndexTable.from_log_weights(np.full(3, -np.inf))
