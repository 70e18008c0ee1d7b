"""The offset of an element whose value says it at little cost."""

from __future__ import annotations

from typing import Any

from lucid.backends.numba.loops.elements import offset_of
from lucid.backends.protocol import Array


def offset_at(value: Array, c: int, i: int) -> Any:
    """Found for each pair anew, which takes less time than to store it."""
    return offset_of(value[c, i])[0]
