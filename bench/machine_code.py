"""CUDA C++ to machine code without a GPU, and what the machine code does.

NVRTC compiles as CuPy would have it compile, nvdisasm lists the instructions.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path


class Missing(RuntimeError):
    """A tool that is not installed, and the package that brings it."""


def compile_cubin(
    source: str, arch: int, options: tuple[str, ...] = ()
) -> tuple[bytes, str]:
    """(machine code, compiler's log) of CUDA C++ for `sm_<arch>`, as CuPy makes it."""
    try:
        from cupy._core import core
        from cupy.cuda import compiler
    except Exception as error:  # a broken CuPy raises more than ImportError
        raise Missing(
            "CuPy and NVRTC compile the kernels: install cupy-cuda13x[ctk]. "
            f"Importing CuPy says {error!r}"
        ) from error

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
            [tool("nvdisasm"), "--print-code", "--no-vliw", "--no-dataflow", str(path)],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    return _section(listing, kernel)


_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(.*?)\s*;")


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
        elif match := _INSTRUCTION.match(line):
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


def loops(listing: list[str], innermost: bool = True) -> list[Block]:
    """The loops, each from its first instruction to the branch back."""
    instructions: list[str] = []
    labels: dict[str, int] = {}
    spans: list[tuple[int, int]] = []
    for line in listing:
        if label := re.match(r"^(\.L\w+):", line):
            labels[label[1]] = len(instructions)
        elif match := _INSTRUCTION.match(line):
            instructions.append(match[1])
            target = re.search(r"\bBRA\b.*`\((\.L\w+)\)", match[1])
            if target and target[1] in labels:
                spans.append((labels[target[1]], len(instructions)))
    return [
        Block(tuple(instructions[a:b]))
        for a, b in spans
        if not innermost
        or not any((c, d) != (a, b) and a <= c and d <= b for c, d in spans)
    ]


def path_to_stores(listing: list[str], stores: int) -> Block:
    """The longest loop from its start to the last of its first `stores` stores."""
    longest = max(loops(listing, innermost=False), key=lambda b: len(b.instructions))
    places = [
        i for i, text in enumerate(longest.instructions) if opcode(text)[:3] == "STG"
    ]
    return Block(longest.instructions[: places[stores - 1] + 1])


def hottest(listing: list[str], instruction: str) -> Block:
    """The innermost loop, or straight part of one, with the most of one instruction."""
    candidates = [*loops(listing), *blocks(listing)]
    return max(candidates, key=lambda block: block.count(instruction))


def tool(name: str) -> str:
    """A tool of NVIDIA's PyPI packages, or of a toolkit on the PATH."""
    for folder in sys.path:
        for found in Path(folder).glob(f"nvidia/*/bin/{name}"):
            return str(found)
    path = shutil.which(name)
    if path is None:
        raise Missing(f"{name} is not installed: install nvidia-cuda-{name}.")
    return path
