"""A command that is given so much time, with all that it starts."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
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


def _send(child: subprocess.Popen[str], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def environment() -> dict[str, str]:
    """In which a child finds the same packages, wherever they were imported from."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
