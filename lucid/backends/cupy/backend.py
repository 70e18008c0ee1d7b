"""The CUDA backend: what the frame asks for, on one device."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any

import numpy as np

from lucid.backends.cupy import categorical, draws, kernels, mixture, structs
from lucid.backends.cupy.device import CudaDevice, Kept
from lucid.backends.cupy.launch import readable
from lucid.backends.cupy.staging import Pipeline, Results, Work
from lucid.backends.protocol import Array, Backend, Components, FamilyType


class CupyBackend:
    """The fused operations on CUDA device `index`; see lucid.backends.protocol.Backend.

    Work is put on CuPy's current stream and not waited for. What is kept from one call
    to the next is waited for by whichever stream uses it. What is let go of, also with
    a distribution, while another stream than its own still reads it may be written
    over, as CuPy's own arrays may. A call can be captured in a graph once the same call
    was made, and finished, before the capture; its temporaries are CuPy's, so capture
    with CuPy's memory pool held.
    """

    type = "cuda"

    def __init__(self, index: int = 0, device: CudaDevice | None = None) -> None:
        self.index = index
        self._device = CudaDevice(index) if device is None else device
        self.xp = self._device.xp
        self.fn = self._device.fn

    def asarray(self, value: Any, dtype: Any = None, copy: bool | None = None) -> Array:
        """An array of this device; `copy` as in NumPy.

        Raises ValueError for an array of another device, which never moves by itself.
        """
        with self._device.current():
            if not isinstance(value, self.xp.ndarray):
                if copy is False:
                    raise ValueError("memory of the host cannot be used without a copy")
                return self.xp.asarray(value, dtype=dtype)
            owner = self._device.index_of(value)
            if owner != self.index:
                raise ValueError(
                    f"an array of cuda:{owner} was given to cuda:{self.index}: move it "
                    f"first, with .to('cuda:{self.index}')"
                )
            same = dtype is None or value.dtype == np.dtype(dtype)
            if copy is False and not same:
                raise ValueError(f"{value.dtype} becomes {dtype} only by a copy")
            if same and not copy:
                return value
            return value.astype(value.dtype if dtype is None else dtype, copy=True)

    def copy_of(self, array: Array, source: Backend, dtype: Any = None) -> Array:
        """A copy on this device, from the host's memory or straight from another GPU's.

        In its turn on both devices' current streams.
        """
        if not isinstance(source, CupyBackend):
            return self.asarray(array, dtype)
        copied = self._device.copy_from(source._device, array)
        return self.asarray(copied, dtype)

    def to_numpy(self, array: Array) -> Array:
        """A copy in the host's memory."""
        with self._device.current():
            return self._device.to_numpy(array)

    def kept(self, store: dict[str, Any], key: str, build: Callable[[], Any]) -> Any:
        """What `build` made, kept in `store`; ready on whatever stream asks for it."""
        with self._device.current():
            found = store.get(key)
            if found is None:
                if self._device.capturing():
                    return build()
                made = Kept(build(), self._device.record())
                found = store.setdefault(key, made)
            return self._device.ready(found)

    def map_blocks(
        self, work: Work, blocks: Iterable[Array], dtype: Any
    ) -> Generator[Results, None, None]:
        """work(block) of blocks of rows in order, each result as a NumPy array."""
        return Pipeline(self._device, work, np.dtype(dtype)).run(blocks)

    def log_prob(
        self,
        family: FamilyType,
        value: Array,
        parameters: tuple[Array, ...],
        dtype: Any,
        out: Array | None = None,
    ) -> Array:
        """Elementwise log density of a scalar family, operands broadcast."""
        dtype = np.dtype(dtype)
        with self._device.current():
            operands = [a.astype(dtype, copy=False) for a in (value, *parameters)]
            if out is None:
                shape = np.broadcast_shapes(*(a.shape for a in operands))
                out = self.xp.empty(shape, dtype)
            direct = out if out.dtype == dtype else self.xp.empty(out.shape, dtype)
            if out.size:
                spec = kernels.log_prob(structs.of(family), len(parameters), dtype.name)
                self._device.elementwise(spec, (*operands, direct))
            return _finish(direct, out)

    def mixture_log_prob(
        self, components: Components, value: Array, dtype: Any, out: Array | None = None
    ) -> Array:
        """log Σ_k w_k p_k(x) for values [S, B, D], as [S, B]."""
        dtype = np.dtype(dtype)
        with self._device.current():
            direct = out
            if out is None or out.dtype != dtype or not out.flags.c_contiguous:
                direct = self.xp.empty(value.shape[:2], dtype)
            mixture.log_prob(
                self._device, components, self._dense(value, dtype), dtype, direct
            )
            return _finish(direct, direct if out is None else out)

    def mixture_mode(
        self, components: Components, value: Array, dtype: Any
    ) -> tuple[Array, Array]:
        """The most probable component [S, B] (int64) and its log probability."""
        dtype = np.dtype(dtype)
        with self._device.current():
            index = self.xp.empty(value.shape[:2], "int64")
            log_posterior = self.xp.empty(value.shape[:2], dtype)
            dense = self._dense(value, dtype)
            mixture.mode(self._device, components, dense, dtype, index, log_posterior)
            return index, log_posterior

    def categorical_log_prob(self, logits: Array, value: Array, dtype: Any) -> Array:
        """log softmax(logits [B or 1, K])[value [S, B]], as [S, B]."""
        dtype = np.dtype(dtype)
        with self._device.current():
            result = self.xp.empty(value.shape, dtype)
            categorical.log_prob(
                self._device,
                self._dense(logits, readable(logits.dtype)),
                self._dense(value, np.dtype(np.int64)),
                dtype,
                result,
            )
            return result

    def lookup(self, table: Array, value: Array, out: Array | None = None) -> Array:
        """table[value + 1]; the table's ends where there is none."""
        with self._device.current():
            if out is None:
                out = self.xp.empty(value.shape, table.dtype)
            categorical.gather(self._device, table, value, out)
            return out

    def draw(
        self,
        components: Components,
        key: tuple[int, int],
        start: int,
        size: int,
        dtype: Any,
    ) -> tuple[Array, Array]:
        """Values [S·B, D] and component indices [S·B]; row r is of mixture r mod B."""
        with self._device.current():
            return draws.draw(
                self._device, components, key, start, size, np.dtype(dtype)
            )

    def draw_index(
        self, table: Any, key: tuple[int, int], start: int, size: int
    ) -> Array:
        """Category indices [size] (int64); row r reads table r mod B, word 0."""
        with self._device.current():
            return draws.draw_index(self._device, table, key, start, size)

    def _dense(self, array: Array, dtype: np.dtype[Any]) -> Array:
        return self.xp.ascontiguousarray(array, dtype=dtype)


def _finish(result: Array, out: Array) -> Array:
    """The result where it is wanted: rounded, or scattered, if it is not there yet."""
    if out is not result:
        out[...] = result
    return out
