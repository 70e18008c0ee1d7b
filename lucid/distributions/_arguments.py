"""What users hand in, made into raw arrays of one device and one dtype."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from lucid import backends
from lucid._device import get_default_device
from lucid._tensor import Tensor, get_default_dtype
from lucid.backends.copies import copy_rows
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array, Backend
from lucid.distributions._layout import Shape

# Parameters of more elements are borrowed, not copied: those of a mixture density
# network, of which no backend keeps what it prepares either.
SNAPSHOT_ELEMENTS = {"cpu": 1 << 20, "cuda": 1 << 24}
# More is worked on by threads, so much at a time.
_THREADED_BYTES = 2**20


def parameter_arrays(
    owner: str, given: Mapping[str, Any]
) -> tuple[Backend, np.dtype[Any], dict[str, Array]]:
    """The backend, the promoted dtype, and a read-only snapshot of each parameter.

    Python numbers and lists are weak: they take the dtype of the arrays beside them,
    or the default dtype where there are none; integer arrays likewise.
    """
    backend = common_backend(owner, given) or get_default_device().backend
    arrays = {name: _raw(owner, name, value) for name, value in given.items()}
    strong = []
    for name, value in given.items():
        dtype = real_dtype(owner, name, arrays[name])
        if dtype.kind == "f" and not is_weak(value):
            strong.append(dtype)
    dtype = np.result_type(*strong) if strong else np.dtype(get_default_dtype())
    snapshots = {}
    for name, array in arrays.items():
        snapshot = backend.asarray(array, dtype=dtype)
        if array.size <= SNAPSHOT_ELEMENTS[backend.type]:
            with backends.scope(backend):  # on the snapshot's own device
                snapshot = _copy(backend, snapshot)
        snapshots[name] = read_only(snapshot)
    return backend, dtype, snapshots


def common_backend(owner: str, given: Mapping[str, Any]) -> Backend | None:
    """The backend of the tensors and CuPy arrays among `given`; None without any."""
    found: dict[Backend, str] = {}
    for name, value in given.items():
        backend = _backend_of(value)
        if backend is not None:
            found.setdefault(backend, name)
    if len(found) > 1:
        places = " and ".join(
            f"`{name}` is on {_place(backend)}" for backend, name in found.items()
        )
        raise ValueError(
            f"{owner}: all arguments must be on one device, but {places}; move them "
            "with .to(device)."
        )
    return next(iter(found), None)


def value_array(
    owner: str,
    name: str,
    value: Any,
    backend: Backend,
    parameter_dtype: Any,
    integers: bool = False,
) -> Array:
    """`value` as an array of `backend` in the dtype promoted with the parameters'.

    What has no device goes to the backend's own; a tensor elsewhere is an error.
    Integers become the parameters' dtype, or stay integers where `integers`.
    """
    other = _backend_of(value)
    if other is not None and other is not backend:
        raise ValueError(
            f"{owner}: `{name}` is on {_place(other)}, but the distribution is on "
            f"{_place(backend)}; move one of them with .to(device)."
        )
    array, dtype = _raw(owner, name, value), parameter_dtype
    if array.dtype != parameter_dtype:
        own = real_dtype(owner, name, array)
        if own.kind != "f":
            dtype = own if integers else parameter_dtype
        elif not is_weak(value):
            dtype = np.result_type(own, parameter_dtype)
    return backend.asarray(array, dtype=dtype)


def real_dtype(owner: str, name: str, array: Array) -> np.dtype[Any]:
    """The dtype of an array that holds integers or floats up to 64 bits."""
    dtype = np.dtype(array.dtype)
    if dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize <= 8):
        native: np.dtype[Any] = dtype.newbyteorder("=")
        return native
    raise TypeError(
        f"{owner}: `{name}` must hold real numbers (integers, float16, float32 or "
        f"float64), got {dtype}; convert it with .astype first."
    )


def compute_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Half precision is computed in single and rounded once."""
    return np.dtype(np.float32) if dtype.itemsize < 4 else dtype


