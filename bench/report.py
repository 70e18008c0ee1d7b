"""Measured cells as Markdown: a section of tables for each kind, and the headlines."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from . import growth
from .document import (
    ABSENT,
    NAMES,
    Cell,
    best_peer,
    figure,
    is_usual,
    label,
    participants,
    ratio,
    seconds,
)
from .peers import LUCID

NOT_MEASURED = "not measured"
SECTIONS = (
    ("Scoring, scalar components", "score", "scalar"),
    ("Scoring, diagonal components", "score", "diagonal"),
    ("Mixture density networks: parameters of each row", "mdn", None),
    ("Categorical", "categorical", None),
    ("Sampling", "sample", None),
    ("Latency of one value", "latency", None),
    ("Growth", "growth", None),
)
# The rows of the house's own table: (what, suite, case, dtype, K, D).
_HEADLINES = (
    *(("scalar", "score", "scalar", "float32", k, 1) for k in (8, 64, 1024, 65_536)),
    ("scalar", "score", "scalar", "float64", 64, 1),
    ("diagonal", "score", "diagonal", "float32", 64, 16),
    ("diagonal", "score", "diagonal", "float32", 1024, 128),
    ("parameters of each row", "mdn", "mdn", "float32", 32, 1),
    ("categorical", "categorical", "categorical", "float32", 1000, 1),
    *(("sample", "sample", "draws", "float32", k, 1) for k in (16, 1024)),
    ("one value", "latency", "single", "float32", 8, 1),
)
_HEADLINE_NAMES = (*LUCID, "torch", "torch-compile", "jax", "sklearn")
_LONGEST_NOTE = 40

Value = Callable[[Cell, str], str]


def cells_of(cells: Iterable[Cell], suite: str, case: str | None) -> list[Cell]:
    """The cells of one section, sorted by dtype, sizes and what is not usual."""
    found = [c for c in cells if c["suite"] == suite and case in (None, c["case"])]
    return sorted(
        found,
        key=lambda c: (
            *(c["axis"] or "", c["case"], c["dtype"], c["d"] or 1, c["k"] or 0),
            *(c["n"] or 0, c["spread"] or 0, c["order"] or "", c["offset"] or 0),
        ),
    )


def section(cells: Sequence[Cell]) -> list[str]:
    """The speeds of one section's cells; errors, memory and the rest folded away."""
    shown = _present(cells)
    usual = [cell for cell in cells if is_usual(cell)]
    other = [cell for cell in cells if not is_usual(cell)]
    lines = []
    if cells[0]["suite"] == "growth":
        lines += [*growth.table(cells), ""]
        lines += _folded("Times", _grid(cells, shown, _speed))
    else:
        lines += [*_grid(usual, shown, _speed), ""] if usual else []
        title = "Speeds at other spreads, orders and offsets"
        lines += _folded(title, _grid(other, shown, _speed)) if other else []
    for title, value in _DETAILS:
        told = [name for name in shown if any(value(cell, name) for cell in cells)]
        lines += _folded(title, _grid(cells, told, value)) if told else []
    notes = _notes(cells)
    lines += _folded("Notes", notes) if notes else []
    for status in ABSENT:
        names = [NAMES.get(name, name) for name in _absent(cells, status)]
        lines += [f"{status.capitalize()}: {', '.join(names)}.", ""] if names else []
    return lines[:-1]


