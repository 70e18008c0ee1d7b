"""Pictures of data and model, through the optional package matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lucid.distributions import Distribution, MixtureSameFamily
from lucid.io.errors import OutputError, optional
from lucid.io.writer import NewFile

_FORMATS = (".png", ".svg", ".pdf")
# More rows than this are drawn as a random choice among them.
_MOST_VALUES = 1_000_000
_MOST_POINTS = 20_000


class Sample:
    """At most `most` of the rows that go by, each set of rows equally likely.

    Every row draws a number; the rows of the smallest numbers are kept. Seeded, so that
    the same data gives the same picture.
    """

    def __init__(self, most: int) -> None:
        self.seen = 0
        self._most = most
        self._random = np.random.default_rng(0)
        self._keys = np.empty(0)
        self._rows: NDArray[np.float64] | None = None

    def add(self, block: Any) -> None:
        """Look at the next rows."""
        values = np.asarray(block).reshape(len(block), -1)
        keys = self._random.random(len(values))
        self.seen += len(values)
        if len(self._keys) == self._most:
            low = keys < self._keys.max()
            keys, values = keys[low], values[low]
        values = values.astype(np.float64)
        if self._rows is not None:
            keys = np.concatenate([self._keys, keys])
            values = np.concatenate([self._rows, values])
        if len(keys) > self._most:
            kept = np.argpartition(keys, self._most)[: self._most]
            keys, values = keys[kept], values[kept]
        self._keys, self._rows = keys, values

    def finite(self) -> NDArray[np.float64]:
        """The kept rows [n, D], less those that hold NaN or ±∞."""
        if self._rows is None:
            return np.empty((0, 1))
        finite: NDArray[np.float64] = self._rows[np.isfinite(self._rows).all(axis=1)]
        return finite

    def title(self) -> str:
        """How many rows a picture of `finite` shows, out of how many."""
        shown = len(self.finite())
        if self.seen > self._most:
            return f"{shown:,} of {self.seen:,} rows, chosen at random"
        left_out = self.seen - shown
        return f"{shown:,} rows" + (f", {left_out:,} not finite" if left_out else "")


def check(path: str, model: Distribution) -> None:
    """Complain about what would fail only after hours of scoring."""
    if Path(path).suffix.lower() not in _FORMATS:
        raise OutputError(path, f"a plot's name must end in {', '.join(_FORMATS)}")
    size = math.prod(model.event_shape)
    if size not in (1, 2):
        raise OutputError(path, f"a plot shows 1 or 2 dimensions, the model has {size}")
    optional("matplotlib", "a plot", "plot")


def sample_for(model: Distribution) -> Sample:
    """An empty sample of the size that suits the picture of a model."""
    return Sample(_MOST_VALUES if math.prod(model.event_shape) == 1 else _MOST_POINTS)


def draw(
    path: str, model: Distribution, sample: Sample, columns: Sequence[str]
) -> None:
    """Write the picture of a sample and the model that scored it."""
    figure = optional("matplotlib.figure", "a plot", "plot").Figure(
        figsize=(8, 5), dpi=150, layout="constrained"
    )
    axes = figure.add_subplot()
    axes.set_title(sample.title())
    rows = sample.finite()
    labels = list(columns) or [f"x{i}" for i in range(rows.shape[1])]
    axes.set_xlabel(labels[0])
    if len(rows) == 0:
        axes.text(0.5, 0.5, "no finite rows", ha="center", transform=axes.transAxes)
    elif rows.shape[1] == 1:
        _draw_density(axes, model, rows[:, 0])
    else:
        axes.set_ylabel(labels[1])
        _draw_points(axes, model, rows)
    new = NewFile(path)
    with new as file, new.reported():
        figure.savefig(file, format=Path(path).suffix[1:].lower())


def _draw_density(axes: Any, model: Distribution, values: NDArray[np.float64]) -> None:
    low, high = float(values.min()), float(values.max())
    bins = int(min(200, max(10, math.sqrt(len(values)))))
    discrete = model.support.is_discrete
    if discrete:
        step = max(1, math.ceil((high - low) / bins))
        edges = np.arange(math.floor(low), math.ceil(high) + step + 1, step) - 0.5
        grid = np.arange(math.floor(low), math.ceil(high) + 1, step, dtype=np.float64)
    else:
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, bins + 1)
        grid = np.linspace(low, high, 1000)
    density = model.prob(grid.reshape(-1, *model.event_shape)).numpy()
    axes.hist(values, edges, density=True, color="0.8", label="data")
    style = "o-" if discrete and len(grid) <= 50 else "-"
    axes.plot(grid, density, style, color="C0", label="model")
    axes.set_ylabel("probability" if discrete else "density")
    axes.legend()


def _draw_points(axes: Any, model: Distribution, rows: NDArray[np.float64]) -> None:
    component = np.zeros(len(rows), np.int64)
    count = 1
    if isinstance(model, MixtureSameFamily):
        events = rows.reshape(-1, *model.event_shape)
        component = model.posterior_mode(events).numpy()
        count = model.num_components
    few = count <= 10
    points = axes.scatter(
        *rows.T,
        s=4 if len(rows) > 2000 else 12,
        c=component,
        cmap="tab10" if few else "turbo",
        vmin=0,
        vmax=9 if few else count - 1,
        rasterized=True,
    )
    if 1 < count <= 10:
        axes.legend(*points.legend_elements(), title="component")
