"""The numbers of a cell: the same arrays, in the same dtype, for all participants."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .suites import Cell

Array = NDArray[Any]
# Sets of inputs that calls take in turn, so that no cache holds the next one's.
SETS = 3
# Two will do where one is larger than any cache: on a GPU the sets of all participants
# take its memory at the same time.
_LARGE, _LARGE_SETS = 1 << 30, 2
# Numbers drawn for an array; a longer one repeats them, for drawing takes its time.
_FRESH = 1 << 22


@dataclass(frozen=True)
class Workload:
    """Arrays that all calls share, and those of each set of inputs, by name.

    scalar, single      shared weights, loc, scale [K]; value [N] or one number
    diagonal            shared weights [K], loc, scale [K, D]; value [N, D]
    mdn                 logits, loc, scale [N, K]; value [N]
    categorical         logits [N, K]; value [N]
    categorical-shared  shared logits [K]; value [N]
    draws               shared weights, loc, scale [K], and the count; a seed
    """

    cell: Cell
    shared: dict[str, Any]
    inputs: list[dict[str, Any]]

    @property
    def n_by_k_bytes(self) -> int:
        """What an array of all rows and components takes, in all dimensions."""
        size = np.dtype(self.cell.dtype).itemsize
        return self.cell.n * self.cell.k * self.cell.d * size


def make(cell: Cell) -> Workload:
    """The workload of a cell; the same numbers each time."""
    random = np.random.default_rng(zlib.crc32(repr(cell).encode()))
    if cell.case == "mdn":
        sets = range(_sets(cell, 3))
        return Workload(cell, {}, [_density_network(cell, random) for _ in sets])
    if cell.case.startswith("categorical"):
        return _categorical(cell, random)
    dtype = np.dtype(cell.dtype)
    event = (cell.d,) if cell.case == "diagonal" else ()
    weights, loc, scale = _components(cell, (cell.k,), event, random)
    shared = {"weights": weights, "loc": loc, "scale": scale}
    shared = {name: array.astype(dtype) for name, array in shared.items()}
    if cell.case == "draws":
        seeds = [{"seed": seed} for seed in range(SETS)]
        return Workload(cell, {**shared, "count": cell.n}, seeds)
    inputs = []
    for _ in range(SETS):
        rows = min(cell.n, max(1, _FRESH // cell.d))
        index = random.choice(cell.k, size=rows, p=weights)
        value = random.standard_normal((rows, *event))
        value = (value * scale[index] + loc[index]).astype(dtype)
        value = np.resize(value, (cell.n, *event))
        if cell.order == "sorted":
            value = value[np.argsort(value[:, 0] if event else value)]
        inputs.append({"value": value.reshape(()) if cell.case == "single" else value})
    return Workload(cell, shared, inputs)


def _components(
    cell: Cell,
    shape: tuple[int, ...],
    event: tuple[int, ...],
    random: np.random.Generator,
) -> tuple[Array, Array, Array]:
    """Weights, loc and scale; the means lie `spread` standard deviations apart."""
    weights = random.uniform(0.1, 1.0, shape)
    weights /= weights.sum(axis=-1, keepdims=True)
    loc = cell.offset + cell.spread * random.standard_normal((*shape, *event))
    return weights, loc, random.uniform(0.5, 2.0, (*shape, *event))


def _density_network(cell: Cell, random: np.random.Generator) -> dict[str, Any]:
    """Parameters of each row's own, as a network gives them."""
    kind, shape = np.dtype(cell.dtype).type, (cell.n, cell.k)
    logits, loc = (_normal(random, shape, kind) for _ in range(2))
    scale = np.exp(_normal(random, shape, kind) / 2)
    value = kind(cell.spread) * _normal(random, (cell.n,), kind)
    loc = loc * kind(cell.spread) + kind(cell.offset)
    return {
        "logits": logits,
        "loc": loc,
        "scale": scale,
        "value": value + kind(cell.offset),
    }


def _categorical(cell: Cell, random: np.random.Generator) -> Workload:
    kind = np.dtype(cell.dtype).type
    per_row = cell.case == "categorical"
    shape = (cell.n, cell.k) if per_row else (cell.k,)
    shared: dict[str, Any] = {}
    inputs: list[dict[str, Any]] = []
    for _ in range(_sets(cell, 1) if per_row else SETS):
        value = {"value": random.integers(0, cell.k, cell.n)}
        if per_row or not shared:
            logits = {"logits": _normal(random, shape, kind)}
        inputs.append({**logits, **value} if per_row else value)
        shared = {} if per_row else logits
    return Workload(cell, shared, inputs)


def _sets(cell: Cell, arrays: int) -> int:
    """How many sets of so many arrays [N, K] take turns."""
    size = arrays * cell.n * cell.k * np.dtype(cell.dtype).itemsize
    return SETS if size < _LARGE else _LARGE_SETS


def _normal(random: np.random.Generator, shape: tuple[int, ...], kind: Any) -> Array:
    fresh = random.standard_normal(min(math.prod(shape), _FRESH), dtype=kind)
    return np.resize(fresh, shape)
