"""Sorting functions."""

from __future__ import annotations

from lucid._array_api._delegate import call
from lucid._array_api.manipulation import flip
from lucid._tensor import Tensor


def argsort(
    x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Tensor:
    """The indices that sort along an axis; `stable`: equals keep their order."""
    if descending:  # backwards through the sorted mirror image, so that equals do too
        order = argsort(flip(x, axis=axis), axis=axis, stable=stable)
        return x.shape[axis] - 1 - flip(order, axis=axis)
    return call("argsort", x, axis=axis, stable=stable)


def sort(
    x: Tensor, /, *, axis: int = -1, descending: bool = False, stable: bool = True
) -> Tensor:
    """The elements in order along an axis."""
    ascending = call("sort", x, axis=axis, stable=stable)
    return flip(ascending, axis=axis) if descending else ascending
