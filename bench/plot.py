"""Pictures of results, through the optional package matplotlib."""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lucid.io.errors import OutputError, optional
from lucid.io.writer import NewFile

from .document import NAMES, Cell, is_usual, participants, seconds
from .peers import LUCID

FORMATS = (".png", ".svg", ".pdf")
# One colour and marker a participant, whoever else is in the picture.
_MARKERS = "os^vD<>pXP"
_WIDTH, _HEIGHT = 4.2, 3.3
_LEGEND = 1.6
_DIGITS = re.compile(r"-?\d+\.\d{3,}")
# Nothing that depends on where, when or by whom a picture is drawn.
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lucid",
    "axes.grid": True,
    "grid.alpha": 0.3,
    "font.sans-serif": ["DejaVu Sans", "Arial"],
    "font.size": 9,
    "savefig.dpi": 150,
}


@dataclass(frozen=True)
class Panel:
    """One quantity against one size."""

    name: str
    title: str
    sizes: str
    y_label: str
    y: Callable[[Cell, float], float]
    shows: Callable[[Cell], bool]


def _rate(cell: Cell, time: float) -> float:
    return float(cell["amount"]) / time / 1e6


def _time(cell: Cell, time: float) -> float:
    return time


_PAIRS, _DRAWS = "million pairs per second", "million draws per second"
PANELS = (
    Panel(
        "scalar", "scalar mixture", "k", _PAIRS, _rate,
        lambda cell: (cell["suite"], cell["case"]) == ("score", "scalar"),
    ),
    Panel(
        "diagonal", "diagonal mixture", "d", _PAIRS, _rate,
        lambda cell: (cell["suite"], cell["case"]) == ("score", "diagonal"),
    ),
    Panel(
        "draws", "draws of a mixture", "k", _DRAWS, _rate,
        lambda cell: cell["suite"] == "sample",
    ),
    Panel(
        "growth-k", "growth with K, N·K fixed", "k", "seconds", _time,
        lambda cell: (cell["suite"], cell["axis"]) == ("growth", "K"),
    ),
    Panel(
        "growth-n", "growth with N, K fixed", "n", "seconds", _time,
        lambda cell: (cell["suite"], cell["axis"]) == ("growth", "N"),
    ),
)  # fmt: skip


def check(path: Path) -> None:
    """Complain about what would fail only after minutes of measuring."""
    if path.suffix.lower() not in FORMATS:
        raise OutputError(path, f"a plot's name must end in {', '.join(FORMATS)}")
    optional("matplotlib", "a plot", "plot")


def plot(results: Sequence[Cell], path: Path) -> None:
    """One picture of all panels that the results have anything for."""
    check(path)
    panels = [(panel, chosen(panel, results)) for panel in PANELS]
    new = NewFile(path)
    with new as file, new.reported():
        _draw([(p, c) for p, c in panels if c], file, path.suffix[1:].lower())


def svgs(results: Sequence[Cell]) -> dict[str, str]:
    """The text of one SVG a panel, by name; the same results give the same bytes."""
    texts = {}
    for panel in PANELS:
        cells = chosen(panel, results)
        if cells:
            file = io.BytesIO()
            _draw([(panel, cells)], file, "svg")
            texts[panel.name] = _tidy(file.getvalue().decode())
    return texts


def _tidy(svg: str) -> str:
    """Coordinates to a hundredth of a point, and names numbered as they appear.

    The digits beyond depend on the processor, and so would names, which are hashes.
    """
    names = dict.fromkeys(re.findall(r'\bid="([mp][0-9a-f]{10})"', svg))
    for number, name in enumerate(names, 1):
        svg = re.sub(rf"\b{name}\b", f"shape_{number}", svg)
    svg = re.sub(r"<[a-z][^>]*>", lambda tag: _DIGITS.sub(_rounded, tag[0]), svg)
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines())


def _rounded(number: re.Match[str]) -> str:
    return f"{round(float(number[0]), 2) + 0.0:g}"  # + 0.0: no minus sign before a 0


def chosen(panel: Panel, results: Iterable[Cell]) -> list[Cell]:
    """The panel's usual cells, at one K if D is what they are drawn against."""
    cells = [cell for cell in results if panel.shows(cell) and is_usual(cell)]
    if panel.sizes == "d":
        count = Counter(cell["k"] for cell in cells)
        most = max(count, key=lambda k: (count[k], k), default=None)
        cells = [cell for cell in cells if cell["k"] == most]
    measured = participants(cells)
    return [c for c in cells if any(seconds(c, name) for name in measured)]


