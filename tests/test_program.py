"""The tracer: a formula's steps give what NumPy gives, in as few buffers as can be."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lucid.backends.numpy import program
from lucid.backends.numpy.functions import Functions
from lucid.backends.tracing import select
from lucid.distributions import Bernoulli, Laplace, Normal, Uniform
from tests.family_table import TABLE

INF, NAN = float("inf"), float("nan")
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 3.0, -2.5, INF, -INF, NAN, 1e30, 1e-30]


def family(pair: Any) -> Any:
    """A family that is its pair alone."""
    return type("Made", (), {"pair": staticmethod(pair)})


def run(traced: program.Program, operands: list[Any], shape: Any, dtype: Any) -> Any:
    """The program's result, from buffers full of what it must not read."""
    buffers = [np.full(shape, 777.0, dtype) for _ in range(traced.floats)]
    buffers += [np.ones(shape, bool) for _ in range(traced.booleans)]
    before = [np.array(array) for array in operands]
    with np.errstate(all="ignore"):
        traced.run(operands, buffers)
    for array, old in zip(operands, before, strict=True):
        assert_array_equal(array, old)
    return buffers[0]


def direct(pair: Any, rows: Any, factors: Any, base: Any) -> Any:
    with np.errstate(all="ignore"):
        return pair(Functions(), rows, factors) + base


def as_bits(array: Any) -> Any:
    """The bits, with one pattern for every NaN."""
    return np.where(np.isnan(array), array.dtype.type(NAN), array).tobytes()


# ---- how many steps and buffers


@pytest.mark.parametrize(
    ("of", "rows", "factors", "steps", "floats", "booleans"),
    [
        (Normal, 1, 2, ["subtract", "multiply", "multiply", "subtract"], 1, 0),
        (Laplace, 1, 2, ["subtract", "absolute", "multiply", "subtract"], 1, 0),
    ],
)
def test_no_pass_too_many(
    of: Any, rows: int, factors: int, steps: Any, floats: int, booleans: int
) -> None:
    traced = program.trace(of, rows, factors)
    assert [step.function.__name__ for step in traced.steps] == steps
    assert (traced.floats, traced.booleans) == (floats, booleans)
    assert program.trace(of, rows, factors) is traced  # once per family


def test_a_chain_takes_one_buffer_and_a_balanced_tree_few() -> None:
    def chain(fn: Any, rows: Any, factors: Any) -> Any:
        value = rows[0]
        for _ in range(30):
            value = fn.sqrt(abs(value * factors[0] - 1.0))
        return value

    assert program.trace(family(chain), 1, 1).floats == 1

    def tree(fn: Any, rows: Any, factors: Any) -> Any:
        level = [rows[0] * float(i) for i in range(16)]
        while len(level) > 1:
            level = [a - b for a, b in zip(level[::2], level[1::2], strict=True)]
        return level[0]

    assert program.trace(family(tree), 1, 0).floats == 5  # log2 16 + 1


def test_what_is_used_twice_is_computed_once() -> None:
    def pair(fn: Any, rows: Any, factors: Any) -> Any:
        z = fn.log1p(rows[0])
        inside = z > 0.0
        return fn.where(inside, z * z, z) + fn.where(inside, z, factors[0])

    names = [s.function.__name__ for s in program.trace(family(pair), 1, 1).steps]
    assert names.count("log1p") == names.count("greater") == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_program_of_squares(dtype: Any) -> None:
    """(x − μ)²·n in three steps and one buffer."""
    traced = program.square()
    assert [s.function.__name__ for s in traced.steps] == [
        "subtract",
        "multiply",
        "multiply",
    ]
    assert (traced.floats, traced.booleans) == (1, 0)
    x = np.array([1.5, -2.0, INF, NAN], dtype)
    loc, factor = np.array([[0.5], [3.0]], dtype), np.array([[-2.0], [-0.25]], dtype)
    found = run(traced, [x, loc, factor], (2, 4), dtype)
    expected = [[-2.0, -12.5, -INF, NAN], [-0.5625, -6.25, -INF, NAN]]
    assert_array_equal(found, np.array(expected, dtype))


