"""Bounds of what components make of the values in a box, and draws of their mixture.

Where a family's log density falls with the distance in each dimension, none in a box is
above that at its nearest point, nor below that at its farthest corner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lucid.backends.numpy.blocks import kept
from lucid.backends.protocol import Array, Components, Family

# Fewer components are as fast without cells.
FEWEST_COMPONENTS = 1024
# Dimensions of an event: in more of them boxes leave too little out.
MOST_DIMENSIONS = 3
# Bits below a row's sum that cannot matter, and what float64 and the rounding of
# prepared parameters can add to a bound, for each bit of it.
_BITS = {np.dtype(np.float32): 28.0, np.dtype(np.float64): 57.0}
_ROUNDING = {np.dtype(np.float32): 2.0**-20, np.dtype(np.float64): 2.0**-49}
# Draws of the mixture that show where its values lie; every fourth one's component and
# every 64th value show whether cells could pay.
_DRAWS, _SOME, _FEW = 2048, 4, 64


@dataclass(frozen=True, eq=False)
class Terms:
    """What components are made of, in float64.

    factors            locations and inverse widths, each [D, K]
    constant, weights  [K]
    """

    family: type[Family]
    factors: tuple[Array, Array]
    constant: Array
    weights: Array
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, fn: Any, components: Components, dtype: np.dtype[Any]) -> Terms | None:
        """Those of components; None where bounds would not hold for them."""
        family, parameters = components.family, components.parameters
        if components.count < FEWEST_COMPONENTS or family.family_event_ndim:
            return None
        if not family.family_unimodal or not (
            1 <= parameters[0].shape[2] <= MOST_DIMENSIONS
        ):
            return None
        if any(array.shape[0] != 1 for array in parameters):
            return None
        shared, prepared = kept(fn, components, dtype)
        weights = components.weights
        if not shared or prepared is None or weights is None:
            return None
        if prepared.count < FEWEST_COMPONENTS:
            return None
        loc, scale = (
            np.ascontiguousarray(factor[:, :, 0].T, np.float64)
            for factor in prepared.factors
        )
        constant = prepared.constant[:, 0].astype(np.float64)
        if not all(np.isfinite(array).all() for array in (loc, scale, constant)):
            return None
        relative = weights.relative()[0]
        if prepared.kept is not None:
            relative = relative[prepared.kept]
        return cls(family, (loc, scale), constant, relative, dtype)

    @property
    def count(self) -> int:
        """K, the number of components."""
        return len(self.constant)

    def pair(self, distance: Array, less: float, scale: Array) -> Array:
        """What components of inverse widths make of distance − less, elementwise."""
        return self.family.pair(np, (distance,), (less, scale))

    def bound(self, floor: Any) -> Any:
        """Where a sum is above 2^floor, the log2 of what may be left out, in two."""
        reach = abs(floor) + self._bits + 2 * self._highest
        return floor - _ROUNDING[self.dtype] * reach - 2.0**-10 - self._bits - 1

    @property
    def _bits(self) -> float:
        return _BITS[self.dtype]

    @cached_property
    def _highest(self) -> float:
        return float(abs(self.constant).max())

    @cached_property
    def draws(self) -> tuple[Array, Array]:
        """Components as likely as their weights, and values of about each [n, D]."""
        reached = np.add.accumulate(self.weights)
        at = (np.arange(_DRAWS) + 0.5) / _DRAWS * reached[-1]
        some = np.minimum(np.searchsorted(reached, at), len(reached) - 1)
        loc, scale = (factor[:, some].T for factor in self.factors)
        noise = np.random.default_rng(0).standard_normal(loc.shape)
        # For a normal component the factor is 0.85/σ.
        return some, loc + 0.85 * noise / scale

    def reach(self, most: float) -> Array | None:
        """The distance that components matter over, in each dimension.

        None where more than a part of them matter. As some of the components and some
        of the draws show.
        """
        some, values = self.draws
        if not np.isfinite(values).all():
            return None
        some, x = some[::_SOME], values[::_FEW]
        loc, scale = (factor[:, None, some] for factor in self.factors)
        distance = abs(x.T[:, :, None] - loc)
        y = self.constant[some] + self.pair(distance, 0.0, scale).sum(axis=0)
        slack = self._bits + math.log2(self.count)
        near = y >= y.max(axis=1, keepdims=True) - slack
        if near.mean() > most:
            return None
        found: Array = 2 * distance[:, near].mean(axis=1)
        return found
