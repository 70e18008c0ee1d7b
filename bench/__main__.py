"""Choose a benchmark by name; each is a module of this folder with a `main`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "cpu": "speed on the CPU, beside torch.distributions",
    "gpu": "all that needs a GPU: tests, sanitizers, timings; one result file",
    "memory": "peak memory on the CPU",
    "render": "write the result files as tables",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark command; its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure lucid on this machine.",
        epilog="\n".join(f"{name:8} {text}" for name, text in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("benchmark", choices=sorted(COMMANDS))
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    chosen = parser.parse_args(argv)
    module = importlib.import_module(f".{chosen.benchmark}", __package__)
    return int(module.main(chosen.arguments))


if __name__ == "__main__":
    sys.exit(main())
