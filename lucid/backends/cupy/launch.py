"""Sizes, views and splits: the arithmetic between arrays and kernel launches."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.protocol import Array, Components

# CUDA's limit on the second and third dimension of a grid.
MOST_BLOCKS_YZ = 65535
_SPLIT_COMPONENTS = 1024


def ceil_divide(count: int, size: int) -> int:
    """⌈count / size⌉."""
    return -(-count // size)


def int64(*values: int) -> tuple[np.int64, ...]:
    """Sizes as kernels take them: beyond 2³¹ elements there are more."""
    return tuple(np.int64(value) for value in values)


def uint64(*values: int) -> tuple[np.uint64, ...]:
    """Words of a key or a counter."""
    return tuple(np.uint64(value) for value in values)


def strides(array: Array, axes: int) -> tuple[int, ...]:
    """Strides of the first `axes` axes in elements, 0 along an axis of length 1."""
    return tuple(
        0 if length == 1 else stride // array.itemsize
        for length, stride in zip(array.shape[:axes], array.strides, strict=False)
    )


def view(array: Array | None) -> tuple[Any, ...]:
    """Data [B or 1, K, D] as a kernel reads it: a pointer and three strides."""
    if array is None:
        return (None, *int64(0, 0, 0))
    return (array, *int64(*strides(array, 3)))


def splits(blocks: int, multiprocessors: int, components: int) -> int:
    """Over how many blocks the components of one row are spread.

    More than one only where the rows alone leave most of the device idle.
    """
    wanted = ceil_divide(4 * multiprocessors, max(1, blocks))
    most = min(ceil_divide(components, _SPLIT_COMPONENTS), MOST_BLOCKS_YZ)
    return max(1, min(wanted, most))


def parameter_sets(components: Components) -> int:
    """1 where every mixture shares all parameters and weights, else B."""
    arrays = [*components.parameters]
    if components.weights is not None:
        arrays.append(components.weights.given)
    return max(int(array.shape[0]) for array in arrays)


def source_type(components: Components, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type `prepare` reads, float32 only where no digit is lost for a result."""
    double = any(array.dtype == np.float64 for array in components.parameters)
    return np.dtype(np.float64 if double else dtype)


def log_weights(components: Components, source: np.dtype[Any]) -> tuple[Any, ...]:
    """The log weights [B or 1, K] as a pointer and two strides; null for weight 1."""
    if components.weights is None:
        return (None, *int64(0, 0))
    array = components.log_weights.astype(source)
    return (array, *int64(*strides(array, 2)))
