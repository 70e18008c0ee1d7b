"""A family's `pair` as the text of a function of scalars, written from its trace.

The same formula that NumPy evaluates on blocks: one line for each of its operators, in
the dtype of the computation, the numbers in it included.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.backends.numpy.program import Node, Tracer
from lucid.backends.protocol import Array, Family

# What stands for a ufunc; any other is called by its own name on scalars. `maximum`,
# `minimum`, `floor`, `log` and `log1p` are those of loops/arithmetic.py, which
# vectorise.
_TEXT = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "absolute": "abs({})",
    "square": "{0} * {0}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "logical_and": "{} & {}",
    "logical_or": "{} | {}",
    "logical_not": "not {}",
    "isnan": "{0} != {0}",
    "where": "{1} if {0} else {2}",
    "maximum": "maximum({}, {})",
    "minimum": "minimum({}, {})",
    "floor": "floor({})",
    "log": "log({})",
    "log1p": "log1p({})",
    "mantissa": "mantissa({})",
    "exponent": "exponent({})",
    "ldexp": "ldexp({}, {})",
}
# What is right to a rounding or two; so many of them keep a float32 within its promise.
_IN_CHAINS = {np.add, np.subtract, np.multiply, np.divide, np.negative, np.log}
_LONGEST_CHAIN = 3
_ON_MASKS = {"logical_and", "logical_or", "logical_not"}


class FormulaError(Exception):
    """A formula that has no text here; NumPy evaluates it."""


def family_text(family: type[Family], terms: int, factors: int) -> str:
    """`row_of`, `factors_of` and `pair` of a family; see loops/family.py."""
    rows = [f"x{i}" for i in range(terms)]
    own = [f"f{i}" for i in range(factors)]
    leaves = [Node(None, (name,)) for name in rows + own]
    root = _traced(family.pair, Tracer(), tuple(leaves[:terms]), tuple(leaves[terms:]))
    lines, (result,) = _statements(root)
    parts = [
        _getter("row_of", "x, d, r", [f"x[{i}, d, r]" for i in range(terms)]),
        _getter(
            "factors_of",
            "factors, k, d",
            [f"factors[k, d, {i}]" for i in range(factors)],
        ),
        _getter("factors_at", "f, j, r", [f"f[{i}, j, r]" for i in range(factors)]),
        "def pair(row, factors):",
        *([f"    {', '.join(rows)}, = row"] if rows else []),
        *([f"    {', '.join(own)}, = factors"] if own else []),
        *(f"    {line}" for line in lines),
        f"    return {result}",
    ]
    return "\n".join(parts) + "\n"


def limited_text(negative: bool) -> str:
    """`limited` of a family, whose pair may be known to be 0 at most."""
    lines = [
        "def limited(y, least, most):",
        *([] if negative else ["    y = most if y > most else y"]),
        "    return least if y < least else y",
    ]
    return "\n".join(lines) + "\n"


def prepare_text(family: type[Family], parameters: int, unit: float) -> str:
    """`prepare` of a family as a function of one component's parameters."""

    def formula(fn: Any, *own: Node) -> Any:
        return family.prepare(fn, unit, *own)

    text, results = formula_text("prepare", parameters, formula)
    parts = [
        text,
        _getter(
            "parameters_of",
            "p, j, r",
            [f"real(p[{i}, j, r])" for i in range(parameters)],
        ),
        "def keep_factors(factors, j, r, found, dead):",
        *(
            f"    factors[{i}, j, r] = real(0.0) if dead else found[{i}]"
            for i in range(results - 1)
        ),
        "    return",
    ]
    return "\n".join(parts) + "\n"


def formula_text(
    name: str, arguments: int, formula: Callable[..., Any]
) -> tuple[str, int]:
    """A function of scalars that gives a tuple, as formula(fn, …) does, and its length.

    For what belongs to one component or one value alone.
    """
    names = [f"p{i}" for i in range(arguments)]
    roots = _traced(formula, _OfOneSide(), *(Node(None, (own,)) for own in names))
    lines, results = _statements(*roots)
    parts = [
        f"def {name}({', '.join(names)}):",
        "    inlined()",
        *(f"    {line}" for line in lines),
        f"    return ({', '.join(results)},)",
    ]
    return "\n".join(parts) + "\n", len(results)


def is_short(family: type[Family], parameters: int, unit: float) -> bool:
    """Whether `prepare` is right to a few roundings in any dtype.

    So it is where each result is a chain of few operators from one parameter: nothing
    cancels then.
    """
    leaves = [Node(None, (f"p{i}",)) for i in range(parameters)]
    roots = _traced(family.prepare, _OfOneSide(), unit, *leaves)

    def length(value: Any) -> float:
        """Of the chain; infinite where it is none."""
        if not isinstance(value, Node) or value.function is None:
            return 0
        before = [arg for arg in value.args if isinstance(arg, Node)]
        if len(before) > 1 or value.function not in _IN_CHAINS:
            return math.inf
        return 1 + length(before[0])

    return all(length(root) <= _LONGEST_CHAIN for root in roots)


