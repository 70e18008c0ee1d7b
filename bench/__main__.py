"""`lucid bench`: the suite, or by name another command of this folder."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence

from lucid.cli import signals
from lucid.io.errors import OutputError

COMMANDS = {
    "compare": "say what got faster or slower between two result files",
    "gpu": "all that needs a GPU: tests, sanitizers, timings; one result file",
    "kernels": "count what the kernels' machine code costs; needs no GPU",
    "render": "write the result files as tables",
}
_UNWRITTEN, _INTERRUPTED, _UNREAD = 5, 130, 141  # as a shell tells signals


def main(argv: Sequence[str] | None = None) -> int:
    """Run one benchmark command; its exit code."""
    given = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # µ, where the encoding has none
    try:
        with signals.ending():
            code = _command(given)
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("lucid bench: interrupted; no file is half written", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        # Python would complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _UNREAD
    except OutputError as error:
        print(f"lucid bench: error: {error}", file=sys.stderr)
        return _UNWRITTEN
    return code


def _command(given: list[str]) -> int:
    if given and given[0] in COMMANDS:
        module = importlib.import_module(f".{given[0]}", __package__)
        return int(module.main(given[1:]))
    from . import run

    lines = [f"  {name:10}{text}" for name, text in COMMANDS.items()]
    return run.main(given, "\n".join(["in place of a suite:", *lines]))


if __name__ == "__main__":
    sys.exit(main())
