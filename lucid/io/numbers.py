"""Arrays of numbers as JSON, exactly, and as short as that allows.

A bare number or nested list is float64. Any other dtype is named:
{"dtype": "float32", "values": [0.3, 0.7]}. JSON has no infinity and no NaN; they are
the strings "inf", "-inf" and "nan".
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOATS = ("float16", "float32", "float64")
_DTYPES = (
    *FLOATS,
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
)
_SPECIAL = {"inf": np.inf, "-inf": -np.inf, "nan": np.nan}


def to_json(array: NDArray[Any]) -> Any:
    """What `from_json` reads back as the same dtype, shape and bits (of a number)."""
    if array.dtype.name not in _DTYPES:
        raise ValueError(f"an array of {array.dtype} cannot be written as JSON")
    if array.size == 0:
        raise ValueError(f"an empty array (shape {array.shape}) cannot be written")
    if array.dtype.kind != "f":
        return {"dtype": array.dtype.name, "values": array.tolist()}
    with np.errstate(all="ignore"):
        wide = array.astype(np.float64)
        if array.dtype != np.float64:
            # 0.3 for 0.30000001192092896, where that rounds to the same number.
            short = array.astype("U32").astype(np.float64)
            wide = np.where(short.astype(array.dtype) == array, short, wide)
    values = wide.tolist() if np.isfinite(wide).all() else _spelled(wide.tolist())
    if array.dtype == np.float64:
        return values
    return {"dtype": array.dtype.name, "values": values}


def from_json(value: Any) -> NDArray[Any]:
    """The array; ValueError for anything that is not exactly one."""
    name = "float64"
    if isinstance(value, dict):
        if value.keys() != {"dtype", "values"}:
            keys = ", ".join(value) or "no keys"
            raise ValueError(f"expected numbers, or dtype and values; found {keys}")
        name, value = value["dtype"], value["values"]
        if name not in _DTYPES:
            raise ValueError(f"unknown dtype {name!r}; known: {', '.join(_DTYPES)}")
    numbers = _numbers(value, integers=name not in FLOATS)
    try:
        exact = np.array(numbers, np.float64 if name in FLOATS else name)
    except OverflowError:
        raise ValueError(f"a number is out of the range of {name}") from None
    except ValueError:
        raise ValueError("the rows of a nested list differ in length") from None
    with np.errstate(all="ignore"):
        array = exact.astype(name)
    if name in FLOATS and not (np.isfinite(array) == np.isfinite(exact)).all():
        raise ValueError(f"a number is out of the range of {name}")
    return array


def _numbers(value: Any, integers: bool) -> Any:
    if isinstance(value, list):
        return [_numbers(part, integers) for part in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not integers and isinstance(value, float):
        if not np.isfinite(value):
            raise ValueError('a number is out of range; an infinity is "inf" or "-inf"')
        return value
    if not integers and isinstance(value, str) and value in _SPECIAL:
        return _SPECIAL[value]
    kind = "an integer" if integers else "a number"
    raise ValueError(f"{value!r} is not {kind}")


def _spelled(value: Any) -> Any:
    if isinstance(value, list):
        return [_spelled(part) for part in value]
    return value if np.isfinite(value) else str(value)
