"""Mixtures on a GPU: what the kernels read, and their launches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lucid.backends.cupy import kernels, multivariate_normal
from lucid.backends.cupy.choice import choose
from lucid.backends.cupy.device import CudaDevice
from lucid.backends.cupy.launch import (
    MOST_BLOCKS,
    MOST_BLOCKS_YZ,
    MOST_KEPT,
    ceil_divide,
    int64,
    log_weights,
    parameter_sets,
    parameters_in_place,
    readable,
    strides,
    views,
)
from lucid.backends.protocol import Array, Components, Weights

# With fewer values than this for each mixture, as in a density network, factors would
# be written and read more often than they serve: parameters are used as they are.
_FEW_VALUES = 8
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


def log_prob(
    device: CudaDevice, components: Components, value: Array, dtype: Any, out: Array
) -> None:
    """Fill `out` [S, B] with the log density of values [S, B, D], both contiguous."""
    samples, batch, event = value.shape
    if samples * batch == 0:
        return
    if components.family.family_event_ndim == 1:
        multivariate_normal.log_prob(device, components, value, dtype, out)
    elif parameter_sets(components) == 1:
        # Shared parameters: all rows are values of one mixture.
        _prepared_log_prob(
            device, components, value, dtype, out, samples * batch, 1, event
        )
    elif samples < _FEW_VALUES:
        _per_row_log_prob(device, components, value, dtype, out)
    else:
        _prepared_log_prob(device, components, value, dtype, out, samples, batch, event)


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
    if components.family.family_event_ndim == 1:
        multivariate_normal.mode(device, components, value, dtype, index, log_posterior)
        return
    if parameter_sets(components) == 1:
        samples, batch = rows, 1
    prepared = prepare(device, components, dtype)
    arguments = (
        value, prepared.factors, prepared.constants, index, log_posterior,
        *int64(samples, batch, components.count, event),
    )  # fmt: skip
    spec = kernels.mixture_mode(components.family.__name__, dtype.name)
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
    result: Prepared = device.kept(components, ("factors", dtype.name), build)
    return result


def _build(
    device: CudaDevice, components: Components, dtype: Any, sets: int, event: int
) -> Prepared:
    family, count = components.family.__name__, components.count
    parameters, source = parameters_in_place(components)
    size = sets * count * event
    prepared = Prepared(
        device.xp.empty(size * kernels.words(family), dtype),
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
    family = components.family.__name__

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

    if prepared.factors.size > MOST_KEPT * kernels.words(family):
        return build()
    key = ("shifts", dtype.name, "ordered" if ordered else "as given")
    result: Known = device.kept(components, key, build)
    return result


def _prepared_log_prob(
    device: CudaDevice,
    components: Components,
    value: Array,
    dtype: Any,
    out: Array,
    samples: int,
    batch: int,
    event: int,
) -> None:
    family, count = components.family.__name__, components.count
    chosen = choose(
        family, dtype.name, samples, batch, count, event,
        device.multiprocessors, device.capability,
    )  # fmt: skip
    rows, parts = chosen.rows, chosen.splits
    grid: tuple[int, ...]
    grid = (ceil_divide(samples, chosen.block_rows), min(batch, MOST_BLOCKS_YZ))
    sizes = int64(samples, batch, count)
    arguments: tuple[Any, ...]
    if chosen.kernel in ("small", "fixed"):
        known = _known(device, components, dtype, chosen.ordered)
        arguments = (value, known.factors, known.constants, known.shifts, out)
        if chosen.kernel == "small":
            spec = kernels.mixture_small(family, dtype.name, count)
            grid = (min(grid[0], _BLOCKS_THAT_STAY * device.multiprocessors),)
            arguments = (*arguments, *int64(samples))
            device.launch(spec, grid, (chosen.threads,), arguments)
            return
        spec = kernels.mixture_fixed(
            family, dtype.name, event, rows, chosen.polynomials
        )
        device.launch(spec, grid, (chosen.threads,), (*arguments, *sizes))
        return
    prepared = prepare(device, components, dtype)
    partials = None
    if parts > 1:
        partials = device.xp.empty(parts * samples * batch * 2, dtype)
    inputs = (value, prepared.factors, prepared.constants)
    arguments = (*inputs, out, partials, *sizes)
    if chosen.kernel == "lazy":
        spec = kernels.mixture(family, dtype.name, event, rows)
    else:
        spec = kernels.mixture_diagonal(family, dtype.name)
        arguments = (*arguments, *int64(event))
    device.launch(spec, (*grid, parts), (chosen.threads,), arguments)
    if parts > 1:
        arguments = (*inputs, partials, *int64(parts), out, *sizes, *int64(event))
        merge = kernels.mixture_merge(family, dtype.name)
        blocks = ceil_divide(samples * batch, 128)
        device.launch(merge, (blocks,), (128,), arguments)


def _per_row_log_prob(
    device: CudaDevice, components: Components, value: Array, dtype: Any, out: Array
) -> None:
    """One fused reduction over parameters read in place."""
    samples, batch, event = value.shape
    rows, count = samples * batch, components.count
    parameters, source = parameters_in_place(components)
    arguments: list[Any] = [value]
    for array in parameters:
        arguments += [array, *int64(*strides(array, 3))]
    weights = _weights_in_place(device, components.weights, dtype)
    shape = device.xp.broadcast_to(device.xp.zeros((1, 1), dtype), (count, rows))
    arguments += [*weights, *int64(event, batch, rows), shape]
    spec = kernels.per_row_mixture(
        components.family.__name__,
        len(parameters),
        dtype.name,
        source,
        weights[0].dtype.name,
    )
    device.reduce(spec, arguments, axis=0, out=out.reshape(rows))


def _weights_in_place(
    device: CudaDevice, weights: Weights | None, dtype: Any
) -> list[Any]:
    """Weights as they were given, with what normalises a row of them: see `Weights`."""
    # A kernel of CuPy's takes no null pointer: what is unused points at a zero.
    nothing = device.xp.zeros((1, 1), "float64")
    if weights is None:
        one = device.xp.zeros((1, 1), dtype)
        return [one, *int64(0, 0), nothing, *int64(0), nothing, *int64(0, 1)]
    given = weights.given.astype(readable(weights.given.dtype), copy=False)
    total, shift = weights.total, weights.shift
    logarithms = shift is not None
    if shift is None:
        shift = nothing
    else:
        total = device.xp.log(total)
    return [
        given, *int64(*strides(given, 2)),
        total, *int64(*strides(total, 1)),
        shift, *int64(*strides(shift, 1), logarithms),
    ]  # fmt: skip
