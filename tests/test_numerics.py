"""log_prob holds |ŷ − y| ≤ 4·u·B on every case of the corpus, on both backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp

import lucid
from lucid import distributions
from tests.bounds import bounded
from tests.corpus import Case, load_cases, unit
from tests.corpus.inputs import Draw

pytestmark = pytest.mark.usefixtures("each_engine")

DTYPES = ("float32", "float64")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
EVERY_CASE = [case for dtype in DTYPES for case in load_cases(dtype)]
# A batch of this many rows runs through every block and thread of an engine.
MANY_ROWS = 40_000
MOST_PAIRS = 3e6


def copies(case: Case) -> int:
    """How often a case's rows go into a large batch; 1 where that is too dear."""
    given = case.given
    if given.layout != "shared":  # rows have parameters of their own
        return 1
    rows = len(given.values)
    return max(1, int(min(MANY_ROWS, MOST_PAIRS / (given.pairs / rows))) // rows)


def named(cases: list[Case]) -> list[Any]:
    return [pytest.param(case, id=f"{case.name}-{case.dtype}") for case in cases]


CASES = named(EVERY_CASE)
REPEATED = named([case for case in EVERY_CASE if copies(case) > 1])


def distribution(case: Case, device: str) -> Any:
    """The public distribution of a case."""
    given = case.given
    family: Callable[..., Any] = getattr(distributions, given.family)
    place = lucid.device(device)
    components = family(
        **{
            name: lucid.asarray(array, device=place)
            for name, array in given.parameters.items()
        }
    )
    if given.dimension is not None and given.family != "MultivariateNormal":
        components = distributions.Independent(components, 1)
    if given.weights is None:
        return components
    weights: dict[str, Any] = {
        given.weights_are: lucid.asarray(given.weights, device=place)
    }
    return distributions.MixtureSameFamily(
        distributions.Categorical(**weights), components
    )


def log_prob(target: Any, values: Any) -> np.ndarray:
    """log_prob as NumPy, with the dtype held to the values'."""
    found = target.log_prob(values).numpy()
    assert found.dtype == values.dtype
    return np.asarray(found)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES)
def test_corpus(case: Case, device: str) -> None:
    failures = case.failures(log_prob(distribution(case, device), case.given.values))
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", REPEATED)
def test_corpus_in_a_large_batch(case: Case, device: str) -> None:
    """The same rows over and over, so that they meet every lane, block and thread."""
    values = np.concatenate([case.given.values] * copies(case))
    found = log_prob(distribution(case, device), values)
    for part in np.split(found, copies(case)):
        failures = case.failures(part)
        assert not failures, "\n".join(failures)


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_devices_agree(case: Case) -> None:
    """CPU and GPU within 8·u·B of one another, NaN in the same rows."""
    here, there = (
        log_prob(distribution(case, device), case.given.values).astype(np.float64)
        for device in ("cpu", "cuda")
    )
    assert np.array_equal(np.isnan(here), np.isnan(there))
    finite = case.strict & np.isfinite(here)
    assert np.array_equal(finite, case.strict & np.isfinite(there))
    apart = np.abs(here - there)[finite]
    assert (apart <= 8 * unit(case.dtype) * case.bound[finite]).all()


@pytest.mark.parametrize("device", DEVICES)
def test_component_log_probs_add_up(device: str) -> None:
    """log w_k + log p_k of each component are those whose sum the corpus holds."""
    for case in load_cases("float64", ["Normal", "Gamma"], 20_000):
        if case.given.layout != "shared" or case.given.weights_are != "probs":
            continue
        target = distribution(case, device)
        weights = case.given.weights
        assert weights is not None
        parts = target.component_log_probs(case.given.values).numpy()
        assert parts.shape == (len(case.given.values), len(weights))
        alive, rows = weights > 0, np.isfinite(case.expected)
        joint = parts[rows][:, alive] + np.log(weights[alive] / weights.sum())
        total = logsumexp(joint, axis=-1)
        # This sum is SciPy's, hence the wider bound.
        limit = 8 * unit(np.float64) * case.bound[rows]
        assert (np.abs(total - case.expected[rows]) <= limit).all(), case.name


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("rows", "count"), [(30_000, 8), (3000, 100), (300, 5000)])
def test_random_float32_against_float64(rows: int, count: int, device: str) -> None:
    """Many more rows than the corpus has, held to the float64 formulas."""
    draw = Draw(f"random {rows} {count}", np.float32)
    loc, scale = draw.bell(count, spread=5.0), draw.powers(count, -3, 3)
    weights, values = draw.uniform(count, 0.01, 1.0), draw.bell(rows, spread=8.0)
    mixture = distributions.MixtureSameFamily(
        distributions.Categorical(probs=lucid.asarray(weights, device=device)),
        distributions.Normal(
            lucid.asarray(loc, device=device), lucid.asarray(scale, device=device)
        ),
    )
    found = log_prob(mixture, values)
    for start in range(0, rows, 2000):
        part = slice(start, start + 2000)
        exact = bounded(
            "Normal",
            {"loc": loc, "scale": scale},
            values[part],
            np.log(weights.astype(np.float64)),
        )
        error = np.abs(found[part] - exact.log_prob)
        assert (error <= 4 * unit(np.float32) * exact.bound).all()


def normal(parameters: dict[str, Any], device: str) -> Any:
    loc, scale = (lucid.asarray(p, device=device) for p in parameters.values())
    return distributions.Normal(loc, scale)


