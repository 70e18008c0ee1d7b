"""Rows sorted by cell, each under its cell's window: the CUDA backend on the host.

Every launch that cells.py makes runs the kernels' own text. The oracle sums over all
components in long doubles; the bound is that of tests/bounds.py.
"""

from __future__ import annotations

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
NORMAL = structs.named("Normal")
# Bits that all components outside a window may take off a row's sum.
LOST = {"float32": -28, "float64": -57}
FORCED = {"float32": {"polynomials": 2}, "float64": {"polynomials": 0}}
dtypes = pytest.mark.parametrize("dtype", DTYPES)
Law = tuple[Any, Any, Any]


@pytest.fixture(scope="module")
def device(folder: Path) -> Iterator[HostDevice]:
    """A CUDA device played by the host, with the kernels of cells alone."""
    specs = [
        kernels.mixture_fixed(NORMAL, "float32", 1, 8, 2),
        kernels.mixture_order(NORMAL, "float32"),
    ]
    for dtype in DTYPES:
        rows = kernels.compiled_rows(NORMAL, dtype, 1)
        polynomials = FORCED[dtype]["polynomials"]
        specs += [
            kernels.prepare(NORMAL, dtype, dtype),
            kernels.mixture_shift(dtype),
            kernels.cell_windows(NORMAL, dtype),
            kernels.cell_count(dtype),
            kernels.cell_sort(dtype),
            *(kernels.mixture_cells(NORMAL, dtype, r, polynomials) for r in rows),
        ]
    device = HostDevice(units(specs), folder)
    yield device
    device.close()


@pytest.fixture(autouse=True)
def few_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a block of each does not take the host long."""
    monkeypatch.setattr(cells, "cells_of", lambda count: 20)


def law(kind: str, count: int = 300, seed: int = 1) -> Law:
    """loc, scale and normalised log weights, as float64 of float32's values."""
    random = np.random.default_rng(seed)
    loc = 30 * random.normal(size=count)
    scale = random.uniform(0.5, 2, count)
    logs = random.normal(size=count)
    if kind == "near":
        loc /= 100
    elif kind == "wide and narrow":
        scale = 10 ** random.uniform(-3, 2, count)
    elif kind == "one giant":
        scale[17] = 1e6
    elif kind == "heavy giant":
        scale[17], logs[17] = 1e4, 8
    elif kind == "offset":
        loc += 1e6
    elif kind == "duplicates":
        loc, scale = np.repeat(loc[::30], 30), np.repeat(scale[::30], 30)
    elif kind == "one outlier":
        loc[5] = 1e7
    elif kind == "tiny weights":
        logs = random.uniform(-60, 0, count)
    elif kind == "gaps":
        loc, scale = 1e3 * np.round(loc / 10), np.full(count, 0.01)
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
kinds = pytest.mark.parametrize("kind", KINDS)


def components(given: Law, dtype: str) -> Components:
    loc, scale, logs = (array.astype(dtype) for array in given)
    parameters = (loc[None, :, None], scale[None, :, None])
    return Components(Normal, parameters, Weights.normalised(logs[None]), 1)


def found_cells(device: HostDevice, given: Law, dtype: str) -> tuple[Any, Any]:
    """The cells and the windows of a mixture."""
    mixed, kind = components(given, dtype), np.dtype(dtype)
    prepared = mixture.prepare(device, mixed, kind)
    known = cells._cells(device, mixed, prepared, kind)
    return known, cells._windows(device, NORMAL, known, kind)


def alive(given: Law) -> Law:
    """Without components of weight 0, in the order of their loc."""
    loc, scale, logs = given
    kept = np.flatnonzero(logs > -np.inf)
    kept = kept[np.argsort(loc[kept], kind="stable")]
    return loc[kept], scale[kept], logs[kept]


def log_terms(given: Law, x: Any) -> Any:
    """log w_k p(x | θ_k), rows by components, as long doubles."""
    loc, scale, logs = (array.astype(np.longdouble) for array in alive(given))
    z = (x.astype(np.longdouble)[:, None] - loc) / scale
    half_log = np.log(2 * np.pi * np.ones(1, np.longdouble)) / 2
    return logs - np.log(scale) - half_log - z * z / 2


