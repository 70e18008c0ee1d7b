"""The work of the NumPy engine, counted: no pass and no array comes back unseen.

Time says little on a shared machine. So a call runs on arrays that count what NumPy
does with them, and the memory it takes is traced.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.backends.numpy import blocks, buffers, mixture, plain, screen
from lucid.distributions import Categorical, Independent, MixtureSameFamily, Normal
from tests.family_table import TABLE

ROWS, COUNT, DIMENSIONS = 2048, 64, 4
LAYOUTS = ("scalar", "diagonal", "per row")
CREATORS = ("empty", "zeros", "full", "empty_like", "ascontiguousarray")

# For each value, the elements that NumPy's functions go through (a pass over the pairs
# is COUNT of them, in an event DIMENSIONS times as many, a pass over the values 1), and
# the elements allocated beside the buffers that blocks use again, with 0.4 to spare.
# The same for a pair of a value and a component, where most are left out.
SCREENED = 9.0
WORK = {
    ("Normal", "scalar"): (389, 6.2),
    ("Normal", "diagonal"): (1177, 12.3),
    ("Normal", "per row"): (593, 8.4),
    ("Laplace", "scalar"): (453, 6.1),
    ("Laplace", "diagonal"): (1361, 12.3),
    ("Laplace", "per row"): (593, 8.3),
    ("StudentT", "scalar"): (645, 6.1),
    ("StudentT", "diagonal"): (2129, 12.2),
    ("StudentT", "per row"): (785, 8.3),
    ("Gamma", "scalar"): (3744, 21.4),
    ("Gamma", "diagonal"): (14515, 76.2),
    ("Gamma", "per row"): (3883, 23.6),
    ("Poisson", "scalar"): (3585, 22.4),
    ("Poisson", "diagonal"): (13876, 88.2),
    ("Poisson", "per row"): (3724, 24.6),
    ("Bernoulli", "scalar"): (462, 9.6),
    ("Bernoulli", "diagonal"): (1387, 12.5),
    ("Bernoulli", "per row"): (601, 8.3),
    ("Uniform", "scalar"): (588, 9.7),
    ("Uniform", "diagonal"): (1893, 12.5),
    ("Uniform", "per row"): (727, 8.3),
}


class Counted(np.ndarray[Any, Any]):
    """An array that adds the size of every operation on it to `elements`."""

    elements = 0

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any
    ) -> Any:
        Counted._count(*inputs, *out)
        if out:
            options["out"] = tuple(_plain(array) for array in out)
        result = getattr(ufunc, method)(*map(_plain, inputs), **options)
        return out[0] if out else _counted(result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func.__module__ == "numpy" and func.__name__ not in {"reshape", "moveaxis"}:
            Counted._count(*args, *kwargs.values())
        given = {name: _plain(value) for name, value in kwargs.items()}
        result = func(*map(_plain, args), **given)
        return kwargs["out"] if "out" in kwargs else _counted(result)

    @staticmethod
    def _count(*operands: Any) -> None:
        given = [operand for operand in operands if not isinstance(operand, list)]
        given += [
            part for parts in operands if isinstance(parts, list) for part in parts
        ]
        sizes = [a.size for a in given if isinstance(a, np.ndarray)]
        Counted.elements += max(sizes, default=0)


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value.view(np.ndarray) if isinstance(value, Counted) else value


def _counted(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_counted, value))
    return value.view(Counted) if isinstance(value, np.ndarray) else value


class CountingNumpy:
    """NumPy, whose new arrays count."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        if name not in CREATORS:
            return found
        return lambda *args, **options: _counted(found(*args, **options))


def mixed(row: Any, layout: str) -> tuple[Any, Any]:
    """A mixture of a family, and values where its densities are neither 0 nor ∞."""
    shape = {
        "scalar": (COUNT,),
        "diagonal": (COUNT, DIMENSIONS),
        "per row": (ROWS, COUNT),
    }[layout]
    given = {
        name: np.resize(np.asarray(p, np.float32), shape)
        for name, p in row.parameters.items()
    }
    components = row.family(**given)
    values = np.asarray(row.values[1:-2], np.float32)
    event = ()
    if layout == "diagonal":
        components, event = Independent(components, 1), (DIMENSIONS,)
    weights = shape[:-1] + (COUNT,) if layout == "per row" else (COUNT,)
    return (
        MixtureSameFamily(Categorical(np.ones(weights, np.float32)), components),
        np.resize(values, (ROWS, *event)),
    )


def work(monkeypatch: Any, given: Any, x: Any) -> int:
    """Elements that NumPy goes through in a call whose preparation is done."""
    given.log_prob(x)
    with monkeypatch.context() as patch:
        for module in (blocks, buffers, mixture, plain, screen):
            patch.setattr(module, "np", CountingNumpy())
        buffers._local.__dict__.clear()
        Counted.elements = 0
        given.log_prob(x)
        buffers._local.__dict__.clear()
    return Counted.elements


def peak(call: Callable[[], Any]) -> int:
    """Bytes beyond those of the result, buffers being there already."""
    call()
    tracemalloc.start()
    try:
        result = call()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return int(most) - int(result.numpy().nbytes)


@pytest.fixture(autouse=True)
def _one_thread_of_numpy() -> None:
    lucid.set_cpu_engine("numpy")
    lucid.set_num_threads(1)
    lucid.set_default_device("cpu")


ROWS_OF_TABLE = {row.name: row for row in TABLE if not row.is_vector}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ROWS_OF_TABLE)
def test_no_more_passes_and_no_more_memory(
    name: str, layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, x = mixed(ROWS_OF_TABLE[name], layout)
    passes, memory = WORK[name, layout]
    assert work(monkeypatch, given, x) <= passes * ROWS
    assert peak(lambda: given.log_prob(x)) <= memory * ROWS * x.itemsize


def test_few_values_take_no_more_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few values under many components: as many passes, but for the padding."""
    rng = np.random.default_rng(0)
    loc, x = (rng.normal(size=size).astype(np.float32) for size in (65_536, 40))
    given = MixtureSameFamily(
        Categorical(np.ones_like(loc)), Normal(loc, np.float32(1.0))
    )
    assert work(monkeypatch, given, x) <= 6.1 * x.size * loc.size


def test_most_components_of_events_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far apart: a rough look at each pair, and exact terms of one or two a value."""
    rng = np.random.default_rng(0)
    loc = 10 * rng.normal(size=(COUNT, 32)).astype(np.float32)
    x = loc[np.arange(ROWS) % COUNT] + rng.normal(size=(ROWS, 32)).astype(np.float32)
    given = MixtureSameFamily(
        Categorical(np.ones(COUNT, np.float32)),
        Independent(Normal(loc, np.float32(1.0)), 1),
    )
    # Directly it would be 3 passes over 32 dimensions of each pair, and 6 more.
    assert work(monkeypatch, given, x) <= SCREENED * ROWS * COUNT
