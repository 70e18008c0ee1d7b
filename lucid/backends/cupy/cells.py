"""Mixtures of many components: each row under those that matter where it lies.

Space is cut into cells, by the components alone; a cell's window is what can matter
anywhere in it: what is left out is 1/16 u of a row's sum, all together. A call counts
the rows of each cell, puts their numbers together cell by cell, and scores each block
of them over one window. The host decides nothing on the way, so that a call can be
captured in a graph. A row's bits depend on its value and the components alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lucid.backends.cupy import kernels, structs
from lucid.backends.cupy.choice import Choice, cells_of
from lucid.backends.cupy.device import CudaDevice, Size
from lucid.backends.cupy.launch import ceil_divide, int64
from lucid.backends.cupy.specs import Raw
from lucid.backends.cupy.structs import Struct
from lucid.backends.protocol import Array, Components

# Rows whose numbers are put together at a time: 64 MiB of them.
MOST_ROWS = 1 << 24
# The nodes of Gauss and Hermite's rule of three points, ±√3 standard deviations, times
# √(½ log2 e): over the factor `inverse_scale` that is a distance.
_NODE = 1.4710964
# So far from every component, in the same unit, a row is refused by its sum and done
# again: bits 101 and 960 of mixture_shift.cuh, rooted.
_REACH = {"float32": 10.1, "float64": 31.0}


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Components that are not dead, by loc: factors, constants, shift; and the borders.

    borders  [D, sides] in each dimension, of the cells between them
    counts   of the components in each window
    width    the mean window as a fraction of all components, each cell by the mixture's
             own mass in it; 1.0 where no window can be used
    """

    factors: Array
    constants: Array
    shifts: Array
    borders: Array
    counts: np.ndarray[Any, np.dtype[np.int64]]
    width: float


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """The components of all windows, and where each begins; cell 0 has none."""

    offsets: Array
    components: Array


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What the launches for values of one shape take beside values and results."""

    shape: Size
    spec: Raw
    chosen: Choice
    cells: Cells
    windows: Windows

    def launch(self, device: CudaDevice, value: Array, out: Array) -> None:
        """Fill `out` from values."""
        cells, windows = self.cells, self.windows
        value, out = value.reshape(-1, len(cells.borders)), out.reshape(-1)
        for first in range(0, len(value), MOST_ROWS):
            part = value[first : first + MOST_ROWS]
            counts, starts, rows, blocks = self.sort(device, part)
            arguments = (
                part, cells.factors, cells.constants, cells.shifts,
                windows.offsets, windows.components, *int64(counts.size),
                counts, starts, rows, out[first : first + MOST_ROWS],
                *int64(len(part), cells.constants.size),
            )  # fmt: skip
            device.launch(self.spec, (blocks,), (self.chosen.threads,), arguments)

    def sort(self, device: CudaDevice, value: Array) -> tuple[Array, Array, Array, int]:
        """Rows of each cell, where each begins, their numbers; the most blocks."""
        xp, kind, block_rows = device.xp, value.dtype.name, self.chosen.block_rows
        borders, samples = self.cells.borders, len(value)
        event, sides = borders.shape
        cells = self.cells.counts.size + 1
        counts, taken = (xp.zeros(cells, "int32") for _ in range(2))
        starts = xp.empty(cells + 1, "int32")
        # No cell's last block has to be full.
        blocks = ceil_divide(samples, block_rows) + cells
        rows = xp.empty(blocks * block_rows, "int32")
        inputs = (value, *int64(samples), borders, *int64(sides), counts)
        grid = (ceil_divide(samples, kernels.SORT_ROWS),)
        device.launch(kernels.cell_count(kind, event), grid, (256,), inputs)
        arguments = (*inputs, *int64(block_rows), taken, starts, rows)
        device.launch(kernels.cell_sort(kind, event), grid, (256,), arguments)
        return counts, starts, rows, blocks


def width(
    device: CudaDevice, components: Components, prepared: Any, dtype: Any
) -> float:
    """The mean window of a mixture, as a fraction of all its components.

    The host reads it once. Where it cannot, since the stream is being captured, it
    is 1.0: every component.
    """
    place = "cells", dtype, device.index
    if place not in components.prepared and device.capturing():
        return 1.0
    return _cells(device, components, prepared, dtype).width


def plan(
    device: CudaDevice,
    components: Components,
    prepared: Any,
    shape: Size,
    dtype: Any,
    chosen: Choice,
) -> Plan:
    """The launches for values of a shape, all of one mixture."""
    family = structs.of(components.family)
    cells = _cells(device, components, prepared, dtype)
    windows: Windows = device.kept(
        components,
        ("windows", dtype),
        lambda: _windows(device, family, cells, dtype),
    )
    spec = kernels.mixture_cells(
        family, dtype.name, shape[-1], chosen.rows, chosen.polynomials
    )
    return Plan(shape, spec, chosen, cells, windows)


def _cells(
    device: CudaDevice, components: Components, prepared: Any, dtype: Any
) -> Cells:
    family, event = structs.of(components.family), components.parameters[0].shape[2]

    def build() -> Cells:
        factors = prepared.factors.reshape(-1, event, 2)
        return _cut(device, family, factors, prepared.constants, dtype)

    result: Cells = device.kept(components, ("cells", dtype), build)
    return result


def _cut(
    device: CudaDevice, family: Struct, factors: Array, constants: Array, dtype: Any
) -> Cells:
    """Cut each dimension where the components' nodes lie, as many between any two."""
    xp = device.xp
    alive = constants != -np.inf
    factors, constants = factors[alive], constants[alive]
    order = xp.argsort(factors[:, 0, 0], kind="stable")
    factors = xp.ascontiguousarray(factors[order])
    constants = xp.ascontiguousarray(constants[order])
    (count, event), shifts = factors.shape[:2], xp.empty(2, dtype)
    if count == 0:
        none = xp.empty((event, 2), dtype)
        return Cells(factors, constants, shifts, none, np.zeros(0, np.int64), 1.0)
    spec = kernels.mixture_shift(dtype.name)
    device.launch(spec, (1,), (128,), (constants, *int64(1, count), shifts))

    loc = factors[:, :, 0].astype(np.float64)
    distance = 1 / xp.maximum(factors[:, :, 1].astype(np.float64), 1e-290)
    nodes = xp.concatenate([loc - _NODE * distance, loc, loc + _NODE * distance])
    sides = cells_of(count, event) + 1
    # The two at the ends reach beyond all nodes.
    ranks = np.linspace(0, len(nodes) - 1, sides - 2).astype(np.int64)
    reach = _REACH[dtype.name] * distance
    borders = xp.concatenate(
        [
            (loc - reach).min(axis=0, keepdims=True),
            xp.sort(nodes, axis=0)[xp.asarray(ranks)],
            (loc + reach).max(axis=0, keepdims=True),
        ]
    )
    most = float(np.finfo(dtype).max)
    borders = xp.ascontiguousarray(xp.clip(borders, -most, most).T.astype(dtype))
    cells = (sides - 1) ** event
    found = xp.empty((cells, 2), "float64")
    _launch_windows(
        device, family, dtype, cells, factors, constants, borders, found, None, None
    )
    counts, masses = device.to_numpy(found).T
    mean, mass = 1.0, float(masses.sum())
    # Without a shift all rows are done by the lazy rescale, over all components.
    if 0 < mass < np.inf and not np.isnan(device.to_numpy(shifts)[0]):
        mean = float(masses @ counts) / (mass * count)
    return Cells(factors, constants, shifts, borders, counts.astype(np.int64), mean)


def _windows(device: CudaDevice, family: Struct, cells: Cells, dtype: Any) -> Windows:
    """The components of each cell's window."""
    xp = device.xp
    ends = np.concatenate([[0, 0], np.cumsum(cells.counts)]).astype(np.int32)
    offsets = xp.asarray(ends)
    components = xp.empty(max(1, int(ends[-1])), "int32")
    _launch_windows(
        device, family, dtype, cells.counts.size,
        cells.factors, cells.constants, cells.borders, None, offsets[1:], components,
    )  # fmt: skip
    return Windows(offsets, components)


def _launch_windows(
    device: CudaDevice,
    family: Struct,
    dtype: Any,
    cells: int,
    factors: Array,
    constants: Array,
    borders: Array,
    *results: Array | None,
) -> None:
    event, sides = borders.shape
    count = int64(constants.size)
    arguments = (factors, constants, *count, borders, *int64(sides), *results)
    spec = kernels.cell_windows(family, dtype.name, event)
    device.launch(spec, (cells,), (128,), arguments)
