"""The end of loops/plain.py for float32 results of float32 sums."""

from __future__ import annotations

from typing import Any

from lucid.backends.numba.loops.arithmetic import logarithm
from lucid.backends.numba.loops.float32 import real


def nats(total: Any, lost: Any, shift: Any) -> Any:
    """ln(total + lost) − shift·ln 2."""
    return logarithm(real(total + lost), -shift, real(0.0))
