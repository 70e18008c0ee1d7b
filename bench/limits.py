"""The limits of one GPU, measured: exponentials, multiply-adds, bytes moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

EXP2, BYTES = "exp2_per_second", "bytes_per_second"
FMA = {"float32": "fma_float32_per_second", "float64": "fma_float64_per_second"}
_SHORT = {EXP2: "exp", BYTES: "memory", **dict.fromkeys(FMA.values(), "issue")}

PASSED = (
    "more than 100 % where far components are left out, or exponentials are polynomials"
)
_BLOCKS_PER_SM, _THREADS, _ROUNDS, _CHAINS = 8, 256, 4096, 8
_COPY_BYTES = 1 << 30


def seconds(call: Callable[[], object], repeats: int = 7) -> float:
    """The median time of `call` on the device, after two calls to warm up."""
    import cupy

    times: list[float] = []
    for attempt in range(repeats + 2):
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        call()
        stop.record()
        stop.synchronize()
        if attempt >= 2:
            times.append(float(cupy.cuda.get_elapsed_time(start, stop)) / 1e3)
    return sorted(times)[len(times) // 2]


def measure() -> dict[str, float]:
    """Operations a second for each unit, and bytes a second read and written."""
    import cupy

    text = (Path(__file__).parent / "limits.cuh").read_text(encoding="utf-8")
    module = cupy.RawModule(code=text.replace("#pragma once", ""))
    blocks = _BLOCKS_PER_SM * int(cupy.cuda.Device().attributes["MultiProcessorCount"])
    operations = blocks * _THREADS * _ROUNDS * _CHAINS

    def rate(kernel: str, dtype: Any) -> float:
        launch, sink = module.get_function(kernel), cupy.zeros((), dtype)
        arguments = (sink, cupy.int32(_ROUNDS))
        return operations / seconds(lambda: launch((blocks,), (_THREADS,), arguments))

    source = cupy.zeros(_COPY_BYTES // 4, cupy.float32)
    target = cupy.empty_like(source)
    return {
        EXP2: rate("lucid_bench_exp2", cupy.float32),
        FMA["float32"]: rate("lucid_bench_fma32", cupy.float32),
        FMA["float64"]: rate("lucid_bench_fma64", cupy.float64),
        BYTES: (2 * _COPY_BYTES / seconds(lambda: cupy.copyto(target, source))),
    }


def binding(
    cell: Mapping[str, Any], measured: Mapping[str, float]
) -> tuple[str, float]:
    """The limit that binds a cell of the suites, and the least time that it allows."""
    least = {name: amount / measured[name] for name, amount in _needs(cell).items()}
    name = max(least, key=lambda name: least[name])
    return _SHORT[name], least[name]


def _needs(cell: Mapping[str, Any]) -> dict[str, float]:
    """What the formula takes: arithmetic, values read and written.

    Less is done where components too far from a value are left out, and fewer
    exponentials where some are polynomials.
    """
    rows, count, event = float(cell["n"]), float(cell["k"]), float(cell["d"])
    case, item = cell["case"], np.dtype(cell["dtype"]).itemsize
    if case == "draws":
        return {BYTES: item * rows}
    if case == "categorical-shared":
        return {BYTES: (8 + item) * rows}  # int64 in, a log probability out
    pairs = rows * count
    exponentials = {EXP2: pairs} if cell["dtype"] == "float32" else {}
    if case == "categorical":
        return {BYTES: item * pairs, **exponentials}
    values_per_row = 3 * count + 2 if case == "mdn" else event + 1
    # Subtract, scale, square and add: two fused operations' time.
    return {
        FMA[cell["dtype"]]: 2 * pairs * event,
        BYTES: item * rows * values_per_row,
        **exponentials,
    }
