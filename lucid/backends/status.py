"""Does CUDA work here? One answer, with a reason a user can act on."""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec


@dataclass(frozen=True, slots=True)
class CudaStatus:
    """Whether CUDA works, why not ("" if it does), and the devices' names."""

    available: bool
    reason: str
    devices: tuple[str, ...] = ()


DEAD_AFTER_FORK = CudaStatus(
    False,
    "this process was forked from one that had already used CUDA, and a CUDA context "
    "does not survive a fork; start workers with multiprocessing.get_context('spawn')",
)


def probe_cuda() -> CudaStatus:
    """Try CUDA, cheapest question first; never raises.

    CuPy, which takes a quarter of a second to import, is asked only if a driver is
    there.
    """
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in {"", "-1"}:
        return CudaStatus(
            False, "the environment variable CUDA_VISIBLE_DEVICES hides every GPU"
        )
    if not _has_driver():
        return CudaStatus(False, "no NVIDIA driver is installed on this machine")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            probe = import_module("lucid.backends.cupy").probe
            available, reason, devices = probe()
        if available and find_spec("array_api_compat") is None:
            available, reason = False, "the package array-api-compat is not installed"
    except Exception as error:  # a broken install raises anything
        available, reason, devices = False, f"{type(error).__name__}: {error}", ()
    if available:
        return CudaStatus(True, "", tuple(devices))
    if "cudaErrorInitializationError" in reason:
        return DEAD_AFTER_FORK
    if "cudaErrorInsufficientDriver" in reason:
        reason = (
            "the NVIDIA driver is too old for the installed CuPy; update the driver, "
            "or install an older CuPy (pip install 'lucid-distributions[cuda12]')"
        )
    return CudaStatus(False, reason)


def _has_driver() -> bool:
    """Whether the driver's library can be loaded; nothing is initialised by that."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
