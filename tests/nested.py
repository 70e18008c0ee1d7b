"""Mixtures whose components are no single family, by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucid.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

RNG = np.random.default_rng(3)


def positive(*shape: int) -> Any:
    return RNG.uniform(0.2, 1.0, shape)


def factors(*shape: int) -> Any:
    size = shape[-1]
    return np.tril(RNG.normal(size=(*shape, size))) * 0.3 + np.eye(size)


def normals(*batch: int, dtype: Any = np.float64) -> Normal:
    return Normal(RNG.normal(0, 3, batch).astype(dtype), positive(*batch).astype(dtype))


def mixed(*weights: int) -> Any:
    """A function from components to their mixture."""
    return lambda parts: MixtureSameFamily(Categorical(positive(*weights)), parts)


NESTED: dict[str, Any] = {
    "mixtures": lambda: mixed(3)(mixed(3, 4)(normals(3, 4))),
    "mixtures, shared weights": lambda: mixed(3)(mixed(4)(normals(3, 4))),
    "mixtures of mixtures": lambda: mixed(2)(mixed(2, 3)(mixed(4)(normals(2, 3, 4)))),
    "mixtures, batch": lambda: mixed(5, 1, 3)(mixed(3, 4)(normals(2, 3, 4))),
    "mixtures, batch of one": lambda: mixed(5, 3)(mixed(3, 4)(normals(1, 3, 4))),
    "categories": lambda: mixed(3)(Categorical(positive(3, 6))),
    "categories, batch": lambda: mixed(2, 3)(Categorical(logits=positive(3, 6))),
    "products of categories": lambda: mixed(3)(
        Independent(Categorical(positive(3, 2, 6)), 1)
    ),
    "products of categories, batch": lambda: mixed(5, 3)(
        Independent(Categorical(positive(5, 3, 2, 6)), 1)
    ),
    "products of mixtures": lambda: mixed(3)(
        Independent(mixed(2, 4)(normals(3, 2, 4)), 1)
    ),
    "vectors": lambda: mixed(3)(
        Independent(
            MultivariateNormal(RNG.normal(size=(3, 2, 4)), scale_tril=factors(3, 2, 4)),
            1,
        )
    ),
    "mixtures of vectors": lambda: mixed(3)(
        mixed(3, 2)(
            MultivariateNormal(RNG.normal(size=(3, 2, 4)), scale_tril=factors(2, 4))
        )
    ),
    "mixtures of products": lambda: mixed(3)(
        mixed(3, 2)(Independent(Bernoulli(positive(3, 2, 5)), 1))
    ),
    "no more than wrapped": lambda: mixed(3)(
        Independent(mixed(3, 4)(normals(3, 4)), 0)
    ),
}
EVERY = pytest.mark.parametrize("name", NESTED)


def nested(name: str) -> MixtureSameFamily:
    made: MixtureSameFamily = NESTED[name]()
    assert made._density() is None
    return made
