"""The limits of one GPU, measured: exponentials, multiply-adds, bytes moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

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
        "exp2_per_second": rate("lucid_bench_exp2", cupy.float32),
        "fma_float32_per_second": rate("lucid_bench_fma32", cupy.float32),
        "fma_float64_per_second": rate("lucid_bench_fma64", cupy.float64),
        "bytes_per_second": (
            2 * _COPY_BYTES / seconds(lambda: cupy.copyto(target, source))
        ),
    }