# ---- the values


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "row", [row for row in TABLE if not row.is_vector], ids=lambda row: row.name
)
def test_every_family_is_its_formula(row: Any, dtype: Any) -> None:
    """Bit for bit, on values inside and outside the support and none at all."""
    fn = Functions()
    given = row.family(
        **{name: np.asarray(p, np.float64) for name, p in row.parameters.items()}
    )
    wide = [a.astype(np.float64) for a in given._family_arrays()]
    with np.errstate(all="ignore"):
        *factors, constant = row.family.prepare(fn, 1.0, *wide)
        x = np.array(row.values + row.outside + SPECIAL, dtype)[None]  # [1, S]
        rows = row.family.row(fn, x)
    factors = [f.astype(dtype)[:, None, None] for f in factors]  # [K, 1, 1]
    base = constant.astype(dtype)[:, None, None]
    traced = program.trace(row.family, len(rows), len(factors))
    shape = (len(constant), *x.shape)
    found = run(traced, [*rows, *factors, base], shape, dtype)
    expected = direct(row.family.pair, rows, tuple(factors), base)
    assert as_bits(found) == as_bits(np.broadcast_to(expected, shape).astype(dtype))


CHOICES = {
    "numbers": lambda fn, x, a: fn.where(x > a, 0.0, -INF),
    "an array and a number": lambda fn, x, a: fn.where(x >= a, x * a, 2.0),
    "a number and an array": lambda fn, x, a: fn.where(x < a, 1.0, x - a),
    "two arrays": lambda fn, x, a: fn.where(x <= a, x + 1.0, x * 2.0),
    "one array twice": lambda fn, x, a: (lambda y: fn.where(x == a, y, y))(x * 3.0),
    "operands": lambda fn, x, a: fn.where(x != a, x, a),
    "the condition again": lambda fn, x, a: (
        lambda y: fn.where(y > 0.0, y, -y) + fn.where(y > 0.0, 1.0, y)
    )(x - a),
    "and": lambda fn, x, a: fn.where((x >= a) & (x <= 1.0), 0.0, -INF),
    "or, not": lambda fn, x, a: fn.where(~((x < a) | (x > 1.0)), x, 1.0 / x),
    "one inside another": lambda fn, x, a: fn.where(
        x > 0.0, fn.where(x > a, x, a * x), fn.where(x < -1.0, a - x, 0.0)
    ),
    "as a factor": lambda fn, x, a: (x > a) * x - (a > x) * 2.0,
    "extremes": lambda fn, x, a: fn.maximum(fn.minimum(x, a), -2.0),
    "a test of its own": lambda fn, x, a: fn.where(fn.isnan(x), a, x),
    "reflected": lambda fn, x, a: 1.0 - x * 2.0 + 3.0 / (2.0 - a) - (-x),
    "negated": lambda fn, x, a: -fn.negative(x * a),
    "a number alone": lambda fn, x, a: 0.0,
    "an operand alone": lambda fn, x, a: x,
    "an operand negated": lambda fn, x, a: -x,
    "named comparisons": lambda fn, x, a: fn.where(
        fn.logical_and(fn.greater(x, a), fn.less_equal(x, 1.0)), x, a
    ),
    "named functions": lambda fn, x, a: fn.exp(-fn.square(x)) + fn.log1p(abs(a) * 1.5),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CHOICES)
def test_choices_are_numpys(name: str, dtype: Any) -> None:
    def pair(fn: Any, rows: Any, factors: Any) -> Any:
        return CHOICES[name](fn, rows[0], factors[0])

    x = np.array(SPECIAL, dtype)[None]  # [1, S]
    a = np.array([0.5, -1.0, 0.0, INF, NAN], dtype)[:, None, None]  # [K, 1, 1]
    base = np.array([0.0, 1.0, -0.0, -INF, 2.0], dtype)[:, None, None]
    shape = (5, 1, len(SPECIAL))
    found = run(program.trace(family(pair), 1, 1), [x, a, base], shape, dtype)
    expected = direct(pair, (x,), (a,), base)
    assert as_bits(found) == as_bits(np.broadcast_to(expected, shape).astype(dtype))


