"""What elementwise loops take of a family: written from its traced formulas.

These say what each is called with; the loops never run these bodies. Line k of chunk c
lies at [c, k·WIDTH : (k + 1)·WIDTH].
"""

from __future__ import annotations

from typing import Any

from lucid.backends.protocol import Array


def parameters_at(parameters: tuple[Array, ...], c: int, i: int) -> Any:
    """Element i of chunk c of each parameter."""


def prepare(*parameters: Any) -> Any:
    """The family's factors and, last, its constant, in nats."""


def keep_factors(factors: Array, c: int, i: int, found: Any) -> None:
    """What `prepare` found, each number into its line."""


def factors_at(factors: Array, c: int, i: int) -> Any:
    """The factors of an element, and its constant."""


def value_parts(x: Any) -> Any:
    """The terms of one value and, last, its offset."""


def keep_row(rows: Array, c: int, i: int, found: Any) -> None:
    """The terms of `value_parts`, each into its line; none where x itself is one."""


def row_at(rows: Array, c: int, i: int) -> Any:
    """The terms of a value."""


def with_offset(found: Any, offset: Array, c: int, i: int) -> Any:
    """`found` and what belongs to the value alone; whether its NaN is unexplained."""


def offset_of(x: Any) -> Any:
    """The offset of a value, alone in a tuple."""
