"""The two backends: which one serves an array, which work here, and why not."""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import numpy as np

from lucid.backends.protocol import Array, Backend
from lucid.backends.status import DEAD_AFTER_FORK as DEAD_AFTER_FORK
from lucid.backends.status import CudaStatus as CudaStatus
from lucid.backends.status import probe_cuda


class DeviceUnavailableError(RuntimeError):
    """A device was asked for that does not work here; the message says why."""


_lock = threading.Lock()
_backends: dict[tuple[str, int], Backend] = {}
_status: CudaStatus | None = None


def get(type: str, index: int = 0) -> Backend:
    """The backend of "cpu", or of "cuda" number `index`.

    Raises DeviceUnavailableError, with the reason, where that device does not work.
    """
    backend = _backends.get((type, index))
    if backend is not None:
        return backend
    created = _create(type, index)
    with _lock:
        return _backends.setdefault((type, index), created)


def of(array: Array) -> Backend:
    """The backend that holds a raw array."""
    key = ("cpu", 0) if isinstance(array, np.ndarray) else ("cuda", array.device.id)
    return _backends.get(key) or get(*key)


def cuda_status() -> CudaStatus:
    """Whether CUDA works here, and if not, why: found out once per process."""
    global _status
    if _status is None:
        with _lock:
            if _status is None:
                _status = probe_cuda()
    return _status


def namespace(backend: Backend) -> Any:
    """The backend's functions under the names and rules of the array API standard."""
    if backend.type == "cpu":
        return np
    return import_module("array_api_compat.cupy")


def scope(backend: Backend) -> AbstractContextManager[Any]:
    """Where a backend's functions run: its device current, ∞ and NaN without warnings.

    CUDA never warns of a division by zero, so NumPy does not either.
    """
    if backend.type == "cpu":
        return np.errstate(all="ignore")
    device: AbstractContextManager[Any] = backend.xp.cuda.Device(backend.index)
    return device


def _create(type: str, index: int) -> Backend:
    if type == "cpu":
        cpu: Backend = import_module("lucid.backends.numpy").NumpyBackend()
        return cpu
    status = cuda_status()
    if not status.available:
        raise DeviceUnavailableError(
            f"the device cuda:{index} cannot be used: {status.reason}"
        )
    if index >= len(status.devices):
        raise DeviceUnavailableError(
            f"there is no device cuda:{index}: CUDA sees {len(status.devices)} here "
            f"({', '.join(status.devices)}), counted from cuda:0"
        )
    cuda: Backend = import_module("lucid.backends.cupy").CupyBackend(index)
    return cuda


def _after_fork() -> None:
    """In a forked child the parent's CUDA context is dead: forget it, and say so."""
    global _lock, _status
    _lock = threading.Lock()
    for key in [key for key in _backends if key[0] == "cuda"]:
        del _backends[key]
    if _status is not None and _status.available:
        _status = DEAD_AFTER_FORK


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
