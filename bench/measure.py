"""One cell: every participant checked, warmed up, and timed in turn."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import limits, memory, probe, timing
from .peers import LUCID, NotApplicableError, Peer
from .reference import LUCID_LIMIT, Reference
from .suites import Cell
from .workloads import Workload, make

OK, WRONG, EXHAUSTED = "ok", "wrong", "out of memory"
NOT_INSTALLED, NOT_APPLICABLE, FAILED = "not installed", "not applicable", "failed"

# Fewer repeats than asked for are enough of a participant that has had this long.
_SECONDS_EACH, _FEWEST_REPEATS = 2.0, 3
# A latency is that of many calls in a row, or the clock's own would count.
_LATENCY_SECONDS = 0.02
_LONGEST_NOTE = 160

Say = Callable[[str], None]


@dataclass(frozen=True)
class Missing:
    """Why a participant takes no part."""

    status: str
    note: str


@dataclass
class Entry:
    """A participant in one cell."""

    name: str
    status: str
    note: str = ""
    peer: Peer | None = None
    calls: list[Callable[[], Any]] = field(default_factory=list)
    first_seconds: float = 0.0
    turns: int = 1
    brief: bool = False
    seconds: list[float] = field(default_factory=list)
    extra_bytes: int | None = None
    error: float | None = None

    def leave(self, status: str, note: str) -> None:
        """Take no further part; what was timed means nothing."""
        self.status, self.note, self.seconds = status, _line(note), []
        self.calls = []

    def document(self) -> dict[str, Any]:
        """Its part of the result file, of one process."""
        median = statistics.median(self.seconds) if self.seconds else None
        waited = None if median is None else max(0.0, self.first_seconds - median)
        extra = self.extra_bytes if self.seconds else None
        return {
            "status": self.status,
            "note": self.note,
            "seconds": self.seconds,
            "process_medians": [] if median is None else [median],
            "median_seconds": median,
            "quartiles": timing.quartiles(self.seconds) if self.seconds else None,
            "compile_seconds": waited,
            "extra_mb": None if extra is None else extra / 1e6,
            "error_uB": self.error,
        }


def measure(
    cell: Cell,
    participants: Mapping[str, Peer | Missing],
    repeats: int,
    say: Say = lambda name: None,
) -> dict[str, Any]:
    """The cell's part of the result file: its own fields, and its participants."""
    # A system that hands out more than it has would end the process.
    with memory.limited(memory.free_bytes()):
        workload = make(cell)
    reference = Reference(workload)
    entries = [_entry(name, who) for name, who in participants.items()]
    taking_part = [entry for entry in entries if entry.peer]
    for entry in taking_part:
        say(entry.name)
        _warm_up(entry, workload, reference)
        for other in taking_part:
            if other.peer:
                other.peer.release()
    for turn in range(repeats):
        # Nobody always follows the same one, and meets its threads and caches.
        for entry in random.Random(turn).sample(taking_part, len(taking_part)):
            enough = len(entry.seconds) >= _FEWEST_REPEATS
            if not (enough and sum(entry.seconds) > _SECONDS_EACH):
                say(f"{entry.name}, {turn + 1} of {repeats}")
                _time(entry, turn, reference)
    for entry in taking_part:
        if entry.peer and entry.status == OK:
            entry.note = entry.note or entry.peer.note(workload)
    return document(cell, {entry.name: entry.document() for entry in entries})


def document(cell: Cell, found: dict[str, Any]) -> dict[str, Any]:
    """The schema's fields of a cell, without its share of a GPU's limit."""
    names = ("suite", "case", "axis", "dtype", "n", "k", "d", "spread", "order")
    return {
        **{name: getattr(cell, name) for name in names},
        "offset": cell.offset,
        "amount": cell.amount,
        "unit": cell.unit,
        "participants": found,
        "limit_percent": None,
        "limit_name": None,
    }


def hold_to_limits(part: dict[str, Any], measured: Mapping[str, float] | None) -> None:
    """Fill in how much of the limit that binds lucid reached, on a GPU."""
    lucid = part["participants"].get("lucid", {})
    if measured and lucid.get("status") == OK and part["unit"] != "calls":
        name, least = limits.binding(part, measured)
        part["limit_name"] = name
        part["limit_percent"] = 100 * least / lucid["median_seconds"]


def _entry(name: str, who: Peer | Missing) -> Entry:
    if isinstance(who, Missing):
        return Entry(name, who.status, who.note)
    return Entry(name, OK, peer=who)


