"""A command that is given so much time, with all that it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

# After Ctrl-C, so long to write what it has.
_GRACE = 20.0


@dataclass(frozen=True)
class Ended:
    """A command's end; `code` is None where its time was up."""

    code: int | None
    output: str


def run(command: Sequence[str], seconds: float, **options: Any) -> Ended:
    """Run a command; when its time is up it gets Ctrl-C, then it is killed."""
    with _heeding_interrupts():
        child = subprocess.Popen(command, text=True, start_new_session=True, **options)
    try:
        output, _ = child.communicate(timeout=max(seconds, 0.0))
        return Ended(child.returncode, output or "")
    except subprocess.TimeoutExpired:
        _send(child, signal.SIGINT)
        try:
            output, _ = child.communicate(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            output = ""
        return Ended(None, output or "")
    finally:
        # The session is its own: what it started and left behind ends, too.
        _send(child, signal.SIGKILL)
        child.wait()


@contextlib.contextmanager
def _heeding_interrupts() -> Iterator[None]:
    """A shell's background job ignores Ctrl-C, and what it starts would, too."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: None)  # a child inherits none
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _send(child: subprocess.Popen[str], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def environment() -> dict[str, str]:
    """In which a child finds the same packages, wherever they were imported from."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
