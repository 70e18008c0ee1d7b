"""Formulas traced: what a family's functions make of nodes instead of arrays.

From the trace NumPy's steps, a compiled loop's text and a CUDA struct are written, so
that one Python function serves them all.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lucid.backends.protocol import Array, Family

# What is right to a rounding or two; so many of them keep a float32 within its promise.
_IN_CHAINS: frozenset[Callable[..., Any]] = frozenset(
    [np.add, np.subtract, np.multiply, np.divide, np.negative, np.log]
)
_LONGEST_CHAIN = 3
_ON_MASKS = {"logical_and", "logical_or", "logical_not"}


class FormulaError(Exception):
    """A formula that has no text in the language that was asked for."""


class Node:
    """The value of an operator or an operand, not computed yet."""

    __slots__ = ("args", "boolean", "function")

    def __init__(
        self, function: Any, args: tuple[Any, ...], boolean: bool = False
    ) -> None:
        self.function = function
        self.args = args
        self.boolean = boolean

    def __add__(self, other: Any) -> Node:
        return add(self, other)

    def __radd__(self, other: Any) -> Node:
        return add(other, self)

    def __sub__(self, other: Any) -> Node:
        return Node(np.subtract, (self, other))

    def __rsub__(self, other: Any) -> Node:
        return Node(np.subtract, (other, self))

    def __mul__(self, other: Any) -> Node:
        return Node(np.multiply, (self, other))

    def __rmul__(self, other: Any) -> Node:
        return Node(np.multiply, (other, self))

    def __truediv__(self, other: Any) -> Node:
        return Node(np.divide, (self, other))

    def __rtruediv__(self, other: Any) -> Node:
        return Node(np.divide, (other, self))

    def __pow__(self, other: Any) -> Node:
        return power(self, other)

    def __rpow__(self, other: Any) -> Node:
        return power(other, self)

    def __neg__(self) -> Node:
        return Node(np.negative, (self,))

    def __abs__(self) -> Node:
        return Node(np.absolute, (self,))

    def __lt__(self, other: Any) -> Node:
        return Node(np.less, (self, other), boolean=True)

    def __le__(self, other: Any) -> Node:
        return Node(np.less_equal, (self, other), boolean=True)

    def __gt__(self, other: Any) -> Node:
        return Node(np.greater, (self, other), boolean=True)

    def __ge__(self, other: Any) -> Node:
        return Node(np.greater_equal, (self, other), boolean=True)

    # A comparison is part of the formula, not a bool as object's is.
    def __eq__(self, other: Any) -> Node:  # type: ignore[override]
        return Node(np.equal, (self, other), boolean=True)

    def __ne__(self, other: Any) -> Node:  # type: ignore[override]
        return Node(np.not_equal, (self, other), boolean=True)

    def __and__(self, other: Any) -> Node:
        return Node(np.logical_and, (self, other), boolean=True)

    def __or__(self, other: Any) -> Node:
        return Node(np.logical_or, (self, other), boolean=True)

    def __invert__(self) -> Node:
        return Node(np.logical_not, (self,), boolean=True)

    def __bool__(self) -> bool:
        raise TypeError("a pair formula is elementwise: use fn.where, not `if`")

    __hash__ = object.__hash__


class Tracer:
    """The function namespace that records: every ufunc of NumPy, and `where`."""

    def __getattr__(self, name: str) -> Callable[..., Node]:
        ufunc = getattr(np, name, None)
        if not isinstance(ufunc, np.ufunc):
            raise AttributeError(f"a pair formula cannot use {name}: not a NumPy ufunc")
        boolean = "f" * ufunc.nin + "->?" in ufunc.types
        return lambda *args: Node(ufunc, args, boolean)

    def where(self, condition: Any, chosen: Any, other: Any) -> Node:
        """chosen where condition, else other."""
        return Node(select, (condition, chosen, other))


def add(left: Any, right: Any) -> Node:
    """left + right; −a + b as b − a, which is one pass less."""
    for a, b in ((left, right), (right, left)):
        if isinstance(a, Node) and a.function is np.negative:
            return Node(np.subtract, (b, a.args[0]))
    return Node(np.add, (left, right))


def power(base: Any, exponent: Any) -> Node:
    """base ** exponent; the usual ones without a power, which takes ten times as long.

    As for NumPy's arrays, x ** 0.5 is a square root.
    """
    if not isinstance(base, Node) and base == 2:
        return Node(np.exp2, (exponent,))
    if isinstance(exponent, Node) or exponent not in (-1, 0.5, 2, 3, 4):
        return Node(np.power, (base, exponent))
    if exponent == -1:
        return Node(np.divide, (1.0, base))
    if exponent == 0.5:
        return Node(np.sqrt, (base,))
    square = Node(np.square, (base,))
    if exponent == 2:
        return square
    return Node(np.multiply, (square, base if exponent == 3 else square))


def select(condition: Array, chosen: Any, other: Any, out: Array) -> None:
    """np.where into a buffer, which may be `chosen` or `other` itself."""
    if out is chosen:
        np.copyto(out, other, where=np.logical_not(condition))
        return
    if out is not other:
        np.copyto(out, other)
    np.copyto(out, chosen, where=condition)


# ---- formulas of one side


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


class OneSideTracer(Tracer):
    """What formulas of one side may ask for besides: arrays of one number, SciPy.

    A formula of numbers alone, such as those of a table, has a value.
    in_chains  its functions that are right to a rounding or two; see `is_short`
    """

    in_chains = _IN_CHAINS

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = getattr(np, name, None)
        if isinstance(function, np.ufunc):
            return _traced_or_not(super().__getattr__(name), function)
        import scipy.special  # as late as functions.py does

        function = getattr(scipy.special, name, None)
        if not isinstance(function, np.ufunc):
            raise AttributeError(f"{name} is no ufunc of NumPy or scipy.special")
        return _traced_or_not(lambda *args: Node(function, args), function)

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


class TracedBits:
    """The words of attempt 0, in a family's `draw`. What rejects asks for more.

    fn       the namespace of the formula
    shifted  the text of a word's high bits as a real, from its number and the shift
    """

    def __init__(self, fn: Any, shifted: Callable[[int, int], str]) -> None:
        self.fn = fn
        self._shifted = shifted

    def words(self, attempt: int, rows: Any = None) -> TracedBits:
        """The words of attempt 0, to be read as words[..., i]."""
        if attempt or rows is not None:
            raise FormulaError("it rejects")
        return self

    def __getitem__(self, place: tuple[Any, int]) -> _TracedWord:
        return _TracedWord(self._shifted, place[1])


class _TracedWord:
    """A word, of which a formula takes the high bits."""

    def __init__(self, shifted: Callable[[int, int], str], number: int) -> None:
        self._shifted = shifted
        self._number = number

    def __rshift__(self, bits: np.uint64) -> Node:
        """Its high bits as a real: exact, so that no formula has more than 53."""
        if bits < 11:
            raise FormulaError(f"a word shifted by {bits} is no exact float64")
        return Node(None, (self._shifted(self._number, int(bits)),))


def traced(formula: Callable[..., Any], *args: Any) -> Any:
    """What a formula makes of nodes; no text if it asks for more than those do."""
    try:
        return formula(*args)
    except (AttributeError, TypeError, ValueError, LookupError) as error:
        raise FormulaError(str(error)) from error


def is_short(
    family: type[Family],
    parameters: int,
    unit: float,
    fn: OneSideTracer | None = None,
) -> bool:
    """Whether `prepare` is right to a few roundings in any dtype.

    So it is where each result is a chain of few operators from one parameter: nothing
    cancels then.
    """
    leaves = [Node(None, (f"p{i}",)) for i in range(parameters)]
    fn = fn or OneSideTracer()
    roots = traced(family.prepare, fn, unit, *leaves)

    def length(value: Any) -> float:
        """Of the chain; infinite where it is none."""
        if not isinstance(value, Node) or value.function is None:
            return 0
        before = [arg for arg in value.args if isinstance(arg, Node)]
        if len(before) > 1 or value.function not in fn.in_chains:
            return math.inf
        return 1 + length(before[0])

    return all(length(root) <= _LONGEST_CHAIN for root in roots)


# ---- their text


class Language(ABC):
    """How a trace is written down.

    operations  a ufunc's name → its text, {} for each argument
    """

    operations: Mapping[str, str]

    @abstractmethod
    def real(self, text: str) -> str:
        """A number or a mask as a number of the type that is computed with."""

    @abstractmethod
    def special(self, value: float) -> str:
        """NaN, ∞ or −∞."""

    @abstractmethod
    def assignment(self, name: str, text: str, boolean: bool) -> str:
        """A line that gives a value its name."""

    @abstractmethod
    def call(self, node: Node, args: list[str]) -> str:
        """What `operations` does not hold; FormulaError where there is no such text."""

    def statements(self, *roots: Any) -> tuple[list[str], list[str]]:
        """A line for each operator, what is used twice once; the results' names."""
        names: dict[Node, str] = {}
        lines: list[str] = []

        def name(value: Any) -> str:
            if not isinstance(value, Node):
                return self._number(value)
            if value.function is None:
                return str(value.args[0])
            if value not in names:
                text = self._operation(value, name)
                names[value] = f"t{len(names)}"
                lines.append(self.assignment(names[value], text, value.boolean))
            return names[value]

        def result(root: Any) -> str:
            mask = isinstance(root, Node) and root.boolean
            return self.real(name(root)) if mask else name(root)

        return lines, [result(root) for root in roots]

    def _operation(self, node: Node, name: Callable[[Any], str]) -> str:
        what = name_of(node)
        masks = [isinstance(a, Node) and a.boolean for a in node.args]
        if what in _ON_MASKS and not all(masks):
            raise FormulaError(f"{what} of numbers")
        if what == "where" and not masks[0]:
            raise FormulaError("a condition that is no comparison")
        keeps = range(1) if what == "where" else range(len(masks))
        args = [
            self.real(name(arg))
            if mask and not (what in _ON_MASKS or (what == "where" and i in keeps))
            else name(arg)
            for i, (arg, mask) in enumerate(zip(node.args, masks, strict=True))
        ]
        if what in self.operations:
            return self.operations[what].format(*args)
        return self.call(node, args)

    def _number(self, value: Any) -> str:
        if not isinstance(value, int | float | np.number | np.bool_):
            raise FormulaError(f"{type(value).__name__} in a formula")
        wide = float(value)
        return self.real(repr(wide)) if math.isfinite(wide) else self.special(wide)


def name_of(node: Node) -> str:
    """What a node's function is called in texts."""
    name: str = node.function.__name__.strip("_")
    return "where" if name == "select" else name
