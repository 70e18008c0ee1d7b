"""NIST Statistical Reference Datasets, univariate: data and certified values.

The certified standard deviations divide by n − 1. NumAcc1–4 are made by their published
formulas and are exact decimals; Lew is the published beam deflections of H. S. Lew.
https://www.itl.nist.gov/div898/strd/univ/homepage.html
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path


@dataclass(frozen=True)
class Dataset:
    """Observations as exact decimals, and what NIST certifies of them."""

    name: str
    data: tuple[Decimal, ...]
    mean: Decimal
    deviation: Decimal  # with n − 1


def _wobble(centre: str, low: str, high: str) -> tuple[Decimal, ...]:
    """The centre once, then low and high in turn, 1001 values."""
    return (Decimal(centre), *((Decimal(low), Decimal(high)) * 500))


def _lew() -> tuple[Decimal, ...]:
    text = (Path(__file__).parent / "lew.txt").read_text(encoding="utf-8")
    return tuple(
        Decimal(word)
        for line in text.splitlines()
        if not line.startswith("#")
        for word in line.split()
    )


DATASETS = (
    Dataset(
        "NumAcc1",
        (Decimal(10000001), Decimal(10000003), Decimal(10000002)),
        Decimal(10000002),
        Decimal(1),
    ),
    Dataset("NumAcc2", _wobble("1.2", "1.1", "1.3"), Decimal("1.2"), Decimal("0.1")),
    Dataset(
        "NumAcc3",
        _wobble("1000000.2", "1000000.1", "1000000.3"),
        Decimal("1000000.2"),
        Decimal("0.1"),
    ),
    Dataset(
        "NumAcc4",
        _wobble("10000000.2", "10000000.1", "10000000.3"),
        Decimal("10000000.2"),
        Decimal("0.1"),
    ),
    Dataset("Lew", _lew(), Decimal("-177.4350"), Decimal("277.332168044316")),
)
