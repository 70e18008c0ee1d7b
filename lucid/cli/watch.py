"""Rows watched as they go by: by a progress bar, by a plot."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from lucid.io.errors import MissingPackageError, optional
from lucid.io.rows import Rows


class Watched:
    """The same rows; each block is shown to the watchers after it was dealt with."""

    def __init__(self, rows: Rows, *watchers: Callable[[Any], None]) -> None:
        self._rows = rows
        self._watchers = watchers
        self.name = rows.name
        self.count = rows.count
        self.row_shape = rows.row_shape
        self.dtype = rows.dtype

    def blocks(self, size: int) -> Iterator[Any]:
        """The blocks of the rows."""
        for block in self._rows.blocks(size):
            yield block
            for watcher in self._watchers:
                watcher(block)

    def fraction(self) -> float | None:
        """What the rows say."""
        return self._rows.fraction()


@contextlib.contextmanager
def progress_bar(rows: Rows) -> Iterator[Callable[[Any], None]]:
    """A watcher that shows rows per second and the time left; silent off a terminal."""
    if not sys.stderr.isatty():
        yield lambda block: None
        return
    try:
        tqdm = optional("tqdm", "a progress bar", "cli").tqdm
    except MissingPackageError as error:
        print(f"scoring {rows.name} ({error})", file=sys.stderr)
        yield lambda block: None
        return
    with tqdm(
        desc=os.path.basename(rows.name),
        total=rows.count,
        unit=" rows",
        unit_scale=True,
        dynamic_ncols=True,
        leave=False,
    ) as bar:

        def advance(block: Any) -> None:
            bar.update(block.shape[0])
            if rows.count is None and (fraction := rows.fraction()):
                bar.total = round(bar.n / fraction)  # an estimate, by bytes

        yield advance
