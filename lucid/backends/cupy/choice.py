"""Which kernel serves a mixture: every rule, and its reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from lucid.backends.cupy import kernels
from lucid.backends.cupy.launch import MOST_BLOCKS_YZ, ceil_divide, splits
from lucid.backends.cupy.structs import Struct

# A block of the kernels that hold an event in registers.
THREADS = 128
# Below so many pairs one more launch costs more time than cheaper pairs save.
_WORTH_A_LAUNCH = 1 << 24
# Ordering counts, for each component, those before it: half a millisecond at the most.
_MOST_COMPARISONS = 1 << 32
# Reckoned, not measured. A row sorted by its cell is read, written and read again at
# places apart from each other: some 90 bytes at 4.3e12 bytes/s, 21 ps, the time of 75
# pairs at 3.5e12/s; the launches around it take the time of 4e7 pairs. Windows of 0.6
# of 1024 components save 400 pairs of a row, and so 1e8 of so many pairs. Of longer
# events both take longer.
_WIDEST_WINDOW, _FEWEST_FOR_CELLS, _WORTH_SORTING = 0.6, 1024, 1 << 28
# Windows of all cells together, as numbers of components: 128 MiB at the most. So cells
# become fewer beyond 2¹⁷ components, and too few to be of use beyond 2²⁰.
_MOST_LISTED, _MOST_FOR_CELLS = 1 << 25, 1 << 20
# Values for each mixture that are too few to prepare its parameters for.
_FEW_VALUES = 8
# Components of a row that a thread takes.
_ROW_SHARE = 8
# A multiprocessor of these does 8 or fewer multiply-adds in the time of an exponential
# (half as many multiply-add lanes, or twice the exponentials): nothing to gain there.
_EXPONENTIALS_ARE_CHEAP = ((7, 5), (8, 0), (10, 3))


@dataclass(frozen=True, slots=True)
class Choice:
    """One kernel of mixture*.cuh and what is compiled into it.

    rows         rows a thread holds
    splits       blocks that share the components of one row
    polynomials  of 9 exponentials, how many the multiply-add pipes take
    ordered      whether components are put in the order of their loc
    """

    kernel: Literal["small", "fixed", "cells", "lazy", "diagonal"]
    rows: int = 1
    splits: int = 1
    polynomials: int = 0
    ordered: bool = False

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 256 if self.kernel == "diagonal" else THREADS

    @property
    def block_rows(self) -> int:
        """Rows of a block."""
        return 128 if self.kernel == "diagonal" else THREADS * self.rows


@dataclass(frozen=True, slots=True)
class RowChoice:
    """The kernel for parameters of each row's own, and the threads that share a row.

    rows       one pass of mixture_rows.cuh, which normalises weights on the way
    reduction  CuPy's reduction: any event size, any strides
    """

    kernel: Literal["rows", "reduction"]
    lanes: int = 1


_forced: ContextVar[dict[str, Any] | None] = ContextVar("forced", default=None)


@contextmanager
def force(**fields: Any) -> Iterator[None]:
    """Within this context a choice has the given fields: for tests and benchmarks.

    It is up to the caller that such a kernel exists, and serves.
    """
    token = _forced.set(fields)
    try:
        yield
    finally:
        _forced.reset(token)


def forced() -> dict[str, Any]:
    """The fields that `force` gives a choice here and now."""
    return _forced.get() or {}


def choose(
    family: Struct,
    dtype: str,
    samples: int,
    batch: int,
    count: int,
    event: int,
    multiprocessors: int,
    capability: tuple[int, int],
    width: float = 1.0,
) -> Choice:
    """The kernel for values [samples, batch, event] under `count` components each.

    width   the mean window of cells.py, where `may_have_cells` asks for it
    """
    chosen = _choose(
        family, dtype, samples, batch, count, event, multiprocessors, capability, width
    )
    return dataclasses.replace(chosen, **forced())


def reads_in_place(sets: int, samples: int) -> bool:
    """Whether parameters [sets, K, D] are used as they are, or made into factors."""
    # With few values for each mixture, as in a density network, factors would be
    # written and read more often than they serve.
    return sets > 1 and samples < _FEW_VALUES


def choose_rows(
    rows: int, count: int, event: int, least: int, most: int, multiprocessors: int
) -> RowChoice:
    """The kernel for `rows` of `count` components each, parameters read in place.

    least, most  elements from one component to the next, of all parameters
    """
    fields = forced()
    # Offsets of 32 bits, which take half the instructions of longer ones.
    if event > 1 or least < 0 or (count - 1) * most >= 1 << 31:
        return RowChoice("reduction")
    if fields.get("kernel") == "reduction":
        return RowChoice("reduction")
    if "lanes" in fields:
        return RowChoice("rows", fields["lanes"])
    # What a thread does for a row, some 190 instructions, is 24 a pair then. The rows
    # that a warp reads at once lie within 8 lines of 128 bytes, of which 8 lanes read
    # whole sectors.
    *_, few, some, many = kernels.ROW_LANES
    lanes = many if count > 4096 else some if count > _ROW_SHARE * some else few
    lanes = next(n for n in kernels.ROW_LANES if n >= min(lanes, count / _ROW_SHARE))
    # Few rows leave most of the device idle: more threads for each.
    for more in kernels.ROW_LANES:
        idle = rows * lanes < 1024 * multiprocessors
        if idle and more > lanes and more * _ROW_SHARE < 4 * count:
            lanes = more
    return RowChoice("rows", lanes)


def cells_of(count: int, event: int) -> int:
    """Into how many cells `count` components cut each dimension."""
    most = kernels.MOST_CELLS[event]
    while most > 2 and most**event * count > _MOST_LISTED:
        most -= 1
    return most


def may_have_cells(
    family: Struct, dtype: str, samples: int, batch: int, count: int, event: int
) -> bool:
    """Whether windows could pay, so that it is worth to find them."""
    if "kernel" in forced():
        return False
    return bool(_cell_rows(family, dtype, samples, batch, count, event))


def _cell_rows(
    family: Struct, dtype: str, samples: int, batch: int, count: int, event: int
) -> int:
    """Rows a thread for blocks of one cell; 0 where cells cannot pay."""
    if not (event in kernels.MOST_CELLS and batch == 1 and family.quadratic):
        return 0
    if not _FEWEST_FOR_CELLS <= count <= _MOST_FOR_CELLS:
        return 0
    if samples * count < _WORTH_SORTING:
        return 0
    # Half a block of each cell stays empty: a quarter of the rows at the most.
    for rows in kernels.compiled_rows(family, dtype, event):
        if samples >= 2 * cells_of(count, event) ** event * THREADS * rows:
            return rows
    return 0


def _polynomials(dtype: str, short: bool, capability: tuple[int, int]) -> int:
    # Longer pairs leave the exponential unit waiting anyway; float64 has none.
    gain = short and dtype == "float32" and capability not in _EXPONENTIALS_ARE_CHEAP
    return kernels.POLYNOMIALS[-1] if gain else 0


def _choose(
    family: Struct,
    dtype: str,
    samples: int,
    batch: int,
    count: int,
    event: int,
    multiprocessors: int,
    capability: tuple[int, int],
    width: float,
) -> Choice:
    def parts(rows: int) -> int:
        blocks = ceil_divide(samples, rows) * min(batch, MOST_BLOCKS_YZ)
        return splits(blocks, multiprocessors, count)

    compiled = kernels.compiled_rows(family, dtype, event)
    if not compiled:
        # Events too long for registers are staged a few elements at a time.
        return Choice("diagonal", splits=parts(Choice("diagonal").block_rows))
    short = event == 1 and family.cheap
    polynomials = _polynomials(dtype, short, capability)
    cell_rows = _cell_rows(family, dtype, samples, batch, count, event)
    if cell_rows and width <= _WIDEST_WINDOW:
        return Choice("cells", cell_rows, polynomials=polynomials)
    # Rows share each load of a component, so many rows a thread are better, once the
    # blocks still suffice for the whole device.
    rows = compiled[0]
    if ceil_divide(samples, THREADS * rows) * batch < 2 * multiprocessors:
        rows = compiled[-1]
    split = parts(THREADS * rows)
    if split > 1:
        # Each part would judge by its own sum whether it lost anything, and most parts
        # of a row are far from it: they would all be done twice.
        return Choice("lazy", rows, split)
    if samples < THREADS or samples * batch * count < _WORTH_A_LAUNCH:
        # A mixture's shift is found once, by a launch and a block of its own.
        return Choice("lazy", rows)
    if short and batch == 1 and count <= kernels.MOST_SMALL:
        # Here a row's own work is the most of it: components in registers leave less.
        return Choice("small", rows=4)
    return Choice(
        "fixed",
        rows,
        polynomials=polynomials,
        ordered=event == 1
        and family.quadratic
        # One tile at least, that would otherwise reach over the whole mixture.
        and count > kernels.FIXED_TILE
        and batch * count * count <= _MOST_COMPARISONS,
    )
