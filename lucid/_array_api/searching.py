"""Searching functions."""

from __future__ import annotations

from typing import Literal

from lucid._array_api._delegate import Number, call, call_many, reduction
from lucid._tensor import Tensor

count_nonzero = reduction("count_nonzero", "How many elements are not zero.")


def argmax(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first largest element along an axis; None: in C order."""
    return call("argmax", x, axis=axis, keepdims=keepdims)


def argmin(x: Tensor, /, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The index of the first smallest element along an axis; None: in C order."""
    return call("argmin", x, axis=axis, keepdims=keepdims)


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """The indices of the elements that are not zero, one tensor an axis."""
    return call_many("nonzero", x)


def searchsorted(
    x1: Tensor,
    x2: Tensor,
    /,
    *,
    side: Literal["left", "right"] = "left",
    sorter: Tensor | None = None,
) -> Tensor:
    """Where in the sorted x1 each element of x2 belongs, before or after its equals."""
    return call("searchsorted", x1, x2, side=side, sorter=sorter)


def where(condition: Tensor, x1: Tensor | Number, x2: Tensor | Number, /) -> Tensor:
    """x1 where the condition holds, x2 elsewhere."""
    return call("where", condition, x1, x2)
