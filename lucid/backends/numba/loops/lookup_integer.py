"""The place of an integer, for loops/lookup.py."""

from __future__ import annotations

from typing import Any

import numpy as np


def place(x: Any, count: int) -> Any:
    """x + 1 from 0 to count + 1."""
    inside: Any = min(max(np.int64(x), -1), count)
    return inside + 1
