"""One CUDA device: its arrays, its compiled kernels, and their launches."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from lucid.backends.cupy.functions import Functions
from lucid.backends.cupy.specs import Elementwise, Raw, Reduction
from lucid.backends.protocol import Array, Components

Size = tuple[int, ...]


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
        key = (*key, f"cuda:{self.index}")
        if self.capturing() and key not in components.prepared:
            return build()
        value, made = components.once(key, lambda: (build(), self.record()))
        self.wait(made)
        return value

    def capturing(self) -> bool:
        """Whether the current stream's work is recorded for a graph, and not done."""
        return bool(self.xp.cuda.get_current_stream().is_capturing())

    def record(self) -> Any:
        """A mark on the current stream, behind all work put there so far."""
        event = self.xp.cuda.Event(disable_timing=True)
        event.record()
        return event

    def wait(self, mark: Any) -> None:
        """Let the current stream go on only behind a mark of another, host not held."""
        if not self.capturing():  # a capture cannot wait for work outside it
            self.xp.cuda.get_current_stream().wait_event(mark)

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
