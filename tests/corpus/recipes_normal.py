"""The Normal, diagonal Normal and MultivariateNormal cases."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.corpus.inputs import SPECIAL, Array, Draw, Inputs, Recipe, Weights


def _mixture(
    loc: Array,
    scale: Array,
    weights: Array,
    values: Array,
    weights_are: Weights = "probs",
) -> Inputs:
    parameters = {"loc": loc, "scale": scale}
    return Inputs("Normal", "shared", parameters, values, weights, weights_are)


def _values(draw: Draw, loc: Array, scale: Array, size: int, reach: float) -> Array:
    """Values up to a few times `reach` deviations from components picked at random."""
    index = draw.integers(size, 0, len(loc)).astype(np.int64)
    step = draw.bell((size, *loc.shape[1:]), spread=reach).astype(np.float64)
    return draw.array(loc[index].astype(np.float64) + step * scale[index])


def plain(draw: Draw) -> Inputs:
    """One Normal per value: the whole range of scales, offsets and tails."""
    scale = np.concatenate([draw.powers(96, -100, 100), draw.powers(32, -3, 4)])
    loc = draw.bell(128, spread=3.0)
    loc[:96] = draw.array(loc[:96].astype(np.float64) * scale[:96])
    loc[96:] = draw.array(loc[96:] + draw.array([0.0, 1e3, 1e4, 1e6]).repeat(8))
    step = draw.bell(128, spread=2.0).astype(np.float64)
    step[::8] *= 100.0
    step[3::16] = 0.0
    values = draw.array(loc.astype(np.float64) + step * scale)
    values[-8:] = draw.array([*SPECIAL, 0.0, -0.0, 1.0, 1e10, -1e10])
    return Inputs("Normal", "elementwise", {"loc": loc, "scale": scale}, values)


def near_zero(draw: Draw) -> Inputs:
    """Log densities near 0, where a relative bound could not hold."""
    scale = draw.array(0.3989422804014327) * draw.uniform(24, 0.9999, 1.0001)
    loc = draw.bell(24)
    values = draw.array(loc.astype(np.float64) + draw.uniform(24, -0.001, 0.001))
    return Inputs("Normal", "elementwise", {"loc": loc, "scale": scale}, values)


def extreme(draw: Draw) -> Inputs:
    """Scales at the ends of the dtype: an infinity is allowed there, a NaN is not."""
    low, high = (-126, 127) if draw.single else (-1022, 1023)
    scale = np.concatenate([draw.powers(16, low, low + 20), draw.powers(16, 90, high)])
    with np.errstate(over="ignore", under="ignore"):
        values = draw.array(scale.astype(np.float64) * draw.bell(32, spread=4.0))
        loc = draw.array(scale.astype(np.float64) * draw.bell(32, spread=1e-3))
    values[5::8] = draw.array([1.0, -1e30, 3e38, -3e38])
    largest = float(np.finfo(draw.dtype).max)
    values[~np.isfinite(values)] = largest
    loc[~np.isfinite(loc)] = 0.0
    return Inputs("Normal", "elementwise", {"loc": loc, "scale": scale}, values)


def size(count: int, rows: int, reach: float = 1.5, spread: float = 4.0) -> Recipe:
    """K components of like scale."""

    def recipe(draw: Draw) -> Inputs:
        loc = draw.bell(count, spread=spread)
        scale = draw.uniform(count, 0.25, 2.0)
        values = _values(draw, loc, scale, rows, reach)
        return _mixture(loc, scale, draw.uniform(count, 0.01, 1.0), values)

    return recipe


def offset(centre: float, count: int = 16, narrow: int = 0) -> Recipe:
    """Data far from the origin; scales from 2**narrow to 4."""

    def recipe(draw: Draw) -> Inputs:
        loc = draw.bell(count, centre, 4.0)
        scale = draw.powers(count, narrow, 2)
        values = _values(draw, loc, scale, 128, 2.0)
        return _mixture(loc, scale, draw.uniform(count, 0.01, 1.0), values)

    return recipe


def scaled(low: int, high: int) -> Recipe:
    """Scales log-uniform between two powers of two, values from their components."""

    def recipe(draw: Draw) -> Inputs:
        scale = draw.powers(24, low, high)
        loc = draw.array(draw.bell(24).astype(np.float64) * scale)
        values = _values(draw, loc, scale, 128, 2.0)
        return _mixture(loc, scale, draw.uniform(24, 0.01, 1.0), values)

    return recipe


def weights(kind: Weights) -> Recipe:
    """Zero weights or −∞ logits in half the components, tiny ones among the rest."""

    def recipe(draw: Draw) -> Inputs:
        loc = draw.bell(32, spread=20.0)
        scale = draw.uniform(32, 0.5, 1.5)
        if kind == "probs":
            given = draw.powers(32, -120 if draw.single else -1000, 1)
            given[::2] = 0.0
        else:
            given = draw.bell(32, 1000.0, 30.0)
            given[::2] = -np.inf
        values = np.concatenate([loc, draw.bell(16, spread=200.0)])
        values[-3:] = draw.array(SPECIAL)
        return _mixture(loc, scale, given, values, kind)

    return recipe


def small_weight(second: float) -> Recipe:
    """Two far components, the second of weight 0 or next to nothing."""

    def recipe(draw: Draw) -> Inputs:
        values = draw.array([50.0, 0.0, 25.0, 49.0, 25.96, *SPECIAL])
        loc, scale = draw.array([0.0, 50.0]), draw.array([1.0, 1.0])
        return _mixture(loc, scale, draw.array([1.0, second]), values)

    return recipe


def tails(draw: Draw) -> Inputs:
    """Values up to 10⁴ deviations away, where every term underflows alone."""
    loc, scale = draw.bell(8, spread=5.0), draw.uniform(8, 0.5, 2.0)
    values = draw.powers(96, 2, 14)
    values[::2] = -values[::2]
    return _mixture(loc, scale, draw.uniform(8, 0.01, 1.0), values)


def ordered(sign: float) -> Recipe:
    """Log terms rising (or falling) by some nats a component: the running maximum."""

    def recipe(draw: Draw) -> Inputs:
        loc = draw.array(sign * np.arange(-40.0, 40.0, 0.5))
        scale = draw.array(np.ones(loc.size))
        values = draw.uniform(64, 30.0, 45.0)
        return _mixture(loc, scale, draw.uniform(loc.size, 0.5, 1.0), values)

    return recipe


def equal(count: int) -> Recipe:
    """K times the same component: the sum is K, its log2 exact for a power of two."""

    def recipe(draw: Draw) -> Inputs:
        loc, scale = draw.array(np.full(count, 0.5)), draw.array(np.full(count, 2.0))
        return _mixture(loc, scale, draw.array(np.ones(count)), draw.bell(6))

    return recipe


def per_row(kind: Weights) -> Recipe:
    """Parameters of each row their own, as in a mixture density network."""

    def recipe(draw: Draw) -> Inputs:
        shape = (40, 12)
        loc, scale = draw.bell(shape, spread=5.0), draw.powers(shape, -4, 4)
        if kind == "probs":
            given = draw.uniform(shape, 0.0, 1.0)
            given[:, 3] = 0.0
        else:
            given = draw.bell(shape, 5.0, 5.0)
            given[::3, 5] = -np.inf
        values = draw.bell(40, spread=10.0)
        values[-3:] = draw.array(SPECIAL)
        parameters = {"loc": loc, "scale": scale}
        return Inputs("Normal", "rows", parameters, values, given, kind)

    return recipe


def diagonal(
    dimension: int, count: int, rows: int, centre: float = 0.0, reach: float = 1.2
) -> Recipe:
    """Independent(Normal, 1) over D dimensions."""

    def recipe(draw: Draw) -> Inputs:
        shape = (count, dimension)
        loc, scale = draw.bell(shape, centre, 2.0), draw.powers(shape, -2, 2)
        values = _values(draw, loc, scale, rows, reach)
        if rows > 8:
            values[-1, -1], values[-2, 0], values[-3, -1] = np.nan, np.inf, -np.inf
        return _mixture(loc, scale, draw.uniform(count, 0.01, 1.0), values)

    return recipe


def diagonal_scales(draw: Draw) -> Inputs:
    """Dimensions of very different scales, as of unscaled columns."""
    scale = draw.powers((8, 6), -6, 6)
    scale = draw.array(scale * draw.array([2.0**-90, 2.0**-20, 1, 1, 2.0**20, 2.0**90]))
    loc = draw.array(draw.bell((8, 6)).astype(np.float64) * scale)
    values = _values(draw, loc, scale, 24, 1.5)
    return _mixture(loc, scale, draw.uniform(8, 0.01, 1.0), values)


def full(dimension: int, count: int, rows: int, correlation: float = 0.3) -> Recipe:
    """MultivariateNormal by its Cholesky factor."""

    def recipe(draw: Draw) -> Inputs:
        shape = (count, dimension, dimension)
        lower = np.tril(draw.bell(shape, spread=correlation), -1)
        diagonal_of = draw.uniform(shape[:2], 0.5, 2.0)
        factor = draw.array(lower + diagonal_of[..., None] * np.eye(dimension))
        loc = draw.bell(shape[:2], spread=2.0)
        step: Any = draw.bell((rows, dimension)).astype(np.float64)
        index = draw.integers(rows, 0, count).astype(np.int64)
        # einsum sums in an order of its own choosing; this loop's is fixed.
        values = loc[index].astype(np.float64)
        for column in range(dimension):
            part = factor[index, :, column].astype(np.float64)
            values = values + part * step[:, column, None]
        given = draw.uniform(count, 0.01, 1.0)
        parameters = {"loc": loc, "scale_tril": factor}
        return Inputs(
            "MultivariateNormal", "shared", parameters, draw.array(values), given
        )

    return recipe


RECIPES: dict[str, Recipe] = {
    "normal-plain": plain,
    "normal-near-zero": near_zero,
    "normal-extreme": extreme,
    "normal-K1": size(1, 256, reach=3.0),
    "normal-K2": size(2, 192, reach=3.0),
    "normal-K3": size(3, 128),
    "normal-K8": size(8, 256),
    "normal-K64": size(64, 128),
    "normal-K257": size(257, 64, spread=30.0),
    "normal-K1024": size(1024, 48),
    "normal-K4096": size(4096, 24, spread=100.0),
    "normal-K65536": size(65536, 8, spread=300.0),
    "normal-K1000000": size(1_000_000, 2),
    "normal-K1000000-wide": size(1_000_000, 4, spread=3000.0),
    "normal-offset-1e4": offset(1e4),
    "normal-offset-1e4-K1": offset(1e4, count=1),
    "normal-offset-1e6": offset(1e6),
    "normal-offset-1e4-narrow": offset(1e4, narrow=-8),
    "normal-scale-1e-30": scaled(-100, -99),
    "normal-scale-1e30": scaled(99, 100),
    "normal-scales-mixed": scaled(-100, 100),
    "normal-scales-1e3": scaled(-10, 10),
    "normal-probs-zero": weights("probs"),
    "normal-logits-infinite": weights("logits"),
    "normal-weight-0": small_weight(0.0),
    "normal-weight-1e-20": small_weight(1e-20),
    "normal-tails": tails,
    "normal-rising": ordered(1.0),
    "normal-falling": ordered(-1.0),
    "normal-equal-K64": equal(64),
    "normal-equal-K5000": equal(5000),
    "normal-rows-probs": per_row("probs"),
    "normal-rows-logits": per_row("logits"),
    "diagonal-D1": diagonal(1, 8, 48),
    "diagonal-D2": diagonal(2, 8, 96),
    "diagonal-D3-K1": diagonal(3, 1, 72),
    "diagonal-D7": diagonal(7, 5, 72),
    "diagonal-D16": diagonal(16, 64, 48),
    "diagonal-D16-tails": diagonal(16, 16, 48, reach=20.0),
    "diagonal-D33": diagonal(33, 17, 24),
    "diagonal-D64": diagonal(64, 16, 16),
    "diagonal-D128": diagonal(128, 32, 12),
    "diagonal-D4-K1024": diagonal(4, 1024, 18),
    "diagonal-offset-1e4": diagonal(8, 16, 48, centre=1e4),
    "diagonal-offset-1e6": diagonal(8, 16, 48, centre=1e6),
    "diagonal-scales": diagonal_scales,
    "full-D1": full(1, 3, 48),
    "full-D2": full(2, 4, 96),
    "full-D5": full(5, 6, 64),
    "full-D16": full(16, 4, 32, correlation=0.2),
    "full-D64": full(64, 2, 16, correlation=0.05),
    "full-D8-skewed": full(8, 3, 48, correlation=1.0),
}
