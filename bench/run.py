"""Measure lucid on this machine.

Beside its peers, in one run: all get the same inputs in the same dtype, are checked
against a wider reference before a time counts, and are timed in turn. Compilation is
told apart.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lucid import _device, cuda
from lucid.backends import DeviceUnavailableError
from lucid.cli import signals
from lucid.io.errors import MissingPackageError

from . import gpu, limits, measure, peers, plot, processes, record, suites, table
from .progress import Progress

REPEATS, SHORT_REPEATS = 7, 5
PACKAGES = (
    "numpy", "numba", "torch", "jax", "scikit-learn", "scipy", "numpyro", "pykeops",
    "cupy",
)  # fmt: skip
_CODES = """
exit codes: 0 done; 1 lucid gave no right result; 2 the command line is wrong; 5 an
output cannot be written; 6 a device or a package that was asked for is not there;
130 interrupted by Ctrl-C; 141 whoever read the table has gone; 143 ended by SIGTERM.
"""

T = TypeVar("T")


def main(argv: Sequence[str], commands: str = "") -> int:
    """Run a suite; its exit code. `commands` says in the help what else there is."""
    options = _parser(commands).parse_args(argv)
    try:
        return _run(options, list(argv))
    except MemoryError:  # of the inputs: a participant's is its own result
        remedy = "ask for less by --n, --k or --d"
        return _failed(f"error: the inputs do not fit in memory; {remedy}", 2)
    except (DeviceUnavailableError, MissingPackageError) as error:
        return _failed(f"error: {error}", 6)


def _run(options: argparse.Namespace, given: list[str]) -> int:
    device = _device_type(options.device)
    sizes = suites.Sizes(options.dtype, options.n, options.k, options.d)
    cells = suites.cells(options.suite, device, sizes, options.quick)
    for name in ("n", "k", "d"):
        asked = getattr(sizes, name)
        if asked and not any(getattr(cell, name) in asked for cell in cells):
            what = f"no cell of this suite has {name.upper()} as --{name} asks for"
            return _failed(f"error: {what}", 2)
    for path in (options.json, options.plot):
        if path is not None:
            record.check_writable(path)
    if options.plot is not None:
        plot.check(options.plot)
    if options.processes > 1:
        document = processes.run(given, options.processes)
    else:
        with _on_cores(options.threads):
            document = _measured(options, device, cells)
    # The files first: the table may end in a pipe that somebody closes.
    said = list(table.lines(document, [str(cell) for cell in cells]))
    try:
        if options.json is not None:
            suite = options.suite or "default"
            record.write(options.json, suite, given, PACKAGES, **document)
            said.append(f"written to {options.json}")
        if options.plot is not None:
            plot.plot(document["results"], options.plot)
            said.append(f"drawn in {options.plot}")
    finally:
        print(*said, sep="\n", flush=True)
    failed = (measure.WRONG, measure.EXHAUSTED, measure.FAILED)
    return int(
        any(
            cell["participants"][name]["status"] in failed
            for cell in document["results"]
            for name in peers.LUCID
        )
    )


def _measured(
    options: argparse.Namespace, device: str, cells: list[suites.Cell]
) -> dict[str, Any]:
    """The result file's fields that this run decides."""
    progress = Progress(len(cells))
    repeats = REPEATS if options.suite else SHORT_REPEATS

    def step(text: str) -> None:
        signals.raise_again(None)
        progress.step(text)

    try:
        taking_part = {}
        for name in (*peers.LUCID, *options.peers):
            step(f"importing {name}")
            taking_part[name] = _participant(name, device, options.threads)
        measured = limits.measure() if device == "cuda" else None
        results = []
        for cell in cells:
            progress.cell(cell)
            part = measure.measure(
                cell, taking_part, 1 if options.quick else repeats, step
            )
            measure.hold_to_limits(part, measured)
            results.append(part)
    finally:
        progress.end()
    machine = record.machine()
    return {
        "machine": machine | ({"gpu": gpu.device()} if device == "cuda" else {}),
        "device": device,
        "threads": options.threads,
        "limits": measured,
        "results": results,
    }


def _participant(name: str, device: str, threads: int) -> peers.Peer | measure.Missing:
    try:
        return peers.find(name, device, threads)
    except peers.NotApplicableError as error:
        return measure.Missing(measure.NOT_APPLICABLE, str(error))
    except ImportError as error:
        return measure.Missing(measure.NOT_INSTALLED, str(error))
    except Exception as error:  # a broken install raises anything
        return measure.Missing(measure.FAILED, f"{type(error).__name__}: {error}")


def _device_type(asked: str | None) -> str:
    if asked is None:
        return "cuda" if cuda.is_available() else "cpu"
    _ = _device.device(asked).backend  # an error that says why, where it does not work
    return asked


@contextlib.contextmanager
def _on_cores(threads: int) -> Iterator[None]:
    """On as many cores as threads: some libraries take their number from those."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(usable)[:threads])
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def _failed(message: str, code: int) -> int:
    print("lucid bench:", " ".join(message.split()), file=sys.stderr)
    return code


def _parser(commands: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "lucid bench",
        description=__doc__,
        epilog=f"{commands}\n{_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    names = ",".join(peers.PEERS)
    add("--suite", choices=(*suites.SUITES, "all"), help="a full suite (a short mix)")
    add("--device", choices=("cpu", "cuda"), help="where to run (the GPU if one works)")
    add(
        "--peers",
        type=_several(_one_of(peers.PEERS)),
        default=tuple(peers.PEERS),
        metavar="NAMES",
        help=f"peers beside lucid ({names})",
    )
    add(
        "--dtype",
        type=_several(_one_of(suites.DTYPES)),
        default=(),
        metavar="DTYPES",
        help="in place of the suite's own: float32, float64 or both",
    )
    for name, what in (("n", "rows"), ("k", "components"), ("d", "event sizes")):
        add(
            f"--{name}",
            type=_several(_count),
            default=(),
            metavar=name.upper(),
            help=f"{what} in place of the suite's own, as 1000 or 1e3,1e6",
        )
    add("--threads", type=_threads, default=record.usable_cores(), help="(all cores)")
    add(
        "--processes",
        type=_count,
        default=1,
        help="repeat all of it in so many new processes (1)",
    )
    add("--json", type=Path, metavar="FILE", help="write the results to this file")
    add("--plot", type=Path, metavar="FILE.png", help="draw the results in this file")
    add(
        "--quick",
        action="store_true",
        help="tiny sizes, once: shows that it runs, measures nothing",
    )
    return parser


def _several(one: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    return lambda text: tuple(dict.fromkeys(one(part) for part in text.split(",")))


def _one_of(names: Sequence[str] | dict[str, Any]) -> Callable[[str], str]:
    def one(text: str) -> str:
        if text not in names:
            expected = ", ".join(names)
            raise argparse.ArgumentTypeError(f"{text!r} is none of {expected}")
        return text

    return one


def _threads(text: str) -> int:
    number, cores = _count(text), record.usable_cores()
    if number > cores:
        raise argparse.ArgumentTypeError(
            f"{text!r} is more than this machine's {cores}"
        )
    return number


def _count(text: str) -> int:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (1 <= number < 2**53 and number == int(number)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(number)
