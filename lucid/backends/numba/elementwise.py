"""The elementwise log density by compiled loops, over the blocks that NumPy has.

The loops are in loops/elementwise.py. What a family computes of its parameters or of a
value alone is compiled too, where its formula has a text; NumPy evaluates it otherwise,
and every element whose NaN neither side explains.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.core.errors import NumbaError

from lucid.backends.numba import kernels
from lucid.backends.numba.compiler import compiled
from lucid.backends.numba.formula import OneSide, family_text, formula_text, is_wide
from lucid.backends.numba.loops.elementwise import WIDTH
from lucid.backends.numba.source import compose, module_text
from lucid.backends.numpy import elementwise as in_numpy
from lucid.backends.numpy.buffers import Scratch
from lucid.backends.numpy.functions import Functions
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import NATS, Array, FamilyType
from lucid.backends.tracing import FormulaError, is_short

# Elements a block, so few that what lies between the loops stays in the second-level
# cache; and where it is less, since nothing is split.
BLOCK, BLOCK_ALONE = 1 << 15, 1 << 16

_REALS = {np.dtype(np.float32), np.dtype(np.float64)}
_WIDE = np.dtype(np.float64)
_fn = Functions()


def log_prob(
    family: FamilyType,
    value: Array,
    parameters: tuple[Array, ...],
    dtype: np.dtype[Any],
    out: Array | None,
) -> Array | None:
    """The log density, operands broadcast; None where the family does not compile."""
    shared = all(parameter.size == 1 for parameter in parameters)
    given = tuple([p.dtype if p.dtype in _REALS else _WIDE for p in parameters])
    loops = _loops(family, given, dtype, shared)
    if loops is None:
        return None
    most = BLOCK_ALONE if loops.alone else BLOCK
    blocks = in_numpy.Blocks(value, *parameters, most=most)
    call = _Call(family, given, dtype, shared, loops)
    result = np.empty(blocks.shape, dtype) if out is None else out
    target = result.reshape(blocks.axes)
    if not result.size:
        return result
    if shared:
        each = zip(parameters, given, strict=True)
        numbers = tuple([p.astype(real, copy=False).tobytes() for p, real in each])
        call.kept = _shared_factors(family, given, dtype, numbers)
    elif all(blocks.repeats(1 + i) for i in range(len(parameters))):
        place = blocks.place(0)
        _, *own = blocks.parts(place)
        call.keep(own, target[place].shape)

    def work(start: int, stop: int) -> None:
        with Scratch() as buffers:
            for i in range(start, stop):
                place = blocks.place(i)
                x, *own = blocks.parts(place)
                call.fill(x, own, target[place], buffers)

    run_blocks(blocks.count, 1, work)
    return result


class _Loops(NamedTuple):
    """What is compiled for a family; None where NumPy evaluates that part.

    score          pairs, constants and offsets
    prepare        factors and constants of parameters
    split          terms and offsets of values
    alone          whether pairs need no more of a value than itself: nothing is split
    terms, factors how many of each are stored; no terms where x itself is the only one
    """

    score: Callable[..., int]
    prepare: Callable[..., None] | None
    split: Callable[..., None] | None
    alone: bool
    terms: int
    factors: int


@dataclass(slots=True)
class _Call:
    """One evaluation: how operands become what the loops take.

    kept  what is prepared of parameters that every block has
    """

    family: FamilyType
    given: tuple[np.dtype[Any], ...]
    dtype: np.dtype[Any]
    shared: bool
    loops: _Loops
    kept: Array | None = None

    def keep(self, parameters: Sequence[Array], shape: tuple[int, ...]) -> None:
        """Prepare once the parameters that every block has, for the largest shape."""
        with Scratch() as buffers:
            self.kept = self.prepared(parameters, shape, buffers).copy()

    def fill(
        self,
        value: Array,
        parameters: Sequence[Array],
        target: Array,
        buffers: Scratch,
    ) -> None:
        """Fill one block of the result."""
        shape, count = target.shape, target.size
        x, factors = _line(value, shape, self.dtype), self.kept
        if factors is None:
            factors = self.prepared(parameters, shape, buffers)
        direct = count == x.size
        found = target.reshape(x.shape) if direct else np.empty_like(x)
        rows, offset = self.values(x, buffers)
        if self.loops.score(rows, offset, factors, found):
            self.correct(x, offset, parameters, shape, found)
        if not direct:
            target[...] = found.reshape(-1)[:count].reshape(shape)

    def values(self, x: Array, buffers: Scratch) -> tuple[Array, Array]:
        """The rows of values, and their offset or what it is made of."""
        loops, terms = self.loops, self.loops.terms
        if loops.alone:
            return x, x
        shapes = (0,), (len(x), terms, WIDTH), x.shape
        _, rows, offset = buffers.take(self.dtype, *shapes)
        if loops.split is not None:
            loops.split(x, rows.reshape(len(x), -1), offset)
        else:
            with np.errstate(all="ignore"):
                if terms:
                    np.stack(self.family.row(_fn, x), axis=1, out=rows)
                offset[...] = _offset(self.family, _fn, x.astype(np.float64))
        return (rows.reshape(len(x), -1) if terms else x), offset

    def prepared(
        self, parameters: Sequence[Array], shape: tuple[int, ...], buffers: Scratch
    ) -> Array:
        """Factors and constant [chunks, lines·WIDTH] for a block's shape.

        Prepared on the shape of the parameters alone, which may be smaller.
        """
        shapes = (parameter.shape for parameter in parameters)
        own = () if self.shared else np.broadcast_shapes(*shapes)
        given = tuple(map(_line, parameters, [own] * len(parameters), self.given))
        size = len(given[0]), self.loops.factors + 1, WIDTH
        (lines,) = buffers.take(self.dtype, size)
        if self.loops.prepare is not None:
            self.loops.prepare(given, lines.reshape(len(lines), -1))
        else:
            with np.errstate(all="ignore"):
                made = in_numpy.prepare(_fn, self.family, given, self.dtype)
            for k, array in enumerate(made):
                lines[:, k] = array
        if own != shape and not self.shared:
            lines = _tiled(lines, own, shape)
        return lines.reshape(len(lines), -1)

    def correct(
        self,
        x: Array,
        offset: Array,
        parameters: Sequence[Array],
        shape: tuple[int, ...],
        found: Array,
    ) -> None:
        """Give to NumPy every element whose NaN its value does not explain."""
        wrong = np.isnan(found) & ~np.isnan(offset)
        at = np.flatnonzero(wrong.reshape(-1)[: math.prod(shape)])
        if at.size:
            own = [np.broadcast_to(p, shape).reshape(-1)[at] for p in parameters]
            value, target = x.reshape(-1)[at], found.reshape(-1)
            target[at] = in_numpy.block(_fn, self.family, value, *own, dtype=self.dtype)


def _line(array: Array, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array broadcast to `shape` as whole chunks [chunks, WIDTH].

    The last element fills the last chunk. Loops over a multiple of WIDTH elements have
    no remainder, which might round another way.
    """
    count = math.prod(shape)
    if count % WIDTH == 0 and array.shape == shape:
        return kernels.operand(array, dtype).reshape(-1, WIDTH)
    line = np.empty(-(-count // WIDTH) * WIDTH, dtype)
    if array.size == 1:
        line[...] = array.reshape(())
        return line.reshape(-1, WIDTH)
    line[:count].reshape(shape)[...] = array
    line[count:] = line[count - 1]
    return line.reshape(-1, WIDTH)


def _tiled(lines: Array, own: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Lines [chunks, lines, WIDTH] of elements of shape `own`, broadcast to `shape`."""
    flat = np.ascontiguousarray(lines.swapaxes(0, 1)).reshape(lines.shape[1], -1)
    flat = flat[:, : math.prod(own)]
    every = [_line(line.reshape(own), shape, lines.dtype) for line in flat]
    return np.stack(every, axis=1)


@functools.lru_cache(maxsize=256)
def _shared_factors(
    family: FamilyType,
    given: tuple[np.dtype[Any], ...],
    dtype: np.dtype[Any],
    numbers: tuple[bytes, ...],
) -> Array:
    """What parameters of one number each are prepared to; kept from call to call."""
    loops = _loops(family, given, dtype, True)
    assert loops is not None  # the caller has them
    call = _Call(family, given, dtype, True, loops)
    call.keep([np.frombuffer(*own) for own in zip(numbers, given, strict=True)], ())
    return call.kept


# ---- what a family has, and its loops, each made when it is first asked for


@functools.cache
def _sizes(family: FamilyType, parameters: int) -> tuple[int, int]:
    """The number of terms of a row, and of factors."""
    one = np.ones(1)
    with np.errstate(all="ignore"):
        prepared = family.prepare(_fn, NATS, *[one] * parameters)
        return len(family.row(_fn, one)), len(prepared) - 1


@functools.cache
def _loops(
    family: FamilyType,
    given: tuple[np.dtype[Any], ...],
    dtype: np.dtype[Any],
    shared: bool,
) -> _Loops | None:
    """The loops for parameters in the dtypes `given`, one number each if `shared`.

    None where not even the pair compiles.
    """
    score = _score(family, len(given), dtype, shared)
    if score is None:
        return None
    prepare, (terms, factors) = (
        _prepare(family, given, dtype),
        _sizes(family, len(given)),
    )
    if _offset_text(family) is not None:
        return _Loops(score, prepare, None, True, 0, factors)
    terms = 0 if kernels.traits(family).row_is_value else terms
    return _Loops(score, prepare, _split(family, dtype), False, terms, factors)


@functools.cache
def _offset_text(family: FamilyType) -> str | None:
    """What pairs add by themselves, where they need no more of a value than itself.

    Whether it lies in the support, or nothing; None where a loop of its own stores it.
    """
    traits = kernels.traits(family)
    if not traits.row_is_value or traits.base_measure:
        return None
    if not traits.supports:
        return "no_offset"

    def offset(fn: Any, x: Any) -> Any:
        return (_offset(family, fn, x),)

    try:
        if is_wide(1, offset):
            return None
        text, _ = formula_text("offset_of", 1, offset)
        return text + module_text("add_offset") + module_text("find_offset")
    except FormulaError:
        return None


def _offset(family: FamilyType, fn: Any, x: Any) -> Any:
    """What is added to the pair: the base measure, −∞ outside the support.

    −0 changes nothing, not even 0.
    """
    measure, supported = family.log_base_measure(fn, x), family.supports(fn, x)
    measure = -0.0 if measure is None else measure
    if supported is None:
        return measure
    return fn.where(supported, measure, fn.where(fn.isnan(x), math.nan, -math.inf))


@functools.cache
def _score(
    family: FamilyType, parameters: int, dtype: np.dtype[Any], shared: bool
) -> Callable[..., int] | None:
    """`score_shared` or `score_own` of loops/elementwise.py.

    None where it does not compile: a user's formula may ask for anything.
    """
    real = getattr(types, dtype.name)
    read = _read(real, 2)
    signature = types.int64(read, read, read, _write(real, 2))
    name = "score_shared" if shared else "score_own"
    terms, factors = _sizes(family, parameters)
    items = _items("factors", factors + 1)
    try:
        text = (
            f"{family_text(family, terms, factors)}\n"
            "def row_at(rows, c, i):\n"
            f"    return ({''.join(f'{item}, ' for item in _items('rows', terms))})\n"
            "def factors_at(factors, c, i):\n"
            f"    return ({''.join(f'{item}, ' for item in items[:-1])}), {items[-1]}\n"
        )
        end = _offset_text(family) or "add_offset"
        parts = compose(dtype.name, "arithmetic", "powers", text, end, "elementwise")
        return compiled(parts, name, signature)
    except (FormulaError, NumbaError):
        return None


@functools.cache
def _prepare(
    family: FamilyType, given: tuple[np.dtype[Any], ...], dtype: np.dtype[Any]
) -> Callable[..., None] | None:
    """`prepare_elements`, of parameters in these dtypes; None: NumPy prepares."""
    own = types.Tuple([_read(getattr(types, p.name), 2) for p in given])
    signature = types.void(own, _write(getattr(types, dtype.name), 2))

    def prepare(fn: Any, *parameters: Any) -> Any:
        return family.prepare(fn, NATS, *parameters)

    try:
        text, found = formula_text("prepare", len(given), prepare)
        exact = all(parameter == dtype for parameter in given)
        short = is_short(family, len(given), NATS, OneSide())
        wide = dtype if exact and short else _WIDE
        items = "".join(f"real(parameters[{k}][c, i]), " for k in range(len(given)))
        getter = f"def parameters_at(parameters, c, i):\n    return ({items})\n"
        keep = _keeping("keep_factors", found)
        parts = wide.name, "arithmetic", "powers", text, getter, keep, "elementwise"
        return compiled(compose(*parts), "prepare_elements", signature)
    except (FormulaError, NumbaError):
        return None


@functools.cache
def _split(family: FamilyType, dtype: np.dtype[Any]) -> Callable[..., None] | None:
    """`split_values`; None: NumPy evaluates what it would."""
    real = getattr(types, dtype.name)
    signature = types.void(_read(real, 2), _write(real, 2), _write(real, 2))
    whole = kernels.traits(family).row_is_value

    def parts_of(fn: Any, x: Any) -> Any:
        terms = () if whole else family.row(fn, x)
        return *terms, _offset(family, fn, x)

    try:
        text, found = formula_text("value_parts", 1, parts_of)
        keep = _keeping("keep_row", found - 1)
        wide = _WIDE if is_wide(1, parts_of) else dtype
        parts = wide.name, "arithmetic", "powers", text, keep, "elementwise"
        return compiled(compose(*parts), "split_values", signature)
    except (FormulaError, NumbaError):
        return None


def _items(array: str, count: int) -> list[str]:
    """Element i of each line of chunk c."""
    return [f"{array}[c, {k * WIDTH} + i]" for k in range(count)]


def _keeping(name: str, count: int) -> str:
    """A function that keeps the first `count` of the numbers that were found."""
    items = enumerate(_items("lines", count))
    kept = [f"    {item} = found[{k}]" for k, item in items]
    return "\n".join([f"def {name}(lines, c, i, found):", *kept, "    return\n"])


def _read(dtype: Any, ndim: int) -> Any:
    """An array that is only read: it may or may not be writeable."""
    return types.Array(dtype, ndim, "C", readonly=True)


def _write(dtype: Any, ndim: int) -> Any:
    return types.Array(dtype, ndim, "C")
