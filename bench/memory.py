"""Memory of this process: the peak of one call, and a limit that keeps it alive."""

from __future__ import annotations

import contextlib
import ctypes
import math
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# What a call may take of the memory that is free: others need some, too.
_SHARE = 0.8
_RSS, _PEAK, _SIZE = "VmRSS", "VmHWM", "VmSize"
_SIGNS = (
    "out of memory",
    "out_of_memory",
    "outofmemory",
    "can't allocate memory",
    "cannot allocate memory",
    "unable to allocate",
    "resource_exhausted",
    "bad_alloc",
)
_ASKED = re.compile(r"allocat\w*\D*?([\d.,]*\d)\.?\s*(bytes|[KMGTP]i?B)", re.IGNORECASE)


def peak_above(call: Callable[[], Any]) -> tuple[int | None, Any]:
    """Bytes that a call holds at its peak above what is held before; its result.

    Linux keeps that peak and starts it anew when asked to; elsewhere None. What
    allocators keep for later is given back first, as far as they can.
    """
    _trim()
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return None, call()
    before = _status(_RSS)
    result = call()
    peak = _status(_PEAK)
    if before is None or peak is None:
        return None, result
    return max(0, peak - before), result


def free_bytes() -> int | None:
    """Memory that is still to be had here; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    free = [_kibibytes(line) for line in lines if line.startswith("MemAvailable:")]
    return min([*free, *_left_to_the_group()], default=None)


@contextlib.contextmanager
def limited(room: int | None) -> Iterator[None]:
    """At most `room` bytes more of address space, so that a call fails and not dies.

    A system that hands out more memory than it has would end the process instead.
    """
    held = _status(_SIZE)
    if room is None or held is None:
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = held + int(_SHARE * room)
    bounds = [limit, *(old for old in (soft, hard) if old != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_AS, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def is_exhausted(error: BaseException) -> bool:
    """Whether an error says that memory was asked for and not to be had."""
    text = f"{type(error).__name__}: {error}".lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _SIGNS)


def asked_for(error: BaseException) -> str | None:
    """The size that an error says was asked for."""
    found = _ASKED.search(str(error))
    if found is None:
        return None
    number, unit = found[1].replace(",", ""), found[2]
    return size(float(number)) if unit.lower() == "bytes" else f"{number} {unit}"


def size(count: float) -> str:
    """So many bytes, for people: "372.5 GiB"."""
    step = min(4, int(math.log(max(count, 1), 1024)))
    return f"{count / 1024**step:.4g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[step]}"


def _status(field: str) -> int | None:
    """A field of Linux's own record of this process, in bytes; None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((_kibibytes(at) for at in lines if at.startswith(f"{field}:")), None)


def _kibibytes(line: str) -> int:
    return int(line.split()[1]) * 1024


def _left_to_the_group() -> list[int]:
    """What a container's limit leaves."""
    group = Path("/sys/fs/cgroup")
    try:
        most = (group / "memory.max").read_text(encoding="ascii").strip()
        used = (group / "memory.current").read_text(encoding="ascii").strip()
        return [max(0, int(most) - int(used))] if most != "max" else []
    except (OSError, ValueError):
        return []


def _trim() -> None:
    """Let the C library give unused memory back."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
