"""How time grows: slopes of log time against log K and log N, by least squares."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .document import NAMES, Cell, is_spread_out, seconds

MEANING = (
    "Slopes of log time, ± their standard error. Against K the number of pairs N·K is "
    "held fixed: 0.0 means that a pair costs the same at every K, 1.0 that it costs in "
    "proportion to K. Against N, K is held fixed: 1.0 means time in proportion to N, "
    "0.0 that it does not depend on N."
)
UNKNOWN = "not measured"


@dataclass(frozen=True)
class Slope:
    """A fitted exponent; `error` is None where two points leave none to estimate.

    spread  of the components' means, where it is not the usual one
    """

    case: str
    d: int
    dtype: str
    spread: int | None
    participant: str
    axis: str
    slope: float
    error: float | None
    points: int

    def __str__(self) -> str:
        error = "" if self.error is None else f" ± {self.error:.3f}"
        return f"{self.slope:.3f}{error}"


def slopes(results: Iterable[Cell]) -> list[Slope]:
    """One for each participant, dtype and axis with two sizes or more."""
    points: dict[tuple[str, int, str, int | None, str, str], list[tuple[int, float]]]
    points = defaultdict(list)
    for cell in results:
        if cell["suite"] == "growth":
            for name in cell["participants"]:
                time = seconds(cell, name)
                if time is not None:
                    axis = cell["axis"]
                    spread = cell["spread"] if is_spread_out(cell) else None
                    kind = (cell["case"], cell["d"] or 1, cell["dtype"], spread)
                    size = cell[axis.lower()]
                    points[(*kind, name, axis)].append((size, time))
    return [
        Slope(*kind, *_fit(given), len(given))
        for kind, given in points.items()
        if len({size for size, _ in given}) > 1
    ]


def _fit(points: list[tuple[int, float]]) -> tuple[float, float | None]:
    x, y = np.log(np.array(points, np.float64)).T
    x, y = x - x.mean(), y - y.mean()
    square = float(x @ x)
    slope = float(x @ y) / square
    rest = y - slope * x
    freedom = len(points) - 2
    error = math.sqrt(float(rest @ rest) / freedom / square) if freedom else None
    return slope, error


def table(results: Iterable[Cell]) -> list[str]:
    """The slopes as lines of Markdown, and what they mean."""
    found = {
        (s.case, s.d, s.dtype, s.spread, s.participant, s.axis): str(s)
        for s in slopes(results)
    }
    rows = dict.fromkeys(key[:-1] for key in found)
    lines = ["| | participant | against K | against N |", "| --- | --- | ---: | ---: |"]
    for case, d, dtype, spread, name in rows:
        event = f", D = {d}" if d > 1 else ""
        apart = "" if spread is None else f", spread {spread:g}"
        kind = case, d, dtype, spread, name
        k, n = (found.get((*kind, axis), UNKNOWN) for axis in ("K", "N"))
        shown = NAMES.get(name, name)
        lines.append(f"| {case}{event}, {dtype}{apart} | {shown} | {k} | {n} |")
    return [*lines, "", MEANING]
