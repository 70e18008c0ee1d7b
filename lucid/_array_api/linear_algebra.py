"""Linear algebra functions of the main namespace."""

from __future__ import annotations

from collections.abc import Sequence

from lucid._array_api._delegate import call, view
from lucid._tensor import Tensor

Axes = int | tuple[Sequence[int], Sequence[int]]


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The matrix product over the last two axes; of vectors, the inner product."""
    return call("matmul", x1, x2)


def matrix_transpose(x: Tensor, /) -> Tensor:
    """The last two axes exchanged."""
    return view("matrix_transpose", x)


def tensordot(x1: Tensor, x2: Tensor, /, *, axes: Axes = 2) -> Tensor:
    """Σ x1·x2 over so many last and first axes, or over the pairs of axes given."""
    return call("tensordot", x1, x2, axes=axes)


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """Σ conj(x1)·x2 along an axis."""
    return call("vecdot", x1, x2, axis=axis)
