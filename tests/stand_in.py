"""Two GPUs that are not there: enough of CuPy, over NumPy, to hold tensors.

An array refuses to work while another device than its own is current, or with arrays of
another device or of NumPy.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.lib.mixins import NDArrayOperatorsMixin

from lucid import backends
from lucid.backends import CudaStatus

_current = 0


class Array(NDArrayOperatorsMixin):
    """A NumPy array in the guise of CuPy's."""

    def __init__(self, host: Any, index: int) -> None:
        self.host = np.asarray(host)
        self.device = SimpleNamespace(id=index)
        self.flags = SimpleNamespace(c_contiguous=True)

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any
    ) -> Any:
        assert method == "__call__"
        return run(ufunc, *inputs, **options)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.host, name)
        if not callable(found):
            return found
        return lambda *args, **options: run(
            lambda self, *rest, **more: getattr(self, name)(*rest, **more),
            self,
            *args,
            **options,
        )

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("implicit conversion to a NumPy array is not allowed")

    def __getitem__(self, key: Any) -> Any:
        return run(lambda array, key: array[key], self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.host[as_host(key)] = as_host(value)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {"shape": self.host.shape, "version": 3}

    def item(self) -> Any:
        return self.host.item()

    def copy(self) -> Array:
        return Array(self.host.copy(), _current)


def as_host(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(as_host(part) for part in value)
    if isinstance(value, np.ndarray):
        raise TypeError("unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, Array):
        assert value.device.id == _current, "another device is current"
        return value.host
    return value


def run(function: Any, *args: Any, **options: Any) -> Any:
    result = function(*as_host(args), **{k: as_host(v) for k, v in options.items()})
    if isinstance(result, tuple):
        return tuple(Array(part, _current) for part in result)
    return Array(result, _current)


class Namespace:
    """NumPy's functions, for `Array`s."""

    ndarray = Array

    def __init__(self, module: ModuleType = np) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if isinstance(found, ModuleType):
            return Namespace(found)
        return lambda *args, **options: run(found, *args, **options)

    def asarray(self, value: Any, dtype: Any = None) -> Array:
        host = value.host if isinstance(value, Array) else value
        return Array(np.asarray(host, dtype=dtype), _current)

    class cuda:
        """The current device."""

        @staticmethod
        @contextlib.contextmanager
        def Device(index: int) -> Iterator[None]:
            global _current
            before, _current = _current, index
            try:
                yield
            finally:
                _current = before


class Backend:
    """The part of a CUDA backend that tensors use."""

    type = "cuda"
    xp = Namespace()

    def __init__(self, index: int) -> None:
        self.index = index

    def asarray(self, value: Any, dtype: Any = None, copy: bool | None = None) -> Any:
        if isinstance(value, Array):
            assert value.device.id == self.index
            if not copy and dtype in {None, value.dtype}:
                return value
            host = np.array(value.host, dtype=dtype, copy=copy)
        else:
            host = np.array(value, dtype=dtype)
        return Array(host, self.index)

    def copy_of(self, array: Any, source: Any, dtype: Any = None) -> Array:
        return Array(np.array(source.to_numpy(array), dtype=dtype), self.index)

    def to_numpy(self, array: Array) -> Any:
        return array.host.copy()


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuda:0 and cuda:1, as far as tensors can tell."""
    status = CudaStatus(True, "", ("GPU A", "GPU B"))
    monkeypatch.setattr(backends, "_status", status)
    for index in range(2):
        monkeypatch.setitem(backends._backends, ("cuda", index), Backend(index))
    standard = backends.namespace
    monkeypatch.setattr(
        backends, "namespace", lambda b: b.xp if b.type == "cuda" else standard(b)
    )
