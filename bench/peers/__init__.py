"""Participants of the benchmark: lucid and its peers, each one small class."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import memory
from ..workloads import Array, Workload

# Name: (module of this folder, class, what `pip install` calls it).
PEERS = {
    "torch": ("torch", "Torch", "torch"),
    "torch-compile": ("torch", "TorchCompile", "torch"),
    "jax": ("jax", "Jax", "jax"),
    "keops": ("keops", "KeOps", "pykeops"),
    "sklearn": ("sklearn", "ScikitLearn", "scikit-learn"),
    "scipy": ("scipy", "SciPy", "scipy"),
    "numpyro": ("numpyro", "NumPyro", "numpyro"),
    "cupy": ("cupy", "CuPy", "cupy-cuda13x"),
}
LUCID = {
    "lucid": ("lucid", "Lucid", "numba"),
    "lucid-numpy": ("lucid", "LucidNumPy", "lucid-distributions"),
}


class NotApplicableError(Exception):
    """A participant has nothing that does this, and why."""


class Peer:
    """One library on one device, and how it is used.

    A method named after a case (scalar, diagonal, mdn, categorical,
    categorical_shared, draws, single) takes a workload's shared arrays and returns the
    function of its inputs that is timed.
    """

    def __init__(self, device: str, threads: int) -> None:
        """Import the library; ImportError or NotApplicableError where it cannot run."""
        self.device = device
        self.threads = threads

    def build(self, workload: Workload) -> list[Callable[[], Any]]:
        """One call for each set of inputs, whose arrays are in place."""
        case = workload.cell.case
        method = getattr(self, case.replace("-", "_"), None)
        if method is None:
            raise NotApplicableError(f"has nothing for {case}")
        function = method(**self._placed(workload.shared))
        return [
            partial(function, *self._placed(given).values())
            for given in workload.inputs
        ]

    def _placed(self, given: dict[str, Any]) -> dict[str, Any]:
        return {
            name: self.array(part) if isinstance(part, np.ndarray) else part
            for name, part in given.items()
        }

    def array(self, array: Array) -> Any:
        """A NumPy array as this library's, on its device."""
        return array

    def numpy(self, result: Any) -> Array:
        """A result as a NumPy array."""
        return np.asarray(result)

    def wait(self, result: Any) -> None:
        """Return when the result is there; part of the time of a call."""

    @property
    def has_events(self) -> bool:
        """Whether its work runs on the default CUDA stream, where events time it."""
        return False

    def before(self) -> None:
        """What must be set before a call; outside its time."""

    def note(self, workload: Workload) -> str:
        """What else there is to say of a cell."""
        return ""

    def extra_bytes(self, call: Callable[[], Any]) -> tuple[int | None, Any]:
        """The peak of memory above what is held before a call, and its result."""

        def finished() -> Any:
            result = call()
            self.wait(result)  # a library may answer before it has computed
            return result

        if self.device == "cpu":
            return memory.peak_above(finished)
        return None, finished()

    def release(self) -> None:
        """Give memory that it keeps for later back to the device."""


def find(name: str, device: str, threads: int) -> Peer:
    """The participant of that name.

    Raises ImportError, whose message is a line, or NotApplicableError.
    """
    module, kind, package = {**LUCID, **PEERS}[name]
    # Without a GPU there is nothing to say of whether CuPy is there.
    if name == "cupy" and device == "cpu":
        raise NotApplicableError("needs a GPU")
    try:
        found = importlib.import_module(f".{module}", __name__)
        peer: Peer = getattr(found, kind)(device, threads)
    except ModuleNotFoundError as error:
        raise ImportError(f"{error.name} is missing: pip install {package}") from None
    return peer


def imported(module: str) -> bool:
    """Whether a library has been imported, so that its memory is to be released."""
    return module in sys.modules
