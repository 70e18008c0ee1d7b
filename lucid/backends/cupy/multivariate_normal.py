"""Mixtures of multivariate normals on a GPU: −‖W(x − μ)‖², W a whitener a component.

W = L⁻¹ is made in float64 once per set of components, whatever the compute dtype.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lucid.backends.cupy import kernels
from lucid.backends.cupy.device import CudaDevice
from lucid.backends.cupy.launch import (
    MOST_BLOCKS,
    MOST_BLOCKS_YZ,
    ceil_divide,
    int64,
    log_weights,
    parameter_sets,
    parameters_in_place,
    splits,
)
from lucid.backends.protocol import Array, Components

_ROWS, _THREADS = 128, 256


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """loc [B, K, D], whitener [B, K, D, D] and constants [B, K]."""

    loc: Array
    whitener: Array
    constants: Array


def log_prob(
    device: CudaDevice, components: Components, value: Array, dtype: Any, out: Array
) -> None:
    """Fill `out` [S, B] with the log density of values [S, B, D]."""
    samples, batch, event = _sizes(components, value)
    prepared = prepare(device, components, dtype)
    grid = (ceil_divide(samples, _ROWS), min(batch, MOST_BLOCKS_YZ))
    parts = splits(grid[0] * grid[1], device.multiprocessors, components.count)
    partials = None
    if parts > 1:
        partials = device.xp.empty(parts * samples * batch * 2, dtype)
    arguments = (
        value, prepared.loc, prepared.whitener, prepared.constants, out, partials,
        *int64(samples, batch, components.count, event),
    )  # fmt: skip
    spec = kernels.mvn_mixture(dtype.name)
    device.launch(spec, (*grid, parts), (_THREADS,), arguments)
    if parts > 1:
        count = samples * batch
        arguments = (partials, *int64(parts), out, *int64(count))
        merge = kernels.mvn_merge(dtype.name)
        device.launch(merge, (ceil_divide(count, 128),), (128,), arguments)


def mode(
    device: CudaDevice,
    components: Components,
    value: Array,
    dtype: Any,
    index: Array,
    log_posterior: Array,
) -> None:
    """Fill both [S, B] with the most probable component and its log probability."""
    samples, batch, event = _sizes(components, value)
    prepared = prepare(device, components, dtype)
    arguments = (
        value, prepared.loc, prepared.whitener, prepared.constants,
        index, log_posterior, *int64(samples, batch, components.count, event),
    )  # fmt: skip
    grid = (ceil_divide(samples, _ROWS), min(batch, MOST_BLOCKS_YZ))
    device.launch(kernels.mvn_mode(dtype.name), grid, (_THREADS,), arguments)


def _sizes(components: Components, value: Array) -> tuple[int, int, int]:
    """(S, B, D), all rows being values of one mixture where parameters are shared."""
    samples, batch, event = value.shape
    if parameter_sets(components) == 1:
        return samples * batch, 1, event
    return samples, batch, event


def prepare(device: CudaDevice, components: Components, dtype: Any) -> Prepared:
    """Whiteners, made by a kernel of their own once per components and dtype."""

    def build() -> Prepared:
        sets, count = parameter_sets(components), components.count
        (loc, scale_tril), source = contiguous(device, components, sets)
        event = int(loc.shape[2])
        whitener = device.xp.empty((sets, count, event, event), "float64")
        constants = device.xp.empty((sets, count), "float64")
        arguments = (
            loc, scale_tril, *log_weights(components),
            *int64(sets, count, event), whitener, constants,
        )  # fmt: skip
        spec = kernels.mvn_prepare(source)
        blocks = min(sets * count, MOST_BLOCKS)
        device.launch(spec, (blocks,), (128,), arguments)
        # A component of weight 0 leaves no trace, not even of a NaN in its loc.
        dead = (constants == -device.xp.inf)[..., None]
        return Prepared(
            device.xp.where(dead, 0.0, loc.astype("float64")).astype(dtype),
            whitener.astype(dtype, copy=False),
            constants.astype(dtype, copy=False),
        )

    result: Prepared = device.kept(components, ("whitener", dtype.name), build)
    return result


def contiguous(
    device: CudaDevice, components: Components, sets: int
) -> tuple[list[Array], str]:
    """(loc, scale_tril) of all `sets`, dense, and the one type they have."""
    xp = device.xp
    parameters, source = parameters_in_place(components)
    dense = [
        xp.ascontiguousarray(xp.broadcast_to(a, (sets, *a.shape[1:])))
        for a in parameters
    ]
    return dense, source
