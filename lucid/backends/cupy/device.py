"""One CUDA device: its arrays, its compiled kernels, and their launches."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np

from lucid.backends.cupy.functions import Functions
from lucid.backends.cupy.specs import Elementwise, Raw, Reduction
from lucid.backends.protocol import Array, Components

Size = tuple[int, ...]

# Of rows that stream through a device, one block each is copied in, worked on and
# copied out, while a fourth is being copied into page-locked memory.
_STREAMS = 4
# cudaErrorMemoryAllocation, and what leaves a process's context of no more use: errors
# of memory and links, illegal addresses and instructions, failed asserts and launches.
_OUT_OF_MEMORY = 2
_LOST = frozenset({214, 220, 226, 700, 702, 710, *range(714, 720), 721})


@dataclass(slots=True, eq=False)
class Kept:
    """A value made once, and the mark behind the work that makes it; None once done."""

    value: Any
    mark: Any


class CudaDevice:
    """Device `index`, through CuPy.

    Everything below runs with this device current, on CuPy's current stream. This is
    the seam at which tests put a device of their own, which runs kernels on the host.
    """

    def __init__(self, index: int, xp: Any = None) -> None:
        if xp is None:
            import cupy

            xp = cupy
        self.index = index
        self.xp = xp
        self.fn: Any = Functions()
        self._elementwise = functools.cache(self._build_elementwise)
        self._reduction = functools.cache(self._build_reduction)
        self._raw = functools.cache(self._build_raw)

    def current(self) -> AbstractContextManager[Any]:
        """A context in which this device is the current one."""
        return self._current

    @functools.cached_property
    def _current(self) -> AbstractContextManager[Any]:
        # One serves all threads: what it goes back to is each thread's own.
        context: AbstractContextManager[Any] = self.xp.cuda.Device(self.index)
        return context

    @functools.cached_property
    def multiprocessors(self) -> int:
        """How many blocks run truly side by side, at least."""
        attributes = self.xp.cuda.Device(self.index).attributes
        return int(attributes["MultiProcessorCount"])

    @functools.cached_property
    def capability(self) -> tuple[int, int]:
        """The compute capability: what a multiprocessor is made of."""
        digits = str(self.xp.cuda.Device(self.index).compute_capability)
        return int(digits[:-1]), int(digits[-1])

    def index_of(self, array: Array) -> int:
        """The number of the device that holds an array of this namespace."""
        return int(array.device.id)

    def kept(
        self, components: Components, key: tuple[str, ...], build: Callable[[], Any]
    ) -> Any:
        """What `build` makes of components: made once, ready on whatever stream asks.

        A stream under capture makes its own, since nothing runs while it is recorded.
        """
        place = (*key, self.index)
        if place not in components.prepared and self.capturing():
            return build()
        return self.ready(components.once(place, lambda: Kept(build(), self.record())))

    def ready(self, kept: Kept) -> Any:
        """A kept value, for work that is put on the current stream from now on."""
        if kept.mark is not None and self.wait(kept.mark):
            kept.mark = None
        return kept.value

    def capturing(self) -> bool:
        """Whether the current stream's work is recorded for a graph, and not done."""
        return bool(self.xp.cuda.get_current_stream().is_capturing())

    def record(self) -> Any:
        """A mark on the current stream, behind all work put there so far."""
        event = self.xp.cuda.Event(block=True, disable_timing=True)
        event.record()
        return event

    def wait(self, mark: Any) -> bool:
        """Let the current stream go on only behind a mark of another, host not held.

        Returns True where the mark is passed already, and never to be waited for again.
        """
        stream = self.xp.cuda.get_current_stream()
        if stream.is_capturing():  # a capture cannot wait for work outside it
            return False
        if mark.done:
            return True
        stream.wait_event(mark)
        return False

    @functools.cached_property
    def streams(self) -> tuple[Any, ...]:
        """Streams for rows of the host; never given up, nor is the memory kept there.

        None waits for CUDA's default stream, nor is waited for by it.
        """
        with self.current():
            stream = self.xp.cuda.Stream
            return tuple(stream(non_blocking=True) for _ in range(_STREAMS))

    @contextlib.contextmanager
    def on(self, stream: Any) -> Iterator[None]:
        """A context in which work goes to a stream of this device."""
        with self.current(), stream:
            yield

    def pinned(self, shape: Size, dtype: Any) -> Array:
        """A NumPy array in page-locked memory, which copies can pass in the background.

        Raises what `is_out_of_memory` knows where there is none.
        """
        count = math.prod(shape)
        size = count * np.dtype(dtype).itemsize
        memory = self.xp.cuda.alloc_pinned_memory(max(1, size))
        return np.frombuffer(memory, dtype, count).reshape(shape)

    def copy_in(self, target: Array, source: Array) -> None:
        """Put a copy from page-locked memory on the current stream."""
        target.set(source)

    def copy_out(self, source: Array, target: Array) -> None:
        """Put a copy to page-locked memory on the current stream."""
        source.get(out=target, blocking=False)

    def copy_from(self, other: CudaDevice, array: Array) -> Array:
        """A copy of another device's array, in its turn on both current streams."""
        with other.current():
            dense = other.xp.ascontiguousarray(array)
            made = other.record()
        with self.current():
            self.wait(made)
            copied = dense.copy()  # to the current device
            read = self.record()
        with other.current():
            other.wait(read)  # what is let go of there is written over no sooner
        return copied

    def release_memory(self) -> None:
        """Give back to the system what CuPy's pools keep unused."""
        with self.current():
            self.xp.get_default_memory_pool().free_all_blocks()
            self.xp.get_default_pinned_memory_pool().free_all_blocks()

    def is_out_of_memory(self, error: Exception) -> bool:
        """Whether an error says that memory ran out, here or page-locked."""
        return isinstance(error, MemoryError) or self._status(error) == _OUT_OF_MEMORY

    def is_lost(self, error: Exception) -> bool:
        """Whether no call on this device can work any more after this error."""
        return self._status(error) in _LOST

    def _status(self, error: Exception) -> int | None:
        cuda = self.xp.cuda
        known = (cuda.runtime.CUDARuntimeError, cuda.driver.CUDADriverError)
        return int(error.status) if isinstance(error, known) else None

    def to_numpy(self, array: Array) -> Array:
        """A copy in the host's memory, after all work on this stream is done."""
        return self.xp.asnumpy(array)

    def elementwise(self, spec: Elementwise, arguments: Sequence[Any]) -> None:
        """Run an elementwise kernel; the last argument is its output."""
        self._elementwise(spec)(*arguments)

    def reduce(
        self, spec: Reduction, arguments: Sequence[Any], axis: int, out: Array
    ) -> None:
        """Run a reduction over one axis of its broadcast inputs."""
        self._reduction(spec)(*arguments, out, axis=axis)

    def launch(
        self, spec: Raw, grid: Size, block: Size, arguments: Sequence[Any]
    ) -> None:
        """Launch a kernel; sizes are NumPy scalars of the kernel's own types."""
        self._raw(spec)(grid, block, tuple(arguments), shared_mem=spec.shared)

    def _build_elementwise(self, spec: Elementwise) -> Any:
        return self.xp.ElementwiseKernel(
            spec.inputs,
            spec.outputs,
            spec.operation,
            spec.name,
            preamble=spec.preamble,
        )

    def _build_reduction(self, spec: Reduction) -> Any:
        return self.xp.ReductionKernel(
            spec.inputs,
            spec.outputs,
            spec.map,
            spec.reduce,
            spec.post_map,
            spec.identity,
            spec.name,
            reduce_type=spec.reduce_type,
            preamble=spec.preamble,
        )

    def _build_raw(self, spec: Raw) -> Any:
        return self.xp.RawKernel(spec.source, spec.name)
