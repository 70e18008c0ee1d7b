"""The calls that are timed on a GPU, and run under the sanitizers at a small size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from lucid import backends, distributions
from lucid.backends.cupy import choice
from lucid.backends.protocol import Backend, Components, Weights

from .limits import BYTES, EXP2, FMA

# Classes that serve as families, one row of kernels each.
_Class = Any
Normal: _Class = distributions.Normal
MultivariateNormal: _Class = distributions.MultivariateNormal
OTHERS: tuple[_Class, ...] = (
    distributions.Laplace,
    distributions.StudentT,
    distributions.Gamma,
    distributions.Poisson,
    distributions.Bernoulli,
    distributions.Uniform,
)

KEY = (20_260_101, 0)
# Whatever a case's size is, a sanitizer's run is done with this many of each.
_SMALL = 300


@dataclass(frozen=True)
class Case:
    """One call of the backend, what it gets done, and what the chip must do for it."""

    name: str
    call: Callable[[], Any]
    amount: float
    unit: str
    needs: dict[str, float]


def cases(small: bool = False) -> Iterator[Callable[[], Case]]:
    """What makes each case; `small`: the same at a size for checking."""
    backend = backends.get("cuda", 0)

    def size(count: int) -> int:
        return min(count, _SMALL) if small else count

    yield partial(_elementwise, backend, size(100_000_000))
    for dtype in ("float32", "float64"):
        for rows, count in (
            (16_000_000, 8),
            (4_000_000, 64),
            (1_000_000, 1024),
            (20_000, 65_536),
            (64, 1_000_000),
        ):
            # Few rows stay few, with components enough to be split over blocks.
            components = 3000 if small and rows == 64 else size(count)
            yield partial(_shared, backend, Normal, size(rows), components, 1, dtype)
        for event in (2, 3, 4, 8, 16, 64, 128):
            yield partial(
                _shared, backend, Normal, size(500_000), size(256), event, dtype
            )
    apart = ((4_000_000, 4096, 1), (1_000_000, 65_536, 1))
    for rows, count, event in (*apart, (4_000_000, 4096, 2), (4_000_000, 4096, 3)):
        for spread in (3, 10, 30):
            yield partial(_apart, backend, size(rows), size(count), event, spread)
    for family in OTHERS:
        yield partial(
            _shared, backend, family, size(1_000_000), size(1024), 1, "float32"
        )
        yield partial(_shared, backend, family, size(100_000), size(256), 5, "float32")
    for count in (8, 32, 256):
        yield partial(_per_row, backend, size(64_000_000 // count), count, "float32")
    yield partial(_per_row, backend, size(2_000_000), 32, "float16")
    yield partial(_multivariate, backend, size(100_000), size(1024), 5 if small else 64)
    for count in (100, 10_000):
        yield partial(_categorical, backend, size(400_000_000 // count), count)
    yield partial(_mode, backend, size(1_000_000), size(1024))
    for count in (16, 4096, 1_000_000):
        yield partial(_draw, backend, size(100_000_000), count)
    yield partial(_draw_per_row, backend, size(1_000_000), 32)


def _parameters(family: Any, shape: tuple[int, ...], dtype: str) -> tuple[Any, ...]:
    random = np.random.default_rng(1)
    real = 3 * random.standard_normal(shape)
    positive = random.uniform(0.5, 2.0, shape)
    chosen: dict[str, tuple[Any, ...]] = {
        "StudentT": (3 + positive, real, positive),
        "Gamma": (positive, positive),
        "Poisson": (5 * positive,),
        "Bernoulli": (real,),
        "Uniform": (-positive, positive),
    }
    given = chosen.get(family.__name__, (real, positive))
    return tuple(array.astype(dtype) for array in given)


def made_components(
    backend: Backend, family: Any, sets: int, count: int, event: int, dtype: str
) -> Components:
    given = _parameters(family, (sets, count, event), dtype)
    weights = np.full((1, count), -math.log(count))
    return Components(
        family,
        tuple(backend.asarray(array) for array in given),
        Weights.normalised(backend.asarray(weights)),
        sets,
    )


def made_values(
    backend: Backend, family: Any, shape: tuple[int, ...], dtype: str
) -> Any:
    random = np.random.default_rng(2)
    value = random.standard_normal(shape, dtype="float32")
    if family is distributions.Poisson:
        value = np.floor(10 * abs(value))
    elif family is distributions.Bernoulli:
        value = np.where(value > 0, 1.0, 0.0)
    elif family is distributions.Gamma:
        value = abs(value)
    return backend.asarray(value.astype(dtype))


def _elementwise(backend: Backend, rows: int) -> Case:
    value = made_values(backend, Normal, (rows,), "float32")
    given = tuple(map(backend.asarray, _parameters(Normal, (1,), "float32")))
    out = backend.xp.empty(rows, "float32")
    dtype = np.dtype("float32")
    return Case(
        f"log_prob Normal float32 N={rows}",
        lambda: backend.log_prob(Normal, value, given, dtype, out),
        rows,
        "rows_per_second",
        {BYTES: 8.0 * rows},
    )


def _shared(
    backend: Backend, family: Any, rows: int, count: int, event: int, dtype: str
) -> Case:
    components = made_components(backend, family, 1, count, event, dtype)
    value = made_values(backend, family, (rows, 1, event), dtype)
    kind = np.dtype(dtype)
    out = backend.xp.empty((rows, 1), kind)
    pairs = float(rows) * count
    # Subtract, scale, square and add: two fused operations' time at the very least.
    needs = {
        FMA[dtype]: 2 * pairs * event,
        BYTES: float(kind.itemsize) * rows * (event + 1),
    }
    if dtype == "float32":
        needs[EXP2] = pairs
    return Case(
        f"mixture {family.__name__} {dtype} N={rows} K={count} D={event}",
        lambda: backend.mixture_log_prob(components, value, kind, out),
        pairs,
        "pairs_per_second",
        needs,
    )


def _apart(backend: Backend, rows: int, count: int, event: int, spread: int) -> Case:
    """Rows of a mixture whose means spread: far components need not be looked at."""
    random = np.random.default_rng(6)
    loc = spread * random.standard_normal((1, count, event))
    scale = random.uniform(0.5, 2.0, (1, count, event))
    given = (backend.asarray(loc.astype("f4")), backend.asarray(scale.astype("f4")))
    weights = Weights.normalised(backend.asarray(np.full((1, count), -math.log(count))))
    components = Components(Normal, given, weights, 1)
    value = spread * random.standard_normal((rows, 1, event), dtype="float32")
    value += random.standard_normal((rows, 1, event), dtype="float32")
    on_device, kind = backend.asarray(value), np.dtype("float32")
    out = backend.xp.empty((rows, 1), kind)
    # So few rows for a check would not be sorted.
    forced = {"kernel": "cells", "rows": 1} if rows <= _SMALL else {}

    def call() -> None:
        with choice.force(**forced):
            backend.mixture_log_prob(components, on_device, kind, out)

    return Case(
        f"mixture Normal float32 N={rows} K={count} D={event} spread={spread}",
        call,
        float(rows) * count,
        "pairs_per_second",
        {BYTES: 4.0 * (event + 1) * rows},
    )


def _per_row(backend: Backend, rows: int, count: int, source: str) -> Case:
    """Two parameters and a weight of each pair's own, read as `source`."""
    shared = made_components(backend, Normal, rows, count, 1, source)
    random = np.random.default_rng(10)
    logs = random.standard_normal((rows, count), dtype="float32")
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    weights = Weights.normalised(backend.asarray(logs.astype(source)))
    components = Components(Normal, shared.parameters, weights, rows)
    value = made_values(backend, Normal, (1, rows, 1), "float32")
    kind = np.dtype("float32")
    out = backend.xp.empty((1, rows), kind)
    return Case(
        f"mixture per row Normal {source} N={rows} K={count}",
        lambda: backend.mixture_log_prob(components, value, kind, out),
        float(rows) * count,
        "pairs_per_second",
        {
            BYTES: 3.0 * np.dtype(source).itemsize * rows * count,
            EXP2: 2.0 * rows * count,
        },
    )


