"""That nothing lucid launches on a GPU is left out where the sanitizers look."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import numpy as np
import pytest

import lucid
from bench import cases, checks
from lucid import backends
from lucid.backends.cupy import CupyBackend, kernels
from lucid.backends.cupy.device import CudaDevice
from lucid.backends.numpy.functions import Functions


class Recorder(CudaDevice):
    """A device that is not there, and on which nothing is done."""

    def __init__(self) -> None:
        super().__init__(0, np)
        self.fn, self.multiprocessors, self.capability = Functions(), 132, (9, 0)

    def current(self) -> Any:
        return contextlib.nullcontext()

    def index_of(self, array: Any) -> int:
        return 0

    def capturing(self) -> bool:
        return False

    def record(self) -> Any:
        return None

    def to_numpy(self, array: Any) -> Any:
        return array

    def launch(self, spec: Any, grid: Any, block: Any, arguments: Any) -> None:
        for array in arguments:
            if isinstance(array, np.ndarray) and array.flags.writeable:
                array.fill(1)  # sizes are made of some of them

    def elementwise(self, spec: Any, arguments: Any) -> None:
        pass

    def reduce(self, spec: Any, arguments: Any, axis: int, out: Any) -> None:
        pass


def test_the_sanitizers_see_every_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()
    every = {
        name: maker
        for name, maker in vars(kernels).items()
        if hasattr(maker, "cache_info") and maker.__module__ == kernels.__name__
    }
    assert len(every) > 20

    def recorded(name: str) -> Any:
        @functools.wraps(every[name])
        def make(*arguments: Any) -> Any:
            asked.add(name)
            return every[name](*arguments)

        return make

    for name in every:
        monkeypatch.setattr(kernels, name, recorded(name))
    backend = CupyBackend(device=Recorder())
    monkeypatch.setattr(backends, "get", lambda type, index: backend)
    for make in cases.cases(small=True):
        make().call()
    for call in checks.calls(backend):
        call()
    assert asked == set(every)


def test_every_check_can_be_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, which has the same operations: shapes, dtypes and parameters fit."""
    lucid.set_cpu_engine("numpy")
    found = [call() for call in checks.calls(backends.get("cpu"))]
    assert len(found) > 40
    for result in found:
        for array in result if isinstance(result, tuple) else (result,):
            assert not np.isnan(array).any()
