"""The compiled loops of each family, made when they are first asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.core.errors import NumbaError

from lucid.backends.numba.compiler import compiled
from lucid.backends.numba.formula import family_text, limited_text, prepare_text
from lucid.backends.numba.native import address_of
from lucid.backends.numba.source import compose
from lucid.backends.numpy.functions import Functions
from lucid.backends.numpy.prepare import base_measure
from lucid.backends.protocol import BITS, Array, Family
from lucid.backends.tracing import FormulaError, is_short

# Elements of an event, at most, whose terms are formed and added in one loop. More of
# them take so long that the rest hardly counts, and leave the range of exponents.
FEW_ELEMENTS = 8

_fn = Functions()


@functools.cache
def fill(
    family: type[Family], terms: int, factors: int, dtype: np.dtype[Any], size: int
) -> int | None:
    """The address of `fill` of loops/fill*.py, for events of `size` elements.

    None where it does not compile: a user's formula may ask for anything, so what fails
    is left to NumPy.
    """
    real = getattr(types, dtype.name)
    tile, ends = _array(real, 2), (types.int64, types.int64)
    signature = types.void(tile, *_components(real), *ends)
    loops = ["fill"] if size == 1 else ["fill_events"]
    return _family_loops(family, terms, factors, dtype, loops, "fill", signature)


@functools.cache
def add_terms(
    family: type[Family], terms: int, factors: int, dtype: np.dtype[Any], size: int
) -> int | None:
    """The address of `add_terms` of loops/terms.py, as `fill`: of a few elements."""
    real = getattr(types, dtype.name)
    row, ends = _array(real, 1), (types.int64, types.int64)
    signature = types.void(row, *_components(real), row, *ends)
    limited = limited_text(family.family_quadratic)
    loops = [limited, "limits", "terms", f"SIZE = {size}\n"]
    return _family_loops(family, terms, factors, dtype, loops, "add_terms", signature)


def _components(real: Any) -> tuple[Any, ...]:
    """The types of x, factors and constant."""
    return _array(real, 3), _array(real, 3), _array(real, 1)


def _family_loops(
    family: type[Family],
    terms: int,
    factors: int,
    dtype: np.dtype[Any],
    loops: list[str],
    name: str,
    signature: Any,
) -> int | None:
    try:
        text = family_text(family, terms, factors)
        parts = compose(dtype.name, "arithmetic", text, *loops)
        return address_of(compiled(parts, name, signature))
    except (FormulaError, NumbaError):
        return None


class RowLoops(NamedTuple):
    """A family's loops over rows that have components of their own."""

    prepare: int  # the address of a compiled `prepare_rows`
    fill: int  # and of `fill_rows`
    factors: int
    wide: np.dtype[Any]  # what components are prepared in


@functools.cache
def rows(
    family: type[Family], terms: int, parameters: int, dtype: np.dtype[Any]
) -> RowLoops | None:
    """Loops that compute in `dtype`; None where one of them does not compile."""
    try:
        text = prepare_text(family, parameters, BITS)
        short = is_short(family, parameters, BITS)
        wide = dtype if short else np.dtype(np.float64)
        factors = text.count("    factors[")
        prepare = compose(wide.name, "arithmetic", "powers", text, "prepare_rows")
        pair = family_text(family, terms, factors)
        fill = compose(dtype.name, "arithmetic", pair, "fill_rows")
        real, own = getattr(types, dtype.name), getattr(types, wide.name)
        tile, lines, index = _array(real, 2), _array(real, 3), types.int64
        prepared = types.void(_array(own, 3), tile, lines, tile, index)
        filled = types.void(tile, lines, index, lines, tile, index)
        return RowLoops(
            address_of(compiled(prepare, "prepare_rows", prepared)),
            address_of(compiled(fill, "fill_rows", filled)),
            factors,
            wide,
        )
    except (FormulaError, NumbaError):
        return None


@functools.cache
def score_rows(
    parameters: int,
    given: np.dtype[Any],
    wide: np.dtype[Any],
    dtype: np.dtype[Any],
    out: np.dtype[Any],
    long: bool,
) -> Callable[..., int]:
    """`score_rows` of loops/rows.py, by what its arrays hold.

    Parameters and weights are `given` in one dtype and prepared in another. `long` rows
    are those of loops/lanes.py.
    """
    real, own = getattr(types, dtype.name), getattr(types, wide.name)
    arrays = types.UniTuple(_read(getattr(types, given.name), 2), parameters + 1)
    signature = types.int64(
        types.int64,
        types.int64,
        _read(real, 3),
        arrays,
        types.UniTuple(types.int64, parameters + 1),
        types.boolean,
        _array(getattr(types, out.name), 2),
        _array(own, 3),
        *[_array(real, 3)] * 2,
        _array(real, 2),
        *[_array(real, 3)] * 2,
        _array(real, 1),
        _array(types.float64, 2),
    )
    names = [dtype.name, "arithmetic", "mixture", "rows", *(["lanes"] if long else [])]
    return compiled(compose(*names), "score_rows", signature)


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


@functools.cache
def plain_score(dtype: np.dtype[Any], out: np.dtype[Any]) -> Callable[..., int]:
    """`score` of loops/plain.py, with results in the dtype `out`."""
    real = getattr(types, dtype.name)
    found = _array(getattr(types, out.name), 1)
    scratch = _array(real, 3), _array(real, 2)
    signature = types.int64(*_plain_arguments(real), found, *scratch)
    return compiled(_plain_text(dtype, out), "score", signature)


@functools.cache
def score_groups(dtype: np.dtype[Any], out: np.dtype[Any]) -> Callable[..., int]:
    """`score_groups` of loops/groups.py, with results in the dtype `out`."""
    real = getattr(types, dtype.name)
    add_terms, _, *components = _plain_arguments(real)
    found = _array(getattr(types, out.name), 1)
    scratch = _array(real, 3), _array(real, 2)
    values, groups = _read(real, 2), _array(types.int64, 2)
    arguments = add_terms, values, groups, *components, found, *scratch
    text = compose(_plain_text(dtype, out), "groups")
    return compiled(text, "score_groups", types.int64(*arguments))


@functools.cache
def chunk_sums(dtype: np.dtype[Any]) -> Callable[..., None]:
    """`chunk_sums` of loops/plain.py."""
    real = getattr(types, dtype.name)
    ends, sums = (types.int64, types.int64), _array(types.float64, 1)
    scratch = _array(real, 3), _array(real, 2)
    signature = types.void(*_plain_arguments(real), *ends, sums, *scratch)
    return compiled(_plain_text(dtype, dtype), "chunk_sums", signature)


@functools.cache
def finish(dtype: np.dtype[Any], out: np.dtype[Any]) -> Callable[..., int]:
    """`finish` of loops/plain.py, with results in the dtype `out`."""
    limits = _read(getattr(types, dtype.name), 1)
    found = _array(getattr(types, out.name), 1)
    signature = types.int64(_array(types.float64, 2), limits, found)
    return compiled(_plain_text(dtype, out), "finish", signature)


def _plain_arguments(real: Any) -> tuple[Any, ...]:
    """The types of add_terms, rows, factors, constant and limits."""
    row = _read(real, 1)
    return types.int64, _read(real, 3), _read(real, 3), row, row


def _plain_text(dtype: np.dtype[Any], out: np.dtype[Any]) -> str:
    parts = [dtype.name, "arithmetic", "limits", "mixture", "plain"]
    return compose(*parts, *(["narrow"] if out.itemsize == 4 else []))


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
