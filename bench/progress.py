"""What is being measured, told on standard error while it runs."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from .suites import Cell

_ERASED = "\r\x1b[K"


class Progress:
    """One line that is written over on a terminal; elsewhere a line for each cell."""

    def __init__(self, count: int, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._count = count
        self._number = 0
        self._title = ""
        self._began = time.monotonic()

    def cell(self, cell: Cell) -> None:
        """The next one begins."""
        self._number += 1
        elapsed = time.monotonic() - self._began
        self._title = f"[{self._number}/{self._count}, {elapsed:.0f} s] {cell}"
        if not self._terminal:
            self._stream.write(f"{self._title}\n")
            self._stream.flush()

    def step(self, text: str) -> None:
        """Who is at it."""
        if self._terminal:
            self._stream.write(f"{_ERASED}{self._title}: {text}"[:200])
            self._stream.flush()

    def end(self) -> None:
        """Leave the terminal's line empty."""
        if self._terminal:
            self._stream.write(_ERASED)
            self._stream.flush()