def summary(sections: Iterable[tuple[str, Sequence[Cell]]]) -> list[str]:
    """One row a section: how lucid stands beside the best peer, and its worst."""
    lines = [
        "| | cells | lucid | lucid (NumPy) | largest error | most extra memory |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for title, cells in sections:
        row = [title, str(len(cells)), *(_ratios(cells, name) for name in LUCID)]
        for field, unit in (("error_uB", "u·B"), ("extra_mb", "MB")):
            most = max(_ours(cells, field), default=None)
            row.append(NOT_MEASURED if most is None else f"{figure(most)} {unit}")
        lines.append(f"| {' | '.join(row)} |")
    return [
        *lines,
        "",
        "Times as fast as the best peer of each cell: the least, the median; then how",
        "many cells have no right result. The error and the memory are the largest of",
        "both.",
    ]


def _ratios(cells: Sequence[Cell], name: str) -> str:
    found = [r for cell in cells if (r := ratio(cell, name)) is not None]
    parts = [figure(min(found)), figure(statistics.median(found))] if found else []
    given = [cell["participants"].get(name, {}).get("status") for cell in cells]
    failed = [status for status in given if status not in (None, "ok", *ABSENT)]
    parts += [f"{failed.count(s)} {s}" for s in dict.fromkeys(failed)]
    return ", ".join(parts) or NOT_MEASURED


def _ours(cells: Iterable[Cell], field: str) -> list[float]:
    parts = (cell["participants"].get(name, {}) for cell in cells for name in LUCID)
    return [part[field] for part in parts if part.get(field) is not None]


def headlines(cells: Sequence[Cell]) -> list[str]:
    """The few rows for the house's README, of the cells of one kind of device."""
    names = [NAMES[name] for name in _HEADLINE_NAMES]
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for what, suite, case, dtype, k, d in _HEADLINES:
        key = {"suite": suite, "case": case, "dtype": dtype, "k": k}
        fits = [
            cell
            for cell in cells
            if key.items() <= cell.items() and (cell["d"] or 1) == d and is_usual(cell)
        ]
        cell = max(fits, key=_weight, default=None)
        event = f", D = {d}" if d > 1 else ""
        sizes = label(cell) if cell else f"K = {k:,}{event}"
        unit = {"sample": "draws", "categorical": "logits", "latency": "µs"}
        row = [f"{what}, {dtype}, {sizes} ({unit.get(suite, 'pairs')})"]
        row += [_speed(cell, n) if cell else NOT_MEASURED for n in _HEADLINE_NAMES]
        lines.append(f"| {' | '.join(row)} |")
    return lines


def _weight(cell: Cell) -> tuple[float, int]:
    """Of several sizes of one kind the largest, then the one with the most peers."""
    timed = [name for name in _HEADLINE_NAMES if name in cell["participants"]]
    return float(cell["amount"]), sum(seconds(cell, name) is not None for name in timed)


def _present(cells: Iterable[Cell]) -> list[str]:
    """Who took part in any of the cells."""
    cells = list(cells)
    absent = {name for status in ABSENT for name in _absent(cells, status)}
    return [name for name in participants(cells) if name not in absent]


def _absent(cells: Sequence[Cell], status: str) -> list[str]:
    """Who took part in none of the cells, by the reason given in the first."""
    found = []
    for name in participants(cells):
        given = [c["participants"][name] for c in cells if name in c["participants"]]
        absent = all(part["status"] in ABSENT for part in given)
        found += [name] if absent and given[0]["status"] == status else []
    return found


def _grid(cells: Sequence[Cell], names: Sequence[str], value: Value) -> list[str]:
    """A row a cell, a column a participant; the limit of a GPU where it is known."""
    limits = value is _speed and any(c["limit_percent"] is not None for c in cells)
    titles = [NAMES.get(name, name) for name in names] + ["of the limit"] * limits
    lines = [f"| | {' | '.join(titles)} |", f"| --- |{' ---: |' * len(titles)}"]
    several = len({cell["case"] for cell in cells}) > 1
    for cell in cells:
        case = f"{cell['case']}, " if several else ""
        row = [f"{case}{cell['dtype']}, {label(cell)}"]
        row += [value(cell, name) for name in names]
        if limits:
            percent, name = cell["limit_percent"], cell["limit_name"]
            row.append(NOT_MEASURED if percent is None else f"{percent:.0f}% of {name}")
        lines.append(f"| {' | '.join(row)} |")
    return lines


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    head = f"<details><summary>{title}</summary>"
    return [head, "", *lines, "", "</details>", ""]


def _speed(cell: Cell, name: str) -> str:
    """Millions a second or µs a call; the best peer bold, lucid's ratio in brackets."""
    measured = cell["participants"].get(name)
    if measured is None:
        return NOT_MEASURED
    status, time = str(measured["status"]), seconds(cell, name)
    if time is None:
        error, note = measured.get("error_uB"), on_a_line(measured.get("note"))
        if status == "wrong" and error is not None:
            return f"wrong ({figure(error)} u·B)"
        if status == "out of memory" and 0 < len(note) <= _LONGEST_NOTE:
            return f"out of memory ({note})"
        return status
    single = cell["unit"] == "calls"
    text = figure(1e6 * time if single else cell["amount"] / time / 1e6)
    times = ratio(cell, name)
    if name in LUCID and times is not None:
        return f"{text} ({figure(times)}×)"
    return f"**{text}**" if name == best_peer(cell) else text


def _field(field: str) -> Value:
    def value(cell: Cell, name: str) -> str:
        number = cell["participants"].get(name, {}).get(field)
        return "" if number is None else figure(number)

    return value


def _spread(cell: Cell, name: str) -> str:
    time = seconds(cell, name)
    if time is None:
        return ""
    low, high = cell["participants"][name]["quartiles"]
    return f"{(high - low) / time:.0%}"


_DETAILS: tuple[tuple[str, Value], ...] = (
    ("Largest error, in units of u·B", _field("error_uB")),
    ("Peak memory beyond inputs and outputs, MB", _field("extra_mb")),
    ("First call beyond a later one (compiling), seconds", _field("compile_seconds")),
    ("Spread: between the quartiles of the times, of the median", _spread),
)


def _notes(cells: Iterable[Cell]) -> list[str]:
    """Each different note once, with the number of cells that it is of."""
    found: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        for name, part in cell["participants"].items():
            note = on_a_line(part.get("note"))
            if note:
                found.setdefault((name, part["status"], note), []).append(cell)
    return [
        f"- {NAMES.get(name, name)}, {_where(of)}: "
        + (note if status == "ok" else f"{status}: {note}")
        for (name, status, note), of in found.items()
    ]


def _where(cells: Sequence[Cell]) -> str:
    first = f"{cells[0]['dtype']}, {label(cells[0])}"
    return first if len(cells) == 1 else f"{len(cells)} cells, the first {first}"


def on_a_line(note: Any) -> str:
    """A note that breaks no table and holds no markup."""
    return " ".join(str(note or "").split()).replace("|", "\\|").replace("<", "&lt;")
