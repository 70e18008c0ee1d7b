"""Score the rows of DATA under MODEL.

MODEL is a .json or .safetensors file written by lucid.save. DATA is a .npy, .csv or
.parquet file of any size: it is read, scored and written a block of rows at a time.
SCORES gets the log-likelihood of each row, in nats: NaN for a row that holds NaN, -inf
outside the support. Its name ends in .npy, .csv or .parquet; an older file of that name
is replaced once the new one is complete.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from importlib import resources

from lucid._device import CPU, Device, device, get_default_device
from lucid.backends.numpy.engine import get_cpu_engine
from lucid.backends.numpy.threads import get_num_threads
from lucid.cli import plot, signals
from lucid.cli.watch import Watched, progress_bar
from lucid.distributions import Distribution
from lucid.io.errors import (
    DataError,
    MissingPackageError,
    ModelError,
    OutputError,
    reason,
)
from lucid.io.models import load
from lucid.io.rows import open_rows
from lucid.io.scoring import Scores, check_model, score

_DEMO_DRAWS = 10_000_000


class UsageError(Exception):
    """Options that do not go together, or an environment variable that is wrong."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `lucid score`."""
    add = parser.add_argument
    add("model", metavar="MODEL", nargs="?")
    add("data", metavar="DATA", nargs="?")
    add("-o", "--output", metavar="SCORES", help="the file to write (not for --demo)")
    add(
        "--columns",
        metavar="A,B",
        type=_names,
        help="the table's columns to score, by name; by position, counted from 0, "
        "where they have no names (default: all)",
    )
    add(
        "--device",
        type=_device,
        help="cpu, cuda or cuda:1 (default: LUCID_DEVICE, or a GPU if one works)",
    )
    add(
        "--dtype",
        choices=("float32", "float64"),
        help="convert both model and data (default: promote the two)",
    )
    add(
        "--block-rows",
        metavar="N",
        type=_positive,
        help="rows at a time (default: about 16 MiB of them)",
    )
    add(
        "--responsibilities",
        action="store_true",
        help="of a mixture, also write each row's most probable component (-1: none) "
        "and its probability: further columns, or in .npy the fields of a structured "
        "array",
    )
    add(
        "--plot",
        metavar="FILE.png",
        help="draw the data and the model: a histogram with the density (1-D), or "
        "points coloured by component (2-D)",
    )
    add(
        "--demo",
        action="store_true",
        help="score built-in data, the waiting times of the geyser Old Faithful, then "
        "ten million points drawn from the model fitted to them",
    )


def run(options: argparse.Namespace) -> None:
    """Do what the options of `lucid score` ask."""
    _check_options(options)
    if not options.demo:
        model = _load(options.model, options)
        _report(_score(model, options.data, options))
        return
    with resources.as_file(resources.files("lucid") / "data") as folder:
        path, data = str(folder / "faithful.json"), str(folder / "faithful.csv")
        options.columns = ["waiting"]
        model = _load(path, options)
        print("Old Faithful: minutes to the next eruption, a mixture of two normals")
        _report(_score(model, data, options))
    _score_draws(model)


def left_undone(options: argparse.Namespace) -> str:
    """What an interrupted command has not written, for its last line."""
    output = getattr(options, "output", None)
    return f"; {output} was not written" if output else ""


def _check_options(options: argparse.Namespace) -> None:
    if options.demo and (options.model or options.columns):
        raise UsageError("--demo brings its own MODEL, DATA and --columns")
    if not options.demo and not (options.data and options.output):
        raise UsageError("MODEL, DATA and -o SCORES are needed, or --demo")
    try:
        options.device = options.device or get_default_device()
        get_num_threads()
        if options.device == CPU:
            get_cpu_engine()
    except ValueError as error:  # from a variable LUCID_…
        raise UsageError(str(error)) from None
    except ImportError as error:  # from LUCID_CPU
        raise MissingPackageError(str(error)) from None
    _ = options.device.backend  # or an error that says why it does not work
    outputs = [name for name in (options.output, options.plot) if name]
    paths = [os.path.realpath(name) for name in outputs]
    paths += [os.path.realpath(name) for name in (options.model, options.data) if name]
    for name in outputs:
        if paths.count(os.path.realpath(name)) > 1:
            raise OutputError(name, "is also an input, or the other output")


def _load(path: str, options: argparse.Namespace) -> Distribution:
    try:
        model = load(path, device=options.device, dtype=options.dtype)
        check_model(model, options.responsibilities)
    except ModelError:
        raise
    except OSError as error:
        raise ModelError(path, reason(error)) from None
    except ValueError as error:  # of check_model, which has seen no file
        raise ModelError(path, str(error)) from None
    if options.plot:
        plot.check(options.plot, model)
    return model


def _score(model: Distribution, data: str, options: argparse.Namespace) -> Scores:
    sample = plot.sample_for(model) if options.plot else None
    try:
        rows = open_rows(data, options.columns)
        with progress_bar(rows) as advance:
            watchers = [signals.raise_again, advance]
            if sample is not None:
                watchers.append(sample.add)
            scores = score(
                model,
                Watched(rows, *watchers),
                options.output,
                dtype=options.dtype,
                block_rows=options.block_rows,
                responsibilities=options.responsibilities,
            )
    except OutputError:
        raise
    except OSError as error:
        raise DataError(data, reason(error)) from None
    if sample is not None:
        plot.draw(options.plot, model, sample, options.columns or [])
    return scores


def _score_draws(model: Distribution) -> None:
    print(f"\n{_DEMO_DRAWS:,} points drawn from that model")
    started = time.perf_counter()
    draws = model.sample((_DEMO_DRAWS,))
    draws[-1:].numpy()  # a GPU has drawn only once its results can be read
    seconds = time.perf_counter() - started
    print(f"drawn per second     {_DEMO_DRAWS / seconds:,.0f}")
    rows = open_rows(draws)
    with progress_bar(rows) as advance:
        _report(score(model, Watched(rows, signals.raise_again, advance)))


def _report(scores: Scores) -> None:
    of = "" if scores.finite == scores.rows else f" (of {scores.finite:,} finite rows)"
    lines = {
        "rows": f"{scores.rows:,}",
        "log-likelihood": f"{scores.total:.3f}{of}",
        "mean log-likelihood": f"{scores.mean:.6g}{of}",
        "minimum": f"{scores.minimum:.6g}{of}",
        "rows at -inf": f"{scores.minus_infinity:,}",
        "NaN rows": f"{scores.nan:,}",
        "seconds": f"{scores.seconds:.3f}",
        "rows per second": f"{scores.rows_per_second:,.0f}",
        "device": f"{scores.device} ({scores.dtype})",
    }
    for name, text in lines.items():
        print(f"{name:20} {text}")


def _device(text: str) -> Device:
    try:
        return device(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _names(text: str) -> list[str]:
    """Names between commas; in quotes where a name has one."""
    (names,) = csv.reader([text])
    if not names:
        raise argparse.ArgumentTypeError("needs the name of a column")
    return names


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"must be an int of at least 1, got {text!r}")
    return int(text)
