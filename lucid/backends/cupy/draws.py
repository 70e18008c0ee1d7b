"""Draws on a GPU: an index, that component's parameters, one draw, in one kernel.

Weights that are a mixture's own make no table that the host could see: a few draws pick
by the weights themselves, for many a table is made on the device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from lucid.backends.cupy import kernels, structs
from lucid.backends.cupy.device import CudaDevice, Kept
from lucid.backends.cupy.launch import (
    MOST_KEPT,
    ceil_divide,
    int64,
    parameters_in_place,
    readable,
    strides,
    uint64,
    views,
)
from lucid.backends.cupy.multivariate_normal import contiguous
from lucid.backends.protocol import Array, Components, Weights
from lucid.backends.tables import IndexTable

_THREADS = 256
# From this many draws of each mixture on, its weights are made into a table.
_MANY_DRAWS = 8


@dataclass(frozen=True, slots=True, eq=False)
class DeviceTable:
    """Index tables on the device: [n, K], a guide [G] if n = 1, n and G."""

    cumulative: Array | None
    guide: Array | None
    tables: int
    guides: int

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What a drawing kernel takes of it."""
        return (self.cumulative, self.guide, *int64(self.tables, self.guides))


# The copies of a table live as long as the table.
_uploads: WeakKeyDictionary[IndexTable, dict[CudaDevice, Kept]] = WeakKeyDictionary()
# The index is there already.
_PICKED = DeviceTable(None, None, 1, 1)


def draw(
    device: CudaDevice,
    components: Components,
    key: tuple[int, int],
    start: int,
    size: int,
    dtype: Any,
) -> tuple[Array, Array]:
    """Values [size, D] and indices [size]; row r belongs to mixture r mod B."""
    event = int(components.parameters[0].shape[2])
    # Half precision is drawn in single and rounded once.
    wide = np.dtype(np.float32) if dtype.itemsize < 4 else dtype
    values = device.xp.empty((size, event), wide)
    index = device.xp.zeros(size, "int64")
    if size == 0:
        return values.astype(dtype), index
    table = _PICKED
    if components.weights is not None:
        table = _chosen_by(device, components, key, start, index)
    if structs.is_vector(components.family):
        (loc, scale_tril), source = contiguous(device, components, _sets(components))
        spec = kernels.mvn_draw(source, wide.name)
        parameters: tuple[Any, ...] = (loc, scale_tril, *int64(loc.shape[0]))
    else:
        arrays, source = parameters_in_place(components)
        spec = kernels.draw(structs.drawing(components.family), source, wide.name)
        parameters = views(arrays)
    arguments = (
        *parameters, *table.arguments,
        *int64(components.batch, components.count, event),
        *uint64(*key, start, size), values, index,
    )  # fmt: skip
    device.launch(spec, (ceil_divide(size, _THREADS),), (_THREADS,), arguments)
    if wide != dtype and components.family.draws_above_zero:
        values = device.xp.maximum(values, np.finfo(dtype).tiny)
    return values.astype(dtype, copy=False), index


def draw_index(
    device: CudaDevice, table: IndexTable, key: tuple[int, int], start: int, size: int
) -> Array:
    """Category indices [size]; row r reads table r mod B."""
    index = device.xp.empty(size, "int64")
    if size == 0:
        return index
    uploaded = _uploaded(device, table)
    count = int(table.cumulative.shape[-1])
    arguments = (
        uploaded.cumulative, uploaded.guide,
        *int64(uploaded.tables, count, uploaded.guides),
        *uint64(*key, start, size), index,
    )  # fmt: skip
    blocks = ceil_divide(size, _THREADS)
    device.launch(kernels.draw_index(), (blocks,), (_THREADS,), arguments)
    return index


def _uploaded(device: CudaDevice, table: IndexTable) -> DeviceTable:
    copies = _uploads.setdefault(table, {})
    if device not in copies:
        made = upload(device, table)
        if device.capturing():  # nothing has been copied yet
            return made
        copies[device] = Kept(made, device.record())
    found: DeviceTable = device.ready(copies[device])
    return found


def upload(device: CudaDevice, table: IndexTable) -> DeviceTable:
    """The table's arrays, copied to the device."""
    xp = device.xp
    single = table.cumulative.ndim == 1
    count = table.cumulative.shape[-1]
    cumulative = xp.asarray(table.cumulative.reshape(-1, count))
    if single:
        guide = xp.asarray(table.guide)
        return DeviceTable(cumulative, guide, 1, int(guide.size))
    # Many tables have no guides: the kernel bisects them whole.
    return DeviceTable(cumulative, None, int(cumulative.shape[0]), 1)


def _chosen_by(
    device: CudaDevice,
    components: Components,
    key: tuple[int, int],
    start: int,
    index: Array,
) -> DeviceTable:
    """The table that picks components; or none, with `index` filled here instead."""
    weights = components.weights
    assert weights is not None
    if weights.given.shape[0] == 1:
        table: DeviceTable = device.kept(
            components, ("table",), lambda: _shared_table(device, weights)
        )
        return table
    given = weights.given.astype(readable(weights.given.dtype), copy=False)
    shift = weights.shift
    batch, count = components.batch, components.count
    own = (
        given, *int64(*strides(given, 2)),
        shift, *int64(*((0,) if shift is None else strides(shift, 1))),
        *int64(batch, count),
    )  # fmt: skip
    if index.size < _MANY_DRAWS * batch:
        spec = kernels.pick(given.dtype.name)
        arguments = (*own, *uint64(*key, start, index.size), index)
        blocks = ceil_divide(index.size, _THREADS)
        device.launch(spec, (blocks,), (_THREADS,), arguments)
        return _PICKED

    def build() -> DeviceTable:
        cumulative = device.xp.empty((batch, count), "uint64")
        spec = kernels.row_tables(given.dtype.name)
        blocks = ceil_divide(batch, _THREADS)
        device.launch(spec, (blocks,), (_THREADS,), (*own, cumulative))
        return DeviceTable(cumulative, None, batch, 1)

    if batch * count > MOST_KEPT:
        return build()
    table = device.kept(components, ("tables",), build)
    return table


def _shared_table(device: CudaDevice, weights: Weights) -> DeviceTable:
    # NumPy's exponential, so that both devices draw by the same table.
    on_host = Weights(
        device.to_numpy(weights.given),
        device.to_numpy(weights.total),
        None if weights.shift is None else device.to_numpy(weights.shift),
    )
    return upload(device, IndexTable.from_weights(on_host.relative()[0]))


def _sets(components: Components) -> int:
    return max(int(array.shape[0]) for array in components.parameters)
