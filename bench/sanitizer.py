"""compute-sanitizer's four tools over every kernel, and over a bug each must catch."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
_CAUGHT = 86  # the exit code compute-sanitizer is asked to give for an error
_THREADS = 255
TOOLKITS = ("/usr/local/cuda", "/opt/cuda")
ABSENT = (
    "compute-sanitizer was found neither on the PATH nor in a CUDA toolkit (CUDA_HOME, "
    f"CUDA_PATH, {', '.join(TOOLKITS)}): it is part of the CUDA toolkit, and of no "
    "wheel that lucid installs"
)


def run(deadline: float) -> dict[str, Any]:
    """Each tool's verdict: `passed` needs a clean run and the planted bug caught."""
    sanitizer = find()
    if sanitizer is None:
        print(f"  {ABSENT}", flush=True)
        return {"not measured": ABSENT}
    verdicts: dict[str, Any] = {}
    for tool in TOOLS:
        try:
            planted, _ = _under(sanitizer, tool, tool, deadline)
            clean, log = _under(sanitizer, tool, "kernels", deadline)
        except subprocess.TimeoutExpired:
            return verdicts | {"not measured": f"no time was left for {tool}"}
        verdicts[tool] = {
            "passed": clean == 0 and planted == _CAUGHT,
            "clean_exit_code": clean,
            "planted_bug_caught": planted == _CAUGHT,
        }
        if clean != 0:
            verdicts[tool]["log"] = log[-4000:]
    return verdicts


def find() -> str | None:
    """The program, on the PATH or in a toolkit's usual places."""
    toolkits = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), *TOOLKITS]
    folders = [
        str(Path(toolkit) / part)
        for toolkit in toolkits
        if toolkit
        for part in ("bin", "compute-sanitizer")
    ]
    path = os.pathsep.join([os.environ.get("PATH", ""), *folders])
    return shutil.which("compute-sanitizer", path=path)


def _under(sanitizer: str, tool: str, what: str, deadline: float) -> tuple[int, str]:
    command = [
        sanitizer, "--tool", tool, "--error-exitcode", str(_CAUGHT),
        sys.executable, "-m", __name__, what,
    ]  # fmt: skip
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=max(deadline - time.monotonic(), 0),
    )
    return done.returncode, done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """What runs under the tools: every kernel once, or one planted bug."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("kernels", *TOOLS))
    what = parser.parse_args(arguments).what
    import cupy

    # The pool would hide what lies past the end of an array, and what is unwritten.
    cupy.cuda.set_allocator(None)
    if what == "kernels":
        from .cases import cases

        for case in cases(small=True):
            case.call()
    else:
        text = (Path(__file__).parent / "planted.cuh").read_text(encoding="utf-8")
        code = text.replace("#pragma once", "")
        kernel = cupy.RawKernel(code, f"planted_{what}")
        # An odd length: what lies behind is no other array's, wherever it was put.
        source = cupy.empty(_THREADS, cupy.int32)
        if what != "initcheck":
            source.fill(1)
        kernel((1,), (_THREADS,), (cupy.zeros(_THREADS, cupy.int32), source))
    cupy.cuda.Device().synchronize()
    return 0


if __name__ == "__main__":
    sys.exit(main())
