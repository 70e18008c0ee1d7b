"""Everything that needs a GPU, in one run and one result file.

Exit code 0: all that ran passed; 1: something failed; 2: no GPU works here, and nothing
was written. The file is written anew after each part, so that what was measured stays
where a machine is taken away, and a part that the time did not suffice for says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from . import limits, record, sanitizer

NO_GPU = 2  # the exit code where no GPU works
# The sanitizers last, which find the kernels of the others compiled.
PARTS = ("tests", "timings", "sanitizer")
SECONDS = 540.0


def main(argv: list[str] | None = None) -> int:
    """0: all passed; 1: something failed; 2: no GPU works here."""
    parser = argparse.ArgumentParser(
        prog="python -m bench gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output", type=Path, help="the result file (JSON)")
    parser.add_argument(
        "--only", choices=PARTS, nargs="+", default=list(PARTS), help="run these parts"
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, help="no more than these (540)"
    )
    arguments = parser.parse_args(argv)
    deadline = time.monotonic() + arguments.seconds
    from lucid.backends import cuda_status

    status = cuda_status()
    if not status.available:
        print(f"bench gpu: nothing was measured: {status.reason}", file=sys.stderr)
        return NO_GPU
    measures = {"tests": _tests, "timings": _timings, "sanitizer": sanitizer.run}
    results: dict[str, Any] = {"device": device()}
    for part in PARTS:
        missing = "left out" if part not in arguments.only else "the run ended before"
        results[part] = {"not measured": missing}
    path = arguments.output or record.default_path("gpu")
    given = [] if arguments.only == list(PARTS) else ["--only", *arguments.only]
    packages = ["numpy", "scipy", "cupy", "nvidia-cuda-nvrtc"]
    for part in (part for part in PARTS if part in arguments.only):
        print(f"{part} …", flush=True)
        began = time.monotonic()
        results[part] = measures[part](deadline)
        print(f"{part}: {time.monotonic() - began:.0f} s", flush=True)
        record.write(path, "gpu", ["gpu", *given], packages, results)
    print(f"written to {path}")
    return int(_failed(results))


def _failed(results: dict[str, Any]) -> bool:
    """Whether anything that was measured did not pass; what was not measured is not."""
    tests, tools = results["tests"], results["sanitizer"]
    verdicts = [tools[name] for name in sanitizer.TOOLS if name in tools]
    return bool(tests.get("failed")) or any(not v["passed"] for v in verdicts)


def device() -> dict[str, Any]:
    """What the GPU in use is."""
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(cupy.cuda.Device().id)
    return {
        "name": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory_gib": round(properties["totalGlobalMem"] / 2**30, 1),
        "driver": _driver_version(),
        "driver_cuda": runtime.driverGetVersion(),
        "runtime_cuda": runtime.runtimeGetVersion(),
    }


def _driver_version() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip().splitlines()[0]


def _tests(deadline: float) -> dict[str, Any]:
    """The tests marked `gpu`: counts, and the names of those that failed."""
    root = record.checkout()
    if root is None:
        return {"not measured": "the tests are part of a checkout; there is none here"}
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", f"--junitxml={report}"]
        if importlib.util.find_spec("xdist"):
            # Most of the time goes into compiling, on the host's cores.
            command += ["-n", str(max(1, min(8, record.usable_cores() // 2)))]
        left = deadline - time.monotonic()
        try:
            code = subprocess.run(command, cwd=root, timeout=max(left, 0)).returncode
        except subprocess.TimeoutExpired:
            return {"not measured": f"the tests took longer than {left:.0f} s"}
        if not report.is_file():
            return {"not measured": f"pytest did not run: exit code {code}"}
        return summarise(report)


def summarise(report: Path) -> dict[str, Any]:
    """Counts out of a JUnit report. A skipped test is not a passed one."""
    outcomes: dict[str, list[str]] = {"passed": [], "failed": [], "not_run": []}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            outcomes["failed"].append(name)
        elif case.find("skipped") is not None:
            outcomes["not_run"].append(name)
        else:
            outcomes["passed"].append(name)
    counts: dict[str, Any] = {key: len(names) for key, names in outcomes.items()}
    return {**counts, "failures": outcomes["failed"], "skips": outcomes["not_run"]}


def _timings(deadline: float) -> dict[str, Any]:
    """Each case's time, beside the least time the chip's own limits would allow."""
    from .cases import cases

    measured = limits.measure()
    rows: list[dict[str, Any]] = []
    for case in cases():
        if time.monotonic() > deadline:
            return {"limits": measured, "cases": rows, "cut_short": True}
        seconds = limits.seconds(case.call)
        needs = {name: amount / measured[name] for name, amount in case.needs.items()}
        binding = max(needs, key=lambda name: needs[name])
        rows.append(
            {
                "case": case.name,
                "seconds": seconds,
                case.unit: case.amount / seconds,
                "limit": binding,
                "fraction_of_limit": needs[binding] / seconds,
            }
        )
        print(f"  {case.name}: {case.amount / seconds:.3g} {case.unit}", flush=True)
    return {"limits": measured, "cases": rows}
