"""The frozen corpus is what its script makes, and it catches what it should."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import gammaln

from tests.bounds import bounded
from tests.corpus import RECIPES, Case, frozen, inputs, load_cases, parse, unit
from tests.corpus.generate import DTYPES, SUMS, checksums, rows
from tests.corpus.inputs import Draw, Inputs

# A million components have a test of their own.
CASES = [
    pytest.param(case, id=f"{case.name}-{dtype}")
    for dtype in DTYPES
    for case in load_cases(dtype, most_pairs=1e6)
]
# Every 73rd row, unless its terms are too many: about 100 a dtype, of all families.
STRIDE, MOST_TERMS = 73, 70_000


def test_checksums() -> None:
    assert SUMS.read_text(encoding="utf-8") == checksums()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_recipe_is_frozen(dtype: str) -> None:
    cases = parse(frozen(dtype).read_text(encoding="utf-8"))
    assert list(cases) == list(RECIPES)
    for name, (digest, lines) in cases.items():
        given = inputs(name, dtype)
        assert given.digest() == digest, name
        assert len(lines) == len(given.values), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_made_anew_are_the_frozen_rows(dtype: str) -> None:
    cases = parse(frozen(dtype).read_text(encoding="utf-8"))
    everything = [
        (name, row) for name, (_, lines) in cases.items() for row, _ in enumerate(lines)
    ]
    families = set()
    for name, group in itertools.groupby(
        everything[::STRIDE], key=lambda pair: pair[0]
    ):
        given = inputs(name, dtype)
        chosen = [row for _, row in group]
        if given.pairs // len(given.values) * len(chosen) > MOST_TERMS:
            continue
        frozen_rows = [cases[name][1][row] for row in chosen]
        assert rows(given, dtype, chosen) == frozen_rows, name
        families.add(given.family)
    assert len(families) == 8


def float64_reference(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """y and B of a case by `tests.bounds`, 64 rows at a time."""
    given = case.given
    log_weights = given.weights
    if log_weights is not None and given.weights_are == "probs":
        with np.errstate(divide="ignore"):
            log_weights = np.log(log_weights.astype(np.float64))
    found = []
    for start in range(0, len(given.values), 64):
        part = slice(start, start + 64)
        parameters, weights = given.parameters, log_weights
        if given.layout != "shared":
            parameters = {name: array[part] for name, array in parameters.items()}
        if given.layout == "rows" and weights is not None:
            weights = weights[part]
        event = given.dimension is not None
        found.append(
            bounded(given.family, parameters, given.values[part], weights, event)
        )
    return (
        np.concatenate([part.log_prob for part in found]),
        np.concatenate([part.bound for part in found]),
    )


@pytest.mark.parametrize("case", CASES)
def test_float64_formulas_agree(case: Case) -> None:
    """SciPy's special functions in float64 against mpmath: two separate texts."""
    log_prob, bound = float64_reference(case)
    finite = np.isfinite(case.expected)
    assert np.array_equal(log_prob[~finite], case.expected[~finite], equal_nan=True)
    ratio = case.errors(log_prob)[finite] * unit(case.dtype) / unit(np.float64)
    assert ratio.max(initial=0.0) < 64.0
    np.testing.assert_allclose(bound[finite], case.bound[finite], rtol=1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["normal-K1000000", "normal-K1000000-wide"])
def test_million_components(name: str, dtype: str) -> None:
    """A float64 sum by pairs of a million terms, good to 1e-12 of B."""
    (case,) = (case for case in load_cases(dtype) if case.name == name)
    weights = case.given.weights
    assert weights is not None
    for row, value in enumerate(case.given.values):
        got = bounded(
            "Normal",
            case.given.parameters,
            value[None],
            np.log(weights.astype(np.float64)),
        )
        assert abs(got.log_prob[0] - case.expected[row]) < 1e-12 * case.bound[row]
        assert got.bound[0] == pytest.approx(case.bound[row], rel=1e-8)


def one_case(name: str, dtype: str = "float32") -> Case:
    (case,) = (case for case in load_cases(dtype) if case.name == name)
    return case