def _warm_up(entry: Entry, workload: Workload, reference: Reference) -> None:
    """Build, call for the first time, and measure memory; the results are checked."""
    peer = entry.peer
    assert peer is not None
    free = memory.free_bytes() if peer.device == "cpu" else None
    if entry.name not in LUCID and free and _holds_too_much(workload, free):
        # It may well end the process, so another one goes first.
        status, note = probe.in_a_child(entry.name, workload.cell, peer.threads, free)
        if status != OK:
            entry.leave(status, note)
            return

    def first() -> None:
        peer.before()
        entry.calls = peer.build(workload)
        entry.first_seconds, result = timing.seconds(peer, entry.calls)
        _check(entry, 0, result, reference)

    def second() -> None:
        entry.extra_bytes, result = peer.extra_bytes(entry.calls[1])
        array = peer.numpy(result)
        if entry.extra_bytes is not None:
            entry.extra_bytes = max(0, entry.extra_bytes - array.nbytes)
        _check(entry, 1, result, reference)

    def third() -> None:
        taken, result = timing.seconds(peer, entry.calls, 1, 2)
        _check(entry, 2, result, reference)
        entry.brief = timing.is_brief(taken)
        if workload.cell.case == "single":
            entry.turns = max(1, math.ceil(_LATENCY_SECONDS / max(taken, 1e-7)))

    for step in (first, second, third):
        if entry.status == OK:
            _attempt(entry, step)


def _time(entry: Entry, turn: int, reference: Reference) -> None:
    def step() -> None:
        peer = entry.peer
        assert peer is not None
        taken, result = timing.seconds(
            peer, entry.calls, entry.turns, turn, awake=entry.brief
        )
        _check(entry, turn + entry.turns - 1, result, reference)
        if entry.status == OK:
            entry.seconds.append(taken)

    if entry.status == OK:
        _attempt(entry, step)


def _attempt(entry: Entry, step: Callable[[], None]) -> None:
    """What a library raises is its own result, not the end of the benchmark."""
    peer = entry.peer
    assert peer is not None
    try:
        with memory.limited(memory.free_bytes() if peer.device == "cpu" else None):
            step()
    except NotApplicableError as error:
        entry.leave(NOT_APPLICABLE, str(error))
    except Exception as error:
        entry.leave(*trouble(error))


def trouble(error: Exception) -> tuple[str, str]:
    """The status and the note that an exception stands for."""
    if memory.is_exhausted(error):
        asked = memory.asked_for(error)
        return EXHAUSTED, f"asked for {asked}" if asked else str(error)
    return FAILED, f"{type(error).__name__}: {error}"


def _check(entry: Entry, index: int, result: Any, reference: Reference) -> None:
    peer = entry.peer
    assert peer is not None
    limit = LUCID_LIMIT if entry.name in LUCID else None
    verdict = reference.check(index, peer.numpy(result), limit)
    if verdict.error is not None:
        entry.error = max(entry.error or 0.0, verdict.error)
    if verdict.trouble:
        entry.leave(WRONG, verdict.trouble)


def _holds_too_much(workload: Workload, free: int) -> bool:
    """Whether a few arrays of all rows and components would not fit."""
    of_pairs = workload.cell.case in ("scalar", "diagonal", "draws")
    return of_pairs and 4 * workload.n_by_k_bytes > free


def _line(note: str) -> str:
    text = " ".join(note.split())
    return text if len(text) <= _LONGEST_NOTE else text[: _LONGEST_NOTE - 1] + "…"


def pooled(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One cell out of the same one of several processes, all of whose times are kept.

    The median is that of the processes' medians; a process in which it went wrong
    decides the status.
    """
    found = {}
    for name in parts[0]["participants"]:
        each = [part["participants"][name] for part in parts]
        bad = next((one for one in each if one["status"] != OK), None)
        found[name] = dict(bad) if bad else _pooled_times(each)
    return parts[0] | {"participants": found}


def _pooled_times(each: list[dict[str, Any]]) -> dict[str, Any]:
    times = [seconds for one in each for seconds in one["seconds"]]
    medians = [one for part in each for one in part["process_medians"]]
    median, (first, third) = statistics.median(medians), timing.quartiles(times)

    def known(name: str) -> list[float]:
        return [one[name] for one in each if one[name] is not None]

    def middle(name: str) -> float | None:
        return statistics.median(known(name)) if known(name) else None

    return each[0] | {
        "seconds": times,
        "process_medians": medians,
        "median_seconds": median,
        # Between two processes' medians may be no time at all.
        "quartiles": [min(first, median), max(third, median)],
        "compile_seconds": middle("compile_seconds"),
        "extra_mb": middle("extra_mb"),
        "error_uB": max(known("error_uB"), default=None),
    }
