"""Compile kernels as CuPy would, without a driver, and read the machine code.

CuPy's text builders and options are private: the version this was written against is
pinned here, and the tests say so when another is installed.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CUPY_VERSION = "14.2.0"

_HEADERS = "".join(
    f"#include <cupy/{name}>\n"
    for name in ("complex.cuh", "carray.cuh", "atomics.cuh", "math_constants.h")
)
_ARRAY, _INDEXER, _SCALAR = 1, 2, 3  # CuPy's kinds of argument


def elementwise_text(kernel: Any, ndim: int = 1, scalars: Collection[str] = ()) -> str:
    """The source CuPy compiles for an ElementwiseKernel on arrays of `ndim` axes."""
    from cupy._core import _kernel

    text: str = _kernel._get_elementwise_kernel_code(
        _arguments(kernel.params, ndim, scalars),
        _kernel._TypeMap(()),
        kernel.params,
        kernel.operation,
        kernel.name,
        kernel.preamble,
        **kernel.kwargs,
    )
    return _HEADERS + text


def reduction_text(
    kernel: Any, ndim: int = 2, scalars: Collection[str] = (), index: str = "int64"
) -> str:
    """The source CuPy compiles for a ReductionKernel over inputs of `ndim` axes."""
    from cupy._core import _kernel, _reduction

    text: str = _reduction._ReductionKernel_get_cached_function_code(
        kernel.nin,
        kernel.nout,
        kernel._params,
        _arguments(kernel._params, ndim, {*scalars, "_block_stride"}),
        _kernel._TypeMap((("IndexT", index),)),
        kernel.name,
        512,  # CuPy's block
        kernel.reduce_type,
        kernel.identity,
        kernel.map_expr,
        kernel.reduce_expr,
        kernel.post_map_expr,
        kernel.preamble,
        kernel.options,
    )
    return _HEADERS + text


def _arguments(params: Any, ndim: int, scalars: Collection[str]) -> tuple[Any, ...]:
    import cupy
    from cupy._core._kernel import _ArgInfo

    def kind(parameter: Any) -> int:
        if parameter.dtype is None:
            return _INDEXER
        return _SCALAR if parameter.name in scalars else _ARRAY

    return tuple(
        _ArgInfo(kind(p), cupy.ndarray, p.dtype, 1 if p.raw else ndim, False, False)
        for p in params
    )


def compile_cubin(
    source: str, arch: int, options: tuple[str, ...] = ()
) -> tuple[bytes, str]:
    """(machine code, compiler's log) of CUDA C++ for `sm_<arch>`, as CuPy makes it."""
    from cupy._core import core
    from cupy.cuda import compiler

    log = io.StringIO()
    program = compiler._NVRTCProgram(source, "lucid.cu", method="cubin")
    cubin, _ = program.compile(
        (
            *core.assemble_cupy_compiler_options(options),
            "-ftz=true",
            f"-arch=sm_{arch}",
            "--device-as-default-execution-space",
            "--ptxas-options=-v",
        ),
        log,
    )
    return bytes(cubin), log.getvalue()


@dataclass(frozen=True)
class Resources:
    """What ptxas says of one kernel: registers a thread, bytes of the rest."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int
    shared: int


_ENTRY = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, "
    r"(?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


def resources(log: str) -> dict[str, Resources]:
    """Each kernel's resources, by name, out of the log of `--ptxas-options=-v`."""
    found = {}
    for match in _ENTRY.finditer(log):
        shared = re.search(r"(\d+) bytes smem", match["rest"])
        found[match["name"]] = Resources(
            int(match["registers"]),
            int(match["stack"]),
            int(match["stores"]),
            int(match["loads"]),
            int(shared[1]) if shared else 0,
        )
    return found


def disassemble(cubin: bytes, kernel: str) -> list[str]:
    """The kernel's machine code in address order, one instruction a line."""
    # NVRTC leaves off the last byte, without which nvdisasm sees a short file.
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "kernel.cubin"
        path.write_bytes(cubin + b"\0")
        listing = subprocess.run(
            [tool("nvdisasm"), "--print-code", "--no-vliw", str(path)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    return _section(listing, kernel)


@dataclass(frozen=True)
class Block:
    """Instructions that run one after another: no branch leads in or out between."""

    instructions: tuple[str, ...]

    def count(self, pattern: str) -> int:
        """How many instructions have an opcode that starts as `pattern` does."""
        return sum(bool(re.match(pattern, opcode(i))) for i in self.instructions)


def opcode(instruction: str) -> str:
    """`MUFU.EX2` of `@!P0 MUFU.EX2 R1, R2`."""
    return re.sub(r"^@!?U?P\w+\s+", "", instruction).split()[0]


def blocks(listing: list[str]) -> list[Block]:
    """The straight parts of a kernel's machine code, in address order."""
    found: list[list[str]] = [[]]
    for line in listing:
        if re.match(r"^\.L\w+:", line):
            found.append([])
        elif match := re.match(r"^\s+/\*[0-9a-f]+\*/\s+(.*?)\s*;", line):
            found[-1].append(match[1])
            if re.match(r"BRA|EXIT|RET|CALL|BRX|JMP|WARPSYNC|BSYNC", opcode(match[1])):
                found.append([])
    return [Block(tuple(instructions)) for instructions in found if instructions]


def _section(listing: str, kernel: str) -> list[str]:
    """The lines of one kernel's code section."""
    lines = listing.splitlines()
    start = next(i for i, line in enumerate(lines) if f".text.{kernel}:" in line)
    rest = lines[start + 1 :]
    end = next((i for i, line in enumerate(rest) if ".section" in line), len(rest))
    return rest[:end]


def tool(name: str) -> str:
    """A tool of NVIDIA's PyPI packages, or of a toolkit on the PATH."""
    for folder in sys.path:
        for found in Path(folder).glob(f"nvidia/*/bin/{name}"):
            return str(found)
    return name
