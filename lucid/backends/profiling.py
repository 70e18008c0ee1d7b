"""Profiling ranges, named after the public call that opens them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any


class _Both:
    """Two contexts as one: a generator would cost a small call as much as both."""

    __slots__ = ("_inner", "_outer")

    def __init__(
        self, outer: AbstractContextManager[Any], inner: AbstractContextManager[Any]
    ) -> None:
        self._outer, self._inner = outer, inner

    def __enter__(self) -> None:
        self._outer.__enter__()
        try:
            self._inner.__enter__()
        except BaseException:
            self._outer.__exit__(None, None, None)
            raise

    def __exit__(self, *error: Any) -> None:
        try:
            self._inner.__exit__(*error)
        finally:
            self._outer.__exit__(*error)


@functools.cache
def _annotate() -> Callable[[str], AbstractContextManager[Any]] | None:
    """nvtx.annotate, or None. Imported on first use: nvtx takes some 70 ms to load."""
    try:
        from nvtx import annotate
    except Exception:  # absent, or present and broken: profiling must not stop work
        return None
    found: Callable[[str], AbstractContextManager[Any]] = annotate
    return found


def profile_range(
    scope: AbstractContextManager[Any], *name: str
) -> AbstractContextManager[Any]:
    """`scope`, and a range of that name in an NVIDIA Nsight timeline.

    The name comes in parts, as in `lucid`, `Normal`, `log_prob`. `scope` alone where
    the nvtx package is absent.
    """
    annotate = _annotate()
    return scope if annotate is None else _Both(scope, annotate(".".join(name)))
