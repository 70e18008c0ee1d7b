"""The benchmark's own reference, against definitions at 40 digits and the promise."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from bench import workloads
from bench.reference import Reference
from bench.suites import Cell
from tests.bounds import bounded

SCALAR = Cell("score", "scalar", "float64", 50, 3)
ALL_CASES = (
    Cell("score", "scalar", "float32", 300, 5),
    Cell("score", "scalar", "float64", 300, 5, spread=30, order="sorted"),
    Cell("score", "diagonal", "float32", 200, 4, 3),
    Cell("mdn", "mdn", "float32", 100, 6),
    Cell("categorical", "categorical", "float32", 100, 40),
    Cell("categorical", "categorical-shared", "float64", 100, 40),
    Cell("sample", "draws", "float32", 20_000, 4),
    Cell("latency", "single", "float32", 1, 8),
)


def exact_log_prob(given: dict[str, Any], row: int) -> mpmath.mpf:
    """log p of one row at 40 digits, from the definition."""
    value = given["value"].reshape(-1, *given["value"].shape[1:])[row]
    taken = {
        name: array[row] if name in given["per_row"] else array
        for name, array in given.items()
        if isinstance(array, np.ndarray) and name != "value"
    }
    exact = np.vectorize(lambda x: mpmath.mpf(float(x)), otypes=[object])
    if "loc" not in taken:
        weights = [mpmath.exp(x) for x in exact(taken["logits"])]
        return mpmath.log(weights[value] / mpmath.fsum(weights))
    if "weights" in taken:
        weights = list(exact(taken["weights"]))
    else:
        weights = [mpmath.exp(x) for x in exact(taken["logits"])]
    densities = []
    for k, weight in enumerate(weights):
        x, loc, scale = (
            np.atleast_1d(exact(part))
            for part in (value, taken["loc"][k], taken["scale"][k])
        )
        parts = [mpmath.npdf(*one) for one in zip(x, loc, scale, strict=True)]
        densities.append(weight * mpmath.fprod(parts))
    return mpmath.log(mpmath.fsum(densities) / mpmath.fsum(weights))


@pytest.mark.parametrize(
    "cell", [c for c in ALL_CASES if c.case != "draws"], ids=lambda cell: str(cell)
)
def test_the_reference_is_right(cell: Cell) -> None:
    workload = workloads.make(cell)
    reference = Reference(workload)
    y, bound = reference.answers(1)
    per_row = set(workload.inputs[1]) - {"value"}
    given = {**workload.shared, **workload.inputs[1], "per_row": per_row}
    if cell.case == "single":
        given["value"] = given["value"].reshape(1)
    # Far better than the unit of what it judges.
    tolerance = np.finfo(cell.dtype).eps / 50
    with mpmath.workdps(40):
        for at in np.unique(np.linspace(0, cell.n - 1, 5).astype(int)):
            assert reference._rows[at] == at
            error = abs(mpmath.mpf(str(y[at])) - exact_log_prob(given, int(at)))
            assert error <= tolerance * float(bound[at])


@pytest.mark.parametrize("cell", ALL_CASES[:4], ids=lambda cell: str(cell))
def test_the_bound_is_the_one_that_is_promised(cell: Cell) -> None:
    workload = workloads.make(cell)
    given = {**workload.shared, **workload.inputs[0]}
    weights = given["weights"] if "weights" in given else np.exp(given["logits"])
    expected = bounded(
        "Normal",
        {"loc": given["loc"], "scale": given["scale"]},
        given["value"],
        np.log(weights, dtype=np.float64),
        event=cell.case == "diagonal",
    )
    _, bound = Reference(workload).answers(0)
    np.testing.assert_allclose(bound.astype(float), expected.bound, rtol=1e-6)


@pytest.mark.parametrize(("off", "right"), [(3.0, True), (6.0, False)])
def test_errors_are_counted_in_units_of_the_bound(off: float, right: bool) -> None:
    workload = workloads.make(SCALAR)
    reference = Reference(workload)
    y, bound = reference.answers(0)
    result = (y + off * 2.0**-53 * bound).astype(np.float64)
    verdict = reference.check(0, result, 4.0)
    assert verdict.error == pytest.approx(off, abs=0.7)
    assert (verdict.trouble is None) == right
    result[-1] = np.nan
    assert reference.check(0, result, 4.0).error is None
    assert "NaN" in str(reference.check(0, result, 4.0).trouble)
    assert "shape (49,)" in str(reference.check(0, result[:-1], 4.0).trouble)


def test_draws_are_held_to_their_law() -> None:
    """False alarm 1e-9 by the DKW inequality; it sees 1 % of mass at 300,000 draws."""
    cell = Cell("sample", "draws", "float32", 300_000, 3, spread=30)
    workload = workloads.make(cell)
    reference = Reference(workload)
    random = np.random.default_rng(1)
    weights, loc, scale = (workload.shared[n] for n in ("weights", "loc", "scale"))

    def drawn(weights: Any) -> Any:
        weights = weights.astype(np.float64) / weights.sum(dtype=np.float64)
        index = random.choice(3, cell.n, p=weights)
        noise = random.standard_normal(cell.n)
        return (loc[index] + scale[index] * noise).astype(np.float32)

    assert reference.check(0, drawn(weights)).trouble is None
    lowest = int(loc.argmin())
    more = weights.copy()
    more[lowest] += 0.02 * weights.sum()
    assert "the law is off by" in str(reference.check(0, drawn(more)).trouble)
