"""Mixtures that have cells, with what there is to say of them, for tests of cells.

They are of `FEWEST` components or a few more: fewer have no cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.backends.numpy import cells_terms
from lucid.backends.numpy.cells import Cells
from lucid.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    Normal,
)
from tests.bounds import Bounded, bounded

FEWEST = cells_terms.FEWEST_COMPONENTS

Parameters = tuple[Any, Any, Any]


def spread_out(rng: np.random.Generator, count: int, size: int) -> Parameters:
    """Means thirty standard deviations apart."""
    weights, scale = rng.uniform(0.1, 1, count), rng.uniform(0.5, 2, (count, size))
    return weights, 30 * rng.normal(size=(count, size)), scale


def far_from_zero(rng: np.random.Generator, count: int, size: int) -> Parameters:
    weights, loc, scale = spread_out(rng, count, size)
    return weights, loc + 1e6, scale


def of_all_weights(rng: np.random.Generator, count: int, size: int) -> Parameters:
    _, loc, scale = spread_out(rng, count, size)
    return 10.0 ** rng.uniform(-30, 0, count), loc, scale


def of_all_scales(rng: np.random.Generator, count: int, size: int) -> Parameters:
    weights, loc, _ = spread_out(rng, count, size)
    return weights, loc, 10.0 ** rng.uniform(-2, 0.5, (count, size))


def with_giants(rng: np.random.Generator, count: int, size: int) -> Parameters:
    weights, loc, scale = spread_out(rng, count, size)
    scale[:3] = np.array([[1e4], [1e6], [1e9]])
    return weights, loc, scale


def in_clusters(rng: np.random.Generator, count: int, size: int) -> Parameters:
    """Few places, most components with many duplicates."""
    weights, loc, scale = spread_out(rng, count, size)
    return weights, np.round(loc / 25) * 25, np.where(scale < 1, 0.01, 1.0)


def as_a_density_estimate(
    rng: np.random.Generator, count: int, size: int
) -> Parameters:
    shape = count, size
    return np.ones(count), rng.normal(size=shape), np.full(shape, 0.02)


def mostly_dead(rng: np.random.Generator, count: int, size: int) -> Parameters:
    weights, loc, scale = spread_out(rng, 2 * count, size)
    weights[::2] = 0
    return weights, loc, scale


def of_unlike_widths(rng: np.random.Generator, count: int, size: int) -> Parameters:
    """Far apart in the last dimension alone."""
    weights, loc, scale = spread_out(rng, count, size)
    loc[:, :-1] /= 30
    return weights, loc, scale


def with_faint_copies(rng: np.random.Generator, count: int, size: int) -> Parameters:
    """Each of 16 faint copies might be left out, but not all of them together."""
    weights, loc, scale = spread_out(rng, count, size)
    faint = np.repeat([1, 2.0**-31.5], [1, 16])
    copies = np.tile(loc, (17, 1)), np.tile(scale, (17, 1))
    return np.outer(faint, weights).ravel(), *copies


MAKERS: list[Callable[..., Parameters]] = [
    spread_out,
    far_from_zero,
    of_all_weights,
    of_all_scales,
    with_giants,
    in_clusters,
    as_a_density_estimate,
    mostly_dead,
    of_unlike_widths,
]


class Given:
    """A mixture of events of some size, its parameters, and its draws in a dtype."""

    def __init__(
        self,
        make: Callable[..., Parameters],
        dtype: Any,
        size: int = 1,
        family: Any = Normal,
    ) -> None:
        self.rng = np.random.default_rng(17)
        given = make(self.rng, FEWEST + 75, size)
        self.dtype, self.size = np.dtype(dtype), size
        self.weights, self.loc, self.scale = (a.astype(dtype) for a in given)
        if size == 1:
            components = family(self.loc[:, 0], self.scale[:, 0])
        else:
            components = Independent(family(self.loc, self.scale), 1)
        self.mixture = MixtureSameFamily(Categorical(self.weights), components)

    def draws(self, count: int) -> Any:
        """Draws of the mixture [n, size]."""
        share = self.weights.astype(np.float64)
        index = self.rng.choice(len(share), count, p=share / share.sum())
        noise = self.rng.normal(size=(count, self.size))
        return (self.loc[index] + noise * self.scale[index]).astype(self.dtype)

    def log_prob(self, x: Any) -> Any:
        """log_prob of values [n, size] as NumPy."""
        return self.mixture.log_prob(x[:, 0] if self.size == 1 else x).numpy()

    @property
    def cells(self) -> Cells | None:
        """The cells of the mixture, after `log_prob`."""
        found: Cells | None = self.mixture._density().prepared["cells", self.dtype]
        return found

    def members(self) -> Cells:
        """The cells, which there must be."""
        self.log_prob(self.draws(1))
        found = self.cells
        assert found is not None
        return found

    def edges(self) -> Any:
        """Draws moved to an edge of their box in one dimension, and just beside it.

        To every edge of the line; in more dimensions, to some.
        """
        found = self.members()
        moved = []
        for d, (low, per_unit) in enumerate(
            zip(found.low, found.per_unit, strict=True)
        ):
            places = np.arange(found.table.shape[d] - 1)
            if self.size > 1:
                places = self.rng.choice(places, 30)
            on = (np.float64(low) + places / np.float64(per_unit)).astype(self.dtype)
            far = self.dtype.type(np.inf)
            on = np.concatenate([on, np.nextafter(on, far), np.nextafter(on, -far)])
            x = self.draws(len(on))
            x[:, d] = on
            moved.append(x)
        return np.concatenate(moved)

    def bounded(self, x: Any, family: str = "Normal") -> Bounded:
        """The log densities and the bounds of their errors, as `tests.bounds`."""
        with np.errstate(divide="ignore"):
            logs = np.log(self.weights.astype(np.float64))
        parameters = {"loc": self.loc, "scale": self.scale}
        return bounded(family, parameters, x, logs, event=True)

    def alone(self, x: Any) -> Any:
        """log w_k p_k(x) of all components [n, K], up to a number."""
        loc, scale = self.loc.astype(np.float64), self.scale.astype(np.float64)
        with np.errstate(divide="ignore"):
            y = np.log(self.weights.astype(np.float64))
        for d in range(self.size):
            z = (x[:, d, None].astype(np.float64) - loc[:, d]) / scale[:, d]
            y = y - np.log(scale[:, d]) - 0.5 * z**2
        return y
