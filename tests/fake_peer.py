"""A participant in the benchmark that does as it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench import measure
from bench.peers import Peer
from bench.suites import Cell


class Fake(Peer):
    """A peer that answers with one number for each value, or does as it is told."""

    def __init__(self, act: Callable[[], Any] = lambda: None) -> None:
        super().__init__("cpu", 1)
        self.act = act

    def scalar(self, weights: Any, loc: Any, scale: Any) -> Any:
        def log_prob(value: Any) -> Any:
            self.act()
            terms = -0.5 * ((value[:, None] - loc) / scale) ** 2 - np.log(scale)
            weighted = np.log(weights) - np.log(weights.sum()) + terms
            return np.logaddexp.reduce(weighted, axis=1) - np.log(2 * np.pi) / 2

        return log_prob


def only(cell: Cell, who: Peer | measure.Missing, repeats: int = 3) -> dict[str, Any]:
    found = measure.measure(cell, {"fake": who}, repeats)["participants"]["fake"]
    assert isinstance(found, dict)
    return found
