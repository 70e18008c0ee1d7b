"""The reference corpus: frozen log densities of exact inputs, with error bounds.

`load_cases(dtype)` gives the cases; `python -m tests.corpus.generate` makes the frozen
files anew. What a computed ŷ must satisfy is `Case.failures`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests.corpus import recipes_families, recipes_normal
from tests.corpus.inputs import Array, Draw, Inputs, Layout, Recipe, Weights

__all__ = ["Case", "Inputs", "Layout", "Weights", "inputs", "load_cases", "unit"]

FOLDER = Path(__file__).parent
RECIPES: dict[str, Recipe] = recipes_normal.RECIPES | recipes_families.RECIPES
# The promise: |ŷ − y| ≤ 4·u·B.
PROMISE = 4.0


@dataclass(frozen=True, eq=False)
class Case:
    """One frozen case; see `Inputs` for the layouts.

    expected, rest   y = expected + rest, each float64 [S]; exact where y is ±∞ or NaN
    bound            B, float64 [S]
    strict           False where an intermediate leaves the dtype's normal range, so
                     that the correctly signed infinity is allowed too
    """

    name: str
    given: Inputs
    expected: Array
    rest: Array
    bound: Array
    strict: Array

    @property
    def dtype(self) -> Any:
        """float32 or float64."""
        return self.given.values.dtype

    def errors(self, computed: Any) -> Array:
        """|ŷ − y| in u·B per row; 0 where a special value is right, ∞ where wrong."""
        got = np.asarray(computed, dtype=np.float64)
        if got.shape != self.expected.shape:
            raise ValueError(f"{self.name}: shape {got.shape}, not {self.bound.shape}")
        special = ~np.isfinite(self.expected)
        same = (got == self.expected) | (np.isnan(got) & np.isnan(self.expected))
        allowed = (
            ~self.strict & np.isinf(got) & (np.sign(got) == np.sign(self.expected))
        )
        with np.errstate(all="ignore"):
            distance = np.abs((got - self.expected) - self.rest)
            ratio = distance / (unit(self.dtype) * self.bound)
        ratio = np.where(np.isnan(ratio), np.inf, ratio)
        ratio = np.where(allowed, 0.0, ratio)
        return np.where(special, np.where(same | allowed, 0.0, np.inf), ratio)

    def failures(self, computed: Any, limit: float = PROMISE) -> list[str]:
        """One line per row that breaks the promise."""
        errors = self.errors(computed)
        got = np.asarray(computed, dtype=np.float64)
        return [
            f"{self.name}[{row}]: {errors[row]:.3g} u·B (B = {self.bound[row]:.4g}): "
            f"got {got[row]!r}, expected {self.expected[row]!r}; "
            f"value {np.ravel(self.given.values[row])[:4]}"
            for row in np.flatnonzero(errors > limit)
        ]


def unit(dtype: Any) -> float:
    """u, half the distance from 1 to the next number: 2⁻²⁴ or 2⁻⁵³."""
    return float(np.finfo(dtype).eps) / 2


def inputs(name: str, dtype: Any) -> Inputs:
    """The inputs of a case, from its recipe."""
    return RECIPES[name](Draw(name, dtype))


def frozen(dtype: Any) -> Path:
    """The frozen file of a dtype."""
    return FOLDER / f"expected-{np.dtype(dtype).name}.txt"


def parse(text: str) -> dict[str, tuple[str, list[str]]]:
    """{case: (digest of its inputs, its rows' lines)} of a frozen file."""
    cases: dict[str, tuple[str, list[str]]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("@"):
            _, name, digest = line.split()
            lines = []
            cases[name] = digest, lines
        elif not line.startswith("#"):
            lines.append(line)
    return cases


def _case(name: str, given: Inputs, lines: Iterable[str]) -> Case:
    columns = list(zip(*(line.split() for line in lines), strict=True))
    expected = np.array([float(y) for y in columns[0]])
    with localcontext() as context:
        context.prec = 60
        rest = np.array(
            [
                float(Decimal(text) - Decimal(value)) if np.isfinite(value) else 0.0
                for text, value in zip(columns[0], expected.tolist(), strict=True)
            ]
        )
    bound = np.array([float(text) for text in columns[1]])
    return Case(name, given, expected, rest, bound, np.array(columns[2]) == "strict")


@cache
def _load(dtype: str) -> tuple[Case, ...]:
    text = frozen(dtype).read_text(encoding="utf-8")
    cases = []
    for name, (digest, lines) in parse(text).items():
        given = inputs(name, dtype)
        if given.digest() != digest:
            raise ValueError(f"{name} ({dtype}): the recipe gives other inputs")
        cases.append(_case(name, given, lines))
    return tuple(cases)


def load_cases(
    dtype: Any, families: Iterable[str] | None = None, most_pairs: float = np.inf
) -> list[Case]:
    """The frozen cases of a dtype: of some families, of at most so many pairs each."""
    wanted = None if families is None else set(families)
    return [
        case
        for case in _load(np.dtype(dtype).name)
        if (wanted is None or case.given.family in wanted)
        and case.given.pairs <= most_pairs
    ]
