"""Profiling ranges, named after the public call that opens them."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

_NOTHING: AbstractContextManager[Any] = contextlib.nullcontext()


@functools.cache
def _annotate() -> Callable[[str], AbstractContextManager[Any]] | None:
    """nvtx.annotate, or None. Imported on first use: nvtx takes some 70 ms to load."""
    try:
        from nvtx import annotate
    except Exception:  # absent, or present and broken: profiling must not stop work
        return None
    found: Callable[[str], AbstractContextManager[Any]] = annotate
    return found


def profile_range(name: str) -> AbstractContextManager[Any]:
    """A range `name` (as in `lucid.Normal.log_prob`) in an NVIDIA Nsight timeline.

    A no-op where the nvtx package is absent.
    """
    annotate = _annotate()
    return _NOTHING if annotate is None else annotate(name)
