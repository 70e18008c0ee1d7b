"""Raw arrays from what users hold, from device to device, and as text."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from lucid import backends
from lucid._dtype import DType, as_dtype, default_for
from lucid.backends.protocol import Array, Backend


def on_cuda(value: Any) -> bool:
    """Whether a value is some library's array on a GPU."""
    return hasattr(value, "__cuda_array_interface__")


def from_cuda(obj: Any) -> Array | None:
    """The CuPy array of some library's array on a GPU, not copied; else None."""
    if isinstance(obj, np.ndarray) or not on_cuda(obj):
        return None
    located = hasattr(obj, "__dlpack_device__")
    backend = backends.get("cuda", obj.__dlpack_device__()[1] if located else 0)
    with backends.scope(backend):
        return backend.xp.asarray(obj)


def from_host(obj: Any, dtype: DType | None, copy: bool | None) -> Array:
    """The NumPy array of anything else, in `dtype` or the one a tensor gives it."""
    masked = sys.modules.get("numpy.ma")
    if masked and isinstance(obj, masked.MaskedArray):
        raise TypeError("a tensor has no mask; fill the array first: .filled(value)")
    array = np.asarray(obj, dtype=dtype, copy=False if copy is False else None)
    if dtype is None and array.dtype.kind in "fc" and _is_python(obj):
        return array.astype(default_for(array.dtype.kind))
    return array.astype(as_dtype(array.dtype), copy=False)


def as_text(array: Array, backend: Backend) -> str:
    """The elements as NumPy prints them; only a large array's corners leave the GPU."""
    options = np.get_printoptions()
    edge = options["edgeitems"] + 1
    summarised = array.size > options["threshold"]
    if summarised:
        for axis, length in enumerate(array.shape):
            if length > 2 * edge:
                ends = np.r_[:edge, length - edge : length]
                with backends.scope(backend):
                    array = array.take(backend.asarray(ends), axis=axis)
    return np.array2string(
        backend.to_numpy(array),
        separator=", ",
        prefix="tensor(",
        threshold=0 if summarised else options["threshold"],
    )


def _is_python(obj: Any) -> bool:
    """Whether `obj` is a Python number, or nested lists that begin with one.

    numpy.float64 is a Python float too, but one that knows its dtype.
    """
    while isinstance(obj, (list, tuple)):
        if not obj:
            return True
        obj = obj[0]
    return isinstance(obj, (int, float, complex)) and not isinstance(obj, np.generic)
