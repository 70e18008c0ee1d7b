"""compute-sanitizer's four tools over every kernel, and over a bug each must catch."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import child

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
_CAUGHT = 86  # the exit code compute-sanitizer is asked to give for an error
_THREADS = 255
_LOG = 4000  # characters kept of what went otherwise than it should
TOOLKITS = ("/usr/local/cuda", "/opt/cuda")
ABSENT = (
    "compute-sanitizer was found neither on the PATH nor in a CUDA toolkit (CUDA_HOME, "
    f"CUDA_PATH, {', '.join(TOOLKITS)}) nor among Python's packages: pip install "
    "nvidia-cuda-sanitizer-api"
)


def run(deadline: float) -> dict[str, Any]:
    """Each tool's verdict: `passed` needs a clean run and the planted bug caught.

    The time left is shared out, so that one slow tool takes none of another's.
    """
    sanitizer = find()
    if sanitizer is None:
        print(f"  {ABSENT}", flush=True)
        return {"not measured": ABSENT}
    # Without a tool first, so that none spends its time on compiling.
    child.run(
        [sys.executable, "-m", __name__, "kernels"],
        (deadline - time.monotonic()) / (1 + len(TOOLS)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=child.environment(),
    )
    verdicts: dict[str, Any] = {}
    for number, tool in enumerate(TOOLS):
        left = deadline - time.monotonic()
        share = time.monotonic() + left / (len(TOOLS) - number)
        verdicts[tool] = _verdict(sanitizer, tool, share)
    return verdicts


def _verdict(sanitizer: str, tool: str, deadline: float) -> dict[str, Any]:
    planted = _under(sanitizer, tool, tool, deadline)
    clean = _under(sanitizer, tool, "kernels", deadline)
    if planted.code is None or clean.code is None:
        return {"not measured": "its time was up"}
    verdict: dict[str, Any] = {
        "passed": clean.code == 0 and planted.code == _CAUGHT,
        "clean_exit_code": clean.code,
        "planted_bug_caught": planted.code == _CAUGHT,
    }
    for name, ended in (("planted_log", planted), ("log", clean)):
        if ended.code != (_CAUGHT if ended is planted else 0):
            verdict[name] = ended.output[-_LOG:]
    return verdict


def find() -> str | None:
    """The program, on the PATH or in a toolkit's usual places."""
    toolkits = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), *TOOLKITS]
    folders = [
        str(Path(toolkit) / part)
        for toolkit in toolkits
        if toolkit
        for part in ("bin", "compute-sanitizer")
    ]
    folders += [str(at) for path in sys.path for at in Path(path).glob("nvidia/*/bin")]
    path = os.pathsep.join([os.environ.get("PATH", ""), *folders])
    return shutil.which("compute-sanitizer", path=path)


def _under(sanitizer: str, tool: str, what: str, deadline: float) -> child.Ended:
    command = [
        sanitizer, "--tool", tool, "--error-exitcode", str(_CAUGHT),
        sys.executable, "-m", __name__, what,
    ]  # fmt: skip
    return child.run(
        command,
        deadline - time.monotonic(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=child.environment(),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """What runs under the tools: every kernel once, or one planted bug."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("kernels", *TOOLS))
    what = parser.parse_args(arguments).what
    import cupy

    # The pool would hide what lies past the end of an array, and what is unwritten.
    cupy.cuda.set_allocator(None)
    if what == "kernels":
        from lucid import backends

        from .cases import cases
        from .checks import calls

        for make in cases(small=True):
            make().call()
        for call in calls(backends.get("cuda", 0)):
            call()
    else:
        text = (Path(__file__).parent / "planted.cuh").read_text(encoding="utf-8")
        code = text.replace("#pragma once", "")
        kernel = cupy.RawKernel(code, f"planted_{what}")
        # An odd length: what lies behind is no other array's, wherever it was put.
        source = cupy.empty(_THREADS, cupy.int32)
        if what != "initcheck":
            source.fill(1)
        kernel((1,), (_THREADS,), (cupy.zeros(_THREADS, cupy.int32), source))
        # A tool that catches the bug ends the kernel, and tells only of a program that
        # succeeds by the exit code that it was asked to give.
        with contextlib.suppress(cupy.cuda.runtime.CUDARuntimeError):
            cupy.cuda.Device().synchronize()
        return 0
    cupy.cuda.Device().synchronize()
    return 0


if __name__ == "__main__":
    sys.exit(main())
