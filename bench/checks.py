"""Calls that launch the kernels which no small case does: for the sanitizers.

A job of a size for checking is done by the kernels for small jobs, so each of the
others is asked for by its name here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from lucid.backends.cupy import kernels, structs
from lucid.backends.cupy.choice import Choice, force
from lucid.backends.cupy.structs import Struct
from lucid.backends.protocol import Backend, Components, Weights
from lucid.backends.tables import IndexTable

from .cases import (
    KEY,
    OTHERS,
    MultivariateNormal,
    Normal,
    made_components,
    made_values,
)

_ROWS, _COUNT = 3000, 300


def calls(backend: Backend) -> Iterator[Callable[[], Any]]:
    """One after the other: each launches what it has to when it is called."""
    yield from _large_mixtures(backend)
    yield from _rows(backend)
    yield from _multivariate_normals(backend)
    yield from _categoricals(backend)
    yield from _draws(backend)


def _large_mixtures(backend: Backend) -> Iterator[Callable[[], Any]]:
    for family in (Normal, *OTHERS):
        for dtype in ("float32", "float64") if family is Normal else ("float32",):
            for chosen in choices(structs.of(family), dtype):
                count = 5 if chosen.kernel == "small" else _COUNT
                yield _forced(backend, family, dtype, count, 1, chosen)
    for event in (2, 3):
        for chosen in choices(structs.of(Normal), "float32", event):
            yield _forced(backend, Normal, "float32", _COUNT, event, chosen)


def choices(family: Struct, dtype: str, event: int = 1) -> Iterator[Choice]:
    """Those that large jobs have."""
    compiled = kernels.compiled_rows(family, dtype, event)
    if not compiled:
        yield Choice("diagonal")
        return
    rows = compiled[0]
    yield Choice("lazy", rows)
    yield Choice("fixed", rows)
    if event == 1 and family.cheap:
        yield Choice("small", rows=4)
        if dtype == "float32":
            yield Choice("fixed", rows, polynomials=kernels.POLYNOMIALS[-1])
    if event == 1 and family.quadratic:
        yield Choice("fixed", rows, ordered=True)
    if family.quadratic:
        yield Choice("cells", rows)


def _forced(
    backend: Backend,
    family: Any,
    dtype: str,
    count: int,
    event: int,
    chosen: Choice,
) -> Callable[[], Any]:
    components = made_components(backend, family, 1, count, event, dtype)
    value = made_values(backend, family, (_ROWS, 1, event), dtype)
    if family is Normal:
        value[::7] = 1e4  # of no component: such rows are done again

    def call() -> Any:
        with force(**dataclasses.asdict(chosen)):
            return backend.mixture_log_prob(components, value, np.dtype(dtype))

    return call


def _rows(backend: Backend) -> Iterator[Callable[[], Any]]:
    """Parameters of each row's own: by every number of threads, and reduced."""
    kind = np.dtype("float32")
    for lanes in (0, *kernels.ROW_LANES):
        fields = {"lanes": lanes} if lanes else {"kernel": "reduction"}
        rows, count = (40, 1100) if lanes > 8 else (_ROWS, 70)
        components = made_components(backend, Normal, rows, count, 1, "float32")
        value = made_values(backend, Normal, (1, rows, 1), "float32")
        yield partial(_by_rows, backend, components, value, kind, fields)


def _by_rows(
    backend: Backend, components: Components, value: Any, kind: Any, fields: Any
) -> Any:
    with force(**fields):
        return backend.mixture_log_prob(components, value, kind)


def _multivariate_normals(backend: Backend) -> Iterator[Callable[[], Any]]:
    kind, count, event = np.dtype("float32"), 1100, 3
    loc = np.random.default_rng(7).standard_normal((1, count, event), dtype="float32")
    factor = np.tile(np.eye(event, dtype="float32"), (1, count, 1, 1))
    weights = made_components(backend, Normal, 1, count, 1, "float32").weights
    parameters = (backend.asarray(loc), backend.asarray(factor))
    components = Components(MultivariateNormal, parameters, weights, 1)
    few = made_values(backend, Normal, (5, 1, event), "float32")
    yield partial(backend.mixture_log_prob, components, few, kind)  # in parts
    yield partial(backend.mixture_mode, components, few, kind)
    yield partial(backend.draw, components, KEY, 0, _ROWS, kind)


def _categoricals(backend: Backend) -> Iterator[Callable[[], Any]]:
    random, kind = np.random.default_rng(8), np.dtype("float32")
    for sets, count in ((3, 5), (1, 200)):
        logits = backend.asarray(random.standard_normal((sets, count), dtype="float32"))
        value = backend.asarray(random.integers(-1, count + 1, (_ROWS, sets)))
        yield partial(backend.categorical_log_prob, logits, value, kind)


def _draws(backend: Backend) -> Iterator[Callable[[], Any]]:
    random, kind = np.random.default_rng(9), np.dtype("float32")
    for shape in ((_COUNT,), (7, _COUNT)):
        table = IndexTable.from_weights(random.uniform(size=shape))
        yield partial(backend.draw_index, table, KEY, 0, _ROWS)
    for family in OTHERS:
        drawn = made_components(backend, family, 1, _COUNT, 2, "float32")
        yield partial(backend.draw, drawn, KEY, 0, _ROWS, kind)
    # Many draws by weights of each mixture's own: tables are made of them.
    own = random.uniform(size=(7, _COUNT)).astype("float32")
    total = own.sum(axis=1, keepdims=True, dtype=np.float64)
    weights = Weights(backend.asarray(own), backend.asarray(total))
    shared = made_components(backend, Normal, 7, _COUNT, 1, "float32")
    components = Components(Normal, shared.parameters, weights, 7)
    yield partial(backend.draw, components, KEY, 0, _ROWS, kind)
