"""Devices by name, and the one that is used when none is named."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from typing import Literal

from lucid import backends
from lucid.backends.protocol import Backend


@dataclass(frozen=True, slots=True)
class Device:
    """Where a tensor lives: "cpu", or "cuda" and the number of the GPU."""

    type: Literal["cpu", "cuda"]
    index: int = 0

    def __str__(self) -> str:
        return "cpu" if self.type == "cpu" else f"cuda:{self.index}"

    def __repr__(self) -> str:
        return f"device('{self}')"

    @property
    def backend(self) -> Backend:
        """What computes there; DeviceUnavailableError, saying why, if nothing can."""
        return backends.get(self.type, self.index)


CPU = Device("cpu")

_chosen: Device | None = None


def device(name: str | Device) -> Device:
    """The device "cpu", "cuda" (the first GPU) or "cuda:1"; need not work here."""
    if isinstance(name, Device):
        return name
    found = isinstance(name, str) and re.fullmatch(r"(cpu|cuda)(?::(\d+))?", name)
    if not found or (found[1] == "cpu" and found[2] not in {None, "0"}):
        raise ValueError(f"a device is 'cpu', 'cuda' or 'cuda:1', not {name!r}")
    return Device("cuda", int(found[2] or 0)) if found[1] == "cuda" else CPU


def get_default_device() -> Device:
    """Where what has no device goes: as set, or by LUCID_DEVICE, or a working GPU."""
    if _chosen is not None:
        return _chosen
    name = os.environ.get("LUCID_DEVICE") or "auto"
    if name != "auto":
        return _named_by_environment(name)
    status = backends.cuda_status()
    if status is backends.DEAD_AFTER_FORK:
        warnings.warn(
            f"computing on the CPU: {status.reason}", RuntimeWarning, stacklevel=3
        )
    return Device("cuda") if status.available else CPU


def set_default_device(name: str | Device | None) -> None:
    """Send what has no device to `name`; None: back to LUCID_DEVICE or a working GPU.

    Raises DeviceUnavailableError, with the reason, if that device does not work.
    """
    global _chosen
    wanted = None if name is None else device(name)
    if wanted is not None:
        _ = wanted.backend
    _chosen = wanted


def device_of(backend: Backend) -> Device:
    """The device that a backend computes on."""
    return CPU if backend.type == "cpu" else Device("cuda", backend.index)


def _named_by_environment(name: str) -> Device:
    try:
        return device(name)
    except ValueError:
        raise ValueError(
            f"the environment variable LUCID_DEVICE is 'cpu', 'cuda', 'cuda:1' or "
            f"'auto', not {name!r}"
        ) from None
