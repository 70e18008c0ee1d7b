"""Show what devices there are, which one is used, and if no GPU, why."""

from __future__ import annotations

import argparse
import os
import platform
from importlib import metadata

import lucid
from lucid._device import get_default_device
from lucid.backends import DeviceUnavailableError, cuda_status
from lucid.backends.numpy.engine import get_cpu_engine
from lucid.backends.numpy.threads import get_num_threads

_NEEDED = ("numpy", "scipy")
_OPTIONAL = (
    ("cupy-cuda13x", "cupy-cuda12x", "cupy"),
    ("numba",),
    ("nvtx",),
    ("tqdm",),
    ("pyarrow",),
    ("safetensors",),
    ("matplotlib",),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`lucid info` takes none."""


def run(options: argparse.Namespace) -> None:
    """Print the devices, the settings that choose between them, and the versions."""
    status = cuda_status()
    lines = [("cpu", f"{platform.machine()}, {_threads()}, {_engine()}")]
    lines += [(f"cuda:{i}", name) for i, name in enumerate(status.devices)]
    if not status.available:
        lines.append(("cuda", f"not used: {status.reason}"))
    lines.append(("used", _used()))
    lines.append(("lucid", lucid.__version__))
    lines.append(("python", platform.python_version()))
    lines += [(name, _version(name) or "not installed") for name in _NEEDED]
    lines += [_first_found(names) for names in _OPTIONAL]
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        print(f"{name:{width}}  {text}")


def _used() -> str:
    setting = os.environ.get("LUCID_DEVICE")
    why = f"LUCID_DEVICE={setting}" if setting else "the default"
    try:
        used = get_default_device()
        _ = used.backend
    except (ValueError, DeviceUnavailableError) as error:
        return f"none: {error}"
    return f"{used} ({why})"


def _threads() -> str:
    try:
        count = get_num_threads()
    except ValueError as error:
        return str(error)
    return f"{count} thread{'s' * (count > 1)}"


def _engine() -> str:
    try:
        return f"by {get_cpu_engine()}"
    except (ValueError, ImportError) as error:
        return str(error)


def _first_found(names: tuple[str, ...]) -> tuple[str, str]:
    for name in names:
        if version := _version(name):
            return name, version
    return names[-1], "not installed"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
