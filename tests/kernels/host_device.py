"""A CUDA device that is not there: NumPy's arrays, and kernels run on the host.

The CUDA backend works on it as on a real one. Every launch runs the kernel's own text
with the grid, the block and the arguments that the backend chose, each array exactly as
long as the backend made it, under g++'s sanitizers.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from host import Host

from lucid.backends.cupy.device import CudaDevice, Size
from lucid.backends.cupy.specs import Elementwise, Raw, Reduction
from lucid.backends.numpy.functions import Functions

Spec = Elementwise | Reduction | Raw

_FRAME = '#include "server.hpp"\n'
_TYPES = {
    "float16": "unsigned short",
    "float32": "float",
    "float64": "double",
    "int8": "signed char",
    "int64": "long long",
    "uint64": "unsigned long long",
}
_THREADS = 64


@dataclass(frozen=True)
class Launch:
    """One launch that the backend asked for, with where its arrays lie."""

    name: str
    grid: Size
    block: Size
    addresses: tuple[int, ...]


class HostDevice(CudaDevice):
    """Runs the given kernels, and no others."""

    def __init__(self, units: Sequence[str], folder: Path) -> None:
        super().__init__(0, np)
        self.fn = Functions()
        self.multiprocessors = 132
        self.capability = (9, 0)
        self.captured = False
        self.launches: list[Launch] = []
        self.waits: list[int] = []
        self._host = Host(*units, folder=folder)

    def close(self) -> None:
        self._host.close()

    def current(self) -> AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def index_of(self, array: Any) -> int:
        return 0

    def capturing(self) -> bool:
        return self.captured

    def record(self) -> Any:
        return len(self.launches)

    def wait(self, mark: Any) -> None:
        self.waits.append(mark)

    def to_numpy(self, array: Any) -> Any:
        return array

    def launch(
        self, spec: Raw, grid: Size, block: Size, arguments: Sequence[Any]
    ) -> None:
        assert all(size > 0 for size in (*grid, *block)), (grid, block)
        assert grid[0] < 2**31
        assert all(size < 2**16 for size in grid[1:])
        assert spec.shared == 0
        self._run(spec.name, grid, block[0], arguments)

    def elementwise(self, spec: Elementwise, arguments: Sequence[Any]) -> None:
        *inputs, out = arguments
        dense = [
            np.array(np.broadcast_to(a, out.shape)).reshape(-1) if each else a
            for a, (*_, each) in zip(inputs, _inputs(spec), strict=True)
        ]
        result = np.empty(out.size, out.dtype)
        self._run(spec.name, _over(out.size), _THREADS, [*dense, result, *_sizes(out)])
        out[...] = result.reshape(out.shape)

    def reduce(
        self, spec: Reduction, arguments: Sequence[Any], axis: int, out: Any
    ) -> None:
        *inputs, shape = arguments
        assert axis == 0
        assert shape.shape == (shape.shape[0], out.size)
        counts = np.int64(shape.shape[0]), np.int64(out.size)
        self._run(spec.name, _over(out.size), _THREADS, [*inputs, out, *counts])

    def _run(
        self, name: str, grid: Size, threads: int, arguments: Sequence[Any]
    ) -> None:
        for argument in arguments:
            assert argument is None or isinstance(argument, (np.ndarray, np.generic))
        addresses = tuple(a.ctypes.data for a in arguments if isinstance(a, np.ndarray))
        self.launches.append(Launch(name, grid, (threads,), addresses))
        memory = [_memory(a) if isinstance(a, np.ndarray) else a for a in arguments]
        results = iter(self._host(name, grid, threads, *memory))
        for array in memory:
            if isinstance(array, np.ndarray):
                result = next(results)
                if array.flags.writeable:
                    array[...] = result


def _memory(array: Any) -> Any:
    """All that a pointer to the array's first element may reach, strides and all."""
    assert all(stride >= 0 for stride in array.strides)
    last = sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True))
    return np.lib.stride_tricks.as_strided(
        array,
        (last // array.itemsize + 1,),
        (array.itemsize,),
        writeable=array.flags.writeable,
    )


def _over(count: int) -> Size:
    # One thread more than there are elements, as in CuPy's last block.
    return (count // _THREADS + 1,)


def _sizes(array: Any) -> tuple[np.int64]:
    return (np.int64(array.size),)


def units(specs: Sequence[Spec]) -> list[str]:
    """A translation unit for each group of kernels with the same headers."""
    groups: dict[str, list[Spec]] = {}
    for spec in specs:
        groups.setdefault(_parts(spec)[0], []).append(spec)
    return [unit(text, group) for text, group in groups.items()]


def unit(text: str, specs: Sequence[Spec]) -> str:
    """One translation unit for kernels that `text` has all headers of."""
    entries = (f"{_parts(spec)[1]}\nENROLL({spec.name});\n" for spec in specs)
    return _FRAME + text + "".join(entries)


def _parts(spec: Spec) -> tuple[str, str]:
    """What defines what a kernel needs, and the kernel."""
    if isinstance(spec, Raw):
        text, entry = re.split(r"^(?=LUCID_)", spec.source, flags=re.MULTILINE)
        return text, entry
    if isinstance(spec, Elementwise):
        return spec.preamble, _elementwise(spec)
    return spec.preamble, _reduction(spec)


def _elementwise(spec: Elementwise) -> str:
    """The operation in CuPy's loop over elements."""
    inputs, kind = _inputs(spec), _TYPES[spec.outputs.split()[0]]
    arguments = ", ".join(
        f"const {k}* {name}_" if each else f"{k} {name}" for k, name, each in inputs
    )
    reads = " ".join(
        f"const {k} {name} = {name}_[i];" for k, name, each in inputs if each
    )
    return f"""
static void {spec.name}({arguments}, {kind}* out0_, long long size) {{
  const long long i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= size) return;
  {reads}
  {kind}& out0 = out0_[i];
  {spec.operation};
}}"""


def _inputs(spec: Elementwise) -> list[tuple[str, str, bool]]:
    """Type and name of each, and whether an element of it is read: those are in0 …"""
    found = []
    for declared, (kind, name) in zip(
        spec.inputs.split(","), _parameters(spec.inputs), strict=True
    ):
        raw = declared.split()[0] == "raw"
        kind = f"const {kind}*" if raw else kind
        found.append((kind, name, re.fullmatch(r"in\d+", name) is not None))
    return found


def _reduction(spec: Reduction) -> str:
    """The map in CuPy's loop, over two states that are merged at the end."""
    *names, _ = _parameters(spec.inputs)
    kind = _TYPES[spec.outputs.split()[0]]
    arguments = ", ".join(
        f"{k} {name}" if k == "long long" else f"const {k}* {name}" for k, name in names
    )
    return f"""
static void {spec.name}({arguments}, {kind}* out0_, long long K_, long long size) {{
  const long long _i = blockIdx.x * blockDim.x + threadIdx.x;
  {spec.reduce_type} even = {spec.identity}, odd = {spec.identity};
  for (int _J = 0; _J < K_; ++_J) {{
    auto& a = _J % 2 ? odd : even;
    const {spec.reduce_type} b = {spec.map};
    a = {spec.reduce};
  }}
  const auto merged = [](auto a, auto b) {{ return {spec.reduce}; }};
  const auto a = merged(even, odd);
  if (_i >= size) return;
  {kind}& out0 = out0_[_i];
  {spec.post_map};
}}"""


def _parameters(declared: str) -> list[tuple[str, str]]:
    words = [parameter.split() for parameter in declared.split(",")]
    return [(_TYPES[kind], name) for *_, kind, name in words]
