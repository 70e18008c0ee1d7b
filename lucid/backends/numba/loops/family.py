"""What loops take of a family: written from its traced `pair` in `formula.py`.

These say what each is called with; the loops never run these bodies.
"""

from __future__ import annotations

from typing import Any

from lucid.backends.protocol import Array


def row_of(x: Array, d: int, r: int) -> Any:
    """The terms of row r's event element d, out of x [terms, D, rows]."""


def factors_of(factors: Array, k: int, d: int) -> Any:
    """Component k's factors of event element d, out of [K, D, factors]."""


def factors_at(factors: Array, j: int, r: int) -> Any:
    """The factors of row r's component j, out of [factors, T, rows]."""


def parameters_of(parameters: Array, j: int, r: int) -> Any:
    """The parameters of row r's component j, out of [parameters, T, rows]."""


def prepare(*parameters: Any) -> Any:
    """The family's factors and, last, its constant, in bits."""


def keep_factors(factors: Array, j: int, r: int, found: Any, dead: Any) -> None:
    """Factors of row r's component j into [factors, T, rows]; zeros if it is dead."""


def pair(row: Any, factors: Any) -> Any:
    """The family's `pair` of one value and one component."""


def limited(y: Any, least: Any, most: Any) -> Any:
    """y no less than `least`; no more than `most`, where its pair may be above 0."""
