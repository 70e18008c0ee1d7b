"""Utility functions."""

from __future__ import annotations

from lucid._array_api._delegate import call, reduction
from lucid._tensor import Tensor

all = reduction("all", "Whether every element is true (not zero).")
any = reduction("any", "Whether some element is true (not zero).")


def diff(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """Differences of neighbours along an axis, n times over."""
    ends = {"prepend": prepend, "append": append}
    given = {name: end for name, end in ends.items() if end is not None}
    return call("diff", x, axis=axis, n=n, **given)
