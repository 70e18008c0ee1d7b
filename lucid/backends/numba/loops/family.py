"""What loops take of a family: written from its traced `pair` in `formula.py`.

These say what each is called with; the loops never run these bodies.
"""

from __future__ import annotations

from typing import Any

from lucid.backends.protocol import Array


def row_of(x: Array, d: int, r: int) -> Any:
    """The terms of row r's event element d, out of x [terms, D, rows]."""
    raise NotImplementedError


def factors_of(factors: Array, k: int, d: int) -> Any:
    """Component k's factors of event element d, out of [K, D, factors]."""
    raise NotImplementedError


def factors_at(factors: Array, k: int) -> Any:
    """Component k's factors, out of [factors, K]."""
    raise NotImplementedError


def parameters_of(parameters: Array, r: int, k: int) -> Any:
    """The parameters of row r's component k, out of [parameters, rows, K]."""
    raise NotImplementedError


def prepare(*parameters: Any) -> Any:
    """The family's factors and, last, its constant, in bits."""
    raise NotImplementedError


def keep_factors(factors: Array, k: int, found: Any, dead: Any) -> None:
    """Component k's factors into [factors, K]; zeros where there is none."""
    raise NotImplementedError


def pair(row: Any, factors: Any) -> Any:
    """The family's `pair` of one value and one component."""
    raise NotImplementedError
