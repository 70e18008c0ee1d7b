"""Scoring data of any size, a block of rows at a time."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from lucid._tensor import Tensor
from lucid.backends.copies import copy_rows
from lucid.backends.protocol import Array
from lucid.distributions import Distribution, MixtureSameFamily
from lucid.io.errors import DataError, OutputError, Path
from lucid.io.rows import Rows, open_rows
from lucid.io.writer import Columns, Dtypes, Writer

# A block is as many rows as fit here, and no more work than this: so that a block's
# copies stay small, and that Ctrl-C and the progress bar wait for seconds at most.
_BLOCK_BYTES = 16 * 2**20
_BLOCK_PAIRS = 2**31


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What scoring has found, in nats.

    log_prob     [rows], where the results were not written to a file; else None
    component    [rows], int64: the most probable component, where asked for; −1 where
                 none is, because the row is NaN or of density 0
    probability  [rows]: its probability given the row; NaN where there is none
    total        the sum over the finite scores; `mean` is over them too
    minimum      the smallest finite score; NaN without any
    """

    rows: int
    finite: int
    minus_infinity: int
    nan: int
    total: float
    minimum: float
    seconds: float
    device: str
    dtype: np.dtype[Any]
    log_prob: NDArray[Any] | None = None
    component: NDArray[np.int64] | None = None
    probability: NDArray[Any] | None = None

    @property
    def mean(self) -> float:
        """Mean log-likelihood of the rows whose score is finite; NaN without any."""
        return self.total / self.finite if self.finite else math.nan

    @property
    def rows_per_second(self) -> float:
        """Rows through reading, scoring and writing, per second."""
        return self.rows / self.seconds if self.seconds else math.nan


def score(
    distribution: Distribution,
    data: Any,
    out: Path | NDArray[Any] | None = None,
    *,
    columns: Sequence[str] | None = None,
    dtype: DTypeLike | None = None,
    block_rows: int | None = None,
    responsibilities: bool = False,
) -> Scores:
    """The log-likelihood of each row of data, computed and kept block by block.

    distribution      batch_shape (); its device computes
    data              the path of a .npy, .csv or .parquet file, an array, or any
                      `lucid.io.Rows`; a row has the event's shape, or is flat and has
                      as many numbers
    out               the path of a .npy, .csv or .parquet file, a NumPy array [rows],
                      or None: new arrays in the result
    columns           the table's columns that make the event
    dtype             what the data is converted to first; by default its own
    block_rows        rows at a time; by default about 16 MiB of them
    responsibilities  of a mixture, the most probable component and its probability too

    A NaN row scores NaN, a row outside the support −∞. Several results in one .npy file
    are the fields `log_prob`, `component` and `probability` of a structured array.
    The file takes its name only when it is complete. On a GPU, blocks are copied in and
    out while others are computed, and halved where its memory runs out. Raises
    DataError, OutputError; MemoryError where even a small block is too large.
    """
    started = time.perf_counter()
    check_model(distribution, responsibilities)
    rows = data if _is_rows(data) else open_rows(data, columns)
    _check_row_shape(rows, distribution.event_shape)
    values_dtype = np.dtype(dtype or rows.dtype or distribution.dtype)
    score_dtype = np.result_type(values_dtype, distribution.dtype)
    dtypes = {"log_prob": score_dtype}
    if responsibilities:
        dtypes |= {"component": np.dtype(np.int64), "probability": score_dtype}
    if isinstance(out, (str, os.PathLike)):
        _check_not_an_input(out, rows.name)
        sink: Writer | _Memory = Writer(out, dtypes)
    else:
        sink = _Memory(dtypes, rows.count, out)
    if block_rows is None:
        block_rows = _block_rows(distribution, values_dtype)
    if block_rows < 1:
        raise ValueError(f"`block_rows` must be at least 1, got {block_rows}")
    tally = _Tally()
    work = _score_block(distribution, responsibilities)
    blocks = _raw_blocks(rows, block_rows, distribution)
    with (
        sink if isinstance(sink, Writer) else nullcontext(),
        closing(distribution._backend.map_blocks(work, blocks, values_dtype)) as done,
    ):
        for *scored, summary in done:
            tally.add(len(scored[0]), summary)
            sink.append(dict(zip(dtypes, scored, strict=True)))
    kept = {} if isinstance(sink, Writer) else sink.arrays()
    return Scores(
        rows=tally.rows,
        finite=tally.finite,
        minus_infinity=tally.minus_infinity,
        nan=tally.nan,
        total=math.fsum(tally.sums),
        minimum=tally.minimum if tally.finite else math.nan,
        seconds=time.perf_counter() - started,
        device=str(distribution.device),
        dtype=score_dtype,
        **kept,
    )


def check_model(distribution: Distribution, responsibilities: bool) -> None:
    """Raise an error where a distribution cannot score rows, or lacks components."""
    name = type(distribution).__name__
    if not isinstance(distribution, Distribution):
        raise TypeError(f"`distribution` must be a Distribution, got {name}")
    if distribution.batch_shape != ():
        raise ValueError(
            f"rows are scored by one distribution, but this {name} is a batch of them "
            f"(batch_shape {distribution.batch_shape}); index or rebuild its parameters"
        )
    if responsibilities and not isinstance(distribution, MixtureSameFamily):
        raise ValueError(f"only a mixture has responsibilities, not this {name}")