def _draw(panels: list[tuple[Panel, list[Cell]]], file: Any, form: str) -> None:
    """A row a panel, a column a dtype, and a legend; places do not depend on fonts."""
    dtypes = sorted({cell["dtype"] for _, cells in panels for cell in cells}) or [""]
    width, height = _WIDTH * len(dtypes) + _LEGEND, _HEIGHT * max(1, len(panels))
    style = optional("matplotlib.style", "a plot", "plot")
    figures = optional("matplotlib.figure", "a plot", "plot")
    with style.context(["default", _STYLE], after_reset=True):
        figure = figures.Figure(figsize=(width, height))
        drawn = [cell for _, cells in panels for cell in cells]
        shown = [n for n in participants(drawn) if any(seconds(c, n) for c in drawn)]
        for row, (panel, cells) in enumerate(panels):
            for column, dtype in enumerate(dtypes):
                left = (_WIDTH * column + 0.8) / width
                bottom = (height - _HEIGHT * (row + 1) + 0.55) / height
                size = ((_WIDTH - 1.0) / width, (_HEIGHT - 0.95) / height)
                axes = figure.add_axes((left, bottom, *size))
                of_dtype = [cell for cell in cells if cell["dtype"] == dtype]
                if not of_dtype:
                    continue
                _draw_panel(axes, panel, of_dtype, shown)
                axes.set_title(f"{_title(panel, cells)}, {dtype}")
        if not panels:
            figure.text(0.1, 0.5, "no cell that a plot shows was measured")
        _draw_legend(figure, shown, width, height)
        unsigned = {"Date": None, "Creator": None} if form == "svg" else {}
        figure.savefig(file, format=form, metadata=unsigned)


def _title(panel: Panel, cells: list[Cell]) -> str:
    return (
        f"{panel.title}, K = {cells[0]['k']:,}" if panel.sizes == "d" else panel.title
    )


def _draw_panel(axes: Any, panel: Panel, cells: list[Cell], shown: list[str]) -> None:
    values: list[float] = []
    for name in shown:
        points = {}
        # Of several cells of one size, the largest is drawn.
        for cell in sorted(cells, key=lambda cell: float(cell["amount"])):
            time = seconds(cell, name)
            if time is not None:
                points[cell[panel.sizes]] = panel.y(cell, time)
        values += points.values()
        if points:
            axes.plot(*zip(*sorted(points.items()), strict=True), **_line(name))
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = [cell[panel.sizes] for cell in cells]
    for axis, limits, given in (
        (axes.xaxis, axes.set_xlim, sizes),
        (axes.yaxis, axes.set_ylim, values),
    ):
        if given:
            low, high = math.log10(min(given)), math.log10(max(given))
            limits(
                10 ** math.floor(low), 10 ** max(math.ceil(high), math.floor(low) + 1)
            )
        axis.set_major_formatter(lambda value, _: _power(value))
    axes.minorticks_off()
    # By their baselines: where matplotlib's own labels stand depends on the fonts.
    beside = {"transform": axes.transAxes, "ha": "center", "va": "baseline"}
    axes.text(0.5, -0.17, panel.sizes.upper(), **beside)
    turned = {"rotation": 90, "rotation_mode": "anchor"}
    axes.text(-0.16, 0.5, panel.y_label, **beside, **turned)


def _power(value: float) -> str:
    """A power of ten, short enough for six of them below an axis."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:.10g}"


def _line(name: str) -> dict[str, Any]:
    number = list(NAMES).index(name) if name in NAMES else len(NAMES)
    return {
        "color": f"C{number % 10}",
        "marker": _MARKERS[number % len(_MARKERS)],
        "markersize": 4,
        "linewidth": 2.2 if name in LUCID else 1.1,
    }


def _draw_legend(figure: Any, shown: list[str], width: float, height: float) -> None:
    """Line by line: matplotlib's own is as wide as the fonts are there."""
    axes = figure.add_axes(
        (1 - (_LEGEND - 0.05) / width, 0, (_LEGEND - 0.05) / width, 1)
    )
    axes.set_axis_off()
    axes.set_xlim(0, _LEGEND)
    axes.set_ylim(0, height)
    for number, name in enumerate(shown):
        y = height - 0.5 - 0.22 * number
        axes.plot([0, 0.12, 0.24], [y] * 3, **_line(name))
        axes.text(0.32, y - 0.04, NAMES.get(name, name), va="baseline")
