"""What is measured: cells of (case, dtype, N, K, D, …), by the name of their suite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

SUITES = ("score", "sample", "categorical", "mdn", "latency", "growth")
DTYPES = ("float32", "float64")
_MOST_ROWS = 100_000_000
_FEWEST_ROWS = 16
# Values of each kind that one call deals with: (CPU, short suite on the CPU, GPU). On
# the CPU a peer takes about a second over them; on a GPU its temporaries, several
# arrays of that size, still fit.
_PAIRS = (20_000_000, 8_000_000, 1 << 30)
_ELEMENTS = (80_000_000, 8_000_000, 1 << 30)  # of events under all components
_ROWS = (10_000_000, 1_000_000, 100_000_000)  # where K plays no part in the work
_GROWTH_PAIRS = (1 << 22, 1 << 22, 1 << 30)
_QUICK_ROWS, _QUICK_COMPONENTS = 200, 64

_K = (2, 4, 8, 16, 64, 256, 1024, 1025, 4096, 65_536, 1_000_000)
_DIAGONAL_K = (16, 64, 1024, 16_384)
_D = (2, 3, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Cell:
    """One call that all participants make: what, of what size, on what numbers."""

    suite: str
    case: str  # scalar, diagonal, mdn, categorical, categorical-shared, draws, single
    dtype: str
    n: int
    k: int
    d: int = 1
    spread: int = 3  # of the components' means, in their standard deviations
    order: str = "random"  # of the rows, or sorted
    offset: int = 0  # added to data and means: it breaks expanded squares
    axis: str | None = None  # of growth: what changes from cell to cell, K or N

    @property
    def unit(self) -> str:
        """What the call's work is counted in."""
        if self.case.startswith("categorical"):
            return "logits"
        return {"draws": "draws", "single": "calls"}.get(self.case, "pairs")

    @property
    def amount(self) -> int:
        """How many of them one call deals with."""
        per_row = self.case in ("draws", "single", "categorical-shared")
        return self.n if per_row else self.n * self.k

    def __str__(self) -> str:
        parts = [f"{self.suite}: {self.case} {self.dtype}"]
        parts += [f"N={self.n:,} K={self.k:,}"]
        parts += [f"D={self.d}"] if self.case == "diagonal" else []
        parts += [f"spread {self.spread}"] if self.spread != 3 else []
        parts += ["sorted rows"] if self.order == "sorted" else []
        parts += [f"offset {self.offset:,}"] if self.offset else []
        return " ".join(parts)


class Sizes(NamedTuple):
    """What the command line asks for in place of the suite's own."""

    dtype: Sequence[str] = ()
    n: Sequence[int] = ()
    k: Sequence[int] = ()
    d: Sequence[int] = ()


_OWN = Sizes()


def cells(
    suite: str | None, device: str, sizes: Sizes = _OWN, quick: bool = False
) -> list[Cell]:
    """The cells of one suite, of "all", or (None) of the short default one."""
    scale = 2 if device == "cuda" else int(suite is None)
    if quick:
        sizes = sizes._replace(n=sizes.n or (_QUICK_ROWS,))
    found: dict[Cell, None] = {}  # in order, each once
    for plan in _plans(suite):
        for cell in _resized(plan, sizes, scale):
            if quick and not sizes.k:
                cell = replace(cell, k=min(cell.k, _QUICK_COMPONENTS))
            found[cell] = None
    return list(found)


def _plans(suite: str | None) -> Iterator[Cell]:
    """Cells whose N is 0 where it follows from K and D."""
    if suite is None:
        yield from _short()
        return
    makers = {
        "score": _score,
        "sample": _sample,
        "categorical": _categorical,
        "mdn": _mdn,
        "latency": _latency,
        "growth": _growth,
    }
    for name in SUITES if suite == "all" else (suite,):
        yield from makers[name]()


def _short() -> Iterator[Cell]:
    for count in (8, 64, 1024):
        yield Cell("score", "scalar", "float32", 0, count)
    yield Cell("score", "scalar", "float64", 0, 64)
    yield Cell("score", "diagonal", "float32", 0, 64, 16)
    yield Cell("sample", "draws", "float32", 0, 16)
    yield Cell("categorical", "categorical", "float32", 0, 1000)
    yield Cell("mdn", "mdn", "float32", 0, 32)
    yield Cell("latency", "single", "float32", 1, 8)