def assert_bounded(
    found: np.ndarray,
    parameters: dict[str, Any],
    values: Any,
    log_weights: Any,
    event: bool = False,
) -> None:
    """float32 results of rows with parameters of their own, against float64."""
    for start in range(0, len(values), 4096):
        part = slice(start, start + 4096)
        exact = bounded(
            "Normal",
            {name: array[part] for name, array in parameters.items()},
            values[part],
            log_weights[part],
            event,
        )
        error = np.abs(found[part] - exact.log_prob)
        worst = (error / (unit(np.float32) * exact.bound)).max()
        assert worst <= 4, f"{worst:.3g} u·B"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("rows", "count", "dimension"),
    [(500, 40, None), (20_000, 64, None), (66_000, 64, None), (3000, 8, 6)],
    ids=["few", "prepared-by-block", "weights-by-block", "events"],
)
@pytest.mark.parametrize("weights_are", ["probs", "logits"])
def test_rows_of_their_own_parameters(
    weights_are: str, rows: int, count: int, dimension: int | None, device: str
) -> None:
    """Up to millions of parameters, weights far from normalised."""
    draw = Draw(f"rows {rows} {count} {weights_are}", np.float32)
    shape = (rows, count) if dimension is None else (rows, count, dimension)
    parameters = {
        "loc": draw.bell(shape, spread=4.0),
        "scale": draw.powers(shape, -2, 3),
    }
    values = draw.bell((rows, *shape[2:]), spread=5.0)
    if weights_are == "probs":
        weights = draw.uniform((rows, count), 1e28, 1e30)
        log_weights = np.log(weights.astype(np.float64))
    else:
        log_weights = weights = draw.bell((rows, count), 1000.0, 2.0)
    components: Any = normal(parameters, device)
    if dimension is not None:
        components = distributions.Independent(components, 1)
    given: dict[str, Any] = {weights_are: lucid.asarray(weights, device=device)}
    mixture = distributions.MixtureSameFamily(
        distributions.Categorical(**given), components
    )
    found = log_prob(mixture, values)
    assert_bounded(found, parameters, values, log_weights, dimension is not None)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("values_each", [1, 3, 5000])
def test_batches_of_mixtures(values_each: int, device: str) -> None:
    """B mixtures, S values each; weights of each mixture its own or shared."""
    batch, count = 6, 9
    draw = Draw(f"batch {values_each}", np.float32)
    parameters = {
        "loc": draw.bell((batch, count), spread=4.0),
        "scale": draw.powers((batch, count), -2, 3),
    }
    values = draw.bell((values_each, batch), spread=5.0)
    every = {
        name: np.tile(array, (values_each, 1)) for name, array in parameters.items()
    }
    components = normal(parameters, device)
    for weights in (
        draw.uniform((batch, count), 0.1, 1.0),
        draw.uniform(count, 0.1, 1.0),
    ):
        mixture = distributions.MixtureSameFamily(
            distributions.Categorical(lucid.asarray(weights, device=device)), components
        )
        log_weights = np.log(
            np.broadcast_to(weights, (batch, count)).astype(np.float64)
        )
        found = log_prob(mixture, values).reshape(-1)
        assert_bounded(
            found, every, values.reshape(-1), np.tile(log_weights, (values_each, 1))
        )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("count", "weight", "rows_of_their_own"),
    [
        (2048, 0.7, False),
        (4096, 0.7, False),
        (30_000, 0.1, False),
        (1_000_000, 0.7, False),
        (100_000, 0.7, True),
    ],
)
def test_a_long_sum_of_equal_terms_does_not_drift(
    count: int, weight: float, rows_of_their_own: bool, dtype: str, device: str
) -> None:
    """Equal densities, all weights but the first alike: every rounding of a long sum
    goes the same way, while the mixture is one N(0, 1) exactly."""
    weights = np.full(count, weight, dtype)
    weights[0] = 1.0
    values = np.array([0.0, 1.5, -3.0], dtype)
    zeros, ones = np.zeros(count, dtype), np.ones(count, dtype)
    if rows_of_their_own:
        weights, zeros, ones = (np.tile(a, (3, 1)) for a in (weights, zeros, ones))
    mixture = distributions.MixtureSameFamily(
        distributions.Categorical(lucid.asarray(weights, device=device)),
        normal({"loc": zeros, "scale": ones}, device),
    )
    wide = values.astype(np.float64)
    expected = -0.5 * wide**2 - 0.5 * np.log(2 * np.pi)
    bound = np.abs(expected) + 0.5 * wide**2 + 1 + np.log(count) + np.log2(count)
    error = np.abs(log_prob(mixture, values) - expected)
    assert (error <= 4 * unit(dtype) * bound).all(), error / unit(dtype) / bound


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_deterministic_run_to_run(dtype: str, device: str) -> None:
    for name in ("normal-K64", "normal-K4096", "diagonal-D16", "gamma-K300", "full-D5"):
        (case,) = (case for case in load_cases(dtype) if case.name == name)
        values = np.concatenate([case.given.values] * 20)
        first = log_prob(distribution(case, device), values)
        for target in (distribution(case, device), distribution(case, device)):
            for _ in range(2):
                again = log_prob(target, values)
                assert again.tobytes() == first.tobytes(), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_for_any_number_of_threads(dtype: str) -> None:
    before = lucid.get_num_threads()
    names = (
        "normal-K8",
        "normal-K1024",
        "diagonal-D16",
        "poisson-K7",
        "normal-rows-probs",
    )
    try:
        for name in names:
            (case,) = (case for case in load_cases(dtype) if case.name == name)
            target = distribution(case, "cpu")
            times = 200 if case.given.layout == "shared" else 1
            values = np.concatenate([case.given.values] * times)
            results = []
            for threads in (1, 2, 3, 7):
                lucid.set_num_threads(threads)
                results.append(log_prob(target, values).tobytes())
            assert len(set(results)) == 1, name
    finally:
        lucid.set_num_threads(before)
