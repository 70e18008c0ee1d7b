"""The measured cells as a table for people."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Container, Iterator
from typing import Any

from .document import best_peer, ratio
from .growth import MEANING, slopes
from .limits import PASSED
from .measure import NOT_APPLICABLE, NOT_INSTALLED, OK
from .peers import LUCID
from .reference import LUCID_LIMIT, PEER_LIMITS

_HEAD = (
    f"  {'':14}{'speed':>18} {'spread':>8} {'memory':>10} {'error':>10} "
    f"{'first call':>11}  vs best peer"
)


def lines(document: dict[str, Any], titles: list[str]) -> Iterator[str]:
    """A block for each cell, then what was not there, then what the columns mean."""
    absent = _absent(document["results"])
    for title, cell in zip(titles, document["results"], strict=True):
        yield title
        yield _HEAD
        yield from _cell(cell, absent)
        yield ""
    yield from _growth(document)
    for name, entry in absent.items():
        yield f"{entry['status']}: {name} ({entry['note']})"
    yield from _legend(document)


def _growth(document: dict[str, Any]) -> Iterator[str]:
    found = slopes(document["results"])
    if not found:
        return
    yield "growth: slopes of log time"
    for slope in found:
        apart = "" if slope.spread is None else f", spread {slope.spread:g}"
        where = f"{slope.case} {slope.dtype}{apart}, against {slope.axis}"
        yield f"  {slope.participant:14}{where:47}{slope}"
    yield from textwrap.wrap(MEANING, 80)
    yield ""


def _absent(cells: list[dict[str, Any]]) -> dict[str, Any]:
    """Who took part in no cell, for one and the same reason: told once."""
    notes: dict[str, set[tuple[str, str]]] = {}
    for cell in cells:
        for name, entry in cell["participants"].items():
            notes.setdefault(name, set()).add((entry["status"], entry["note"]))
    return {
        name: cells[0]["participants"][name]
        for name, found in notes.items()
        if len(found) == 1 and found.pop()[0] in (NOT_INSTALLED, NOT_APPLICABLE)
    }


def _cell(cell: dict[str, Any], absent: Container[str]) -> Iterator[str]:
    best = best_peer(cell)
    for name, entry in cell["participants"].items():
        if name in absent:
            continue
        if entry["status"] != OK:
            yield f"  {name:14}{entry['status']}: {entry['note']}"
            continue
        times = ratio(cell, name)
        compared = "" if times is None else f"{times:.3g} ×"
        if name in LUCID and best is not None:
            compared += f" {best}"
        yield f"  {name:14}{_figures(entry, cell)}  {compared}".rstrip()
        if entry["note"]:
            yield f"  {'':14}{entry['note']}"
    if cell["limit_percent"] is not None:
        share, limit = cell["limit_percent"], cell["limit_name"]
        yield f"  lucid is at {share:.0f} % of the limit that binds: {limit}"


def _figures(entry: dict[str, Any], cell: dict[str, Any]) -> str:
    median = entry["median_seconds"]
    first, third = entry["quartiles"]
    extra, error = entry["extra_mb"], entry["error_uB"]
    memory = "" if extra is None else f"{extra:,.1f} MB"
    wrong_by = "" if error is None else f"{error:.2g} u·B"
    spread = f"{100 * (third - first) / median:.0f} %"
    compiled = f"{entry['compile_seconds']:.2f} s"
    return (
        f"{speed(cell, median):>18} {spread:>8} {memory:>10} {wrong_by:>10} "
        f"{'+' + compiled:>11}"
    )


def speed(cell: dict[str, Any], seconds: float) -> str:
    """What is done a second, or for single calls how long one takes."""
    if cell["unit"] == "calls":
        return f"{seconds * 1e6:.1f} µs a call"
    rate = cell["amount"] / seconds
    step = max(0, min(4, math.floor(math.log10(rate) / 3)))
    prefix = ("", "k", "M", "G", "T")[step]
    return f"{rate / 1000**step:,.4g} {prefix}{cell['unit']}/s"


def _legend(document: dict[str, Any]) -> Iterator[str]:
    units = {cell["unit"] for cell in document["results"]} - {"calls"}
    if units:
        yield f"speed      {', '.join(sorted(units))} a second, by the median of calls"
    yield "spread     between the quartiles of the calls' times, of the median"
    yield "memory     the peak of a call above its inputs and outputs"
    yield "error      the largest, in units of u·B (see bench/reference.py)"
    limits = (f"{limit:.0e} in {dtype}" for dtype, limit in PEER_LIMITS.items())
    wrong = f"a peer {' and '.join(limits)}"
    yield f"           lucid is wrong beyond {LUCID_LIMIT:g}, {wrong}"
    yield "first call what it takes longer than the others: compiling, or loading what"
    yield "           an earlier run compiled"
    device, threads = document["device"], document["threads"]
    yield f"device     {device}, {threads} threads for each participant"
    if document["limits"]:
        rates = (f"{name} {rate:.3g}" for name, rate in document["limits"].items())
        yield f"limits     measured in this run: {', '.join(rates)}"
        yield f"           {PASSED}"
