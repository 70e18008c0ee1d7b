"""Indexing functions."""

from __future__ import annotations

from lucid._array_api._delegate import call
from lucid._tensor import Tensor


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """The slices of x at those indices along an axis."""
    return call("take", x, indices, axis=axis)


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """The elements of x at those indices along an axis, place by place."""
    return call("take_along_axis", x, indices, axis=axis)