def _score_block(
    distribution: Distribution, responsibilities: bool
) -> Callable[[Array], tuple[Array, ...]]:
    """What is to be done with a block of values: its columns of scores, a summary."""
    xp = distribution._backend.xp

    def scored(block: Array) -> tuple[Array, ...]:
        events = block.reshape((block.shape[0], *distribution.event_shape))
        values = Tensor._wrap(events)
        log_prob = distribution.log_prob(values)._array
        columns: tuple[Array, ...] = (log_prob,)
        if responsibilities:
            mixture = cast(MixtureSameFamily, distribution)
            index, probs = mixture.posterior_mode(values, return_probs=True)
            probability = probs._array
            component = xp.where(xp.isnan(probability), -1, index._array)
            columns += (component, probability)
        return (*columns, _summary(xp, log_prob))

    return scored


def _summary(xp: Any, scores: Array) -> Array:
    """[finite, NaN, −∞, total and minimum of the finite], computed where they are."""
    finite = xp.isfinite(scores)
    counted = (finite, xp.isnan(scores), scores == -np.inf)
    highest = np.finfo(scores.dtype).max
    return xp.stack(
        [
            *(xp.asarray(xp.count_nonzero(held), np.float64) for held in counted),
            xp.where(finite, scores, 0).sum(dtype=np.float64),
            xp.where(finite, scores, highest).min().astype(np.float64),
        ]
    )


def _raw_blocks(
    rows: Rows, block_rows: int, distribution: Distribution
) -> Iterator[Array]:
    """The blocks as raw arrays; a tensor must be on the distribution's device."""
    for block in rows.blocks(block_rows):
        if isinstance(block, Tensor):
            if block.device != distribution.device:
                raise ValueError(
                    f"the rows are on {block.device}, but the distribution is on "
                    f"{distribution.device}; move one of them with .to(device)"
                )
            block = block._array
        if len(block):
            yield block if hasattr(block, "shape") else np.asarray(block)


def _block_rows(distribution: Distribution, dtype: np.dtype[Any]) -> int:
    elements = max(1, math.prod(distribution.event_shape))
    components = 1
    if isinstance(distribution, MixtureSameFamily):
        components = distribution.num_components
    by_size = _BLOCK_BYTES // (elements * dtype.itemsize)
    by_work = _BLOCK_PAIRS // (elements * components)
    return max(256, min(by_size, by_work))


def _is_rows(data: Any) -> bool:
    return hasattr(data, "blocks") and hasattr(data, "row_shape")


def _check_row_shape(rows: Rows, event_shape: tuple[int, ...]) -> None:
    shape = rows.row_shape
    flat = len(shape) <= 1 and math.prod(shape) == math.prod(event_shape)
    if shape == event_shape or flat:
        return
    count, wanted = math.prod(shape), math.prod(event_shape)
    columns = f"{count} column{'s' * (count != 1)}"
    has = columns if len(shape) <= 1 else f"rows of shape {shape}"
    wants = "1 number" if not event_shape else f"an event of shape {event_shape}"
    hint = ""
    if len(shape) == 1 and count > wanted:
        hint = "; choose some of them by `columns` (in the command, --columns)"
    raise DataError(rows.name, f"{has}, but the model scores {wants} a row{hint}")


def _check_not_an_input(out: Path, name: str) -> None:
    if os.path.exists(out) and os.path.exists(name) and os.path.samefile(out, name):
        raise OutputError(out, "is the data itself, and would be overwritten")


class _Tally:
    """Counts and sums over blocks; fsum joins them without rounding in between."""

    def __init__(self) -> None:
        self.rows = self.finite = self.minus_infinity = self.nan = 0
        self.sums: list[float] = []
        self.minimum = math.inf

    def add(self, rows: int, summary: NDArray[np.float64]) -> None:
        finite, nan, minus_infinity, total, minimum = summary.tolist()
        self.rows += rows
        self.finite += int(finite)
        self.nan += int(nan)
        self.minus_infinity += int(minus_infinity)
        if finite:
            self.sums.append(total)
            self.minimum = min(self.minimum, minimum)


class _Memory:
    """Results kept in arrays, made at once where the number of rows is known."""

    def __init__(
        self, dtypes: Dtypes, rows: int | None, out: NDArray[Any] | None
    ) -> None:
        self._blocks: list[Columns] = []
        self._arrays: dict[str, NDArray[Any]] | None = None
        self._dtypes = dtypes
        self._filled = 0
        if out is not None and (
            not isinstance(out, np.ndarray) or rows is None or out.shape != (rows,)
        ):
            shape = getattr(out, "shape", None)
            raise ValueError(
                f"`out` must be a path or a NumPy array of shape ({rows},), got "
                f"{type(out).__name__} of shape {shape}"
            )
        if rows is not None:
            self._arrays = {name: np.empty(rows, d) for name, d in dtypes.items()}
            if out is not None:
                self._arrays["log_prob"] = out

    def append(self, columns: Columns) -> None:
        """Keep a block's results: the memory they are in is another block's soon."""
        rows = len(columns["log_prob"])
        if self._arrays is None:
            self._blocks.append({name: np.copy(v) for name, v in columns.items()})
        else:
            for name, values in columns.items():
                target = self._arrays[name]
                copy_rows(target[self._filled : self._filled + rows], values)
        self._filled += rows

    def arrays(self) -> dict[str, NDArray[Any]]:
        if self._arrays is not None:
            return self._arrays
        return {
            name: np.concatenate([np.empty(0, dtype)] + [b[name] for b in self._blocks])
            for name, dtype in self._dtypes.items()
        }
