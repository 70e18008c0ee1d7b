"""Signals that end a command by an exception, which removes unfinished files."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

_raised: BaseException | None = None


class Interrupted(KeyboardInterrupt):
    """Ctrl-C: of a class of its own, as CPython keeps a note of KeyboardInterrupt.

    Where one has passed through exec() of a text, as imports have it, `python -m` ends
    by the signal and not by its exit code, even if the exception was caught.
    """


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Let SIGINT raise Interrupted, and SIGTERM SystemExit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        numbers.append(signal.SIGINT)  # else it is ignored, or the caller's
    before = {number: signal.signal(number, _raise) for number in numbers}
    told = sys.unraisablehook

    def tell(ignored: Any) -> None:
        if ignored.exc_value is not _raised:
            told(ignored)

    sys.unraisablehook = tell
    try:
        yield
    finally:
        sys.unraisablehook = told
        for number, handler in before.items():
            signal.signal(number, handler)
        _forget()


def raise_again(block: Any) -> None:
    """Raise what a signal raised before; a watcher of rows.

    One that falls into a library's callback, as LLVM has them, goes no further.
    """
    if _raised is not None:
        raise _raised


def _raise(number: int, frame: Any) -> None:
    global _raised
    _raised = Interrupted() if number == signal.SIGINT else SystemExit(128 + number)
    raise _raised


def _forget() -> None:
    global _raised
    _raised = None
