"""Mixtures on a GPU: what the kernels read, and their launches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from lucid.backends.cupy import cells, kernels, multivariate_normal, rows, structs
from lucid.backends.cupy.choice import (
    choose,
    forced,
    may_have_cells,
    reads_in_place,
)
from lucid.backends.cupy.device import CudaDevice, Kept, Size
from lucid.backends.cupy.launch import (
    MOST_BLOCKS,
    MOST_BLOCKS_YZ,
    MOST_KEPT,
    ceil_divide,
    int64,
    log_weights,
    parameter_sets,
    parameters_in_place,
    views,
)
from lucid.backends.cupy.specs import Raw
from lucid.backends.protocol import Array, Components

# Blocks for each multiprocessor where a block walks over many rows: twice what fits.
_BLOCKS_THAT_STAY = 16


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Factors [B, K, D] of a family's WORDS values each, and constants [B, K]."""

    factors: Array
    constants: Array


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Factors and constants, perhaps in order, and shifts [B, 2]."""

    factors: Array
    constants: Array
    shifts: Array


@dataclass(frozen=True, slots=True, eq=False)
class Merge:
    """The launch that makes one of a sum in parts, each a block's share of components.

    elements  of the parts together
    sizes     what the kernel takes behind the result
    """

    spec: Raw
    grid: Size
    elements: int
    parts: np.int64
    sizes: tuple[np.int64, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """All that the launch for values of one shape takes beside values and results.

    known  what the kernel takes of the components, behind the values
    sizes  what it takes behind the result, and behind the parts of it
    """

    shape: Size
    spec: Raw
    grid: Size
    block: Size
    known: tuple[Array, ...]
    sizes: tuple[np.int64 | None, ...]
    merge: Merge | None = None

    def launch(self, device: CudaDevice, value: Array, out: Array) -> None:
        """Fill `out` from values."""
        inputs, merge = (value, *self.known), self.merge
        if merge is None:
            arguments = (*inputs, out, *self.sizes)
            device.launch(self.spec, self.grid, self.block, arguments)
            return
        parts = device.xp.empty(merge.elements, out.dtype)
        arguments = (*inputs, out, parts, *self.sizes)
        device.launch(self.spec, self.grid, self.block, arguments)
        arguments = (*inputs, parts, merge.parts, out, *merge.sizes)
        device.launch(merge.spec, merge.grid, (128,), arguments)


def log_prob(
    device: CudaDevice, components: Components, value: Array, dtype: Any, out: Array
) -> None:
    """Fill `out` [S, B] with the log density of values [S, B, D], both contiguous."""
    if value.shape[0] * value.shape[1] == 0:
        return
    if structs.is_vector(components.family):
        multivariate_normal.log_prob(device, components, value, dtype, out)
        return
    plan = _plan(device, components, value.shape, dtype)
    if plan is None:
        rows.log_prob(device, components, value, dtype, out)
    else:
        plan.launch(device, value, out)


def mode(
    device: CudaDevice,
    components: Components,
    value: Array,
    dtype: Any,
    index: Array,
    log_posterior: Array,
) -> None:
    """Fill both [S, B] with the most probable component and its log probability."""
    samples, batch, event = value.shape
    rows = samples * batch
    if rows == 0:
        return
    if structs.is_vector(components.family):
        multivariate_normal.mode(device, components, value, dtype, index, log_posterior)
        return
    if parameter_sets(components) == 1:
        samples, batch = rows, 1
    prepared = prepare(device, components, dtype)
    arguments = (
        value, prepared.factors, prepared.constants, index, log_posterior,
        *int64(samples, batch, components.count, event),
    )  # fmt: skip
    spec = kernels.mixture_mode(structs.of(components.family), dtype.name)
    device.launch(spec, (ceil_divide(rows, 128),), (128,), arguments)


def prepare(device: CudaDevice, components: Components, dtype: Any) -> Prepared:
    """The factors, made by a kernel of their own: once, unless they are very many."""
    sets = parameter_sets(components)
    event = int(components.parameters[0].shape[2])
    size = sets * components.count * event

    def build() -> Prepared:
        return _build(device, components, dtype, sets, event)

    if size > MOST_KEPT:
        return build()
    result: Prepared = device.kept(components, ("factors", dtype), build)
    return result


def _build(
    device: CudaDevice, components: Components, dtype: Any, sets: int, event: int
) -> Prepared:
    family, count = structs.of(components.family), components.count
    parameters, source = parameters_in_place(components)
    size = sets * count * event
    prepared = Prepared(
        device.xp.empty(size * family.words, dtype),
        device.xp.empty(sets * count, dtype),
    )
    arguments = (
        *views(parameters), *log_weights(components),
        *int64(sets, count, event), prepared.factors, prepared.constants,
    )  # fmt: skip
    spec = kernels.prepare(family, source, dtype.name)
    device.launch(spec, (ceil_divide(sets * count, 128),), (128,), arguments)
    return prepared


def _known(
    device: CudaDevice, components: Components, dtype: Any, ordered: bool
) -> Known:
    """What a fixed shift needs beside the factors: made and kept like them."""
    prepared = prepare(device, components, dtype)
    sets, count = parameter_sets(components), components.count
    family = structs.of(components.family)

    def build() -> Known:
        factors, constants = prepared.factors, prepared.constants
        if ordered:
            factors = device.xp.empty(factors.size, dtype)
            constants = device.xp.empty(constants.size, dtype)
            arguments = (
                prepared.factors, prepared.constants, *int64(sets, count),
                factors, constants,
            )  # fmt: skip
            spec = kernels.mixture_order(family, dtype.name)
            device.launch(spec, (ceil_divide(sets * count, 128),), (128,), arguments)
        shifts = device.xp.empty(sets * 2, dtype)
        spec = kernels.mixture_shift(dtype.name)
        sizes = int64(sets, count)
        grid = (min(sets, MOST_BLOCKS),)
        device.launch(spec, grid, (128,), (constants, *sizes, shifts))
        return Known(factors, constants, shifts)

    if prepared.factors.size > MOST_KEPT * family.words:
        return build()
    key = ("shifts", dtype, "ordered" if ordered else "as given")
    result: Known = device.kept(components, key, build)
    return result


def _plan(
    device: CudaDevice, components: Components, shape: Size, dtype: Any
) -> Plan | cells.Plan | None:
    """The plan for values [S, B, D]; None where parameters are used as they are.

    That of the last call is kept: most calls have the shape of the one before.
    """
    key = "plan", dtype, device.index
    kept: Kept | None = components.prepared.get(key)
    if kept is not None and kept.value.shape == shape and not forced():
        found: Plan | cells.Plan = device.ready(kept)
        return found
    sets = parameter_sets(components)
    if reads_in_place(sets, shape[0]):
        return None
    plan = _new_plan(device, components, shape, dtype, sets)
    few = sets * components.count * shape[2] <= MOST_KEPT
    if few and not forced() and not device.capturing():
        components.prepared[key] = Kept(plan, device.record())
    return plan


def _new_plan(
    device: CudaDevice, components: Components, shape: Size, dtype: Any, sets: int
) -> Plan | cells.Plan:
    samples, batch, event = shape
    if sets == 1:  # all rows are values of one mixture
        samples, batch = samples * batch, 1
    family, count = structs.of(components.family), components.count
    kind = dtype.name
    size, width = (samples, batch, count, event), 1.0
    if may_have_cells(family, kind, *size):
        prepared = prepare(device, components, dtype)
        width = cells.width(device, components, prepared, dtype)
    here = device.multiprocessors, device.capability
    chosen = choose(family, kind, *size, *here, width)
    if chosen.kernel == "cells":
        prepared = prepare(device, components, dtype)
        return cells.plan(device, components, prepared, shape, dtype, chosen)
    grid: Size = (ceil_divide(samples, chosen.block_rows), min(batch, MOST_BLOCKS_YZ))
    block, sizes = (chosen.threads,), int64(samples, batch, count)
    if chosen.kernel in ("small", "fixed"):
        made = _known(device, components, dtype, chosen.ordered)
        known: tuple[Array, ...] = (made.factors, made.constants, made.shifts)
        if chosen.kernel == "small":
            spec = kernels.mixture_small(family, kind, count)
            grid = (min(grid[0], _BLOCKS_THAT_STAY * device.multiprocessors),)
            return Plan(shape, spec, grid, block, known, int64(samples))
        rows, polynomials = chosen.rows, chosen.polynomials
        spec = kernels.mixture_fixed(family, kind, event, rows, polynomials)
        return Plan(shape, spec, grid, block, known, sizes)
    prepared = prepare(device, components, dtype)
    known, parts = (prepared.factors, prepared.constants), chosen.splits
    grid, with_event = (*grid, parts), (*sizes, np.int64(event))
    if chosen.kernel == "lazy":
        spec = kernels.mixture(family, kind, event, chosen.rows)
    else:
        spec, sizes = kernels.mixture_diagonal(family, kind), with_event
    if parts == 1:
        return Plan(shape, spec, grid, block, known, (None, *sizes))
    merge = Merge(
        kernels.mixture_merge(family, kind),
        (ceil_divide(samples * batch, 128),),
        parts * samples * batch * 2,
        np.int64(parts),
        with_event,
    )
    return Plan(shape, spec, grid, block, known, sizes, merge)