def _traced(formula: Callable[..., Any], *args: Any) -> Any:
    """What a formula makes of nodes; no text if it asks for more than those do."""
    try:
        return formula(*args)
    except (AttributeError, TypeError, LookupError) as error:
        raise FormulaError(str(error)) from error


def _traced_or_not(
    traced: Callable[..., Any], function: Callable[..., Any]
) -> Callable[..., Any]:
    """A function that is traced where one of its arguments is."""

    def call(*args: Any) -> Any:
        return (traced if any(isinstance(a, Node) for a in args) else function)(*args)

    return call


def _mantissa(x: Array) -> Array:
    return np.frexp(x)[0]


def _exponent(x: Array) -> Array:
    return np.frexp(x)[1]


class _OfOneSide(Tracer):
    """What formulas of one side may ask for besides: arrays of one number.

    A formula of numbers alone, such as those of a table, has a value.
    """

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return _traced_or_not(super().__getattr__(name), getattr(np, name))

    def where(self, *args: Any) -> Any:
        """As NumPy's, of three arguments."""
        return _traced_or_not(super().where, np.where)(*args)

    def frexp(self, x: Any) -> tuple[Node, Node]:
        """The mantissa in [½, 1) and the exponent."""
        return Node(_mantissa, (x,)), Node(_exponent, (x,))

    def arange(self, *limits: Any) -> Array:
        """The numbers of a table."""
        return np.arange(*limits)

    def take(self, table: Array, index: Any) -> Any:
        """table[index], by comparisons."""
        found = table[-1]
        for i in range(len(table) - 1):
            found = self.where(index == i, table[i], found)
        return found

    def asarray(self, array: Any, dtype: Any = None) -> Any:
        """The number: it is rounded where it is stored."""
        return array

    def result_type(self, array: Any) -> None:
        """Not known yet."""

    def full_like(self, array: Any, value: Any) -> Any:
        """The number."""
        return value

    def zeros_like(self, array: Any) -> Any:
        """0."""
        return 0.0

    def ones_like(self, array: Any) -> Any:
        """1."""
        return 1.0


def _getter(name: str, arguments: str, items: list[str]) -> str:
    found = ", ".join(items) + "," if items else ""
    return f"def {name}({arguments}):\n    return ({found})\n"


def _statements(*roots: Any) -> tuple[list[str], list[str]]:
    """An assignment for each operator, what is used twice once; the results' names."""
    names: dict[Node, str] = {}
    lines: list[str] = []

    def name(value: Any) -> str:
        if not isinstance(value, Node):
            return _number(value)
        if value.function is None:
            return str(value.args[0])
        if value not in names:
            text = _operation(value, name)
            names[value] = f"t{len(names)}"
            lines.append(f"{names[value]} = {text}")
        return names[value]

    def real(root: Any) -> str:
        mask = isinstance(root, Node) and root.boolean
        return f"real({name(root)})" if mask else name(root)

    return lines, [real(root) for root in roots]


def _operation(node: Node, name: Callable[[Any], str]) -> str:
    what = node.function.__name__.strip("_")
    what = "where" if what == "select" else what
    masks = [isinstance(a, Node) and a.boolean for a in node.args]
    if what in _ON_MASKS and not all(masks):
        raise FormulaError(f"{what} of numbers")
    if what == "where" and not masks[0]:
        raise FormulaError("a condition that is no comparison")
    keeps = range(1) if what == "where" else range(len(masks))
    args = [
        f"real({name(arg)})"
        if mask and not (what in _ON_MASKS or (what == "where" and i in keeps))
        else name(arg)
        for i, (arg, mask) in enumerate(zip(node.args, masks, strict=True))
    ]
    if what in _TEXT:
        return _TEXT[what].format(*args)
    if getattr(np, what, None) is not node.function:
        raise FormulaError(f"{what} is no function of NumPy")
    text = f"np.{what}({', '.join(args)})"
    return text if node.boolean else f"real({text})"


def _number(value: Any) -> str:
    if not isinstance(value, int | float | np.number | np.bool_):
        raise FormulaError(f"{type(value).__name__} in a formula")
    wide = float(value)
    if math.isfinite(wide):
        return f"real({wide!r})"
    return "real(np.nan)" if wide != wide else f"real({'-' * (wide < 0)}np.inf)"
