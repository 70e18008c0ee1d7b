"""Mixtures on a GPU whose parameters are each row's own: read once, where they are."""

from __future__ import annotations

from typing import Any

from lucid.backends.cupy import kernels, structs
from lucid.backends.cupy.choice import choose_rows
from lucid.backends.cupy.device import CudaDevice
from lucid.backends.cupy.launch import (
    MOST_BLOCKS,
    ceil_divide,
    int64,
    parameters_in_place,
    readable,
    strides,
    views,
)
from lucid.backends.protocol import Array, Components, Weights


def log_prob(
    device: CudaDevice, components: Components, value: Array, dtype: Any, out: Array
) -> None:
    """Fill `out` [S, B] with the log density of values [S, B, D], both contiguous."""
    samples, batch, event = value.shape
    rows, count = samples * batch, components.count
    parameters, source = parameters_in_place(components)
    weights = components.weights
    arrays = parameters if weights is None else [*parameters, weights.given]
    steps = [strides(array, 2)[1] for array in arrays]
    sizes = (rows, count, event)
    chosen = choose_rows(*sizes, min(steps), max(steps), device.multiprocessors)
    if chosen.kernel == "reduction":
        _reduce(device, components, value, dtype, out)
        return
    given, logarithms = None, False
    if weights is not None:
        given, logarithms = weights.given, weights.logarithms
        given = given.astype(readable(given.dtype), copy=False)
    arguments = (
        value, *views(parameters), given,
        *int64(*((0, 0) if given is None else strides(given, 2)), logarithms),
        out, *int64(rows, batch, count),
    )  # fmt: skip
    weighed = dtype.name if given is None else given.dtype.name
    family = structs.of(components.family)
    spec = kernels.mixture_rows(family, dtype.name, source, weighed, chosen.lanes)
    blocks = ceil_divide(rows * chosen.lanes, 256)
    device.launch(spec, (min(blocks, MOST_BLOCKS),), (256,), arguments)


def _reduce(
    device: CudaDevice, components: Components, value: Array, dtype: Any, out: Array
) -> None:
    """The same by one fused reduction of CuPy's."""
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
        structs.of(components.family),
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
