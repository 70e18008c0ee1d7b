"""A family's `pair`, traced once into NumPy calls that write to reused buffers.

Evaluating the formula as it stands would allocate an array for every operator. Traced,
it is a short list of ufunc calls, each with a buffer to write to, and a buffer whose
value is no longer needed is written again: a block's whole evaluation stays in cache.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from lucid.backends.protocol import Array, Family


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
        return _add(self, other)

    def __radd__(self, other: Any) -> Node:
        return _add(other, self)

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
        return _power(self, other)

    def __rpow__(self, other: Any) -> Node:
        return _power(other, self)

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
        return Node(_select, (condition, chosen, other))


@dataclass(frozen=True, slots=True)
class Step:
    """function(*args, out=…), all given by their places among a program's values."""

    function: Any
    args: tuple[int, ...]
    out: int


@dataclass(frozen=True, slots=True)
class Program:
    """pair(row, factors) + base as steps over values.

    Values are the buffers, of which 0 is the result, then the operands (row first, then
    factors, then base), then numbers.
    """

    steps: tuple[Step, ...]
    buffers: tuple[Any, ...]  # the dtype of each; None for that of the computation
    numbers: tuple[Any, ...]
    evaluate: Callable[..., None]  # the steps as one function of all values

    @property
    def floats(self) -> int:
        """Buffers of the computation's dtype, the result among them."""
        return self.buffers.count(None)

    @property
    def booleans(self) -> int:
        """Masks, behind them."""
        return len(self.buffers) - self.floats

    def run(self, operands: Iterable[Array], buffers: Iterable[Array]) -> None:
        """Evaluate; `buffers` holds the arrays to write to, the result first."""
        self.evaluate(*buffers, *operands, *self.numbers)


def _straight(steps: Sequence[Step], values: int) -> Callable[..., None]:
    """Steps as one function: a loop over them would take as long as a few values do."""
    names = [f"v{i}" for i in range(values)]
    lines = [f"def evaluate({', '.join(names)}):"]
    for i, step in enumerate(steps):
        args = ", ".join(names[place] for place in step.args)
        lines.append(f"    f{i}({args}, out={names[step.out]})")
    namespace = {f"f{i}": step.function for i, step in enumerate(steps)}
    exec("\n".join(lines), namespace)
    function: Callable[..., None] = namespace["evaluate"]
    return function


@functools.cache
def trace(family: type[Family], rows: int, factors: int) -> Program:
    """The program of a family whose row has `rows` terms and whose pair `factors`."""
    leaves = [Node(None, (i,)) for i in range(rows + factors + 1)]
    pair = family.pair(
        Tracer(), tuple(leaves[:rows]), tuple(leaves[rows : rows + factors])
    )
    return _assign_buffers(_add(pair, leaves[-1]), len(leaves))


@functools.cache
def square() -> Program:
    """(x − μ)²·n, in one pass less than −((x − μ)·a)²."""
    x, loc, factor = (Node(None, (i,)) for i in range(3))
    difference = x - loc
    return _assign_buffers(difference * difference * factor, 3)


def _add(left: Any, right: Any) -> Node:
    """left + right; −a + b as b − a, which is one pass less."""
    for a, b in ((left, right), (right, left)):
        if isinstance(a, Node) and a.function is np.negative:
            return Node(np.subtract, (b, a.args[0]))
    return Node(np.add, (left, right))


def _power(base: Any, exponent: Any) -> Node:
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


def _select(condition: Array, chosen: Any, other: Any, out: Array) -> None:
    """np.where into a buffer, which may be `chosen` or `other` itself."""
    if out is chosen:
        np.copyto(out, other, where=np.logical_not(condition))
        return
    if out is not other:
        np.copyto(out, other)
    np.copyto(out, chosen, where=condition)


def _assign_buffers(root: Node, operands: int) -> Program:
    """Steps in order of evaluation, each value in a buffer that is free by then."""
    order: list[Node] = []
    uses: dict[Node, int] = {}

    def visit(node: Any) -> None:
        if not isinstance(node, Node) or node.function is None:
            return
        uses[node] = uses.get(node, 0) + 1
        if uses[node] == 1:
            for arg in node.args:
                visit(arg)
            order.append(node)

    visit(root)
    place: dict[Node, int] = {}
    free: dict[bool, list[int]] = {False: [], True: []}
    count = {False: 0, True: 0}
    steps: list[tuple[Node, tuple[Any, ...], int]] = []
    for node in order:
        args: list[Any] = []
        for arg in node.args:
            if not isinstance(arg, Node) or arg.function is None:
                args.append(arg)
            else:
                args.append((arg.boolean, place[arg]))
                uses[arg] -= 1
                if uses[arg] == 0:
                    free[arg.boolean].append(place[arg])
        kind = node.boolean
        if not free[kind]:
            free[kind].append(count[kind])
            count[kind] += 1
        # The result's own buffer comes last, so that it ends as buffer 0.
        place[node] = free[kind].pop()
        steps.append((node, tuple(args), place[node]))
    # Swap so that the result is buffer 0; booleans come behind the floats.
    last = place[root]
    swap = {last: 0, 0: last}
    floats = max(count[False], 1)
    buffers = (None,) * floats + (np.dtype(bool),) * count[True]
    numbers: list[Any] = []

    def index(arg: Any) -> int:
        """The place of a buffer, an operand or a number among the values."""
        if isinstance(arg, tuple):
            boolean, buffer = cast(tuple[bool, int], arg)
            return floats + buffer if boolean else swap.get(buffer, buffer)
        if isinstance(arg, Node):
            return len(buffers) + cast(int, arg.args[0])
        numbers.append(arg)
        return len(buffers) + operands + len(numbers) - 1

    placed = tuple(
        Step(node.function, tuple(map(index, args)), index((node.boolean, out)))
        for node, args, out in steps
    )
    values = len(buffers) + operands + len(numbers)
    return Program(placed, buffers, tuple(numbers), _straight(placed, values))
