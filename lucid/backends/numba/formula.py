"""A family's `pair` as the text of a function of scalars, written from its trace.

The same formula that NumPy evaluates on blocks: one line for each of its operators, in
the dtype of the computation, the numbers in it included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.backends.numba.loops.arithmetic import split_log
from lucid.backends.protocol import Family
from lucid.backends.tracing import (
    FormulaError,
    Language,
    Node,
    OneSideTracer,
    Tracer,
    name_of,
    traced,
)

# What stands for a ufunc; any other is called by its own name on scalars. `maximum`,
# `minimum`, `floor`, `log`, `log1p` and `split_log` are those of loops/arithmetic.py,
# which vectorise.
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
    "split_log": "split_log({})",
    "coarse": "{}[0]",
    "fine": "{}[1]",
}


class _Python(Language):
    """Scalars, in functions that Numba compiles."""

    operations = _TEXT

    def real(self, text: str) -> str:
        return f"real({text})"

    def special(self, value: float) -> str:
        return "real(np.nan)" if value != value else f"real({'-' * (value < 0)}np.inf)"

    def assignment(self, name: str, text: str, boolean: bool) -> str:
        return f"{name} = {text}"

    def call(self, node: Node, args: list[str]) -> str:
        what = name_of(node)
        if getattr(np, what, None) is not node.function:
            raise FormulaError(f"{what} is no function of NumPy")
        text = f"np.{what}({', '.join(args)})"
        return text if node.boolean else self.real(text)


def _coarse(parts: Any) -> Any:
    return parts[0]


def _fine(parts: Any) -> Any:
    return parts[1]


class OneSide(OneSideTracer):
    """As its base, with what loops/arithmetic.py has of the formulas' own functions.

    wide  whether the formula asks for more than the dtype that it is given
    """

    in_chains = OneSideTracer.in_chains | {np.maximum, split_log, _coarse, _fine}

    def __init__(self) -> None:
        self.wide = False

    def asarray(self, array: Any, dtype: Any = None) -> Any:
        """The number, as the base has it."""
        self.wide |= dtype is np.float64 and isinstance(array, Node)
        return super().asarray(array, dtype)

    def split_log(self, x: Any) -> tuple[Node, Node]:
        """log x in two parts."""
        both = Node(split_log, (x,))
        return Node(_coarse, (both,)), Node(_fine, (both,))


def family_text(family: type[Family], terms: int, factors: int) -> str:
    """`row_of`, `factors_of` and `pair` of a family; see loops/family.py."""
    rows = [f"x{i}" for i in range(terms)]
    own = [f"f{i}" for i in range(factors)]
    leaves = [Node(None, (name,)) for name in rows + own]
    root = traced(family.pair, Tracer(), tuple(leaves[:terms]), tuple(leaves[terms:]))
    lines, (result,) = _Python().statements(root)
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
    roots = traced(formula, OneSide(), *(Node(None, (own,)) for own in names))
    lines, results = _Python().statements(*roots)
    parts = [
        f"def {name}({', '.join(names)}):",
        "    inlined()",
        *(f"    {line}" for line in lines),
        f"    return ({', '.join(results)},)",
    ]
    return "\n".join(parts) + "\n", len(results)


def is_wide(arguments: int, formula: Callable[..., Any]) -> bool:
    """Whether a formula asks for float64 whatever it is given."""
    fn = OneSide()
    traced(formula, fn, *(Node(None, (f"p{i}",)) for i in range(arguments)))
    return fn.wide


def _getter(name: str, arguments: str, items: list[str]) -> str:
    found = ", ".join(items) + "," if items else ""
    return f"def {name}({arguments}):\n    return ({found})\n"
