"""Say what got faster or slower between two result files.

A time has changed where the two intervals between the quartiles do not overlap and the
larger median is more than 5 % above the smaller. A participant that was measured in one
file and failed in the other has changed, too.

Exit code 0; with --fail-on-slower 1 where lucid itself got slower or ceased to give a
right answer; 2 where a file cannot be compared.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .document import (
    ABSENT,
    NAMES,
    Cell,
    figure,
    identity,
    label,
    load,
    participants,
)
from .peers import LUCID

LEAST_CHANGE = 1.05
SLOWER, FASTER = "slower", "faster"
FAILED, RECOVERED = "no longer measured", "measured now"
APPEARED, VANISHED = "only in NEW", "only in OLD"
SAME = "unchanged"
# What --fail-on-slower looks for first.
VERDICTS = (SLOWER, FAILED, FASTER, RECOVERED, APPEARED, VANISHED)

_Cells = dict[tuple[Any, ...], Cell]


@dataclass(frozen=True)
class Change:
    """What became of one participant of one cell."""

    verdict: str
    participant: str
    text: str


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("old", metavar="OLD.json", type=Path)
    parser.add_argument("new", metavar="NEW.json", type=Path)
    parser.add_argument("--fail-on-slower", action="store_true", help="exit code 1")
    arguments = parser.parse_args(argv)
    documents, cells = [], []
    for name, path in (("OLD.json", arguments.old), ("NEW.json", arguments.new)):
        try:
            documents.append(load(path))
            cells.append(_by_identity(documents[-1]["results"]))
        except ValueError as error:
            parser.error(
                f"{name}: expected a file of results, but {path}: {error}; "
                "`lucid bench --json FILE` writes one"
            )
    for text in differences(*documents):
        print(f"warning: {text}", file=sys.stderr)
    found = list(changes(*cells))
    for verdict in VERDICTS:
        texts = [change.text for change in found if change.verdict == verdict]
        if texts:
            print(f"{verdict} ({len(texts)}):", *texts, sep="\n  ")
    print(f"{SAME}: {sum(change.verdict == SAME for change in found)}")
    worse = any(c.verdict in (SLOWER, FAILED) and c.participant in LUCID for c in found)
    return int(worse and arguments.fail_on_slower)


def _by_identity(results: list[Cell]) -> _Cells:
    cells: _Cells = {}
    for number, cell in enumerate(results):
        if identity(cell) in cells:
            raise ValueError(f"results[{number}] is the same cell as one before it")
        cells[identity(cell)] = cell
    return cells


def differences(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """What else differs between two documents, and may be why a time does."""
    for part in ("machine", "versions"):
        for name in dict.fromkeys([*old[part], *new[part]]):
            before, after = (document[part].get(name) for document in (old, new))
            if before != after:
                told = [value or "absent" for value in (before, after)]
                yield f"{part}: {name} was {told[0]}, is {told[1]}"
    for name in ("device", "threads"):
        if old.get(name) != new.get(name):
            yield f"{name} was {old.get(name)}, is {new.get(name)}"


def changes(old: _Cells, new: _Cells) -> Iterator[Change]:
    """A verdict on each participant of each cell of either document."""
    for key in dict.fromkeys([*old, *new]):
        pair = [document.get(key) for document in (old, new)]
        present = [cell for cell in pair if cell is not None]
        for name in participants(present):
            before, after = (
                cell["participants"].get(name, {}) if cell else {} for cell in pair
            )
            verdict = _verdict(before, after)
            if verdict is None:
                continue
            times = " → ".join(_told(part) for part in (before, after) if part)
            if verdict in (SLOWER, FASTER):
                change = after["median_seconds"] / before["median_seconds"]
                times += f" ({change:.2f} times the time)"
            cell = present[0]
            axis = f" against {cell['axis']}" if cell["axis"] else ""
            sizes = f"{cell['case']}{axis}, {cell['dtype']}, {label(cell)}"
            yield Change(verdict, name, f"{NAMES.get(name, name)}: {sizes}: {times}")


def _verdict(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """None for one that was in neither run."""
    was, is_now = (part.get("status", ABSENT[0]) not in ABSENT for part in (old, new))
    if not (was and is_now):
        return VANISHED if was else APPEARED if is_now else None
    was, is_now = (part["status"] == "ok" for part in (old, new))
    if not (was and is_now):
        return FAILED if was else RECOVERED if is_now else SAME
    low, high = sorted([old, new], key=lambda part: float(part["median_seconds"]))
    apart = low["quartiles"][1] < high["quartiles"][0]
    if apart and high["median_seconds"] > LEAST_CHANGE * low["median_seconds"]:
        return SLOWER if high is new else FASTER
    return SAME


def _told(measured: dict[str, Any]) -> str:
    if measured["status"] != "ok":
        return str(measured["status"])
    low, middle, high = (
        figure(1e3 * seconds)
        for seconds in (
            measured["quartiles"][0],
            measured["median_seconds"],
            measured["quartiles"][1],
        )
    )
    return f"{middle} ms [{low}, {high}]"
