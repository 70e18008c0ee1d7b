"""What runs the CPU's fused operations: NumPy, or Numba where it is installed."""

from __future__ import annotations

import functools
import os
from importlib import import_module
from typing import Any

from lucid.backends.numpy.operations import NumpyOperations

ENGINES = ("numpy", "numba")

_chosen: str | None = None


def get_cpu_engine() -> str:
    """The name of what runs the CPU's fused operations: "numpy" or "numba".

    Until `set_cpu_engine` is called: LUCID_CPU, or numba where it is installed and
    works. Raises ValueError or ImportError where LUCID_CPU asks for what is not there.
    The environment is read once: that would take a good part of a small call.
    """
    return _chosen or _from_environment()


def set_cpu_engine(name: str | None) -> None:
    """Run the CPU's fused operations by "numpy" or by "numba"; by the default if None.

    Both keep the promises of accuracy; their results differ by rounding. Raises
    ImportError, with the reason, where Numba does not work.
    """
    global _chosen
    _chosen = None if name is None else _checked("`name`", name)


def numba_problem() -> str | None:
    """Why Numba cannot be used; None where it can."""
    return _numba()[1]


def current() -> NumpyOperations:
    """The fused operations of the engine in use."""
    name = _chosen or _from_environment()
    return _PLAIN if name == "numpy" else _numba()[0]


@functools.cache
def _from_environment() -> str:
    setting = os.environ.get("LUCID_CPU")
    if setting:
        return _checked("LUCID_CPU", setting)
    return "numpy" if numba_problem() else "numba"


def _checked(what: str, name: str) -> str:
    if name not in ENGINES:
        raise ValueError(
            f"{what} must be one of {', '.join(ENGINES)}, got {name!r}; leave it unset "
            "for Numba where it is installed."
        )
    problem = numba_problem() if name == "numba" else None
    if problem:
        raise ImportError(
            f"{what} asks for numba, which does not work here: {problem}; install it "
            "with `pip install 'lucid-distributions[cpu]'` or choose numpy."
        )
    return name


_PLAIN = NumpyOperations()


@functools.cache
def _numba() -> tuple[Any, str | None]:
    """The compiled operations, or why there are none. Imports Numba, some 300 ms."""
    try:
        import_module("numba")
    except ModuleNotFoundError as error:
        return None, f"{error.name} is not installed"
    except Exception as error:  # its own check of NumPy's version, a broken install
        return None, f"{type(error).__name__}: {error}"
    return import_module("lucid.backends.numba").NumbaOperations(), None
