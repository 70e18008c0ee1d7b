"""The end of an element whose family has nothing that belongs to values alone."""

from __future__ import annotations

from typing import Any

from lucid.backends.protocol import Array


def with_offset(found: Any, offset: Array, c: int, i: int) -> Any:
    """What was found, and whether it is NaN."""
    return found, found != found
