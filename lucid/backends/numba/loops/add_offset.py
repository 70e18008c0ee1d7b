"""The end of an element whose family has something that belongs to values alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.protocol import Array


def with_offset(found: Any, offset: Array, c: int, i: int) -> Any:
    """Their sum, and whether it is a NaN that the offset does not explain."""
    own = offset_at(offset, c, i)
    found = found + own if own > -np.inf else own
    return found, (found != found) & (own == own)


def offset_at(offset: Array, c: int, i: int) -> Any:
    """What a loop before this one has stored."""
    return offset[c, i]
