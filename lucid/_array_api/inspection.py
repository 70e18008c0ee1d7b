"""What the namespace can do, for code that is written for any array library."""

from __future__ import annotations

from typing import TypedDict

import numpy as np

from lucid import _dtype, backends
from lucid._device import CPU, Device, get_default_device
from lucid._dtype import DType

_DTYPES = (
    *(_dtype.bool, _dtype.int8, _dtype.int16, _dtype.int32, _dtype.int64),
    *(_dtype.uint8, _dtype.uint16, _dtype.uint32, _dtype.uint64),
    *(_dtype.float32, _dtype.float64, _dtype.complex64, _dtype.complex128),
)

Capabilities = TypedDict(
    "Capabilities",
    {
        "boolean indexing": bool,
        "data-dependent shapes": bool,
        "max dimensions": int,
    },
)


class Info:
    """What `__array_namespace_info__` answers with."""

    def capabilities(self) -> Capabilities:
        """What holds on every device; CuPy's arrays have up to 32 axes, NumPy's 64."""
        return {
            "boolean indexing": True,
            "data-dependent shapes": True,
            "max dimensions": 32,
        }

    def default_device(self) -> Device:
        """Where creation functions put a tensor."""
        return get_default_device()

    def default_dtypes(self, *, device: str | Device | None = None) -> dict[str, DType]:
        """The dtypes of Python numbers, and of indices."""
        kinds = {"real floating": "f", "complex floating": "c", "integral": "i"}
        found = {name: _dtype.default_for(kind) for name, kind in kinds.items()}
        return {**found, "indexing": _dtype.int64}

    def dtypes(
        self,
        *,
        device: str | Device | None = None,
        kind: str | tuple[str, ...] | None = None,
    ) -> dict[str, DType]:
        """The standard's dtypes, or those of a kind, by name."""
        return {
            dtype.name: dtype
            for dtype in _DTYPES
            if kind is None or np.isdtype(dtype, kind)
        }

    def devices(self) -> list[Device]:
        """The devices that work here."""
        gpus = range(len(backends.cuda_status().devices))
        return [CPU, *(Device("cuda", index) for index in gpus)]


def __array_namespace_info__() -> Info:
    """Capabilities, dtypes and devices of this namespace."""
    return Info()
