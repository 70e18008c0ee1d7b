"""Every family of tests/family_table.py × what its density and its parameters must do.

SciPy is the oracle. A test over float32 uses the float64 result of the same parameters,
itself held to SciPy, and the promised bound 4·u·B.
"""

from __future__ import annotations

import inspect
import math
import pickle
import re
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import lucid
from tests.bounds import bounded
from tests.corpus import load_cases
from tests.family_table import (
    DTYPES,
    EVERY,
    UNIT,
    Row,
    batch,
    finite,
    formula_parameters,
    values,
)
from tests.family_table import device as device

pytestmark = pytest.mark.usefixtures("each_engine")

# ---- log densities


@EVERY
def test_log_prob_is_scipys(row: Row) -> None:
    with np.errstate(all="ignore"):
        expected = row.oracle().logpdf(values(row))
    found = row.make().log_prob(values(row)).numpy()
    # SciPy's own Poisson and gamma lose digits far from the mode.
    assert_allclose(found, expected, rtol=1e-12, atol=1e-11)


@EVERY
@DTYPES
def test_log_prob_keeps_the_promised_bound(row: Row, dtype: Any) -> None:
    given = row.make(dtype)
    found = given.log_prob(values(row, dtype)).numpy()
    assert found.dtype == dtype
    parameters = finite(formula_parameters(given))
    for k in range(batch(row)):
        here = {name: p[k] for name, p in parameters.items()}
        if row.is_vector:  # one component, in the layout of a mixture
            here = {name: p[None] for name, p in here.items()}
        x = values(row)[:, 0]
        weights = np.zeros(1) if row.is_vector else None
        y, bound = bounded(row.name, here, x, weights, event=row.is_vector)
        error = np.where(np.isinf(y), 0.0, abs(found[:, k] - y))
        # The reference itself is float64, good to 1e-15·B.
        slack = 1e-15 if dtype == np.float64 else 0.0
        assert (error <= (4 * UNIT[dtype] + slack) * bound).all()
        assert_array_equal(np.isneginf(found[:, k]), np.isneginf(y))


@DTYPES
def test_student_t_keeps_its_margin(dtype: Any) -> None:
    """By t, rounded three times and then squared, these cases took 3.7 of the 4 u·B."""
    (case,) = [c for c in load_cases(np.dtype(dtype).name) if c.name == "studentt-far"]
    given = lucid.distributions.StudentT(**case.given.parameters)
    found = given.log_prob(case.given.values).numpy()
    assert not case.failures(found, limit=3.0)


@EVERY
def test_known_answers(row: Row) -> None:
    for parameters, value, expected in row.known:
        wide = {name: np.array(p, np.float64) for name, p in parameters.items()}
        found = row.family(**wide).log_prob(value).item()
        assert_allclose(found, expected, rtol=1e-14, atol=1e-45)


@EVERY
@DTYPES
def test_off_the_support(row: Row, dtype: Any) -> None:
    given = row.make(dtype)
    for value in row.outside:
        assert (given.log_prob(dtype(value)).numpy() == -np.inf).all()
    for infinite in (-np.inf, np.inf):
        event = np.full(given.event_shape, infinite, dtype)
        assert (given.log_prob(event).numpy() == -np.inf).all()
    holed = values(row, dtype).repeat(2, axis=0)
    holed[::2, ..., -1] = np.nan
    found = given.log_prob(holed).numpy()
    assert np.isnan(found[::2]).all()
    assert_array_equal(found[1::2], given.log_prob(values(row, dtype)).numpy())


@EVERY
def test_support_and_constraints(row: Row) -> None:
    given = row.make()
    assert given.support.check(values(row)).numpy().any(axis=-1).all()
    for value in row.outside:
        if math.isfinite(value):
            assert not given.support.check(np.float64(value)).numpy().any()
    assert given.support.is_discrete == row.discrete
    for name, array in row.parameters.items():
        assert given.arg_constraints[name].check(np.asarray(array)).numpy().all()


# ---- shapes and dtypes


