"""Draws on a GPU: an index, that component's parameters, one draw, in one kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from lucid.backends.cupy import kernels
from lucid.backends.cupy.device import CudaDevice
from lucid.backends.cupy.launch import ceil_divide, int64, uint64
from lucid.backends.cupy.mixture import views
from lucid.backends.cupy.multivariate_normal import contiguous
from lucid.backends.protocol import Array, Components, Weights
from lucid.backends.tables import IndexTable

_THREADS = 256


@dataclass(frozen=True, slots=True, eq=False)
class DeviceTable:
    """An IndexTable on the device: tables [n, K], a guide [G] if n = 1, n and G."""

    cumulative: Array | None
    guide: Array | None
    tables: int
    guides: int

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What a drawing kernel takes of it."""
        return (self.cumulative, self.guide, *int64(self.tables, self.guides))


# The copies of a table live as long as the table.
_uploads: WeakKeyDictionary[IndexTable, dict[CudaDevice, DeviceTable]] = (
    WeakKeyDictionary()
)
# K = 1: there is nothing to choose.
_NO_CHOICE = DeviceTable(None, None, 1, 1)


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
    values = device.xp.empty((size, event), dtype)
    index = device.xp.empty(size, "int64")
    if size == 0:
        return values, index
    table = _NO_CHOICE
    if components.weights is not None:
        table = _component_table(device, components, components.weights)
    if components.family.family_event_ndim == 1:
        loc, scale_tril = contiguous(device, components, _sets(components), dtype)
        spec = kernels.mvn_draw(dtype.name)
        parameters: tuple[Any, ...] = (loc, scale_tril, *int64(loc.shape[0]))
    else:
        spec = kernels.draw(components.family.__name__, dtype.name)
        parameters = views([a.astype(dtype, copy=False) for a in components.parameters])
    arguments = (
        *parameters, *table.arguments,
        *int64(components.batch, components.count, event),
        *uint64(*key, start, size), values, index,
    )  # fmt: skip
    device.launch(spec, (ceil_divide(size, _THREADS),), (_THREADS,), arguments)
    return values, index


def draw_index(
    device: CudaDevice, table: IndexTable, key: tuple[int, int], start: int, size: int
) -> Array:
    """Category indices [size]; row r reads table r mod B."""
    index = device.xp.empty(size, "int64")
    if size == 0:
        return index
    uploaded = _uploads.setdefault(table, {}).get(device)
    if uploaded is None:
        uploaded = _uploads[table][device] = upload(device, table)
    count = int(table.cumulative.shape[-1])
    arguments = (
        uploaded.cumulative, uploaded.guide,
        *int64(uploaded.tables, count, uploaded.guides),
        *uint64(*key, start, size), index,
    )  # fmt: skip
    blocks = ceil_divide(size, _THREADS)
    device.launch(kernels.draw_index(), (blocks,), (_THREADS,), arguments)
    return index


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


def _component_table(
    device: CudaDevice, components: Components, weights: Weights
) -> DeviceTable:
    def build() -> DeviceTable:
        # NumPy's exponential, so that both devices draw by the same table.
        on_host = Weights(
            device.to_numpy(weights.given),
            device.to_numpy(weights.total),
            None if weights.shift is None else device.to_numpy(weights.shift),
        )
        relative = on_host.relative()
        if relative.shape[0] == 1:
            relative = relative[0]
        return upload(device, IndexTable.from_weights(relative))

    result: DeviceTable = components.once((device.index, "table"), build)
    return result


def _sets(components: Components) -> int:
    return max(int(array.shape[0]) for array in components.parameters)
