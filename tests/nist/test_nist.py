"""Moments of mixtures whose components are the points of NIST's reference data."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.distributions import Categorical, MixtureSameFamily, Normal
from tests.nist import DATASETS, Dataset

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
POINT = 1e-30  # its square is far below the last digit of every variance here
pytestmark = [
    pytest.mark.parametrize("device", DEVICES),
    pytest.mark.parametrize("dataset", DATASETS, ids=[d.name for d in DATASETS]),
    pytest.mark.parametrize("weights_are", ["probs", "logits"]),
]


def mixture(dataset: Dataset, weights_are: str, device: str) -> Any:
    data = np.array([float(x) for x in dataset.data])
    same = np.ones(data.size) if weights_are == "probs" else np.zeros(data.size)
    weights: dict[str, Any] = {weights_are: lucid.asarray(same, device=device)}
    return MixtureSameFamily(
        Categorical(**weights),
        Normal(
            lucid.asarray(data, device=device),
            lucid.asarray(np.full(data.size, POINT), device=device),
        ),
    )


def test_certified_values(dataset: Dataset, weights_are: str, device: str) -> None:
    """NIST's decimals; binary rounding of the data alone costs NumAcc3 and 4 digits."""
    found = mixture(dataset, weights_are, device)
    count = len(dataset.data)
    rounding = max(float(abs(Fraction(float(x)) - Fraction(x))) for x in dataset.data)
    # Every point off by `rounding` turns a deviation s into s(1 ± rounding/s).
    spread = 1e-13 + 2 * rounding / float(dataset.deviation)
    # NIST prints Lew's deviation with 15 digits.
    certified = float(dataset.deviation**2) * (count - 1) / count
    assert found.mean.item() == pytest.approx(float(dataset.mean), rel=1e-14)
    assert found.variance.item() == pytest.approx(certified, rel=spread)


def test_variance_of_the_points_as_stored(
    dataset: Dataset, weights_are: str, device: str
) -> None:
    """13 digits of the exact rational variance of the float64 data."""
    found = mixture(dataset, weights_are, device)
    points = [Fraction(float(x)) for x in dataset.data]
    mean = sum(points) / len(points)
    variance = sum((x - mean) ** 2 for x in points) / len(points)
    assert found.mean.item() == pytest.approx(float(mean), rel=1e-15)
    assert found.variance.item() == pytest.approx(float(variance), rel=1e-13)
