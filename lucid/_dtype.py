"""The dtypes of the array API standard, and the default for Python floats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

DType = np.dtype[Any]

bool: DType = np.dtype("bool")
int8: DType = np.dtype("int8")
int16: DType = np.dtype("int16")
int32: DType = np.dtype("int32")
int64: DType = np.dtype("int64")
uint8: DType = np.dtype("uint8")
uint16: DType = np.dtype("uint16")
uint32: DType = np.dtype("uint32")
uint64: DType = np.dtype("uint64")
float16: DType = np.dtype("float16")
float32: DType = np.dtype("float32")
float64: DType = np.dtype("float64")
complex64: DType = np.dtype("complex64")
complex128: DType = np.dtype("complex128")

_default = float32


def as_dtype(dtype: DTypeLike) -> DType:
    """The native dtype of that name or type; TypeError if no tensor can have it."""
    found = np.dtype(dtype)
    known = found.kind in "biufc" and found.itemsize <= 8 * (1 + (found.kind == "c"))
    if not known and found.name != "bfloat16":
        raise TypeError(
            f"a tensor holds booleans, integers, floats or complex numbers of at most "
            f"64 bits a part, not {found}"
        )
    return found.newbyteorder("=")


def get_default_dtype() -> DType:
    """The dtype that Python floats get in a tensor; float32 unless set otherwise."""
    return _default


def set_default_dtype(dtype: DTypeLike) -> None:
    """Let Python floats become `dtype`, float32 or float64, in every creation function.

    Python complex numbers become the complex dtype of the same precision.
    """
    global _default
    found = as_dtype(dtype)
    if found not in (float32, float64):
        raise ValueError(f"the default dtype is float32 or float64, not {found}")
    _default = found


def default_for(kind: str) -> DType:
    """The dtype of Python numbers by NumPy's letter: b, i, f or c."""
    if kind == "f":
        return _default
    if kind == "c":
        return complex64 if _default == float32 else complex128
    return bool if kind == "b" else int64