def test_errors_are_measured_in_units_of_the_bound() -> None:
    case = one_case("normal-K8", "float64")
    step = unit(np.float64) * case.bound
    np.testing.assert_allclose(case.errors(case.expected + 8 * step), 8, atol=2.5)
    assert not case.failures(case.expected)
    assert len(case.failures(case.expected + 16 * step)) == len(step)
    assert "normal-K8[0]" in case.failures(case.expected + 16 * step)[0]


def test_wrong_special_values_are_caught() -> None:
    case = one_case("normal-probs-zero")
    assert np.isnan(case.expected).sum() == 1
    assert np.isneginf(case.expected).sum() == 2
    assert not case.failures(case.expected)
    assert (
        len(case.failures(np.full_like(case.expected, np.nan)))
        == len(case.expected) - 1
    )
    assert (
        len(case.failures(np.full_like(case.expected, -np.inf)))
        == len(case.expected) - 2
    )
    with pytest.raises(ValueError, match="shape"):
        case.errors(case.expected[:-1])


def test_infinities_are_allowed_only_where_a_step_leaves_the_range() -> None:
    case = one_case("normal-extreme")
    assert (~case.strict).any()
    assert case.strict.any()
    infinite = np.where(case.strict, case.expected, np.sign(case.expected) * np.inf)
    assert not case.failures(infinite)
    assert case.failures(-infinite)
    assert case.failures(np.where(case.strict, case.expected, np.nan))


def shared_normal(given: Inputs, expand: bool) -> np.ndarray:
    """A direct float32 evaluation, or one that expands the square."""
    loc, scale = (p[None, :] for p in given.parameters.values())
    x = given.values[:, None]
    inverse = np.float32(1) / scale
    if expand:
        z2 = (x * inverse) ** 2 - 2 * x * loc * inverse**2 + (loc * inverse) ** 2
    else:
        z2 = ((x - loc) * inverse) ** 2
    assert given.weights is not None
    weights = given.weights / given.weights.sum(dtype=np.float64)
    constant = np.log(weights) - np.log(scale, dtype=np.float64)
    terms = constant.astype(np.float32) - np.float32(0.5) * z2 - np.float32(0.9189385)
    top = terms.max(-1, keepdims=True)
    return np.asarray(top[:, 0] + np.log(np.exp(terms - top).sum(-1)))


@pytest.mark.parametrize("name", ["normal-K64", "normal-offset-1e4"])
def test_an_expanded_square_is_caught_and_a_direct_one_is_not(name: str) -> None:
    case = one_case(name)
    assert case.errors(shared_normal(case.given, expand=False)).max() < 4
    assert case.errors(shared_normal(case.given, expand=True)).max() > 4


def test_cancelling_normalisations_are_caught() -> None:
    """The textbook Poisson and StudentT densities, each step rounded to float32."""
    case = one_case("poisson-plain")
    k, rate = case.given.values, case.given.parameters["rate"]
    with np.errstate(all="ignore"):
        naive = k * np.log(rate) - rate - gammaln(k + 1).astype(np.float32)
        assert case.errors(naive)[(k == 1e6) & (rate == 1e6)].max() > 1000

        case = one_case("studentt-plain")
        df, x = case.given.parameters["df"], case.given.values
        half, one = np.float32(0.5), np.float32(1)
        upper = gammaln((df + one) * half).astype(np.float32)
        lower = gammaln(df * half).astype(np.float32)
        naive = upper - lower - half * np.log(df * np.float32(np.pi))
        naive -= (df + one) * half * np.log1p(x * x / df)
        assert case.errors(naive)[(df == 1e6) & (x == 0)].max() > 1000


def test_recipes_do_not_depend_on_one_another() -> None:
    first = Draw("a", np.float32).powers(5, -3, 3)
    Draw("b", np.float32).bell(7)
    assert np.array_equal(first, Draw("a", np.float32).powers(5, -3, 3))
    assert not np.array_equal(first, Draw("b", np.float32).powers(5, -3, 3))
