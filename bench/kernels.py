"""Count what the hot kernels' machine code does, hold it to bounds, predict speeds.

Needs no GPU: NVRTC compiles and nvdisasm lists. Exit code 0: all within their bounds;
1: one is over; 2: a tool is missing; 5: the file cannot be written. A predicted speed
is what the busiest unit of a multiprocessor allows, on a chip of an H200's size and
clock; nothing is measured.
"""

from __future__ import annotations

import argparse
import functools
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lucid.backends.cupy import kernels, structs
from lucid.backends.cupy.specs import Raw

from . import record
from .machine_code import (
    Block,
    Missing,
    Resources,
    compile_cubin,
    disassemble,
    hottest,
    path_to_stores,
    resources,
)

ARCHITECTURES = (80, 90, 100, 120)
MISSING = 2  # the exit code where a tool is missing
# An H200 SXM: multiprocessors, clock, bytes a second as copies reach them.
MULTIPROCESSORS, HERTZ, BYTES_PER_SECOND = 132, 1.98e9, 4.3e12
_EXP2, _FP32, _FP64, _LDS = "MUFU.EX2", "FADD|FMUL|FFMA", "DADD|DMUL|DFMA|DSETP", "LDS"


@dataclass(frozen=True)
class Multiprocessor:
    """Operations a clock of each unit, and what bounds the threads that it holds."""

    fp32: int
    fp64: int
    shared_bytes: int
    threads: int = 2048
    blocks: int = 32
    issue: int = 128
    exponentials: int = 16
    shared_loads: int = 32
    registers: int = 65536

    def occupancy(self, use: Resources, threads: int) -> int:
        """Threads at work at once, in blocks of `threads`."""
        # Registers are given out to a warp 256 at a time; a block reserves a kilobyte.
        warp = -(-use.registers * 32 // 256) * 256
        by_registers = self.registers // (warp * (threads // 32))
        by_shared = self.shared_bytes // (use.shared + 1024)
        most = min(by_registers, by_shared, self.threads // threads, self.blocks)
        return most * threads


# CUDA C++ Programming Guide, throughput of arithmetic instructions and technical
# specifications per compute capability.
CHIPS = {
    80: Multiprocessor(fp32=64, fp64=32, shared_bytes=164 << 10),
    90: Multiprocessor(fp32=128, fp64=64, shared_bytes=228 << 10),
    100: Multiprocessor(fp32=128, fp64=64, shared_bytes=228 << 10),
    120: Multiprocessor(
        fp32=128, fp64=2, shared_bytes=100 << 10, threads=1536, blocks=24
    ),
}


@dataclass(frozen=True)
class Hot:
    """A kernel, its hot loop, and what that may cost.

    anchor   the instruction that the hot loop has most of
    anchors  of those one unit of work has, a fraction perhaps
    slots    the most instructions issued for one unit
    row_bytes  read and written for one row
    stores   if not 0, the loop over rows is counted up to so many results stored
    loads    of the device's memory, for one unit
    """

    title: str
    spec: Raw
    unit: str
    anchor: str
    anchors: float
    slots: float
    threads: int = 128
    row_bytes: int = 0
    stores: int = 0
    loads: int = 0


def hot_kernels() -> list[Hot]:
    """What large mixtures spend their time in."""
    normal = structs.named("Normal")
    fixed = functools.partial(kernels.mixture_fixed, normal)
    lazy = functools.partial(kernels.mixture, normal)

    def pair(
        title: str, spec: Raw, slots: float, exp2: float = 1, event: int = 1
    ) -> Hot:
        return Hot(title, spec, "pair", _EXP2, exp2, slots, row_bytes=4 * (event + 1))

    def row(count: int, slots: float) -> Hot:
        title, spec = f"K = {count}", kernels.mixture_small(normal, "float32", count)
        own = (title, spec, "row", _EXP2, count, slots)
        return Hot(*own, row_bytes=8, stores=4, loads=1)

    cells = functools.partial(kernels.mixture_cells, normal)
    laplace = kernels.mixture_fixed(structs.named("Laplace"), "float32", 1, 8, 2)
    return [
        pair("fixed shift", fixed("float32", 1, 8), 4.3),
        pair("fixed shift, polynomials", fixed("float32", 1, 8, 2), 6.1, 7 / 9),
        pair("cells", cells("float32", 1, 8), 4.3),
        pair("cells, polynomials", cells("float32", 1, 8, 2), 6.1, 7 / 9),
        pair("lazy rescale", lazy("float32", 1, 8), 7.1),
        pair("Laplace, polynomials", laplace, 6.4, 7 / 9),
        pair("fixed shift, D = 2", fixed("float32", 2, 8), 9.1, event=2),
        pair("cells, D = 2", cells("float32", 2, 8), 9.1, event=2),
        pair("lazy rescale, D = 2", lazy("float32", 2, 8), 10.5, event=2),
        Hot(
            "fixed shift", fixed("float64", 1, 2), "pair", "DFMA", 8, 23.5, row_bytes=16
        ),
        Hot("cells", cells("float64", 1, 2), "pair", "DFMA", 8, 23.5, row_bytes=16),
        Hot(
            "lazy rescale", lazy("float64", 1, 2), "pair", "DFMA", 12, 33, row_bytes=16
        ),
        # Counted with what only a row of NaN or other weights run: 9 exponentials of 4.
        Hot(
            "parameters of each row",
            kernels.mixture_rows(normal, *["float32"] * 3, 8),
            *("pair", _EXP2, 9 / 4, 130, 256),
            loads=4,
        ),
        row(2, 61),
        row(8, 92),
        row(16, 135),
        Hot(
            "diagonal",
            kernels.mixture_diagonal(normal, "float32"),
            *("element", "FFMA", 1, 3.5, 256),
        ),
        Hot(
            "full covariance",
            kernels.mvn_mixture("float32"),
            "multiply-add",
            "FFMA",
            1,
            1.2,
            256,
        ),
    ]


@dataclass(frozen=True)
class Count:
    """What one kernel's machine code does for one unit of work."""

    kernel: str
    title: str
    architecture: int
    unit: str
    registers: int
    spilled_bytes: int
    shared_bytes: int
    threads_per_multiprocessor: int
    slots: float
    most_slots: float
    exponentials: float
    fp32: float
    fp64: float
    shared_loads: float
    global_loads: float
    limit: str
    units_per_second: float
    bytes_bind_up_to: int

    @property
    def over(self) -> bool:
        """Whether a bound is broken: instructions issued, or anything spilled."""
        return self.slots > self.most_slots or self.spilled_bytes > 0


@functools.cache
def machine_code(spec: Raw, architecture: int) -> tuple[Resources, list[str]]:
    """The resources and the listing of one kernel."""
    cubin, log = compile_cubin(spec.source, architecture)
    return resources(log)[spec.name], disassemble(cubin, spec.name)


def hot_loop(hot: Hot, architecture: int) -> Block:
    """The part of the code that all time goes into."""
    _, listing = machine_code(hot.spec, architecture)
    if hot.stores:
        return path_to_stores(listing, hot.stores)
    return hottest(listing, hot.anchor)


def count(hot: Hot, architecture: int) -> Count:
    """The counts of one kernel for one architecture."""
    use, _ = machine_code(hot.spec, architecture)
    chip, loop = CHIPS[architecture], hot_loop(hot, architecture)
    units = loop.count(hot.anchor) / hot.anchors

    def each(pattern: str) -> float:
        return round(loop.count(pattern) / units, 4)

    slots = round(len(loop.instructions) / units, 3)
    clocks = {
        "issue": slots / chip.issue,
        "exponentials": each(_EXP2) / chip.exponentials,
        "fp32": each(_FP32) / chip.fp32,
        "fp64": each(_FP64) / chip.fp64,
        "shared loads": each(_LDS) / chip.shared_loads,
    }
    if hot.unit == "row":
        clocks["memory"] = hot.row_bytes / BYTES_PER_SECOND * MULTIPROCESSORS * HERTZ
    limit = max(clocks, key=lambda name: clocks[name])
    speed = MULTIPROCESSORS * HERTZ / clocks[limit]
    return Count(
        kernel=hot.spec.name,
        title=hot.title,
        architecture=architecture,
        unit=hot.unit,
        registers=use.registers,
        spilled_bytes=use.spill_stores + use.spill_loads,
        shared_bytes=use.shared,
        threads_per_multiprocessor=chip.occupancy(use, hot.threads),
        slots=slots,
        most_slots=hot.slots,
        exponentials=each(_EXP2),
        fp32=each(_FP32),
        fp64=each(_FP64),
        shared_loads=each(_LDS),
        global_loads=each("LDG|LDL|STL"),
        limit=limit,
        units_per_second=float(f"{speed:.3g}"),
        bytes_bind_up_to=int(speed * hot.row_bytes / BYTES_PER_SECOND),
    )


_HEAD = (
    "sm  regs spill threads  slots  most   exp2   fp32   fp64    LDS    LDG  "
    "limit         predicted"
)


def line(found: Count) -> str:
    """One row of the table."""
    return (
        f"{found.architecture:<4}{found.registers:4}{found.spilled_bytes:6}"
        f"{found.threads_per_multiprocessor:8}"
        f"{found.slots:7.2f}{found.most_slots:6.1f}"
        f"{found.exponentials:7.2f}{found.fp32:7.2f}{found.fp64:7.2f}"
        f"{found.shared_loads:7.2f}{found.global_loads:7.2f}  {found.limit:13}"
        f"{found.units_per_second:8.3g} {found.unit}s/s"
        + ("  OVER ITS BOUND" if found.over else "")
    )


def main(argv: list[str] | None = None) -> int:
    """0: all within their bounds; 1: one is over; 2: a tool is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m bench kernels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", type=Path, help="write the counts to this file, too")
    parser.add_argument(
        "--arch",
        type=int,
        choices=ARCHITECTURES,
        nargs="+",
        default=list(ARCHITECTURES),
        help="compute capabilities, as 90 for 9.0",
    )
    arguments = parser.parse_args(argv)
    if arguments.json:
        record.check_writable(arguments.json)
    counts: list[Count] = []
    try:
        for hot in hot_kernels():
            print(f"\n{hot.title} ({hot.spec.name}), per {hot.unit}\n{_HEAD}")
            for architecture in arguments.arch:
                counts.append(count(hot, architecture))
                print(line(counts[-1]), flush=True)
    except Missing as error:
        print(f"bench kernels: {error}", file=sys.stderr)
        return MISSING
    if arguments.json:
        given = sys.argv[1:] if argv is None else argv
        results: list[dict[str, Any]] = [asdict(c) | {"over": c.over} for c in counts]
        packages = ["cupy-cuda13x", "nvidia-cuda-nvrtc", "nvidia-cuda-nvdisasm"]
        record.write(arguments.json, "kernels", given, packages, results)
    over = [c for c in counts if c.over]
    print(f"\n{len(counts)} counted, {len(over)} over their bounds")
    return int(bool(over))


if __name__ == "__main__":
    sys.exit(main())
