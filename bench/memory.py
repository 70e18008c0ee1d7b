"""Peak memory of a large mixture's log_prob on the CPU, beyond input and output."""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from . import record

ROWS = 10_000_000
COMPONENTS = 1024
LIMIT_MB = 100.0


def main(argv: list[str] | None = None) -> int:
    """Exits with 1 when the peak exceeds the limit."""
    parser = argparse.ArgumentParser(prog="python -m bench memory", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--components", type=int, default=COMPONENTS)
    parser.add_argument("--output", type=Path, help="the result file (JSON)")
    arguments = parser.parse_args(argv)
    # A process of its own, started anew: its peak is the call's and nobody else's.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        result = pool.submit(measure, arguments.rows, arguments.components).result()
    print(
        f"log_prob of {result['rows']:,} float32 values under "
        f"{result['components']:,} normal components: "
        f"{result['extra_mb']:.1f} MB beyond {result['input_and_output_mb']:.1f} MB of "
        f"input and output (an N×K array: {result['n_by_k_mb']:,.0f} MB), "
        f"{result['seconds']:.1f} s"
    )
    path = arguments.output
    if path is None and (arguments.rows, arguments.components) == (ROWS, COMPONENTS):
        path = record.default_path("memory")
    if path is not None:
        given = [f"--rows {arguments.rows}", f"--components {arguments.components}"]
        record.write(path, "memory", given, ["numpy", "scipy"], [result])
        print(f"written to {path}")
    return 0 if result["extra_mb"] <= LIMIT_MB else 1


def measure(rows: int, components: int) -> dict[str, Any]:
    """Megabytes that one first call of log_prob adds to its input and output."""
    import numpy as np

    import lucid
    from lucid.distributions import Categorical, MixtureSameFamily, Normal

    generator = np.random.default_rng(20_241_201)
    loc = generator.standard_normal(components, dtype=np.float32) * 3
    scale = generator.random(components, dtype=np.float32) + np.float32(0.5)
    weights = generator.random(components, dtype=np.float32) + np.float32(0.1)
    distribution = MixtureSameFamily(
        Categorical(probs=lucid.asarray(weights, device="cpu")),
        Normal(lucid.asarray(loc, device="cpu"), lucid.asarray(scale, device="cpu")),
    )
    values = np.empty(rows, dtype=np.float32)
    generator.standard_normal(out=values, dtype=np.float32)
    out = np.full(rows, np.nan, dtype=np.float32)  # written, so that it is resident
    value, result = (lucid.asarray(part, device="cpu") for part in (values, out))
    # Nothing is warmed up: the working buffers and lazy imports count as extra.
    before = _resident_mb()
    start = time.perf_counter()
    distribution.log_prob(value, out=result)
    seconds = time.perf_counter() - start
    extra = _peak_mb() - before
    if not np.isfinite(out).all():
        raise SystemExit("the result was not written to `out`, or is not finite")
    return {
        "rows": rows,
        "components": components,
        "dtype": "float32",
        "extra_mb": extra,
        "input_and_output_mb": (values.nbytes + out.nbytes) / 1e6,
        "n_by_k_mb": rows * components * 4 / 1e6,
        "seconds": seconds,
    }


def _status_mb(field: str) -> float | None:
    """A field of Linux's own record of this process; None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024 / 1e6


def _peak_mb() -> float:
    # Not ru_maxrss on Linux: it keeps the parent's peak from before the exec.
    peak = _status_mb("VmHWM")
    if peak is not None:
        return peak
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _resident_mb() -> float:
    """Resident now: at most the peak so far, so the extra is never understated."""
    resident = _status_mb("VmRSS")
    return _peak_mb() if resident is None else resident