def _multivariate(backend: Backend, rows: int, count: int, event: int) -> Case:
    random = np.random.default_rng(3)
    factor = np.tril(random.standard_normal((1, count, event, event)) / event)
    factor[..., range(event), range(event)] = 1.0
    loc = random.standard_normal((1, count, event))
    weights = Weights.normalised(backend.asarray(np.full((1, count), -math.log(count))))
    given = (backend.asarray(loc.astype("f4")), backend.asarray(factor.astype("f4")))
    components = Components(MultivariateNormal, given, weights, 1)
    value = made_values(backend, Normal, (rows, 1, event), "float32")
    kind = np.dtype("float32")
    pairs = float(rows) * count
    return Case(
        f"mixture MultivariateNormal float32 N={rows} K={count} D={event}",
        lambda: backend.mixture_log_prob(components, value, kind),
        pairs,
        "pairs_per_second",
        {FMA["float32"]: pairs * event * (event + 1) / 2, EXP2: pairs},
    )


def _categorical(backend: Backend, rows: int, count: int) -> Case:
    random = np.random.default_rng(4)
    logits = backend.asarray(random.standard_normal((rows, count), dtype="float32"))
    value = backend.asarray(random.integers(0, count, (1, rows)))
    kind = np.dtype("float32")
    return Case(
        f"categorical float32 N={rows} K={count}",
        lambda: backend.categorical_log_prob(logits, value, kind),
        float(rows) * count,
        "logits_per_second",
        {BYTES: 4.0 * rows * count, EXP2: float(rows) * count},
    )


def _mode(backend: Backend, rows: int, count: int) -> Case:
    components = made_components(backend, Normal, 1, count, 1, "float32")
    value = made_values(backend, Normal, (rows, 1, 1), "float32")
    pairs = float(rows) * count
    kind = np.dtype("float32")
    return Case(
        f"mode Normal float32 N={rows} K={count}",
        lambda: backend.mixture_mode(components, value, kind),
        pairs,
        "pairs_per_second",
        {EXP2: pairs},
    )


def _draw(backend: Backend, rows: int, count: int) -> Case:
    components = made_components(backend, Normal, 1, count, 1, "float32")
    kind = np.dtype("float32")
    return Case(
        f"draw Normal float32 N={rows} K={count}",
        lambda: backend.draw(components, KEY, 0, rows, kind),
        rows,
        "draws_per_second",
        {BYTES: 12.0 * rows},
    )


def _draw_per_row(backend: Backend, rows: int, count: int) -> Case:
    """One draw from each of many mixtures, by weights of their own."""
    shared = made_components(backend, Normal, rows, count, 1, "float32")
    given = np.random.default_rng(5).uniform(size=(rows, count)).astype("float32")
    total = given.sum(axis=1, keepdims=True, dtype=np.float64)
    weights = Weights(backend.asarray(given), backend.asarray(total))
    components = Components(Normal, shared.parameters, weights, rows)
    kind = np.dtype("float32")
    return Case(
        f"draw per row Normal float32 N={rows} K={count}",
        lambda: backend.draw(components, KEY, 0, rows, kind),
        rows,
        "draws_per_second",
        {BYTES: 4.0 * rows * count + 20.0 * rows},
    )
