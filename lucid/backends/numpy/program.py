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
from lucid.backends.tracing import Node, Tracer, add


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
def trace(family: type[Family], rows: int, factors: int, size: int = 1) -> Program:
    """The program of a family whose row has `rows` terms and whose pair `factors`.

    Of events of `size` elements: all terms of the first, then of the next, and their
    factors likewise.
    """
    leaves = [Node(None, (i,)) for i in range(size * (rows + factors) + 1)]
    *given, total = leaves
    terms, own = given[: size * rows], given[size * rows :]
    for d in range(size):
        row = tuple(terms[d * rows : (d + 1) * rows])
        pair = family.pair(Tracer(), row, tuple(own[d * factors : (d + 1) * factors]))
        total = add(pair, total)
    return _assign_buffers(total, len(leaves))


@functools.cache
def square(size: int = 1) -> Program:
    """Σ_d (x − μ)²·n, in one pass less than −((x − μ)·a)²; operands as of `trace`."""
    leaves = [Node(None, (i,)) for i in range(3 * size)]
    x, loc, factor = leaves[:size], leaves[size::2], leaves[size + 1 :: 2]
    apart = [a - b for a, b in zip(x, loc, strict=True)]
    terms = [a * a * n for a, n in zip(apart, factor, strict=True)]
    return _assign_buffers(functools.reduce(add, terms), len(leaves))


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
