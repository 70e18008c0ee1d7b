"""What a thread writes to: arrays that every block uses again, NumPy's own buffer."""

from __future__ import annotations

import math
import threading
from typing import Any, Self

import numpy as np

from lucid.backends.numpy import program
from lucid.backends.protocol import Array

# Elements of NumPy's own buffer, no more than the shortest inner loop that matters.
UFUNC_BUFFER = 1024

_BOOL = np.dtype(bool)

_local = threading.local()


class QuietLoops(np.errstate):
    """No warnings, and no copies of broadcast operands.

    NumPy copies a broadcast operand into its buffer where the inner loop is shorter
    than that buffer, which makes such a pass three times as long: a small buffer stops
    it. Both settings belong to this thread, and end with the errstate.
    """

    def __init__(self) -> None:
        super().__init__(all="ignore")

    def __enter__(self) -> None:
        super().__enter__()
        np.setbufsize(UFUNC_BUFFER)


class Buffers:
    """Arrays to write to, made anew: for a few rows that takes the least time."""

    def take(self, dtype: np.dtype[Any], *shapes: tuple[int, ...]) -> list[Array]:
        """Arrays of these shapes."""
        return [np.empty(shape, dtype) for shape in shapes]

    def program(
        self, traced: program.Program, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> list[Array]:
        """What a program writes: arrays of `dtype`, then masks."""
        return [np.empty(shape, kind or dtype) for kind in traced.buffers]


class Scratch(Buffers):
    """This thread's buffers, checked out, which every block uses again.

    A call inside the call, from a signal handler or a finaliser, finds none and makes
    its own.
    """

    def __enter__(self) -> Self:
        self._kept: dict[tuple[str, int], Array] = _local.__dict__.pop("buffers", {})
        return self

    def __exit__(self, *error: object) -> None:
        _local.buffers = self._kept

    def take(self, dtype: np.dtype[Any], *shapes: tuple[int, ...]) -> list[Array]:
        """Arrays of these shapes: earlier ones, where they are large enough."""
        found = []
        for i, shape in enumerate(shapes):
            key, size = (dtype.char, i), math.prod(shape)
            flat = self._kept.get(key)
            if flat is None or flat.size < size:
                flat = self._kept[key] = np.empty(size, dtype)
            found.append(flat[:size].reshape(shape))
        return found

    def program(
        self, traced: program.Program, dtype: np.dtype[Any], shape: tuple[int, ...]
    ) -> list[Array]:
        """What a program writes: arrays of `dtype`, then masks."""
        found = self.take(dtype, *[shape] * traced.floats)
        if traced.booleans:
            found += self.take(_BOOL, *[shape] * traced.booleans)
        return found
