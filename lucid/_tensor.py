"""Tensor: one NumPy or CuPy array, its device, and its operators."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, final

import numpy as np

from lucid import backends
from lucid._arrays import as_text, from_cuda, from_host, on_cuda
from lucid._device import CPU, Device, device_of, get_default_device
from lucid._device import device as as_device
from lucid._dtype import DType, as_dtype, default_for
from lucid._dtype import get_default_dtype as get_default_dtype
from lucid.backends.protocol import Array, Backend

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

API_VERSIONS = ("2022.12", "2023.12", "2024.12")

# What stands beside a tensor: numbers and NumPy arrays go to the tensor's device.
Operand: TypeAlias = "Tensor | complex | np.ndarray[Any, Any] | np.generic"
Shape = tuple[int, ...]


def _operator(
    function: Callable[[Any, Any], Any],
) -> tuple[Callable[[Tensor, Operand], Tensor], Callable[[Tensor, Operand], Tensor]]:
    """An operator of two operands and its reflection."""

    def forward(self: Tensor, other: Operand) -> Tensor:
        return self._with(other, function)

    def reflected(self: Tensor, other: Operand) -> Tensor:
        return self._with(other, lambda mine, others: function(others, mine))

    return forward, reflected


def _comparison(
    function: Callable[[Any, Any], Any],
) -> Callable[[Tensor, Operand], Tensor]:
    return _operator(function)[0]


@final
class Tensor:
    """An array on one device: NumPy's on the CPU, CuPy's on a GPU.

    It never moves by itself: operands on two devices are an error, `.to(device)` and
    `.numpy()` say so. Division by zero and the like give ∞ or NaN without a warning,
    as on a GPU. Tensors are made by `lucid.tensor` and `lucid.asarray`.
    """

    __slots__ = ("__weakref__", "_array", "_writeable")
    # Its == gives a tensor, so that it can be no key.
    __hash__ = None  # type: ignore[assignment]
    # NumPy and CuPy arrays leave `array * tensor` to the tensor.
    __array_priority__ = 1000
    __array_ufunc__ = None

    _array: Array
    _writeable: bool

    def __init__(self) -> None:
        raise TypeError("make a tensor by lucid.tensor(data) or lucid.asarray(data)")

    @classmethod
    def _wrap(cls, array: Array, writeable: bool = True) -> Tensor:
        """The tensor of a raw array, without a copy; a NumPy scalar becomes 0-d."""
        self = object.__new__(cls)
        self._array = np.asarray(array) if isinstance(array, np.generic) else array
        self._writeable = writeable
        return self

    # What it is

    @property
    def backend(self) -> Backend:
        """What computes on this tensor's array."""
        return backends.of(self._array)

    @property
    def device(self) -> Device:
        """Where it lives."""
        return device_of(self.backend)

    @property
    def dtype(self) -> DType:
        """The type of its elements."""
        dtype: DType = self._array.dtype
        return dtype

    @property
    def shape(self) -> Shape:
        """Its length along each axis."""
        return tuple(self._array.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(self._array.size)

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix, as a view."""
        if self.ndim != 2:
            raise ValueError(
                f".T is for matrices, but the shape is {self.shape}; use .mT for a "
                "stack of matrices, lucid.permute_dims for other axes"
            )
        return self.mT

    @property
    def mT(self) -> Tensor:
        """The transpose of a stack of matrices (the last two axes), as a view."""
        if self.ndim < 2:
            raise ValueError(f".mT needs 2 axes or more, but the shape is {self.shape}")
        with backends.scope(self.backend):
            return Tensor._wrap(self._array.swapaxes(-1, -2), self._writeable)

    # Where it goes

    def to(self, device: str | Device) -> Tensor:
        """The tensor on `device`: itself if it is there, else a copy."""
        target = as_device(device)
        return self if target == self.device else asarray(self, device=target)

    def to_device(self, device: str | Device, /, *, stream: None = None) -> Tensor:
        """The array API standard's name of `to`."""
        if stream is not None:
            raise ValueError("to_device: streams are not supported, pass stream=None")
        return self.to(device)

    def astype(self, dtype: DTypeLike, *, copy: bool = True) -> Tensor:
        """The values in another dtype; copy=False: the tensor itself if it has it."""
        wanted = as_dtype(dtype)
        if wanted == self.dtype and not copy:
            return self
        with backends.scope(self.backend):
            return Tensor._wrap(self._array.astype(wanted))

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a NumPy array: the tensor's memory on the CPU, else a copy."""
        array: np.ndarray[Any, Any] = self.backend.to_numpy(self._array)
        return array

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.size != 1:
            raise ValueError(
                f".item() needs one element, but the shape is {self.shape}"
            )
        return self.numpy().item()

    def tolist(self) -> Any:
        """The elements as Python numbers in nested lists; one number if 0-d."""
        return self.numpy().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.device != CPU:
            raise TypeError(
                f"a tensor on {self.device} does not become a NumPy array by itself; "
                "copy it to the CPU with .numpy()"
            )
        return np.array(self._array, dtype=dtype, copy=copy)

    def __dlpack__(
        self,
        /,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        options = {"max_version": max_version, "dl_device": dl_device, "copy": copy}
        given = {name: value for name, value in options.items() if value is not None}
        with backends.scope(self.backend):
            return self._array.__dlpack__(stream=stream, **given)

    def __dlpack_device__(self) -> tuple[int, int]:
        kind, index = self._array.__dlpack_device__()
        return kind, index

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """How other GPU libraries see the array; AttributeError on the CPU."""
        if self.device == CPU:
            raise AttributeError("a tensor on cpu has no __cuda_array_interface__")
        interface: dict[str, Any] = self._array.__cuda_array_interface__
        return interface

    def __array_namespace__(self, /, *, api_version: str | None = None) -> Any:
        if api_version not in {None, *API_VERSIONS}:
            raise ValueError(
                f"lucid follows the array API standard {', '.join(API_VERSIONS)}, "
                f"not {api_version!r}"
            )
        return sys.modules["lucid"]

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.numpy(), str(self.device))

    # Operators. x += y binds x anew to x + y, so no other name for x sees a change.

    __add__, __radd__ = _operator(operator.add)
    __sub__, __rsub__ = _operator(operator.sub)
    __mul__, __rmul__ = _operator(operator.mul)
    __truediv__, __rtruediv__ = _operator(operator.truediv)
    __floordiv__, __rfloordiv__ = _operator(operator.floordiv)
    __mod__, __rmod__ = _operator(operator.mod)
    __pow__, __rpow__ = _operator(operator.pow)
    __matmul__, __rmatmul__ = _operator(operator.matmul)
    __and__, __rand__ = _operator(operator.and_)
    __or__, __ror__ = _operator(operator.or_)
    __xor__, __rxor__ = _operator(operator.xor)
    __lshift__, __rlshift__ = _operator(operator.lshift)
    __rshift__, __rrshift__ = _operator(operator.rshift)
    __lt__ = _comparison(operator.lt)
    __le__ = _comparison(operator.le)
    __gt__ = _comparison(operator.gt)
    __ge__ = _comparison(operator.ge)

    # Written out: pyright takes any other form for object's, which gives a bool.
    def __eq__(self, other: Operand) -> Tensor:  # type: ignore[override]
        return self._with(other, operator.eq)

    def __ne__(self, other: Operand) -> Tensor:  # type: ignore[override]
        return self._with(other, operator.ne)

    def _with(self, other: Operand, function: Callable[[Any, Any], Any]) -> Tensor:
        known = isinstance(other, (Tensor, complex, float, int, np.ndarray))
        if not known and not isinstance(other, np.generic) and not on_cuda(other):
            # As operators do that leave the answer to the other operand.
            return NotImplemented  # type: ignore[no-any-return]
        backend = self.backend
        with backends.scope(backend):
            return Tensor._wrap(function(self._array, raw(other, backend)))

    def _alone(self, function: Callable[[Any], Any]) -> Tensor:
        with backends.scope(self.backend):
            return Tensor._wrap(function(self._array))

    def __neg__(self) -> Tensor:
        return self._alone(operator.neg)

    def __pos__(self) -> Tensor:
        return self._alone(operator.pos)

    def __abs__(self) -> Tensor:
        return self._alone(operator.abs)

    def __invert__(self) -> Tensor:
        return self._alone(operator.invert)

    # Elements

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a 0-dimensional tensor has no length")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("a 0-dimensional tensor cannot be iterated over")
        return (self[i] for i in range(self.shape[0]))

    def __getitem__(self, key: Any) -> Tensor:
        backend = self.backend
        with backends.scope(backend):
            return Tensor._wrap(self._array[raw(key, backend)], self._writeable)

    def __setitem__(self, key: Any, value: Operand) -> None:
        if not (self._writeable and getattr(self._array.flags, "writeable", True)):
            raise ValueError(
                "this tensor is read-only, as the parameters of a distribution and "
                "broadcast tensors are; write to a copy, lucid.tensor(x)"
            )
        backend = self.backend
        with backends.scope(backend):
            self._array[raw(key, backend)] = raw(value, backend)

    def _number(self) -> Any:
        if self.ndim != 0:
            raise TypeError(
                "only a 0-dimensional tensor is a Python number or a truth value, but "
                f"the shape is {self.shape}; use .tolist(), lucid.any or lucid.all"
            )
        return self.item()

    def __bool__(self) -> bool:
        return bool(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def __float__(self) -> float:
        return float(self._number())

    def __complex__(self) -> complex:
        return complex(self._number())

    def __index__(self) -> int:
        return operator.index(self._number())

    def __format__(self, spec: str) -> str:
        if spec and self.ndim == 0:
            return format(self.item(), spec)
        return object.__format__(self, spec)

    def __repr__(self) -> str:
        notes = (
            [as_text(self._array, self.backend)]
            if self.size
            else ["[]", f"shape={self.shape}"]
        )
        if self.dtype not in {default_for(kind) for kind in "bifc"}:
            notes.append(f"dtype={self.dtype}")
        if self.device != CPU:
            notes.append(f"device='{self.device}'")
        return f"tensor({', '.join(notes)})"


def tensor(
    data: Any, dtype: DTypeLike | None = None, device: str | Device | None = None
) -> Tensor:
    """A tensor of a copy of `data`: numbers in nested lists, or an array of any kind.

    Python floats get the default dtype; arrays keep theirs, and tensors and CuPy arrays
    their device. Without a device, data goes to the default one.
    """
    return asarray(data, dtype, device, copy=True)


def asarray(
    obj: Any,
    dtype: DTypeLike | None = None,
    device: str | Device | None = None,
    copy: bool | None = None,
) -> Tensor:
    """As `tensor`, but sharing the memory of `obj` where that can be.

    copy=True: never; copy=False: always, or ValueError.
    """
    wanted = None if dtype is None else as_dtype(dtype)
    array = obj._array if isinstance(obj, Tensor) else from_cuda(obj)
    if array is None:
        array = from_host(obj, wanted, copy)
        own = None
    else:
        own = backends.of(array)
    if device is not None:
        backend = as_device(device).backend
    else:
        backend = own or get_default_device().backend
    if copy is False and backend is not (own or CPU.backend):
        raise ValueError(f"asarray: {device_of(backend)} needs a copy, but copy=False")
    with backends.scope(backend):
        if own is not None and backend is not own:
            result = backend.copy_of(array, own, wanted)
        else:
            result = backend.asarray(array, dtype=wanted, copy=copy)
    shared = isinstance(obj, Tensor) and result is array
    return Tensor._wrap(result, writeable=not shared or obj._writeable)


def raw(value: Any, backend: Backend) -> Any:
    """A tensor, array, number, index or sequence of these as `backend` takes it.

    ValueError, with the remedy, for what lives on another device.
    """
    if isinstance(value, Tensor):
        if value.backend is not backend:
            here, there = device_of(backend), value.device
            raise ValueError(
                f"tensors on {here} and {there} do not combine; move one of them, "
                f"with .to('{here}') or .to('{there}')"
            )
        return value._array
    if isinstance(value, (list, tuple)):
        return type(value)(raw(part, backend) for part in value)
    if isinstance(value, (np.ndarray, np.generic)):
        return backend.asarray(value)
    return raw(asarray(value), backend) if on_cuda(value) else value


def _rebuild(array: np.ndarray[Any, Any], device: str) -> Tensor:
    """A tensor from its pickle, on the device where it was."""
    return Tensor._wrap(array) if device == "cpu" else asarray(array, device=device)
