"""Rows sorted by cell, each under its cell's window: the CUDA backend on the host.

Every launch that cells.py makes runs the kernels' own text. The oracle sums over all
components in long doubles; the bound is that of tests/bounds.py.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host_device import HostDevice, units
from scipy.special import logsumexp

from lucid.backends.cupy import CupyBackend, cells, choice, kernels, mixture, structs
from lucid.backends.protocol import Components, Weights
from lucid.distributions import Normal
from tests.bounds import bounded
from tests.corpus import PROMISE, unit

DTYPES = ("float32", "float64")
# Sizes of events, and into how many cells each of their dimensions is cut here.
EVENTS = {1: 20, 2: 5, 3: 3}
NORMAL = structs.named("Normal")
# Bits that all components outside a window may take off a row's sum.
LOST = {"float32": -28, "float64": -57}
dtypes = pytest.mark.parametrize("dtype", DTYPES)
Law = tuple[Any, Any, Any]


def polynomials(dtype: str) -> int:
    return kernels.POLYNOMIALS[-1] if dtype == "float32" else 0


@pytest.fixture(scope="module")
def device(folder: Path) -> Iterator[HostDevice]:
    """A CUDA device played by the host, with the kernels of cells alone."""
    specs = [
        kernels.mixture_fixed(NORMAL, "float32", 1, 8, 2),
        kernels.mixture_order(NORMAL, "float32"),
    ]
    for dtype in DTYPES:
        specs += [kernels.prepare(NORMAL, dtype, dtype), kernels.mixture_shift(dtype)]
        for event in EVENTS:
            specs += [
                kernels.cell_windows(NORMAL, dtype, event),
                kernels.cell_count(dtype, event),
                kernels.cell_sort(dtype, event),
                *(
                    kernels.mixture_cells(NORMAL, dtype, event, r, polynomials(dtype))
                    for r in kernels.compiled_rows(NORMAL, dtype, event)
                ),
            ]
    device = HostDevice(units(specs), folder)
    yield device
    device.close()


@pytest.fixture(autouse=True)
def few_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a block of each does not take the host long."""
    monkeypatch.setattr(cells, "cells_of", lambda count, event: EVENTS[event])


def law(kind: str, event: int = 1, count: int = 300) -> Law:
    """loc, scale [K, D] and normalised log weights, as float64 of float32's values."""
    random = np.random.default_rng(1)
    loc = 30 * random.normal(size=(count, event))
    scale = random.uniform(0.5, 2, (count, event))
    logs = random.normal(size=count)
    if kind == "near":
        loc /= 100
    elif kind == "wide and narrow":
        scale = 10 ** random.uniform(-3, 2, (count, event))
    elif kind == "one giant":
        scale[17] = 1e6
    elif kind == "heavy giant":
        scale[17], logs[17] = 1e4, 8
    elif kind == "offset":
        loc += 1e6
    elif kind == "duplicates":
        loc, scale = (np.repeat(a[::30], 30, axis=0) for a in (loc, scale))
    elif kind == "one outlier":
        loc[5] = 1e7
    elif kind == "tiny weights":
        logs = random.uniform(-60, 0, count)
    elif kind == "gaps":
        loc, scale = 1e3 * np.round(loc / 10), np.full((count, event), 0.01)
    elif kind == "dead":
        logs[::3] = -np.inf
        loc[::6], scale[::6] = np.nan, np.nan
    loc, scale = (a.astype(np.float32).astype(np.float64) for a in (loc, scale))
    logs = (logs - logsumexp(logs)).astype(np.float32).astype(np.float64)
    return loc, scale, logs


KINDS = (
    *("spread", "near", "wide and narrow", "one giant", "heavy giant", "offset"),
    *("duplicates", "one outlier", "tiny weights", "gaps", "dead"),
)
IN_SPACE = ("spread", "wide and narrow", "tiny weights", "dead")
kinds = pytest.mark.parametrize(
    ("kind", "event"),
    [(kind, 1) for kind in KINDS]
    + [(kind, event) for kind in IN_SPACE for event in (2, 3)],
)


def components(given: Law, dtype: str) -> Components:
    loc, scale, logs = (array.astype(dtype) for array in given)
    weights = Weights.normalised(logs[None])
    return Components(Normal, (loc[None], scale[None]), weights, 1)


@functools.cache
def prepared_once(kind: str, event: int, dtype: str) -> tuple[Law, Components]:
    """A law and its components, which keep their cells and windows between tests."""
    given = law(kind, event)
    return given, components(given, dtype)


