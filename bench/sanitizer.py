"""compute-sanitizer's four tools over every kernel, and over a bug each must catch."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
_CAUGHT = 86  # the exit code compute-sanitizer is asked to give for an error


def run() -> dict[str, Any]:
    """Each tool's verdict: `passed` needs a clean run and the planted bug caught."""
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        return {"not measured": "compute-sanitizer is not on the PATH"}
    verdicts: dict[str, Any] = {}
    for tool in TOOLS:
        clean, log = _under(sanitizer, tool, "kernels")
        planted, _ = _under(sanitizer, tool, tool)
        verdicts[tool] = {
            "passed": clean == 0 and planted == _CAUGHT,
            "clean_exit_code": clean,
            "planted_bug_caught": planted == _CAUGHT,
        }
        if clean != 0:
            verdicts[tool]["log"] = log[-4000:]
    return verdicts


def _under(sanitizer: str, tool: str, what: str) -> tuple[int, str]:
    command = [
        sanitizer, "--tool", tool, "--error-exitcode", str(_CAUGHT),
        sys.executable, "-m", __name__, what,
    ]  # fmt: skip
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
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
        source = cupy.empty(256, cupy.int32)
        if what != "initcheck":
            source.fill(1)
        kernel((1,), (256,), (cupy.zeros(256, cupy.int32), source))
    cupy.cuda.Device().synchronize()
    return 0


if __name__ == "__main__":
    sys.exit(main())
