"""The cases of the other families: hard single points, then mixtures."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tests.corpus.inputs import SPECIAL, Array, Draw, Inputs, Recipe

Parameters = dict[str, Array]
Rows = list[tuple[float, ...]]


def _plain(draw: Draw, family: str, names: str, rows: Rows) -> Inputs:
    """One density per row: parameters, then the value."""
    table = draw.array(rows)
    columns = [np.ascontiguousarray(column) for column in table.T]
    parameters = dict(zip(names.split(), columns[:-1], strict=True))
    return Inputs(family, "elementwise", parameters, columns[-1])


def laplace(draw: Draw) -> Inputs:
    """Scales 1e-30 to 1e30, offsets, the peak, the tails."""
    rows: Rows = [(0, 1, x) for x in (0, 1, -1, 0.5, 100, -1e4, 1e10, *SPECIAL)]
    rows += [(loc, 1, loc + 0.5) for loc in (1e3, 1e4, -1e6)]
    rows += [(0, 2.0**e, 1.75 * 2.0**e) for e in range(-100, 101, 10)]
    rows += [(0, 0.5, x) for x in (1e-6, -1e-12, 1e-30)]
    return _plain(draw, "Laplace", "loc scale", rows)


def student_t(draw: Draw) -> Inputs:
    """Degrees of freedom 1e-3 to 1e30: the normalisation must not cancel."""
    degrees = [1e-3, 0.1, 0.5, 1, 1.5, 2, 3, 4.5, 5, 10, 19, 20, 21, 30, 50, 100]
    degrees += [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e10, 1e15, 1e20, 1e30]
    rows: Rows = [(v, 0, 1, x) for v in degrees for x in (0, 0.25, 1, -3, 30, 1e3)]
    rows += [(v, 1e4, 2, 1e4 + 3) for v in degrees]
    rows += [(3, 0, 2.0**e, 1.5 * 2.0**e) for e in (-100, -60, -20, 20, 60, 100)]
    rows += [(2.5, 0, 1, x) for x in (1e-10, 1e10, *SPECIAL)]
    rows += [(1e6, 0, 1, x) for x in SPECIAL]
    return _plain(draw, "StudentT", "df loc scale", rows)


# Where a saddle-point form changes branch: b/a for v = (b − a)/(a + b) round ±0.1, and
# outward to where a·log(a/b) and b − a no longer cancel.
_RATIOS: tuple[float, ...] = (
    0.5,
    0.7,
    0.8,
    0.815,
    0.82,
    0.9,
    0.99,
    0.999,
    1.001,
    1.01,
    1.1,
    1.2,
)
_RATIOS += (1.22, 1.2223, 1.25, 1.3, 1.5, 1.9, 2, 2.1, 3, 4)


def gamma(draw: Draw) -> Inputs:
    """Concentrations 1e-6 to 1e8, both edges, tails on either side."""
    shapes = [1e-6, 0.01, 0.5, 0.99, 1, 1.01, 1.5, 2, 3, 5, 10, 15, 16, 30, 100]
    shapes += [1e3, 1e4, 1e5, 1e6, 1e8]
    rows: Rows = [(a, 1, a * ratio) for a in shapes for ratio in (0.1, 0.9, 1, 1.1, 10)]
    rows += [
        (a, 1, a + s * math.sqrt(a)) for a in shapes[4:] for s in (-0.9, 0.01, 2, 6)
    ]
    rows += [(a, 1, a * r) for a in (2, 40, 1e3, 1e6) for r in _RATIOS]
    rows += [(a, b, a / b) for a in (0.5, 3, 1e4) for b in (1e-20, 1e-3, 7, 1e20)]
    rows += [(a, 2.5, 0.0) for a in (0.5, 1, 1.5, 1e6)]
    rows += [(a, 2, x) for a in (0.5, 1, 3) for x in (-1, 1e-30, 1e-10, 1e3, *SPECIAL)]
    return _plain(draw, "Gamma", "concentration rate", rows)


def poisson(draw: Draw) -> Inputs:
    """Rates 1e-30 to 1e8, counts about and far from them, what is no count."""
    rates = [1e-30, 1e-6, 0.01, 0.3, 1, 2.5, 9.99, 10, 12.5, 50, 1e3, 1e4, 1e6, 1e8]
    rows: Rows = [
        (rate, np.floor(rate + s * math.sqrt(rate)))
        for rate in rates
        for s in (0, 0.5, 2, 6, 20)
    ]
    rows += [(rate, count) for rate in rates for count in (0, 1, 2, 5, 15, 16, 100)]
    rows += [(1e6, count) for count in (999_000, 999_999, 1_000_001, 1_001_000)]
    rows += [(rate, np.floor(rate * r)) for rate in (40, 1e3, 1e6) for r in _RATIOS]
    rows += [(0.0, 0.0), (0.0, 1.0), (0.0, 1e6)]
    rows += [(3.0, x) for x in (-1, 0.5, 2.5, 1e10, 1e30, *SPECIAL)]
    return _plain(draw, "Poisson", "rate", rows)


def bernoulli(draw: Draw) -> Inputs:
    """Logits 1e-30 to 1e4 of both signs; values that are no outcome."""
    logits = [0, 1e-30, 1e-10, 1e-3, 0.5, 1, 5, 15, 17, 30, 37, 50, 88, 90, 104, 1e4]
    rows: Rows = [(sign * v, x) for v in logits for sign in (1, -1) for x in (0, 1)]
    rows += [(0.5, x) for x in (0.5, -1, 2, *SPECIAL)]
    return _plain(draw, "Bernoulli", "logits", rows)


def uniform(draw: Draw) -> Inputs:
    """Both edges (inside), the next numbers out, widths 1e-30 to 1e30."""
    rows: Rows = [(-1, 3, x) for x in (-1, 3, 0, -1.0001, 3.0001, 2.999, *SPECIAL)]
    rows += [(0, 2.0**e, 0.5 * 2.0**e) for e in range(-100, 101, 10)]
    rows += [(1e4, 1e4 + 0.5, x) for x in (1e4, 1e4 + 0.5, 1e4 - 1, 1e4 + 0.25)]
    rows += [(1e6, 1e6 + 1, 1e6 + 0.5), (-(2.0**99), 2.0**99, 0)]
    return _plain(draw, "Uniform", "low high", rows)


# Where a search of ten million float32 points found the largest errors of a first
# version: between the series about the mode and the logarithms far from it.
_WORST_GAMMA = (
    (2666200.8, 90.320854, 10185.313),
    (84532.94, 825.72894, 35.742466),
    (14694.529, 3.992194e-09, 1.4349544e12),
    (1.6837672e07, 5.5898362e14, 1.3411708e-08),
    (46.364594, 1501.4818, 0.011630916),
)
_WORST_POISSON = ((62.227802, 196.0), (484.21353, 1489.0), (7.373553e6, 23027436.0))
_WORST_STUDENT_T = (
    (1.9004336e07, 1.3847258e06, 14855.678, 1.9713164e07),
    (34805.926, -31.431618, 348.52325, 38505.145),
    (1768.9073, 62.54922, 5.6416903, 129.08249),
)


def gamma_far(draw: Draw) -> Inputs:
    """Large concentrations, values from an eighth to eight times α/β."""
    shape, rate = draw.powers(512, 5, 26), draw.powers(512, -30, 30)
    ratio = draw.powers(512, -3, 3).astype(np.float64)
    values = draw.array(shape * ratio / rate)
    random = zip(shape, rate, values, strict=True)
    return _plain(draw, "Gamma", "concentration rate", [*_WORST_GAMMA, *random])


def poisson_far(draw: Draw) -> Inputs:
    """Large rates, counts from an eighth to eight times λ."""
    rate = draw.powers(512, 3, 24)
    values = np.floor(rate * draw.powers(512, -3, 3).astype(np.float64))
    random = zip(rate, values, strict=True)
    return _plain(draw, "Poisson", "rate", [*_WORST_POISSON, *random])


def student_t_far(draw: Draw) -> Inputs:
    """Degrees of freedom to 2⁴⁰, values to 2¹⁴ deviations."""
    df, loc, scale = draw.powers(512, -6, 40), draw.bell(512), draw.powers(512, -9, 9)
    step = draw.bell(512).astype(np.float64) * draw.powers(512, -4, 14)
    values = draw.array(loc + step * scale)
    random = zip(df, loc, scale, values, strict=True)
    return _plain(draw, "StudentT", "df loc scale", [*_WORST_STUDENT_T, *random])


def _parameters(family: str, draw: Draw, shape: tuple[int, ...]) -> Parameters:
    if family in ("Laplace", "StudentT"):
        place = {
            "loc": draw.bell(shape, spread=5.0),
            "scale": draw.powers(shape, -3, 3),
        }
        return (
            place if family == "Laplace" else {"df": draw.powers(shape, -1, 20)} | place
        )
    if family == "Gamma":
        return {
            "concentration": draw.powers(shape, -3, 12),
            "rate": draw.powers(shape, -4, 8),
        }
    if family == "Poisson":
        return {"rate": draw.powers(shape, -4, 14)}
    if family == "Bernoulli":
        return {"logits": draw.bell(shape, spread=8.0)}
    low = draw.bell(shape, spread=3.0)
    return {"low": low, "high": low + draw.powers(shape, -2, 4)}


def _typical(family: str, draw: Draw, parameters: Parameters, size: int) -> Array:
    """Values that components picked at random could have drawn, roughly."""
    first = next(iter(parameters.values()))
    index = draw.integers(size, 0, len(first)).astype(np.int64)
    picked = {
        name: array[index].astype(np.float64) for name, array in parameters.items()
    }
    step = draw.bell((size, *first.shape[1:])).astype(np.float64)
    if family in ("Laplace", "StudentT"):
        values = picked["loc"] + 3.0 * step * picked["scale"]
    elif family == "Gamma":
        shape = picked["concentration"]
        values = np.abs(shape + step * np.sqrt(shape)) / picked["rate"]
    elif family == "Poisson":
        values = np.floor(np.abs(picked["rate"] + step * np.sqrt(picked["rate"])))
    elif family == "Bernoulli":
        values = (step > 0).astype(np.float64)
    else:
        values = picked["low"] + (0.5 + 0.4 * step) * (picked["high"] - picked["low"])
    return draw.array(values)


# One value outside each support that needs no parameter, and one at its edge.
_ODD: dict[str, tuple[float, float]] = {
    "Laplace": (-np.inf, 0.0),
    "StudentT": (-np.inf, 0.0),
    "Gamma": (-1.0, 0.0),
    "Poisson": (2.5, 0.0),
    "Bernoulli": (0.5, 1.0),
    "Uniform": (1e6, 0.0),
}


def mixture(family: str, count: int, rows: int, dimension: int | None = None) -> Recipe:
    """K shared components, some of weight 0; scalar or Independent over D."""

    def recipe(draw: Draw) -> Inputs:
        shape = (count,) if dimension is None else (count, dimension)
        parameters = _parameters(family, draw, shape)
        values = _typical(family, draw, parameters, rows)
        outside, edge = _ODD[family]
        if family == "Gamma" and dimension:
            edge = 1e-20  # x = 0 under several α would be +∞ − ∞
        where = (slice(-4, None),) if dimension is None else (slice(-4, None), -1)
        values[where] = draw.array([outside, edge, np.inf, np.nan])
        weights = draw.uniform(count, 0.01, 1.0)
        weights[3::5] = 0.0
        return Inputs(family, "shared", parameters, values, weights)

    return recipe


def per_row(family: str) -> Recipe:
    """Parameters and logits of each row their own."""

    def recipe(draw: Draw) -> Inputs:
        parameters = _parameters(family, draw, (60, 6))
        flat = {name: array[:, 0] for name, array in parameters.items()}
        values = _typical(family, draw, flat, 60)
        values[-4:] = draw.array([*_ODD[family], np.inf, np.nan])
        logits = draw.bell((60, 6), spread=3.0)
        logits[::4, 2] = -np.inf
        return Inputs(family, "rows", parameters, values, logits, "logits")

    return recipe


_PLAIN: dict[str, Callable[[Draw], Inputs]] = {
    "Laplace": laplace,
    "StudentT": student_t,
    "Gamma": gamma,
    "Poisson": poisson,
    "Bernoulli": bernoulli,
    "Uniform": uniform,
}

RECIPES: dict[str, Recipe] = {}
for _family, _points in _PLAIN.items():
    _name = _family.lower()
    RECIPES[f"{_name}-plain"] = _points
    RECIPES[f"{_name}-K1"] = mixture(_family, 1, 96)
    RECIPES[f"{_name}-K7"] = mixture(_family, 7, 96)
    RECIPES[f"{_name}-K300"] = mixture(_family, 300, 48)
    RECIPES[f"{_name}-rows"] = per_row(_family)
    RECIPES[f"{_name}-D5"] = mixture(_family, 4, 48, dimension=5)
    RECIPES[f"{_name}-D32"] = mixture(_family, 3, 24, dimension=32)
RECIPES["gamma-far"] = gamma_far
RECIPES["poisson-far"] = poisson_far
RECIPES["studentt-far"] = student_t_far