def cells_of(device: HostDevice, mixed: Components, dtype: str) -> cells.Cells:
    """The cells of a mixture."""
    kind = np.dtype(dtype)
    return cells._cells(device, mixed, mixture.prepare(device, mixed, kind), kind)


def windows_of(device: HostDevice, known: cells.Cells, dtype: str) -> cells.Windows:
    """The windows of a mixture's cells."""
    return cells._windows(device, NORMAL, known, np.dtype(dtype))


def alive(given: Law) -> Law:
    """Without components of weight 0, in the order of their loc."""
    loc, scale, logs = given
    kept = np.flatnonzero(logs > -np.inf)
    kept = kept[np.argsort(loc[kept, 0], kind="stable")]
    return loc[kept], scale[kept], logs[kept]


def log_terms(given: Law, x: Any) -> Any:
    """log w_k p(x | θ_k), rows by components, as long doubles."""
    loc, scale, logs = (array.astype(np.longdouble) for array in alive(given))
    half_log = np.log(2 * np.pi * np.ones(1, np.longdouble)) / 2
    terms = logs - np.log(scale).sum(axis=1) - half_log * loc.shape[1]
    for d in range(loc.shape[1]):
        z = (x[:, d, None].astype(np.longdouble) - loc[:, d]) / scale[:, d]
        terms = terms - z * z / 2
    return terms