@EVERY
def test_shapes_and_broadcasting(row: Row) -> None:
    given, count = row.make(), batch(row)
    event = given.event_shape
    assert given.batch_shape == (count,)
    assert given.mean.shape == given.variance.shape == (count, *event)
    assert given.stddev.shape == (count, *event)
    one = values(row)[0].reshape(event)
    assert given.log_prob(one).shape == (count,)
    assert given.log_prob(np.zeros((5, 1, *event))).shape == (5, count)
    assert given.log_prob(np.zeros((0, count, *event))).shape == (0, count)
    # One parameter down the batch, the others across it.
    first, *rest = row.parameters
    column = {first: np.asarray(row.parameters[first])[:, None]}
    others = {name: np.asarray(row.parameters[name]) for name in rest}
    if row.name == "Uniform":  # keep low < high whichever meet
        column[first] -= 10.0
    grid = row.family(**column, **others)
    assert grid.batch_shape == ((count, count) if rest else (count, 1))
    found = grid.log_prob(one).numpy()
    for i in range(count):
        alone = row.family(**{first: column[first][i]}, **others)
        assert_array_equal(found[i], alone.log_prob(one).numpy())


@EVERY
def test_expand(row: Row) -> None:
    given = row.make()
    wide = given.expand((4, batch(row)))
    assert wide.batch_shape == (4, batch(row))
    assert wide.sample((2,)).shape == (2, 4, batch(row), *given.event_shape)
    x = values(row)[0]
    expected = np.broadcast_to(given.log_prob(x).numpy(), (4, batch(row)))
    assert_array_equal(wide.log_prob(x).numpy(), expected)


@EVERY
def test_dtypes(row: Row) -> None:
    single, double = row.make(np.float32), row.make(np.float64)
    half = values(row, np.float16)[0]
    assert single.log_prob(half).dtype == np.float32
    assert row.make(np.float16).log_prob(half).dtype == np.float16
    assert single.log_prob(half.astype(np.float64)).dtype == np.float64
    assert single.log_prob(np.zeros(single.event_shape, np.int64)).dtype == np.float32
    assert double.log_prob(row.values[0]).dtype == np.float64
    for given, dtype in ((single, np.float32), (double, np.float64)):
        for found in (given.mean, given.variance, given.entropy(), given.sample()):
            assert found.dtype == dtype
    lists = row.family(**row.parameters)
    assert lists.dtype == lucid.float32
    with pytest.raises(TypeError, match="real numbers"):
        single.log_prob(np.zeros(single.event_shape, bool))


# ---- what it refuses


@EVERY
def test_validation(row: Row) -> None:
    assert set(row.bad) <= set(row.family.arg_constraints)
    for name, (bad, phrase) in row.bad.items():
        array = np.array(row.parameters[name], np.float64)
        array[1] = bad
        changed = {name: array}
        expected = f"{row.name}: `{name}` must be {phrase}, but 1 of {len(array)} "
        with pytest.raises(ValueError, match=re.escape(expected)) as caught:
            row.make(**changed)
        assert f"{name}[1] = " in str(caught.value)
        row.make(**changed, validate_args=False)


@EVERY
def test_unfitting_shapes(row: Row) -> None:
    if len(row.parameters) > 1:
        first, *rest = row.parameters
        longer = np.asarray(row.parameters[first]).repeat(2, axis=0)
        names = "|".join((first, *rest))
        with pytest.raises(ValueError, match=rf"{row.name}: .*`({names})`"):
            row.make(**{first: longer})
    given = row.make()
    with pytest.raises(ValueError, match="`value`"):
        given.log_prob(np.zeros((batch(row) + 1, *given.event_shape)))


# ---- the house's own conventions


@EVERY
def test_kept_and_rebuilt(row: Row) -> None:
    given, x = row.make(), values(row)
    expected = given.log_prob(x).numpy()
    rebuilt = row.family(**given._parameters())
    loaded = pickle.loads(pickle.dumps(given))
    for other in (rebuilt, loaded, given.to("cpu")):
        assert_array_equal(other.log_prob(x).numpy(), expected)
    for name, array in row.parameters.items():
        assert_allclose(getattr(given, name).numpy(), array, rtol=1e-14)
    assert row.name in repr(given)


@EVERY
def test_parameters_are_snapshots(row: Row) -> None:
    arrays = {n: np.array(a, np.float64) for n, a in row.parameters.items()}
    given, x = row.family(**arrays), values(row)
    expected = given.log_prob(x).numpy().copy()
    for array in arrays.values():
        array[...] = np.nan
    assert_array_equal(given.log_prob(x).numpy(), expected)


@EVERY
def test_signature_is_the_parameters(row: Row) -> None:
    signature = list(inspect.signature(row.family).parameters)
    assert signature == [*row.family.arg_constraints, "validate_args"]
    assert row.family.__doc__
    assert "log " in row.family.__doc__