def _score() -> Iterator[Cell]:
    for dtype in DTYPES:
        for count in _K:
            yield Cell("score", "scalar", dtype, 0, count)
    for count in (8, 64, 1024, 65_536):
        base = Cell("score", "scalar", "float32", 0, count)
        for spread in (3, 30):
            yield replace(base, spread=spread)
            yield replace(base, spread=spread, order="sorted")
    for dtype in DTYPES:
        yield Cell("score", "scalar", dtype, 0, 64, offset=10_000)
        yield Cell("score", "diagonal", dtype, 0, 64, 4, offset=10_000)
    for dtype in DTYPES:
        for count in _DIAGONAL_K:
            for event in _D:
                yield Cell("score", "diagonal", dtype, 0, count, event)
    for event in (2, 16, 128):
        yield Cell("score", "diagonal", "float32", 0, 1024, event, spread=30)


def _sample() -> Iterator[Cell]:
    for dtype in DTYPES:
        for count in (2, 16, 1024, 1_000_000):
            yield Cell("sample", "draws", dtype, 0, count)


def _categorical() -> Iterator[Cell]:
    for dtype in DTYPES:
        for count in (131_072, 1000):
            yield Cell("categorical", "categorical", dtype, 0, count)
        for count in (1000, 1_000_000):
            yield Cell("categorical", "categorical-shared", dtype, 0, count)


def _mdn() -> Iterator[Cell]:
    for dtype in DTYPES:
        for count in (8, 32, 256):
            yield Cell("mdn", "mdn", dtype, 0, count)


def _latency() -> Iterator[Cell]:
    for dtype in DTYPES:
        yield Cell("latency", "single", dtype, 1, 8)


def _growth() -> Iterator[Cell]:
    """Time against K at a fixed N·K, and against N at a fixed K."""
    for spread in (3, 10, 30):  # the farther apart, the fewer matter to one value
        for exponent in range(4, 17, 2):
            cell = Cell("growth", "scalar", "float32", 0, 2**exponent, axis="K")
            yield replace(cell, spread=spread)
    for exponent in range(3, 7):
        yield Cell("growth", "scalar", "float32", 10**exponent, 64, axis="N")


def _resized(plan: Cell, sizes: Sizes, scale: int) -> Iterator[Cell]:
    """The cell at each size asked for; at its own where nothing was."""
    # D = 1 is the scalar case, so another D leaves that out.
    if plan.case in ("scalar", "diagonal") and sizes.d:
        events = [d for d in sizes.d if (d > 1) == (plan.case == "diagonal")]
    else:
        events = [plan.d]
    # One number is what the latency is of, and N is what changes along its axis.
    keeps_n = plan.case == "single" or plan.axis == "N"
    for dtype in sizes.dtype or (plan.dtype,):
        for event in events:
            for count in sizes.k or (plan.k,):
                cell = replace(plan, dtype=dtype, d=event, k=count)
                own = plan.n or _rows(cell, scale)
                for rows in (own,) if keeps_n else sizes.n or (own,):
                    yield replace(cell, n=rows)


def _rows(cell: Cell, scale: int) -> int:
    """N of a cell, from 10⁵ to 10⁸ rows where the work per row allows it."""
    if cell.axis == "K":
        return max(1, _GROWTH_PAIRS[scale] // cell.k)
    if cell.case == "categorical-shared":
        return _ROWS[scale]
    if cell.case == "draws":
        # Few enough that a peer which draws from all K can do so while K is moderate.
        return max(100_000, _rounded(min(_ROWS[scale], _PAIRS[scale] // cell.k)))
    pairs = _PAIRS[scale]
    if cell.case == "categorical":
        largest = 8192 if cell.k > 100_000 else 1_000_000
        return largest if largest * cell.k <= pairs else _rounded(pairs // cell.k)
    if cell.case == "mdn":
        return _rounded(max(_FEWEST_ROWS, pairs // (4 * cell.k)))
    if cell.case == "diagonal":
        return _rounded(max(_FEWEST_ROWS, _ELEMENTS[scale] // (cell.k * cell.d)))
    return _rounded(min(_MOST_ROWS, max(_FEWEST_ROWS, pairs // cell.k)))


def _rounded(count: int) -> int:
    """At most `count`, with two figures that are not zero."""
    unit = int(10 ** max(0, len(str(count)) - 2))
    return max(1, count // unit * unit)
