"""`lucid bench`: the suite, or by name another command of this folder."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "compare": "say what got faster or slower between two result files",
    "gpu": "all that needs a GPU: tests, sanitizers, timings; one result file",
    "kernels": "count what the kernels' machine code costs; needs no GPU",
    "render": "write the result files as tables",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark command; its exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    if given and given[0] in COMMANDS:
        module = importlib.import_module(f".{given[0]}", __package__)
        return int(module.main(given[1:]))
    from . import run

    lines = [f"  {name:10}{text}" for name, text in COMMANDS.items()]
    return run.main(given, "\n".join(["in place of a suite:", *lines]))


if __name__ == "__main__":
    sys.exit(main())