def out_array(
    owner: str,
    out: Any,
    backend: Backend,
    shape: Shape,
    dtype: np.dtype[Any],
    read: Sequence[Array],
) -> Array | None:
    """The array of `out`, if the backend can write its result straight into it.

    It cannot where `out` overlaps an array that is still to be read.
    """
    if out is None:
        return None
    if not isinstance(out, Tensor):
        raise TypeError(f"{owner}: `out` must be a Tensor, got {type(out).__name__}.")
    if out.backend is not backend:
        raise ValueError(
            f"{owner}: `out` must be on {_place(backend)}, got {out.device}."
        )
    array = out._array
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"{owner}: `out` must have shape {shape} and dtype {dtype}, got "
            f"{array.shape} and {array.dtype}."
        )
    if not (out._writeable and getattr(array.flags, "writeable", True)):
        raise ValueError(f"{owner}: `out` is read-only; pass a tensor of your own.")
    overlaps = any(backend.xp.may_share_memory(array, other) for other in read)
    direct = array.flags.c_contiguous and compute_dtype(dtype) == array.dtype
    return array if direct and not overlaps else None


def as_shape(shape: int | Sequence[int], name: str = "sample_shape") -> Shape:
    """A shape as a tuple of sizes ≥ 0; an int is one dimension."""
    try:
        sizes = (
            tuple(operator.index(size) for size in shape)
            if isinstance(shape, Sequence)
            else (operator.index(shape),)
        )
    except TypeError:
        raise TypeError(
            f"`{name}` must be an int or a tuple of ints, got {shape!r}."
        ) from None
    if any(size < 0 for size in sizes):
        raise ValueError(f"`{name}` must not hold negative sizes, got {sizes}.")
    return sizes


def is_weak(value: Any) -> bool:
    """Python numbers, and lists of them, have no dtype of their own."""
    if isinstance(value, np.generic):  # np.float64 is a Python float, too
        return False
    return isinstance(value, (bool, int, float, list, tuple))


def read_only(array: Array) -> Array:
    """A view that refuses writes, where the array type knows how to."""
    view = array[...]
    if isinstance(view, np.ndarray):
        view.flags.writeable = False
    return view


def over_rows(backend: Backend, array: Array, work: Callable[[int, int], None]) -> None:
    """work(start, stop) for all rows of `array`: on the CPU in blocks, by threads."""
    if backend.type != "cpu" or array.nbytes <= _THREADED_BYTES:
        work(0, len(array))
        return
    run_blocks(len(array), max(1, _THREADED_BYTES * len(array) // array.nbytes), work)


def _copy(backend: Backend, array: Array) -> Array:
    """A contiguous copy of its own."""
    if backend.type != "cpu" or array.nbytes <= _THREADED_BYTES:
        return backend.xp.array(array, order="C", copy=True)
    copied = np.empty(array.shape, array.dtype)
    copy_rows(copied, array)
    return copied


def _raw(owner: str, name: str, value: Any) -> Array:
    if isinstance(value, Tensor):
        return value._array
    if hasattr(value, "__cuda_array_interface__"):
        return Tensor._wrap(value)._array
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{owner}: `{name}` must be a number, an array or nested lists of equal "
            f"lengths, got {type(value).__name__} ({error})."
        ) from None


def _backend_of(value: Any) -> Backend | None:
    """The backend of a tensor or a CuPy array; None for what has no device yet."""
    if isinstance(value, Tensor):
        return backends.of(value._array)
    if hasattr(value, "__cuda_array_interface__"):
        return Tensor._wrap(value).backend
    return None


def _place(backend: Backend) -> str:
    return "cpu" if backend.type == "cpu" else f"{backend.type}:{backend.index}"


def shown(backend: Backend, array: Array) -> str:
    """A parameter for a repr: its numbers, as short as its dtype allows, or its shape.

    A float32 of 0.3 is 0.3, not the 0.30000001192092896 that it is in float64.
    """
    if array.size > 8:
        return str(array.shape)
    return str(backend.to_numpy(array).astype("U32").astype(np.float64).tolist())