def rows_of(given: Law, borders: Any, size: int, dtype: str) -> Any:
    """Values near components, at the cells' edges on both sides, and far away."""
    loc, scale, _ = alive(given)
    random = np.random.default_rng(3)
    k = random.integers(len(loc), size=size)
    near = loc[k] + scale[k] * random.uniform(-6, 6, size)
    wide = random.uniform(borders[0], borders[-1], size // 4)
    edges = [borders, np.nextafter(borders, -np.inf), np.nextafter(borders, np.inf)]
    far = np.array([-3e4, 1e9, -1e9])
    return random.permutation(np.concatenate([near, wide, *edges, far]).astype(dtype))


def scored(device: HostDevice, mixed: Components, x: Any, rows: int = 1) -> Any:
    dtype = x.dtype.name
    with choice.force(kernel="cells", rows=rows, **FORCED[dtype]):
        backend = CupyBackend(device=device)
        return backend.mixture_log_prob(mixed, x[:, None, None], x.dtype)[:, 0]


def error(found: Any, given: Law, x: Any) -> Any:
    """|ŷ − y| in u·B."""
    loc, scale, logs = alive(given)
    _, bound = bounded("Normal", {"loc": loc, "scale": scale}, x, logs)
    terms = log_terms(given, x)
    top = terms.max(axis=1)
    y = top + np.log(np.exp(terms - top[:, None]).sum(axis=1))
    return (abs(found - y) / (unit(x.dtype) * bound)).astype(np.float64)


@dtypes
@kinds
def test_what_a_window_leaves_out_is_nothing(device, kind, dtype):
    """At the edges of each cell and inside it, against sums over all components."""
    given = law(kind)
    known, windows = found_cells(device, given, dtype)
    borders = known.borders.astype(np.float64)
    assert (np.diff(borders) >= 0).all()
    fractions = np.append(np.linspace(0, 1, 9), np.random.default_rng(4).random(8))
    for cell in range(20):
        low, high = borders[cell : cell + 2]
        x = low + fractions * (high - low)
        terms = log_terms(given, x)
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


@dtypes
@kinds
@pytest.mark.parametrize("most", [True, False])
def test_rows_keep_the_promise(device, kind, dtype, most):
    given = law(kind)
    mixed = components(given, dtype)
    known, _ = found_cells(device, given, dtype)
    x = rows_of(given, known.borders.astype(np.float64), 1500, dtype)
    rows = kernels.compiled_rows(NORMAL, dtype, 1)[0 if most else -1]
    assert error(scored(device, mixed, x, rows), given, x).max() <= PROMISE


def test_windows_are_narrow_where_components_lie_apart(device):
    def width(kind: str) -> float:
        return found_cells(device, law(kind), "float32")[0].width

    assert width("near") == pytest.approx(1)
    assert 0.1 < width("spread") < 0.4
    assert width("offset") == pytest.approx(width("spread"), rel=0.1)
    # One that reaches everywhere, or lies far away, makes no other's window wide.
    assert width("one giant") < 0.5
    assert width("one outlier") < 0.5
    assert width("duplicates") < 0.5


@dtypes
def test_rows_are_sorted_by_cell(device, random, dtype):
    known, windows = found_cells(device, law("spread"), dtype)
    x = (40 * random.normal(size=9000)).astype(dtype)
    x[::50] = np.resize([np.nan, np.inf, -np.inf, 1e9, known.borders[3]], 180)
    spec = kernels.mixture_cells(NORMAL, dtype, 1)
    chosen = choice.Choice("cells", rows=1)
    plan = cells.Plan(x.shape, spec, chosen, known, windows)
    counts, starts, rows, blocks = plan.sort(device, x)
    place = np.searchsorted(known.borders, x, side="right") % known.borders.size
    place[np.isnan(x)] = 0
    np.testing.assert_array_equal(counts, np.bincount(place, minlength=counts.size))
    assert (starts % 128 == 0).all()
    assert starts[-1] <= 128 * blocks == rows.size
    every = []
    for cell, (first, count) in enumerate(zip(starts[:-1], counts, strict=True)):
        assert first + count <= starts[cell + 1]
        inside = rows[first : first + count]
        assert (place[inside] == cell).all()
        every += inside.tolist()
    assert sorted(every) == list(range(x.size))


@dtypes
def test_special_rows_and_their_neighbours(device, dtype):
    """NaN and ±∞ are handled alone; a row's bits do not depend on the others."""
    given = law("spread")
    mixed = components(given, dtype)
    known, _ = found_cells(device, given, dtype)
    x = rows_of(given, known.borders.astype(np.float64), 1200, dtype)
    clean = scored(device, mixed, x)
    for rows in kernels.compiled_rows(NORMAL, dtype, 1):
        np.testing.assert_array_equal(
            scored(device, mixed, x[100:900], rows), clean[100:900]
        )
    spoiled = x.copy()
    spoiled[::3] = np.resize([np.nan, np.inf, -np.inf], spoiled[::3].size)
    found = scored(device, mixed, spoiled)
    assert np.isnan(found[::9]).all()
    assert (found[3::9] == -np.inf).all()
    assert (found[6::9] == -np.inf).all()
    rest = np.arange(x.size) % 3 > 0
    np.testing.assert_array_equal(found[rest], clean[rest])
    np.testing.assert_array_equal(scored(device, mixed, x[::-1].copy())[::-1], clean)


def test_many_rows_are_sorted_a_part_at_a_time(device, monkeypatch):
    given = law("spread")
    mixed = components(given, "float32")
    x = rows_of(given, np.linspace(-90, 90, 3), 1000, "float32")
    clean = scored(device, mixed, x)
    monkeypatch.setattr(cells, "MOST_ROWS", 300)
    device.launches.clear()
    np.testing.assert_array_equal(scored(device, mixed, x), clean)
    names = [launch.name for launch in device.launches]
    assert len(names) == 3 * -(-x.size // 300)


@pytest.mark.parametrize("kind", ["near", "spread"])
def test_it_is_on_by_itself_where_windows_are_narrow(device, monkeypatch, kind):
    given = law(kind)
    mixed = components(given, "float32")
    monkeypatch.setattr(choice, "cells_of", lambda count: 2)
    monkeypatch.setattr(choice, "_WORTH_SORTING", 1)
    monkeypatch.setattr(choice, "_WORTH_A_LAUNCH", 1)
    monkeypatch.setattr(choice, "_FEWEST_FOR_CELLS", 300)
    monkeypatch.setattr(device, "multiprocessors", 1)
    x = rows_of(given, np.zeros(1), 4200, "float32")
    backend = CupyBackend(device=device)
    device.launches.clear()
    found = backend.mixture_log_prob(mixed, x[:, None, None], x.dtype)[:, 0]
    assert error(found, given, x).max() <= PROMISE
    kernel = "fixed" if kind == "near" else "cells"
    name = f"lucid_mixture_{kernel}_normal_float32"
    assert device.launches[-1].name.startswith(name)
    # Prepared once.
    device.launches.clear()
    again = backend.mixture_log_prob(mixed, x[:, None, None], x.dtype)[:, 0]
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
    x = np.linspace(-90, 90, 500, dtype="f4")
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
