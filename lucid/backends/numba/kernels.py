"""The compiled loops of each family, made when they are first asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.core.errors import NumbaError

from lucid.backends.numba.compiler import compiled
from lucid.backends.numba.formula import FormulaError, family_text, prepare_text
from lucid.backends.numba.native import address_of
from lucid.backends.numba.source import compose
from lucid.backends.numpy.functions import Functions
from lucid.backends.numpy.prepare import base_measure
from lucid.backends.protocol import BITS, Array, Family

_fn = Functions()


@functools.cache
def fill(
    family: type[Family], terms: int, factors: int, dtype: np.dtype[Any], loops: str
) -> int | None:
    """The address of `fill` of a module of loops; None where it does not compile.

    A user's formula may ask for anything, so what fails is left to NumPy.
    """
    real = getattr(types, dtype.name)
    signature = types.void(
        _array(real, 2),
        _array(real, 3),
        _array(real, 3),
        _array(real, 1),
        types.int64,
        types.int64,
    )
    try:
        text = family_text(family, terms, factors)
        parts = compose(dtype.name, "arithmetic", text, loops)
        return address_of(compiled(parts, "fill", signature))
    except (FormulaError, NumbaError):
        return None


@functools.cache
def rows(
    family: type[Family],
    terms: int,
    parameters: int,
    given: np.dtype[Any],
    dtype: np.dtype[Any],
) -> tuple[int, int, int] | None:
    """The addresses of `prepare_row` and `fill_row`, and the number of factors.

    Parameters and log weights are in the dtype `given`, what is computed in `dtype`.

    None where one of them does not compile.
    """
    source, real = getattr(types, given.name), getattr(types, dtype.name)
    rows, lines = _array(real, 3), _array(real, 2)
    own = _array(source, 3), _array(source, 2), _array(types.float64, 2)
    prepared = *own, types.int64, lines, _array(real, 1)
    try:
        text = prepare_text(family, parameters, BITS)
        factors = text.count("    factors[")
        prepare = compose("float64", "arithmetic", text, "prepare_row")
        pair = family_text(family, terms, factors)
        fill = compose(dtype.name, "arithmetic", pair, "fill_row")
        filled = lines, _array(real, 1), rows, types.int64, types.int64, _array(real, 1)
        return (
            address_of(compiled(prepare, "prepare_row", types.void(*prepared))),
            address_of(compiled(fill, "fill_row", types.void(*filled))),
            factors,
        )
    except (FormulaError, NumbaError):
        return None


@functools.cache
def score_rows(
    given: np.dtype[Any], dtype: np.dtype[Any], out: np.dtype[Any]
) -> Callable[..., int]:
    """`score_rows` of loops/rows.py, with results in the dtype `out`."""
    source, real = getattr(types, given.name), getattr(types, dtype.name)
    signature = types.int64(
        types.int64,
        types.int64,
        _read(real, 3),
        _read(source, 3),
        _read(source, 2),
        _read(types.float64, 2),
        _array(getattr(types, out.name), 2),
        _array(real, 2),
        _array(real, 2),
    )
    parts = compose(dtype.name, "arithmetic", "mixture", "reduce", "rows")
    return compiled(parts, "score_rows", signature)


@functools.cache
def mode(dtype: np.dtype[Any]) -> Callable[..., int]:
    """`mode` of loops/mode.py."""
    real = getattr(types, dtype.name)
    signature = types.int64(
        types.int64,
        _read(real, 3),
        _read(real, 3),
        _read(real, 1),
        _array(types.int64, 1),
        _array(real, 1),
        _array(real, 2),
        _array(real, 3),
        _array(real, 2),
        _array(types.int32 if dtype.itemsize == 4 else types.int64, 1),
    )
    parts = compose(dtype.name, "arithmetic", "mixture", "mode")
    return compiled(parts, "mode", signature)


@functools.cache
def score(dtype: np.dtype[Any], out: np.dtype[Any]) -> Callable[..., int]:
    """`score` of loops/mixture.py, with results in the dtype `out`."""
    real = getattr(types, dtype.name)
    signature = types.int64(
        types.int64,
        _read(real, 3),
        _read(real, 3),
        _read(real, 1),
        types.float64,
        _array(getattr(types, out.name), 1),
        _array(real, 2),
        _array(real, 3),
        _array(real, 2),
    )
    return compiled(compose(dtype.name, "arithmetic", "mixture"), "score", signature)


def _array(dtype: Any, ndim: int) -> Any:
    return types.Array(dtype, ndim, "C")


def _read(dtype: Any, ndim: int) -> Any:
    """An array that is only read: it may or may not be writeable."""
    return types.Array(dtype, ndim, "C", readonly=True)


def operand(array: Array, dtype: np.dtype[Any]) -> Array:
    """An array as loops read it: contiguous, aligned, in the machine's byte order."""
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned:
        return array
    return np.require(array, dtype, ["C", "A"])


class Traits(NamedTuple):
    """What a family has beside its pair."""

    base_measure: bool  # a term of the value alone
    supports: bool  # a support that needs no parameter
    row_is_value: bool  # nothing to compute of a value before its pairs


@functools.cache
def traits(family: type[Family]) -> Traits:
    """What a family has, asked once with a value of 1."""
    x = np.ones(1)
    row = family.row(_fn, x)
    return Traits(
        base_measure(_fn, family, x) is not None,
        family.supports(_fn, x) is not None,
        len(row) == 1 and row[0] is x,
    )
