"""The CUDA backend on a GPU that works as late as it may, and whole distributions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import backends
from lucid.backends import CudaStatus
from lucid.backends.cupy.backend import CupyBackend
from lucid.backends.cupy.device import CudaDevice
from lucid.backends.protocol import Components, Weights
from tests.late_cuda import Array, World

ROWS = np.random.default_rng(0).normal(size=(10_000, 3))


def cut(rows: Any, size: int) -> list[Any]:
    return [rows[i : i + size] for i in range(0, len(rows), size)]


class LateBackend(CupyBackend):
    """The CUDA backend there, its mixtures computed by the CPU's, late."""

    def __init__(self, world: World, index: int = 0) -> None:
        super().__init__(index, CudaDevice(index, world.namespace))
        self.world, self.fn = world, world.namespace

    def log_prob(self, family, value, parameters, dtype, out=None):
        def compute(value, *parameters):
            return backends.get("cpu").log_prob(family, value, parameters, dtype)

        return self.world.run(compute, value, *parameters)

    def categorical_log_prob(self, logits, value, dtype):
        def compute(logits, value):
            return backends.get("cpu").categorical_log_prob(logits, value, dtype)

        return self.world.run(compute, logits, value)

    def lookup(self, table, value, out=None):
        return self.world.run(backends.get("cpu").lookup, table, value)

    def mixture_log_prob(self, components, value, dtype, out=None):
        found = self._late("mixture_log_prob", components, value, dtype)
        if out is not None:
            out[...] = found
        return found

    def mixture_mode(self, components, value, dtype):
        return self._late("mixture_mode", components, value, dtype)

    def _late(self, name: str, components: Components, value: Array, dtype: Any) -> Any:
        cpu, weights = backends.get("cpu"), components.weights
        parts = weights and [weights.given, weights.total, weights.shift]
        given = [array for array in parts or () if array is not None]

        def compute(value: Any, *arrays: Any) -> Any:
            count = len(components.parameters)
            own = Weights(*arrays[count:]) if given else None
            copy = Components(components.family, arrays[:count], own, components.batch)
            return getattr(cpu, name)(copy, value, dtype)

        # Made once, by whichever stream is the first, as a kernel's factors are.
        arrays = self._device.kept(
            components,
            ("copies",),
            lambda: [array.copy() for array in (*components.parameters, *given)],
        )
        return self.world.run(compute, value, *arrays)


@pytest.fixture(params=[False, True], ids=["late", "others-first"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    # A helper of a copy may hold its memory for a moment longer than the copy takes.
    lucid.set_num_threads(1)
    made = World(devices=2)
    made.others_first = request.param
    yield made
    assert made.faults == []
    assert len(made.thread.devices) == 1
    assert made.thread.streams == []


@pytest.fixture
def backend(world: World) -> LateBackend:
    return LateBackend(world)


@pytest.fixture
def device(world: World, monkeypatch: pytest.MonkeyPatch) -> str:
    """The second of two GPUs, as far as distributions can tell."""
    status = CudaStatus(True, "", ("GPU A", "GPU B"))
    monkeypatch.setattr(backends, "_status", status)
    for index in range(2):
        made = LateBackend(world, index)
        monkeypatch.setitem(backends._backends, ("cuda", index), made)
    standard = backends.namespace
    monkeypatch.setattr(
        backends, "namespace", lambda b: b.xp if b.type == "cuda" else standard(b)
    )
    return "cuda:1"
