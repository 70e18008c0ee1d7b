"""Compiled draws: the contract's bits, NumPy's indices, its values to a few ulp."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucid.backends.protocol import Array, Bits, Components
from lucid.backends.tables import IndexTable
from lucid.distributions import (
    Bernoulli,
    Gamma,
    Laplace,
    MultivariateNormal,
    Normal,
    Poisson,
    StudentT,
    Uniform,
)
from tests.test_draws import CASES, F64, components
from tests.test_random import MASK, philox4x64
from tests.test_tables import WEIGHTS

pytest.importorskip("numba")
from numba import types

from lucid.backends.numba import draws as in_numba
from lucid.backends.numba.compiler import compiled
from lucid.backends.numba.operations import NumbaOperations
from lucid.backends.numba.source import compose
from lucid.backends.numpy import draws as in_numpy

F32, F16 = np.dtype(np.float32), np.dtype(np.float16)
KEYS = [(0, 0), (MASK, MASK), (2**63, 2**63 - 1), (20250101, 3)]
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@pytest.mark.parametrize(
    ("family", "count"), [(Normal, 2), (Laplace, 2), (Uniform, 2), (Bernoulli, 1)]
)
def test_what_inverts_is_compiled(family: Any, count: int) -> None:
    for dtype in (F32, F64):
        assert in_numba._loop(family, (dtype,) * count, dtype) is not None
    assert in_numba._loop(family, (F64,) * count, F16) is None


@pytest.mark.parametrize(
    ("family", "count"),
    [(Gamma, 2), (StudentT, 3), (Poisson, 1), (MultivariateNormal, 2)],
)
def test_what_rejects_is_not(family: Any, count: int) -> None:
    assert in_numba._loop(family, (F64,) * count, F64) is None


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("start", [0, 2**63 - 200, 2**64 - 600])
def test_the_words_are_philox(key: tuple[int, int], start: int) -> None:
    """Word 0 by 16 equal weights, word 1 by a uniform, block by block."""
    parameters = np.zeros((1, 16, 3)), np.ones((1, 16, 3))
    case = components(Uniform, 1, 16, 3)
    equal = Components(Uniform, parameters, case.weights, 1)
    equal.once("index table", lambda: IndexTable.from_weights(np.ones(16)))
    values, indices = in_numba.draw(equal, key, start, 600, F64)
    for row in (0, 1, 255, 256, 599):
        for block in range(3):
            words = philox4x64((start + row, block, 0, 0), key)
            assert values[row, block] == (words[1] >> 11) * 2.0**-53
            if block == 0:
                assert indices[row] == words[0] >> 60


@cases
@pytest.mark.parametrize("dtype", [F16, F32, F64], ids=str)
def test_both_engines_draw_the_same(case: Components, dtype: np.dtype[Any]) -> None:
    values, indices = in_numba.draw(case, KEYS[3], 10, 1200, dtype)
    expected, same = in_numpy.draw(case, KEYS[3], 10, 1200, dtype)
    assert values.dtype == expected.dtype
    assert np.array_equal(indices, same)
    few = 8 * np.finfo(dtype).eps
    np.testing.assert_allclose(values, expected, rtol=few, atol=few)


def test_standard_normals_agree_to_six_ulp() -> None:
    """Relative to each value, those beside the cosine's zeros included."""
    parts = Components(Normal, (np.zeros((1, 1, 1)), np.ones((1, 1, 1))), None, 1)
    values, _ = in_numba.draw(parts, KEYS[3], 0, 200_000, F64)
    expected, _ = in_numpy.draw(parts, KEYS[3], 0, 200_000, F64)
    assert np.abs(expected).min() < 1e-5
    assert np.max(np.abs(values - expected) / np.spacing(np.abs(expected))) <= 6


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_every_category_is_numpys(weights: np.ndarray) -> None:
    """One table with a guide, and tables of their own for 3 and for 7 rows in turn."""
    rolled = [np.roll(weights, shift) for shift in range(7)]
    for given in (weights, np.stack(rolled[:3]), np.stack(rolled)):
        table = IndexTable.from_weights(given)
        found = in_numba.draw_index(table, KEYS[1], 77, 20_000)
        expected = in_numpy.draw_index(table, KEYS[1], 77, 20_000)
        assert np.array_equal(found, expected)


@pytest.fixture(scope="module")
def pick() -> Any:
    """`pick` of the compiled loops, for words of one's choice."""
    text = compose(in_numba._IMPORTS, "float64", "draw")
    words = types.Array(types.uint64, 1, "C")
    rows = types.int64[::1], types.int64, types.int64, types.int64[:, ::1]
    return compiled(text, "pick", (words, *in_numba._HEAD[3:], *rows))


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_every_boundary_is_exact(pick: Any, weights: np.ndarray) -> None:
    """The least word of each category, and the word before it."""
    table = IndexTable.from_weights(weights)
    sums, below = table.cumulative.tolist(), 0
    for k, above in enumerate(sums):
        if above > below:  # words u with below ≤ ⌊u·T/2⁶⁴⌋ < above
            least = -(-(below << 64) // sums[-1])
            words = np.array([least, max(least - 1, 0)], np.uint64)
            found, open_ = np.empty(2, np.int64), np.empty((3, 256), np.int64)
            pick(words, *in_numba._arguments(table), found, 0, 2, open_)
            assert found[0] == k
            assert found[1] < k or least == 0
            below = above


@pytest.mark.parametrize("family", [Normal, Laplace, Uniform, Bernoulli])
def test_odd_parameters_draw_what_they_draw_in_numpy(family: Any) -> None:
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300, 5e-324, 2.0])
    first, second = (a.reshape(-1, 1, 1) for a in np.meshgrid(odd, odd))
    parameters = (first, second)[: 1 if family is Bernoulli else 2]
    parts = Components(family, tuple(a.copy() for a in parameters), None, 64)
    values, _ = in_numba.draw(parts, KEYS[3], 5, 640, F64)
    expected, _ = in_numpy.draw(parts, KEYS[3], 5, 640, F64)
    np.testing.assert_allclose(values, expected, rtol=1e-14, atol=1e-15)


def test_a_formula_that_cannot_be_traced_is_numpys() -> None:
    class Sorted(Normal):
        @staticmethod
        def draw(bits: Bits, loc: Array, scale: Array) -> Array:
            """As no formula of one row could."""
            return np.sort(Normal.draw(bits, loc, scale))

    parts = Components(Sorted, CASES["Normal"].parameters, None, 1)
    values, _ = in_numba.draw(parts, KEYS[3], 0, 500, F64)
    expected, _ = in_numpy.draw(parts, KEYS[3], 0, 500, F64)
    assert np.array_equal(values, expected)


def test_the_engine_draws_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("draw", "draw_index"):
        monkeypatch.setattr(in_numba, name, lambda *arguments, name=name: name)
        found: Any = getattr(NumbaOperations(), name)
        assert found(*[None] * (5 if name == "draw" else 4)) == name