POWERS: dict[str, tuple[Any, list[str]]] = {
    "x ** 2": (lambda x: x**2, ["square"]),
    "x ** 3": (lambda x: x**3, ["square", "multiply"]),
    "x ** 4.0": (lambda x: x**4.0, ["square", "multiply"]),
    "x ** -1": (lambda x: x**-1, ["divide"]),
    "x ** 0.5": (lambda x: x**0.5, ["sqrt"]),
    "x ** 1.5": (lambda x: x**1.5, ["power"]),
    "x ** -2": (lambda x: x**-2, ["power"]),
    "x ** 0": (lambda x: x**0, ["power"]),
    "x ** x": (lambda x: x**x, ["power"]),
    "2.0 ** x": (lambda x: 2.0**x, ["exp2"]),
    "3 ** x": (lambda x: 3**x, ["power"]),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", POWERS)
def test_powers_are_numpys(name: str, dtype: Any) -> None:
    """To a rounding or two, ∞, NaN and both zeros included; the usual ones fast."""
    power, steps = POWERS[name]

    def pair(fn: Any, rows: Any, factors: Any) -> Any:
        return power(rows[0])

    traced = program.trace(family(pair), 1, 0)
    assert [s.function.__name__ for s in traced.steps] == [*steps, "add"]
    x = np.array([*SPECIAL, 2.0, -7.0, 11.3], dtype)
    found = run(traced, [x, np.zeros(1, dtype)], x.shape, dtype)
    with np.errstate(all="ignore"):
        expected = power(x)
    assert_allclose(found, expected, rtol=2 * float(np.finfo(dtype).eps))


# ---- random formulas

UNARY = ["negative", "absolute", "sqrt", "square", "exp", "log1p"]
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum"]
COMPARE = [operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne]


def random_formula(seed: int) -> Any:
    """A formula of 3 to 25 operators that uses any earlier value again."""
    rng = np.random.default_rng(seed)
    plan = [(rng.random(4), rng.integers(0, 6)) for _ in range(rng.integers(3, 26))]

    def pair(fn: Any, rows: Any, factors: Any) -> Any:
        floats, masks = [*rows, *factors], []

        def pick(values: list[Any], u: float, numbers: bool = True) -> Any:
            if numbers and u < 0.1:
                return float(SPECIAL[int(u * 50)])
            # The last ones most often, so that the formula is deep.
            back = int(len(values) * u**2)
            return values[len(values) - 1 - back]

        for (kind, u, v, w), which in plan:
            left = pick(floats, u, numbers=False)
            if kind < 0.2:
                floats.append(getattr(fn, UNARY[which])(left))
            elif kind < 0.6:
                pair_of = (left, pick(floats, v))
                ordered = pair_of if w < 0.5 else pair_of[::-1]
                floats.append(getattr(fn, BINARY[which])(*ordered))
            elif kind < 0.75 or not masks:
                masks.append(COMPARE[which](left, pick(floats, v)))
            elif kind < 0.85:
                first, second = pick(masks, u, False), pick(masks, v, False)
                masks.append((first & second, first | second, ~first)[which % 3])
            else:
                chosen, other = (left, pick(floats, v))[:: 1 if w < 0.5 else -1]
                floats.append(fn.where(pick(masks, w, False), chosen, other))
        return floats[-1] if plan[0][0][0] < 0.5 else floats[-1] + floats[-2]

    return pair


@pytest.mark.parametrize("start", range(0, 2000, 250))
def test_random_formulas_are_numpys(start: int) -> None:
    """Buffers are written again and again, and no value that is still needed lost."""
    reused = chosen_in_place = 0
    for seed in range(start, start + 250):
        rng = np.random.default_rng(seed)
        dtype = np.float32 if seed % 2 else np.float64
        pair = random_formula(seed)
        x, y = (
            rng.choice(SPECIAL[:6] + [2.0, -7.0], (2, 9)).astype(dtype) for _ in "xy"
        )
        a, b = (rng.normal(size=(3, 1, 1)).astype(dtype) for _ in "ab")
        base = rng.normal(size=(3, 1, 9)).astype(dtype)
        traced = program.trace(family(pair), 2, 2)
        found = run(traced, [x, y, a, b, base], (3, 2, 9), dtype)
        expected = direct(pair, (x, y), (a, b), base)
        full = np.broadcast_to(expected, found.shape).astype(dtype)
        assert as_bits(found) == as_bits(full), seed
        buffers = traced.floats + traced.booleans
        reused += buffers < len(traced.steps)
        for step in traced.steps:
            chosen = step.function is select
            chosen_in_place += chosen and step.out in step.args[1:]
    assert reused > 150  # the formulas do exercise what they are for
    assert chosen_in_place > 20


# ---- what it refuses


def test_a_branch_is_refused() -> None:
    def pair(fn: Any, rows: Any, factors: Any) -> Any:
        return rows[0] if rows[0] > 0.0 else -rows[0]

    with pytest.raises(TypeError, match=r"elementwise: use fn\.where, not `if`"):
        program.trace(family(pair), 1, 0)


@pytest.mark.parametrize("name", ["sum", "gammaln", "linalg", "no_such_function"])
def test_what_is_no_ufunc_is_refused(name: str) -> None:
    def pair(fn: Any, rows: Any, factors: Any) -> Any:
        return getattr(fn, name)(rows[0])

    with pytest.raises(AttributeError, match=f"a pair formula cannot use {name}"):
        program.trace(family(pair), 1, 0)


def test_comparisons_alone_need_masks() -> None:
    for of in (Uniform, Bernoulli):
        traced = program.trace(of, 1, 2)
        assert traced.booleans >= 1
        assert traced.floats == 1
    assert program.trace(Normal, 1, 2).booleans == 0
