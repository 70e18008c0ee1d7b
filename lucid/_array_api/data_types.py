"""Data type functions."""

from __future__ import annotations

import builtins
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lucid._array_api._delegate import Number
from lucid._device import Device
from lucid._dtype import DType, as_dtype
from lucid._tensor import Tensor

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


@dataclass(frozen=True, slots=True)
class FloatInfo:
    """What a floating-point dtype can hold; of a complex one, each part."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: DType


@dataclass(frozen=True, slots=True)
class IntegerInfo:
    """What an integer dtype can hold."""

    bits: int
    max: int
    min: int
    dtype: DType


def astype(
    x: Tensor,
    dtype: DTypeLike,
    /,
    *,
    copy: bool = True,
    device: str | Device | None = None,
) -> Tensor:
    """The values in another dtype; copy=False: x itself if it has that dtype."""
    result = x.astype(dtype, copy=copy)
    return result if device is None else result.to(device)


def can_cast(from_: DType | Tensor, to: DType, /) -> builtins.bool:
    """Whether one dtype converts to another by the standard's promotion rules."""
    return np.can_cast(_dtype(from_), as_dtype(to))


def finfo(type: DType | Tensor, /) -> FloatInfo:
    """The limits of a floating-point dtype."""
    info = np.finfo(_dtype(type))
    return FloatInfo(
        bits=int(info.bits),
        eps=float(info.eps),
        max=float(info.max),
        min=float(info.min),
        smallest_normal=float(info.smallest_normal),
        dtype=np.dtype(info.dtype),
    )


def iinfo(type: DType | Tensor, /) -> IntegerInfo:
    """The limits of an integer dtype."""
    info = np.iinfo(_dtype(type))
    return IntegerInfo(info.bits, int(info.max), int(info.min), info.dtype)


def isdtype(dtype: DType, kind: DType | str | tuple[DType | str, ...]) -> builtins.bool:
    """Whether a dtype is of a kind, as "integral" or "real floating", or of several."""
    return np.isdtype(as_dtype(dtype), kind)


def result_type(*arrays_and_dtypes: Tensor | Number | DType) -> DType:
    """The dtype that operands promote to; Python numbers give way to the others."""
    operands = (
        x if isinstance(x, complex | float | int) else _dtype(x)
        for x in arrays_and_dtypes
    )
    return np.result_type(*operands)


def _dtype(given: DTypeLike | Tensor) -> DType:
    return given.dtype if isinstance(given, Tensor) else as_dtype(given)