def rows_of(given: Law, borders: Any, size: int, dtype: str) -> Any:
    """Values near components, at the cells' edges on both sides, and far away."""
    loc, scale, _ = alive(given)
    random = np.random.default_rng(3)
    event = loc.shape[1]

    def near(size: int) -> Any:
        k = random.integers(len(loc), size=size)
        return loc[k] + scale[k] * random.uniform(-6, 6, (size, event))

    wide = random.uniform(borders[:, 0], borders[:, -1], (size // 4, event))
    parts = [near(size), wide]
    for d, own in enumerate(borders):
        on = np.concatenate(
            [own, np.nextafter(own, -np.inf), np.nextafter(own, np.inf)]
        )
        edges = near(len(on))
        edges[:, d] = on
        parts.append(edges)
    parts.append(np.tile([[-3e4], [1e9], [-1e9]], event))
    return random.permutation(np.concatenate(parts)).astype(dtype)


def scored(device: HostDevice, mixed: Components, x: Any, rows: int = 1) -> Any:
    fields = {"rows": rows, "polynomials": polynomials(x.dtype.name)}
    with choice.force(kernel="cells", **fields):
        backend = CupyBackend(device=device)
        return backend.mixture_log_prob(mixed, x[:, None], x.dtype)[:, 0]


def error(found: Any, given: Law, x: Any) -> Any:
    """|ŷ − y| in u·B."""
    loc, scale, logs = alive(given)
    _, bound = bounded("Normal", {"loc": loc, "scale": scale}, x, logs, event=True)
    terms = log_terms(given, x)
    top = terms.max(axis=1)
    y = top + np.log(np.exp(terms - top[:, None]).sum(axis=1))
    return (abs(found - y) / (unit(x.dtype) * bound)).astype(np.float64)


@dtypes
@kinds
def test_what_a_window_leaves_out_is_nothing(device, kind, event, dtype):
    """At the edges of each cell and inside it, against sums over all components."""
    given, mixed = prepared_once(kind, event, dtype)
    known = cells_of(device, mixed, dtype)
    windows = windows_of(device, known, dtype)
    borders = known.borders.astype(np.float64)
    assert (np.diff(borders) >= 0).all()
    random = np.random.default_rng(4)
    edges = random.choice(np.linspace(0, 1, 9), (10, event))
    corners = list(itertools.product((0, 1), repeat=event))
    fractions = np.concatenate([edges, random.random((8, event)), corners])
    boxes = itertools.product(range(EVENTS[event]), repeat=event)
    for cell, box in enumerate(boxes):
        low, high = (borders[range(event), np.add(box, i)] for i in range(2))
        terms = log_terms(given, low + fractions * (high - low))
        first, last = windows.offsets[cell + 1 : cell + 3]
        window = windows.components[first:last]
        assert (np.diff(window) > 0).all()
        assert known.counts[cell] == window.size
        top = terms.max(axis=1, keepdims=True)
        shares = np.exp(terms - top)
        outside = np.delete(shares, window, axis=1).sum(axis=1)
        assert (outside <= 2.0 ** LOST[dtype] * shares.sum(axis=1)).all()
    assert windows.offsets[:2].tolist() == [0, 0]
    assert windows.offsets[-1] == windows.components.size
    assert len(known.counts) == EVENTS[event] ** event


@dtypes
@kinds
@pytest.mark.parametrize("most", [True, False])
def test_rows_keep_the_promise(device, kind, event, dtype, most):
    given, mixed = prepared_once(kind, event, dtype)
    known = cells_of(device, mixed, dtype)
    x = rows_of(given, known.borders.astype(np.float64), 800, dtype)
    rows = kernels.compiled_rows(NORMAL, dtype, event)[0 if most else -1]
    assert error(scored(device, mixed, x, rows), given, x).max() <= PROMISE


def test_windows_are_narrow_where_components_lie_apart(device):
    def width(kind: str) -> float:
        _, mixed = prepared_once(kind, 1, "float32")
        return cells_of(device, mixed, "float32").width

    assert width("near") == pytest.approx(1)
    assert 0.1 < width("spread") < 0.4
    assert width("offset") == pytest.approx(width("spread"), rel=0.1)
    # One that reaches everywhere, or lies far away, makes no other's window wide.
    assert width("one giant") < 0.5
    assert width("one outlier") < 0.5
    assert width("duplicates") < 0.5


@pytest.mark.parametrize("event", [2, 3])
def test_windows_are_narrow_in_several_dimensions(device, monkeypatch, event):
    monkeypatch.setattr(cells, "cells_of", lambda count, event: 6)
    mixed = components(law("spread", event), "float32")
    known = cells_of(device, mixed, "float32")
    assert known.width < 0.6
    # As the mixture's own draws meet it.
    loc, scale, logs = law("spread", event)
    random = np.random.default_rng(5)
    k = random.choice(len(logs), 20_000, p=np.exp(logs) / np.exp(logs).sum())
    x = loc[k] + scale[k] * random.normal(size=(len(k), event))
    pairs = zip(known.borders, x.T, strict=True)
    place = np.array([np.searchsorted(*pair, side="right") for pair in pairs])
    assert ((place > 0) & (place < 7)).all()
    met = known.counts[np.ravel_multi_index(tuple(place - 1), (6,) * event)]
    assert known.width == pytest.approx(met.mean() / len(logs), rel=0.05)


@dtypes
@pytest.mark.parametrize("event", EVENTS)
def test_rows_are_sorted_by_cell(device, random, event, dtype):
    _, mixed = prepared_once("spread", event, dtype)
    known = cells_of(device, mixed, dtype)
    windows = windows_of(device, known, dtype)
    x = (40 * random.normal(size=(9000, event))).astype(dtype)
    x[::50, -1] = np.resize([np.nan, np.inf, -np.inf, 1e9, known.borders[-1, 3]], 180)
    spec = kernels.mixture_cells(NORMAL, dtype, event, 1)
    chosen = choice.Choice("cells", rows=1)
    plan = cells.Plan(x.shape, spec, chosen, known, windows)
    counts, starts, rows, blocks = plan.sort(device, x)
    place, inside = np.zeros(len(x), int), np.ones(len(x), bool)
    for own, column in zip(known.borders, x.T, strict=True):
        at = np.searchsorted(own, column, side="right")
        inside &= (at > 0) & (at < own.size)
        place = place * EVENTS[event] + at - 1
    place = np.where(inside, place + 1, 0)
    np.testing.assert_array_equal(counts, np.bincount(place, minlength=counts.size))
    assert (starts % 128 == 0).all()
    assert starts[-1] <= 128 * blocks == rows.size
    every = []
    for cell, (first, count) in enumerate(zip(starts[:-1], counts, strict=True)):
        assert first + count <= starts[cell + 1]
        inside = rows[first : first + count]
        assert (place[inside] == cell).all()
        every += inside.tolist()
    assert sorted(every) == list(range(len(x)))


@dtypes
@pytest.mark.parametrize("event", EVENTS)
def test_special_rows_and_their_neighbours(device, event, dtype):
    """NaN and ±∞ are handled alone; a row's bits do not depend on the others."""
    given, mixed = prepared_once("spread", event, dtype)
    known = cells_of(device, mixed, dtype)
    x = rows_of(given, known.borders.astype(np.float64), 1200, dtype)
    clean = scored(device, mixed, x)
    for rows in kernels.compiled_rows(NORMAL, dtype, event):
        np.testing.assert_array_equal(
            scored(device, mixed, x[100:900], rows), clean[100:900]
        )
    spoiled = x.copy()
    special = np.resize([np.nan, np.inf, -np.inf], len(spoiled[::3]))
    spoiled[::3, -1] = special
    found = scored(device, mixed, spoiled)
    assert np.isnan(found[::9]).all()
    assert (found[3::9] == -np.inf).all()
    assert (found[6::9] == -np.inf).all()
    rest = np.arange(len(x)) % 3 > 0
    np.testing.assert_array_equal(found[rest], clean[rest])
    np.testing.assert_array_equal(scored(device, mixed, x[::-1].copy())[::-1], clean)


def test_many_rows_are_sorted_a_part_at_a_time(device, monkeypatch):
    given = law("spread")
    mixed = components(given, "float32")
    x = rows_of(given, np.linspace(-90, 90, 3)[None], 1000, "float32")
    clean = scored(device, mixed, x)
    monkeypatch.setattr(cells, "MOST_ROWS", 300)
    device.launches.clear()
    np.testing.assert_array_equal(scored(device, mixed, x), clean)
    names = [launch.name for launch in device.launches]
    assert len(names) == 3 * -(-len(x) // 300)


@pytest.mark.parametrize("kind", ["near", "spread"])
def test_it_is_on_by_itself_where_windows_are_narrow(device, monkeypatch, kind):
    given = law(kind)
    mixed = components(given, "float32")
    monkeypatch.setattr(choice, "cells_of", lambda count, event: 2)
    monkeypatch.setattr(choice, "_WORTH_SORTING", 1)
    monkeypatch.setattr(choice, "_WORTH_A_LAUNCH", 1)
    monkeypatch.setattr(choice, "_FEWEST_FOR_CELLS", 300)
    monkeypatch.setattr(device, "multiprocessors", 1)
    x = rows_of(given, np.zeros((1, 1)), 4200, "float32")
    backend = CupyBackend(device=device)
    device.launches.clear()
    found = backend.mixture_log_prob(mixed, x[:, None], x.dtype)[:, 0]
    assert error(found, given, x).max() <= PROMISE
    kernel = "fixed" if kind == "near" else "cells"
    name = f"lucid_mixture_{kernel}_normal_float32"
    assert device.launches[-1].name.startswith(name)
    # Prepared once.
    device.launches.clear()
    again = backend.mixture_log_prob(mixed, x[:, None], x.dtype)[:, 0]
    np.testing.assert_array_equal(again, found)
    assert len(device.launches) == (1 if kind == "near" else 3)


def test_nothing_is_read_while_a_stream_is_captured(device, monkeypatch):
    mixed = components(law("spread"), "float32")
    prepared, kind = mixture.prepare(device, mixed, np.dtype("f4")), np.dtype("f4")
    monkeypatch.setattr(device, "captured", True)
    device.launches.clear()
    assert cells.width(device, mixed, prepared, kind) == 1
    assert not device.launches
    monkeypatch.setattr(device, "captured", False)
    assert cells.width(device, mixed, prepared, kind) < 0.4
    x = np.linspace(-90, 90, 500, dtype="f4")[:, None]
    expected = scored(device, mixed, x)
    monkeypatch.setattr(device, "captured", True)
    monkeypatch.setattr(
        device, "to_numpy", lambda array: pytest.fail("read by the host")
    )
    assert cells.width(device, mixed, prepared, kind) < 0.4
    np.testing.assert_array_equal(scored(device, mixed, x), expected)


@dtypes
@pytest.mark.parametrize("logs", [[-np.inf, -np.inf], [0.0, np.nan], [0.0, 0.0]])
def test_mixtures_that_have_no_windows(device, dtype, logs):
    """All are dead, one is NaN, or no shift serves the constants."""
    given = (np.array([0.0, 1e3]), np.array([1e-30, 1e30]), np.array(logs))
    weights = Weights(np.exp(given[2])[None].astype(dtype), np.ones((1, 1)))
    parameters = tuple(a[None, :, None].astype(dtype) for a in given[:2])
    mixed, kind = Components(Normal, parameters, weights, 1), np.dtype(dtype)
    prepared = mixture.prepare(device, mixed, kind)
    assert cells.width(device, mixed, prepared, kind) == 1
