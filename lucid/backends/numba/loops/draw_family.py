"""What the drawing loops take of a family's parameters: written for their number.

These say what each is called with; the loops never run these bodies. Its `draw` takes
the place of `pair` in family.py, with words 1 and 2 as a row's terms.
"""

from __future__ import annotations

from typing import Any

from lucid.backends.protocol import Array


def gather(
    parameters: Any, mixture: int, component: int, d: int, own: Array, r: int
) -> None:
    """Parameters [B or 1, K, D] of one component and event element into own[:, r]."""


def own_of(own: Array, r: int) -> Any:
    """The gathered parameters own[:, r] of one row."""
