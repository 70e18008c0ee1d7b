"""Which kernel serves a mixture with shared parameters: every rule, and its reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from lucid.backends.cupy import kernels
from lucid.backends.cupy.launch import MOST_BLOCKS_YZ, ceil_divide, splits

# A block of the kernels that hold an event in registers.
THREADS = 128
# Below so many pairs one more launch costs more time than cheaper pairs save.
_WORTH_A_LAUNCH = 1 << 24
# Ordering counts, for each component, those before it: half a millisecond at the most.
_MOST_COMPARISONS = 1 << 32
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

    kernel: Literal["small", "fixed", "lazy", "diagonal"]
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


def choose(
    family: str,
    dtype: str,
    samples: int,
    batch: int,
    count: int,
    event: int,
    multiprocessors: int,
    capability: tuple[int, int],
) -> Choice:
    """The kernel for values [samples, batch, event] under `count` components each."""
    chosen = _choose(
        family, dtype, samples, batch, count, event, multiprocessors, capability
    )
    return dataclasses.replace(chosen, **(_forced.get() or {}))


def _choose(
    family: str,
    dtype: str,
    samples: int,
    batch: int,
    count: int,
    event: int,
    multiprocessors: int,
    capability: tuple[int, int],
) -> Choice:
    def parts(rows: int) -> int:
        blocks = ceil_divide(samples, rows) * min(batch, MOST_BLOCKS_YZ)
        return splits(blocks, multiprocessors, count)

    compiled = kernels.compiled_rows(family, dtype, event)
    if not compiled:
        # Events too long for registers are staged a few elements at a time.
        return Choice("diagonal", splits=parts(Choice("diagonal").block_rows))
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
    short = event == 1 and kernels.words(family) <= 2
    if short and batch == 1 and count <= kernels.MOST_SMALL:
        # Here a row's own work is the most of it: components in registers leave less.
        return Choice("small", rows=4)
    return Choice(
        "fixed",
        rows,
        polynomials=kernels.POLYNOMIALS[-1]
        # Longer pairs leave the exponential unit waiting anyway; float64 has none.
        if short and dtype == "float32" and capability not in _EXPONENTIALS_ARE_CHEAP
        else 0,
        ordered=event == 1
        and kernels.quadratic(family)
        # One tile at least, that would otherwise reach over the whole mixture.
        and count > kernels.FIXED_TILE
        and batch * count * count <= _MOST_COMPARISONS,
    )
