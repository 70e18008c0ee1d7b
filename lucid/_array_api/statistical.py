"""Statistical functions: over all axes, or those given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lucid._array_api._delegate import call, reduction
from lucid._array_api.creation import full
from lucid._array_api.manipulation import concat
from lucid._tensor import Tensor

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Axis = int | tuple[int, ...] | None

max = reduction("max", "The largest value; NaN if there is one.")
mean = reduction("mean", "The arithmetic mean.")
min = reduction("min", "The smallest value; NaN if there is one.")


def cumulative_prod(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: DTypeLike | None = None,
    include_initial: bool = False,
) -> Tensor:
    """The products of the first 1, 2, … values along an axis; of 0 too on request."""
    return _cumulative("cumprod", x, axis, dtype, 1 if include_initial else None)


def cumulative_sum(
    x: Tensor,
    /,
    *,
    axis: int | None = None,
    dtype: DTypeLike | None = None,
    include_initial: bool = False,
) -> Tensor:
    """The sums of the first 1, 2, … values along an axis; of 0 too on request."""
    return _cumulative("cumsum", x, axis, dtype, 0 if include_initial else None)


def prod(
    x: Tensor,
    /,
    *,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The product; small integers are multiplied as 64-bit ones."""
    return call("prod", x, axis=axis, dtype=dtype, keepdims=keepdims)


def std(
    x: Tensor,
    /,
    *,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
) -> Tensor:
    """√var; correction=1: of a sample."""
    return call("std", x, axis=axis, correction=correction, keepdims=keepdims)


def sum(
    x: Tensor,
    /,
    *,
    axis: Axis = None,
    dtype: DTypeLike | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The sum; small integers are added as 64-bit ones."""
    return call("sum", x, axis=axis, dtype=dtype, keepdims=keepdims)


def var(
    x: Tensor,
    /,
    *,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
) -> Tensor:
    """Σ(x − mean)² / (n − correction); correction=1: the unbiased estimate."""
    return call("var", x, axis=axis, correction=correction, keepdims=keepdims)


def _cumulative(
    name: str,
    x: Tensor,
    axis: int | None,
    dtype: DTypeLike | None,
    initial: int | None,
) -> Tensor:
    """By the older functions, which NumPy 2.0 has too."""
    if axis is None and x.ndim > 1:
        raise ValueError(f"which axis? The tensor has {x.ndim}: give `axis`")
    values = call(name, x, axis=axis, dtype=dtype)
    if initial is None:
        return values
    along = axis or 0
    shape = [*values.shape]
    shape[along] = 1
    first = full(tuple(shape), initial, dtype=values.dtype, device=values.device)
    return concat([first, values], axis=along)
