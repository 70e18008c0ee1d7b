"""Everything that needs a GPU, in one run and one result file.

Exit code 0: all that ran passed; 1: something failed; 2: no GPU works here, and nothing
was written; 5: the file cannot be written. The file is written anew after each part, so
that what was measured stays where a machine is taken away. Each part has its share of
the time, and what that did not suffice for, or what ended in an error, says so; the
other parts run.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import child, limits, record, sanitizer

if TYPE_CHECKING:
    from .cases import Case

NO_GPU = 2  # the exit code where no GPU works
# The sanitizers last, which find the kernels of the others compiled.
# The shares are of the time; what one leaves is the next one's.
PARTS = {"tests": 2.0, "timings": 1.0, "sanitizer": 2.0}
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
    began = time.monotonic()
    path = arguments.output or record.default_path("gpu")
    record.check_writable(path)
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
    given = [] if arguments.only == list(PARTS) else ["--only", *arguments.only]
    packages = ["numpy", "scipy", "cupy", "nvidia-cuda-nvrtc"]
    chosen = [part for part in PARTS if part in arguments.only]
    per_share = arguments.seconds / sum(PARTS[part] for part in chosen)
    deadline, broken = began, False
    for part in chosen:
        print(f"{part} …", flush=True)
        started = time.monotonic()
        deadline += per_share * PARTS[part]
        try:
            results[part] = measures[part](deadline)
        except Exception as error:
            traceback.print_exc()
            results[part] = {"not measured": f"it ended in {_told(error)}"}
            broken = True
        print(f"{part}: {time.monotonic() - started:.0f} s", flush=True)
        record.write(path, "gpu", ["gpu", *given], packages, results)
    print(f"written to {path}")
    return int(broken or _failed(results))


def _failed(results: dict[str, Any]) -> bool:
    """Whether anything that was measured did not pass; what was not measured is not."""
    tests, tools = results["tests"], results["sanitizer"]
    verdicts = [tools[name] for name in sanitizer.TOOLS if name in tools]
    return (
        bool(tests.get("failed"))
        or any(not verdict.get("passed", True) for verdict in verdicts)
        or any("error" in row for row in results["timings"].get("cases", ()))
    )


def _told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


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
    return next(iter(answer.stdout.split()), None)


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
        # At Ctrl-C pytest still reports on the tests that have ended.
        ended = child.run(command, left, cwd=root)
        late = f"the tests took longer than {left:.0f} s" if ended.code is None else ""
        if not report.is_file():
            why = late or f"pytest did not run: exit code {ended.code}"
            return {"not measured": why}
        return summarise(report) | ({"cut_short": late} if late else {})


def summarise(report: Path) -> dict[str, Any]:
    """Counts out of a JUnit report. A skipped test is not a passed one."""
    tree = ElementTree.parse(report)
    failures, skips = [], []
    for case in tree.iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failures.append(name)
        elif case.find("skipped") is not None:
            skips.append(name)
    # By the totals: a test that was interrupted is listed like one that passed.
    ended, *others = (
        sum(int(suite.get(total, 0)) for suite in tree.iter("testsuite"))
        for total in ("tests", "failures", "errors", "skipped")
    )
    return {
        "passed": ended - sum(others),
        "failed": len(failures),
        "not_run": len(skips),
        "failures": failures,
        "skips": skips,
    }


def _timings(deadline: float) -> dict[str, Any]:
    """Each case's time, beside the least time the chip's own limits would allow."""
    from .cases import cases

    measured = limits.measure()
    rows: list[dict[str, Any]] = []
    for number, make in enumerate(cases(), 1):
        if time.monotonic() > deadline:
            return {"limits": measured, "cases": rows, "cut_short": True}
        row: dict[str, Any] = {"case": f"number {number}"}
        try:
            case = make()
            row["case"] = case.name
            seconds = limits.seconds(case.call)
        except Exception as error:  # that of one case is not that of the others
            row["error"] = _told(error)
            print(f"  {row['case']}: {row['error']}", flush=True)
        else:
            row |= _held(case, seconds, measured)
            print(f"  {case.name}: {case.amount / seconds:.3g} {case.unit}", flush=True)
        rows.append(row)
    return {"limits": measured, "cases": rows}


def _held(case: Case, seconds: float, measured: dict[str, float]) -> dict[str, Any]:
    """A time beside the least that the limit which binds would allow."""
    needs = {name: amount / measured[name] for name, amount in case.needs.items()}
    binding = max(needs, key=lambda name: needs[name])
    return {
        "seconds": seconds,
        case.unit: case.amount / seconds,
        "limit": binding,
        "fraction_of_limit": needs[binding] / seconds,
    }
