"""A mixture of normals by brute force: broadcasting NumPy and SciPy, [..., K] always.

Its batch shapes are the cases of tests/test_mixture*.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from lucid.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
)

# (batch of the weights, batch of the components): they broadcast both ways.
BATCHES = [
    ((), ()),
    ((3,), ()),
    ((), (3,)),
    ((3,), (3,)),
    ((1,), (1,)),
    ((3, 1), (1, 4)),
    ((2, 1, 3), (5, 1)),
    ((3, 1), (3, 1)),
    ((2, 1, 2), ()),
    ((), (0,)),
]
EVERY_BATCH = pytest.mark.parametrize("batches", BATCHES, ids=str)
COUNT = 4


class Brute:
    """A mixture of normals in broadcasting NumPy and SciPy, [*batch, K] throughout."""

    def __init__(self, weights_batch: Any, components_batch: Any, event: Any = ()):
        rng = np.random.default_rng(7)
        self.event = tuple(range(-len(event), 0))
        self.weights = rng.uniform(0.2, 2.0, (*weights_batch, COUNT))
        self.loc = rng.normal(0.0, 3.0, (*components_batch, COUNT, *event))
        self.scale = rng.uniform(0.5, 2.0, (*components_batch, COUNT, *event))
        self.batch = np.broadcast_shapes(weights_batch, components_batch)
        self.pi = self.weights / self.weights.sum(-1, keepdims=True)

    def mixture(self) -> MixtureSameFamily:
        base: Distribution = Normal(self.loc, self.scale)
        if self.event:
            base = Independent(base, len(self.event))
        return MixtureSameFamily(Categorical(probs=self.weights), base)

    def lifted(self, x: Any) -> Any:
        return np.expand_dims(x, x.ndim - len(self.event))  # [..., 1, *event]

    def parts(self, x: Any) -> Any:
        """log p_k(x), [..., K]."""
        log = stats.norm.logpdf(self.lifted(x), self.loc, self.scale)
        return log.sum(axis=self.event)

    def joint(self, x: Any) -> Any:
        return np.log(self.pi) + self.parts(x)

    def mixed(self, function: Any, x: Any) -> Any:
        return (self.pi * function(x[..., None], self.loc, self.scale)).sum(-1)

    def wide(self, moment: Any) -> tuple[Any, Any]:
        """A moment of the components and the weights, [*batch, *event, K]."""
        axis = moment.ndim - len(self.event) - 1
        moved = np.moveaxis(moment, axis, -1)
        event = moment.shape[axis + 1 :]
        weights = self.pi.reshape(*self.pi.shape[:-1], *(1 for _ in event), COUNT)
        shape = (*self.batch, *event, COUNT)
        return np.broadcast_to(moved, shape), np.broadcast_to(weights, shape)


def values(batch: Any, kind: str, event: Any = ()) -> Any:
    shapes = {
        "one": (),
        "each": batch,
        "many": (6, *batch),
        "longer": (2, *(3 if size == 1 else size for size in batch)),
    }
    return np.random.default_rng(3).normal(0.0, 4.0, (*shapes[kind], *event))


KINDS = pytest.mark.parametrize("kind", ["one", "each", "many", "longer"])
