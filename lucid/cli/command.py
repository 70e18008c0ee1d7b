"""Probability distributions and large mixtures, on GPUs and on the CPU.

exit codes:
  0    done
  1    out of memory, or a fault of lucid itself (with a traceback)
  2    the command line is wrong
  3    MODEL cannot be read, or cannot score rows
  4    DATA cannot be read, or does not fit MODEL
  5    an output cannot be written
  6    a device or an optional package that was asked for is not there
  130  interrupted by Ctrl-C
  143  ended by SIGTERM

An output takes its name only when it is complete: after any code but 0, a file of that
name is the one from before. Of two outputs, the scores come first, then the plot.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from collections.abc import Sequence

import lucid
from lucid.backends import DeviceUnavailableError
from lucid.cli import info, score, signals
from lucid.io.errors import DataError, MissingPackageError, ModelError, OutputError

_INTERRUPTED = 130
_CODES: dict[type[BaseException], int] = {
    MemoryError: 1,
    score.UsageError: 2,
    ModelError: 3,
    DataError: 4,
    OutputError: 5,
    DeviceUnavailableError: 6,
    MissingPackageError: 6,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code, as `lucid --help` lists them."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if arguments[:1] == ["bench"]:  # which parses its own arguments
        return _bench(arguments[1:])
    options = _parser().parse_args(arguments)
    try:
        with signals.ending():
            options.run(options)
            sys.stdout.flush()
    except KeyboardInterrupt:
        _say(f"interrupted{score.left_undone(options)}")
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read the summary has gone; Python would complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except tuple(_CODES) as error:
        _say(f"error: {error}" if str(error) else "error: out of memory")
        return next(code for kind, code in _CODES.items() if isinstance(error, kind))
    return 0


def _parser() -> argparse.ArgumentParser:
    what, _, codes = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        "lucid",
        description=what,
        epilog=codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"lucid {lucid.__version__}"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module, name in ((score, "score"), (info, "info")):
        first, _, more = str(module.__doc__).partition("\n\n")
        command = commands.add_parser(
            name,
            help=first,
            description=f"{first}\n\n{more}",
            epilog=codes,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    commands.add_parser("bench", help="Measure lucid on this machine.")
    return parser


def _bench(arguments: list[str]) -> int:
    """The benchmarks lie in the package when installed, beside it in a checkout."""
    name = "lucid.bench" if importlib.util.find_spec("lucid.bench") else "bench"
    return int(importlib.import_module(f"{name}.__main__").main(arguments))


def _say(message: str) -> None:
    """One line, whatever line breaks the message has."""
    print("lucid:", " ".join(message.split()), file=sys.stderr)
