"""Launches of the host's kernels, with the grids that kernels/README.md prescribes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.kernels.host import Host
from tests.kernels.sources import TYPES, WORDS

Array = NDArray[Any]


class Prepared(NamedTuple):
    """What the mixture kernels read: [K, D] factors or loc and whitener, constants."""

    factors: tuple[Array, ...]
    constants: Array


def blank(shape: Any, dtype: Any = np.float64) -> Any:
    """An array to be filled: what is left out shows."""
    return np.full(shape, np.nan, dtype)


def _grid(count: int, block: int) -> tuple[int, ...]:
    return (-(-count // block),)


def log_prob(host: Host, family: str, parameters: Sequence[Array], x: Array) -> Array:
    """Elementwise: parameters [S], x [S]."""
    name = f"log_prob_{family}_{TYPES[x.dtype.name]}"
    return host(name, (len(x),), 1, *_three(parameters), x, blank(x.shape, x.dtype))[-1]


def per_row(
    host: Host, family: str, parameters: Sequence[Array], log_weights: Array, x: Array
) -> Array:
    """Parameters [S, K, D] of each row's own, x [S, D]."""
    name, out = f"per_row_{family}_{TYPES[x.dtype.name]}", blank(len(x), x.dtype)
    shape = (log_weights.shape[1], x.shape[1])
    arguments = (*_three(parameters), log_weights, x, out, *shape)
    return host(name, (len(x),), 1, *arguments)[-1]


def rows(
    host: Host,
    family: str,
    parameters: Sequence[Array],
    weights: Array,
    x: Array,
    lanes: int,
    logarithms: bool = True,
) -> Array:
    """Parameters and weights [S, K] of each row's own, or [1, K] of all; x [S]."""
    count, components = len(x), weights.shape[1]

    def view(array: Array | None, dimensions: int) -> list[Any]:
        if array is None:
            return [None] + [0] * dimensions
        return [array, components * (len(array) > 1), 1, 0][: dimensions + 1]

    views: list[Any] = []
    for parameter in _three(parameters):
        views += view(parameter, 3)
    name, grid = (
        f"rows{lanes}_{family}_{TYPES[x.dtype.name]}",
        _grid(count * lanes, 256),
    )
    out = blank(count, x.dtype)
    arguments = (x, *views, *view(weights, 2), int(logarithms), out)
    found = host(name, grid, 256, *arguments, count, count, components)
    return found[-1]


def prepare(
    host: Host, family: str, parameters: Sequence[Array], log_weights: Array | None
) -> Prepared:
    """Parameters [K, D] (a vector family's own shape) of one mixture."""
    count, size = parameters[0].shape
    kind = TYPES[parameters[0].dtype.name]
    wide = None if log_weights is None else log_weights.astype(np.float64)
    weights = (wide, 0, 1, 1, count, size)
    if family == "MultivariateNormal":
        whitener, constants = blank((count, size, size)), blank(count)
        name = f"prepare_MultivariateNormal_{kind}"
        found = host(name, (count,), 128, *parameters, *weights, whitener, constants)
        dtype = parameters[0].dtype
        whitener, constants = found[-2].astype(dtype), found[-1].astype(dtype)
        loc = np.where(np.isneginf(constants)[:, None], 0, parameters[0])
        return Prepared((loc.astype(dtype), whitener), constants)
    views: list[Any] = []
    for parameter in _three(parameters):
        views += [parameter, 0, 0, 0] if parameter is None else [parameter, 0, size, 1]
    dtype = parameters[0].dtype
    factors = blank((count, size, WORDS[family]), dtype)
    name, grid = f"prepare_{family}_{kind}", _grid(count, 128)
    found = host(name, grid, 128, *views, *weights, factors, blank(count, dtype))
    return Prepared((found[-2],), found[-1])


def mixture(
    host: Host,
    family: str,
    prepared: Prepared,
    x: Array,
    splits: int = 1,
    kernel: str = "mixture",
    rows: int = 2,
) -> Array:
    """Values [S, D] under shared components, by one of the kernels, perhaps split."""
    (count, size), kind = x.shape, TYPES[x.dtype.name]
    out = blank(count, x.dtype)
    partials = blank((splits, count, 2), x.dtype) if splits > 1 else None
    # The compiled event size of `mixture` is not an argument.
    tail = (len(prepared.constants), *([] if kernel.startswith("mixture") else [size]))
    if family == "MultivariateNormal":
        kernel, tail = "mixture", (len(prepared.constants), size)
    # Rows of a block, and threads: as the kernels have them.
    wide = kernel == "diagonal" or family == "MultivariateNormal"
    block, threads = (128, 256) if wide else (128 * rows, 128)
    grid = (*_grid(count, block), 1, splits)
    factors = (*prepared.factors, prepared.constants)
    name = f"{kernel}_{family}_{kind}"
    found = host(name, grid, threads, x, *factors, out, partials, count, 1, *tail)
    if splits == 1:
        return found[-1]
    name, grid = f"merge_{family}_{kind}", _grid(count, 128)
    if family == "MultivariateNormal":
        return host(name, grid, 128, found[-1], splits, out, count)[-1]
    shape = (count, 1, len(prepared.constants), size)
    return host(name, grid, 128, x, *factors, found[-1], splits, out, *shape)[-1]


def ordered(host: Host, family: str, prepared: Prepared) -> Prepared:
    """The same components in the order of their loc."""
    (factors,), constants = prepared
    name, grid = (
        f"order_{family}_{TYPES[constants.dtype.name]}",
        _grid(len(constants), 128),
    )
    results = (
        blank(factors.shape, factors.dtype),
        blank(constants.shape, constants.dtype),
    )
    found = host(name, grid, 128, factors, constants, 1, len(constants), *results)
    return Prepared((found[-2],), found[-1])


def fixed(
    host: Host,
    family: str,
    prepared: Prepared,
    x: Array,
    kernel: str = "fixed",
    rows: int = 2,
) -> Array:
    """Values [S, D] under shared components, with a shift found beforehand."""
    kind, count = TYPES[x.dtype.name], len(prepared.constants)
    shifts = blank(2, x.dtype)
    shifts = host(f"shift_{kind}", (1,), 128, prepared.constants, 1, count, shifts)[-1]
    arguments = (
        x,
        *prepared.factors,
        prepared.constants,
        shifts,
        blank(len(x), x.dtype),
    )
    name, grid = f"{kernel}_{family}_{kind}", _grid(len(x), 128 * rows)
    if kernel.startswith("small"):
        # Fewer blocks than rows ask for: each walks over several parts.
        return host(name, (-(-grid[0] // 2),), 128, *arguments, len(x))[-1]
    return host(name, grid, 128, *arguments, len(x), 1, count)[-1]


def mode(host: Host, family: str, prepared: Prepared, x: Array) -> tuple[Array, Array]:
    """The most probable component of each row of x [S, D], and log p(k | x)."""
    (count, size), kind = x.shape, TYPES[x.dtype.name]
    vector = family == "MultivariateNormal"
    factors = (*prepared.factors, prepared.constants)
    results = (np.full(count, -1, np.int64), blank(count, x.dtype))
    shape = (count, 1, len(prepared.constants), size)
    name, threads = f"mode_{family}_{kind}", 256 if vector else 128
    found = host(name, _grid(count, 128), threads, x, *factors, *results, *shape)
    return found[-2], found[-1]


def _three(parameters: Sequence[Array]) -> list[Array | None]:
    return [*parameters, None, None][:3]
