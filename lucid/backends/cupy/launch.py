"""Sizes, views and splits: the arithmetic between arrays and kernel launches."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.cupy.kernels import SOURCES
from lucid.backends.protocol import Array, Components

# CUDA's limits on the first, and on the second and third dimension of a grid.
MOST_BLOCKS, MOST_BLOCKS_YZ = 2**31 - 1, 65535
# Factors and tables of more elements than this are made for one call and not kept.
MOST_KEPT = 1 << 24
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


def views(parameters: list[Array]) -> tuple[Any, ...]:
    """Up to three parameters [B or 1, K, D], each a pointer and three strides."""
    found: list[Any] = []
    for array in [*parameters, None, None][:3]:
        found += [array, *int64(*((0, 0, 0) if array is None else strides(array, 3)))]
    return tuple(found)


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


def parameters_in_place(components: Components) -> tuple[list[Array], str]:
    """The parameters, and the one type they have: copied only to make it one."""
    arrays = components.parameters
    source = readable(np.result_type(*(array.dtype for array in arrays)))
    return [array.astype(source, copy=False) for array in arrays], source.name


def readable(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A type as kernels read it, or the widest that they do."""
    return dtype if dtype.name in SOURCES else np.dtype(np.float64)


def log_weights(components: Components) -> tuple[Any, ...]:
    """The log weights [B or 1, K] as a pointer and two strides; null for weight 1."""
    if components.weights is None:
        return (None, *int64(0, 0))
    array = components.weights.log()
    return (array, *int64(*strides(array, 2)))
