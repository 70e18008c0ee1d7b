"""Constraints: what they accept, what they are called, and of what shape they judge."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import distributions
from lucid.distributions import constraints
from lucid.distributions.constraints import Constraint

NAN, INF = np.nan, np.inf
EYE = np.eye(2)

# constraint, its text, what meets it, what does not
CASES: list[tuple[Constraint, str, list[Any], list[Any]]] = [
    (constraints.real, "real", [0.0, -1e300, INF], [NAN]),
    (constraints.positive, "positive", [1e-300, INF], [0.0, -1.0, NAN]),
    (constraints.nonnegative, "nonnegative", [0.0, 2.0], [-1e-30, NAN]),
    (
        constraints.unit_interval,
        "in the interval [0, 1]",
        [0.0, 0.5, 1.0],
        [-1e-9, 1.0 + 1e-9, NAN],
    ),
    (constraints.boolean, "0 or 1", [0.0, 1.0], [0.5, -1.0, NAN]),
    (
        constraints.nonnegative_integer,
        "a nonnegative integer",
        [0.0, 7.0, 1e15],
        [-1.0, 0.5, INF, NAN],
    ),
    (
        constraints.interval(-1.0, 2.5),
        "in the interval [-1, 2.5]",
        [-1.0, 2.5],
        [-1.001, 2.501, NAN],
    ),
    (
        constraints.integer_interval(1, 6),
        "an integer from 1 to 6",
        [1.0, 6.0],
        [0.0, 7.0, 2.5, NAN],
    ),
    (constraints.greater_than(3.0), "greater than 3", [3.001, INF], [3.0, NAN]),
    (
        constraints.simplex,
        "a nonnegative vector that sums to 1",
        [[0.25, 0.75], [1.0, 0.0]],
        [[0.5, 0.6], [1.5, -0.5], [NAN, 1.0]],
    ),
    (
        constraints.weights,
        "nonnegative and finite, with a positive sum",
        [[0.0, 1e-320], [1e308, 1e308], [3.0, 5.0]],
        [[0.0, 0.0], [2.0, -1.0], [INF, 1.0], [NAN, 1.0]],
    ),
    (
        constraints.log_weights,
        "below +∞, and not all −∞",
        [[-INF, 1e308], [0.0, 5.0]],
        [[-INF, -INF], [INF, 0.0], [NAN, 0.0]],
    ),
    (constraints.real_vector, "a real vector", [[0.0, 1.0]], [[0.0, NAN]]),
    (
        constraints.lower_cholesky,
        "a lower-triangular matrix with a positive diagonal",
        [EYE, [[2.0, 0.0], [-3.0, 1.0]]],
        [[[1.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 0.0]], EYE * NAN],
    ),
    (
        constraints.positive_definite,
        "a symmetric positive-definite matrix",
        [
            EYE,
            [[2.0, 1.0], [1.0, 1.0]],
            [[1e-30, 0.0], [0.0, 1e30]],
            # scikit-learn's, tied, of the galaxies' velocities: an E[x xᵀ] − μ μᵀ.
            [[379.609757, 38930.9756], [38930.9756 + 1.8e-10, 4274769.60]],
        ],
        [
            [[1.0, 2.0], [2.0, 1.0]],
            [[1.0, 0.5], [0.25, 1.0]],
            [[1.0, 0.5], [0.5 + 1e-7, 1.0]],
            [[-1.0, 0.0], [0.0, 1.0]],
            [[0.0, 0.0], [0.0, 1.0]],
            EYE * NAN,
        ],
    ),
    (
        constraints.independent(constraints.positive, 1),
        "positive in every element",
        [[1.0, 2.0]],
        [[1.0, 0.0], [NAN, 1.0]],
    ),
]


@pytest.mark.parametrize(
    ("rule", "text", "good", "bad"), CASES, ids=lambda c: str(c)[:30]
)
def test_what_meets_it(
    rule: Constraint, text: str, good: list[Any], bad: list[Any]
) -> None:
    assert str(rule) == text
    assert repr(rule) == f"<constraint: {text}>"
    for values, verdict in ((good, True), (bad, False)):
        array = np.asarray(values, np.float64)
        together = rule.check(array)
        assert together.dtype == lucid.bool
        assert together.shape == array.shape[: array.ndim - rule.event_ndim]
        assert together.numpy().tolist() == [verdict] * len(values)
        for value in array:  # alone, from a tensor
            assert bool(rule.check(lucid.asarray(value))) is verdict


@pytest.mark.parametrize(
    ("rule", "text", "good", "bad"), CASES, ids=lambda c: str(c)[:30]
)
def test_it_pickles(
    rule: Constraint, text: str, good: list[Any], bad: list[Any]
) -> None:
    loaded = pickle.loads(pickle.dumps(rule))
    assert str(loaded) == text
    assert (loaded.event_ndim, loaded.is_discrete) == (
        rule.event_ndim,
        rule.is_discrete,
    )
    assert loaded.check(np.asarray(good)).numpy().all()
    assert not loaded.check(np.asarray(bad)).numpy().any()


def test_the_support_of_a_distribution_pickles() -> None:
    uniform = distributions.Uniform(np.array([0.0, 5.0]), np.array([1.0, 6.0]))
    mixture = distributions.MixtureSameFamily(
        distributions.Categorical(probs=np.ones(2)), uniform
    )
    events = distributions.Independent(uniform, 1)
    for given, value in ((uniform, 0.5), (mixture, 5.5), (events, [0.5, 5.5])):
        loaded = pickle.loads(pickle.dumps(given.support))
        expected = given.support.check(np.array(value)).numpy().tolist()
        assert loaded.check(np.array(value)).numpy().tolist() == expected
        assert np.any(expected)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_simplex_may_be_rounded(dtype: Any) -> None:
    weights = np.random.default_rng(0).uniform(size=(50, 1000))
    weights = (weights / weights.sum(-1, keepdims=True)).astype(dtype)
    assert constraints.simplex.check(weights).numpy().all()
    assert not constraints.simplex.check(weights * dtype(1.25)).numpy().any()


def test_a_covariance_may_be_rounded() -> None:
    root = np.random.default_rng(0).normal(size=(20, 6, 6)).astype(np.float32)
    covariance = root @ root.swapaxes(-2, -1)
    covariance[:, 0, 1] *= np.float32(1 + 2e-7)
    assert constraints.positive_definite.check(covariance).numpy().all()
    covariance[:, 0, 1] += np.float32(0.01)
    assert not constraints.positive_definite.check(covariance).numpy().any()


def test_discreteness_is_known() -> None:
    for rule in (constraints.boolean, constraints.nonnegative_integer):
        assert rule.is_discrete
        assert constraints.independent(rule, 2).is_discrete
    assert not constraints.real.is_discrete


def test_independent_over_no_axis_is_the_base() -> None:
    assert constraints.independent(constraints.real, 0) is constraints.real


def test_bounds_that_are_arrays_broadcast() -> None:
    rule = constraints.interval(np.array([0.0, 10.0]), lucid.asarray([1.0, 20.0]))
    found = rule.check(np.array([[0.5], [15.0], [5.0]]))
    assert found.numpy().tolist() == [[True, False], [False, True], [False, False]]
    assert str(rule) == "in the interval […, …]"


def test_union_is_over_components_that_are_alive() -> None:
    supports = constraints.interval(
        np.array([0.0, 10.0, 20.0]), np.array([1.0, 11.0, 21.0])
    )
    rule = constraints.union(supports, np.array([True, False, True]))
    found = rule.check(np.array([0.5, 10.5, 20.5, 5.0, NAN]))
    assert found.numpy().tolist() == [True, False, True, False, False]
    vectors = constraints.independent(
        constraints.interval(np.zeros((2, 3)), np.array([[1.0] * 3, [9.0] * 3])), 1
    )
    rule = constraints.union(vectors, np.array([True, False]))
    found = rule.check(np.array([[0.5, 0.5, 1.0], [0.5, 5.0, 0.5]]))
    assert rule.event_ndim == 1
    assert found.numpy().tolist() == [True, False]


def test_cholesky_marks_what_has_no_factor() -> None:
    fn = lucid.backends.get("cpu").fn
    good = np.array([[4.0, 2.0], [2.0, 3.0]])
    stack = np.stack([good, -good, good])
    found = constraints.cholesky(fn, stack)
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[::2] @ found[::2].swapaxes(-2, -1), stack[::2])


@pytest.mark.parametrize("bad", [0, 150_001, 299_999])
def test_large_parameters_are_checked_to_the_last(bad: int) -> None:
    """In blocks, by threads; the message still speaks of the whole."""
    scale = np.ones(300_000)
    distributions.Normal(0.0, scale)
    scale[bad] = -2.0
    message = rf"1 of 300000 values are not; the first is scale\[{bad}\] = -2\.$"
    with pytest.raises(ValueError, match=message):
        distributions.Normal(0.0, scale)
    logits = np.zeros((3000, 100))
    distributions.Categorical(logits=logits)
    logits[bad // 100] = -INF
    with pytest.raises(ValueError, match=rf"the first is logits\[{bad // 100}\]"):
        distributions.Categorical(logits=logits)
