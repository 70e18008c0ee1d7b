"""Creation functions: on the default device, if none is given, and in the default
dtype, if there is nothing to take one from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lucid import backends
from lucid._array_api._delegate import Number, call, call_many
from lucid._arrays import from_host
from lucid._device import Device, get_default_device
from lucid._device import device as as_device
from lucid._dtype import as_dtype
from lucid._tensor import Tensor, asarray

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Shape = int | tuple[int, ...]


def arange(
    start: float,
    /,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: DTypeLike | None = None,
    device: str | Device | None = None,
) -> Tensor:
    """start, start + step, … below stop; 0, 1, … below start if stop is None."""
    first, last = (0, start) if stop is None else (start, stop)
    numbers = [first, last, step]
    return _create("arange", *numbers, dtype=dtype, like=numbers, device=device)


def empty(
    shape: Shape,
    *,
    dtype: DTypeLike | None = None,
    device: str | Device | None = None,
) -> Tensor:
    """A tensor of whatever its memory held."""
    return _create("empty", shape, dtype=dtype, device=device)


def empty_like(
    x: Tensor,
    /,
    *,
    dtype: DTypeLike | None = None,
    device: str | Device | None = None,
) -> Tensor:
    """As `empty`, with what is not given as in x."""
    return empty(x.shape, dtype=dtype or x.dtype, device=device or x.device)


def eye(
    n_rows: int,
    n_cols: int | None = None,
    /,
    *,
    k: int = 0,
    dtype: DTypeLike | None = None,
    device: str | Device | None = None,
) -> Tensor:
    """A matrix of zeros with ones on diagonal k, above the main one if k > 0."""
    return _create("eye", n_rows, n_cols, k=k, dtype=dtype, device=device)


def from_dlpack(
    x: Any, /, *, device: str | Device | None = None, copy: bool | None = None
) -> Tensor:
    """A tensor in the memory of another library's array, on the array's device.

    Another device, or copy=True: a copy; ValueError if copy=False rules that out.
    """
    kind, index = x.__dlpack_device__()
    backend = backends.get("cuda", index) if kind in _ON_CUDA else backends.get("cpu")
    with backends.scope(backend):
        shared = Tensor._wrap(backend.xp.from_dlpack(x))
    return asarray(shared, device=device, copy=copy)


# DLPack's numbers of CUDA memory and of CUDA managed memory; the rest NumPy judges.
_ON_CUDA = {2, 13}


def full(
    shape: Shape,
    fill_value: Number,
    *,
    dtype: DTypeLike | None = None,
    device: str | Device | None = None,
) -> Tensor:
    """A tensor of one number."""
    return _create(
        "full", shape, fill_value, dtype=dtype, like=fill_value, device=device
    )


def full_like(
    x: Tensor,
    /,
    fill_value: Number,
    *,
    dtype: DTypeLike | None = None,
    device: str | Device | None = None,
) -> Tensor:
    """As `full`, with what is not given as in x."""
    return full(x.shape, fill_value, dtype=dtype or x.dtype, device=device or x.device)


def linspace(
    start: Number,
    stop: Number,
    /,
    num: int,
    *,
    dtype: DTypeLike | None = None,
    device: str | Device | None = None,
    endpoint: bool = True,
) -> Tensor:
    """`num` numbers at equal distances from start to stop, with it or without."""
    return _create(
        "linspace",
        start,
        stop,
        num,
        endpoint=endpoint,
        dtype=dtype,
        like=[0.0, start, stop],
        device=device,
    )


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> list[Tensor]:
    """Coordinate tensors of a grid: Cartesian ("xy") or by matrix index ("ij")."""
    return list(call_many("meshgrid", *arrays, indexing=indexing))


def ones(
    shape: Shape,
    *,
    dtype: DTypeLike | None = None,
    device: str | Device | None = None,
) -> Tensor:
    """A tensor of ones."""
    return _create("ones", shape, dtype=dtype, device=device)


def ones_like(
    x: Tensor,
    /,
    *,
    dtype: DTypeLike | None = None,
    device: str | Device | None = None,
) -> Tensor:
    """As `ones`, with what is not given as in x."""
    return ones(x.shape, dtype=dtype or x.dtype, device=device or x.device)


def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Matrices with zeros above diagonal k."""
    return call("tril", x, k=k)


def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Matrices with zeros below diagonal k."""
    return call("triu", x, k=k)


def zeros(
    shape: Shape,
    *,
    dtype: DTypeLike | None = None,
    device: str | Device | None = None,
) -> Tensor:
    """A tensor of zeros."""
    return _create("zeros", shape, dtype=dtype, device=device)


def zeros_like(
    x: Tensor,
    /,
    *,
    dtype: DTypeLike | None = None,
    device: str | Device | None = None,
) -> Tensor:
    """As `zeros`, with what is not given as in x."""
    return zeros(x.shape, dtype=dtype or x.dtype, device=device or x.device)


def _create(
    name: str,
    *args: Any,
    dtype: DTypeLike | None,
    device: str | Device | None,
    like: Any = 0.0,
    **options: Any,
) -> Tensor:
    """The function `name`, in `dtype` or else in that of numbers `like` these."""
    place = get_default_device() if device is None else as_device(device)
    found = as_dtype(dtype) if dtype is not None else from_host(like, None, None).dtype
    with backends.scope(place.backend):
        function = getattr(backends.namespace(place.backend), name)
        return Tensor._wrap(function(*args, dtype=found, **options))
