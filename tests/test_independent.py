"""Independent: batch dimensions made into event dimensions."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import lucid
from lucid.distributions import (
    Bernoulli,
    Categorical,
    Independent,
    MultivariateNormal,
    Normal,
    Poisson,
    Uniform,
)
from tests.family_table import device as device

NAN = math.nan
# (batch of the base, how many of its dimensions become the event)
SHAPES = [
    ((), 0),
    ((3,), 0),
    ((3,), 1),
    ((2, 3), 1),
    ((2, 3), 2),
    ((4, 1, 3), 1),
    ((4, 1, 3), 2),
    ((4, 2, 1, 3), 3),
    ((0, 3), 1),
    ((1, 1), 1),
]
EVERY_SHAPE = pytest.mark.parametrize(("shape", "ndims"), SHAPES, ids=str)


def parameters(shape: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(4)
    return rng.normal(0, 2, shape), rng.uniform(0.5, 2.0, shape)


def event_axes(ndims: int) -> tuple[int, ...]:
    return tuple(range(-ndims, 0))


@EVERY_SHAPE
def test_log_prob_is_the_sum_over_the_event(shape: Any, ndims: int) -> None:
    loc, scale = parameters(shape)
    given = Independent(Normal(loc, scale), ndims)
    batch, event = shape[: len(shape) - ndims], shape[len(shape) - ndims :]
    assert (given.batch_shape, given.event_shape) == (batch, event)
    assert given.reinterpreted_batch_ndims == ndims
    longer = tuple(5 if size == 1 else size for size in batch)
    rng = np.random.default_rng(2)
    for lead in ((), batch, (6, *batch), (2, *longer)):
        x = rng.normal(0, 3, (*lead, *event))
        expected = stats.norm.logpdf(x, loc, scale).sum(axis=event_axes(ndims))
        found = given.log_prob(x)
        assert found.shape == np.broadcast_shapes(lead, batch)
        assert_allclose(found.numpy(), expected, rtol=1e-13, atol=1e-13)


@EVERY_SHAPE
def test_moments_and_draws(shape: Any, ndims: int) -> None:
    loc, scale = parameters(shape)
    given = Independent(Normal(loc, scale), ndims)
    assert_array_equal(given.mean.numpy(), loc)
    assert_allclose(given.variance.numpy(), scale**2, rtol=1e-15)
    assert_allclose(given.stddev.numpy(), scale, rtol=1e-15)
    entropy = (0.5 * np.log(2 * np.pi * np.e) + np.log(scale)).sum(event_axes(ndims))
    assert given.entropy().shape == given.batch_shape
    assert_allclose(given.entropy().numpy(), entropy, rtol=1e-13)
    assert given.sample().shape == shape
    assert given.sample((4, 2)).shape == (4, 2, *shape)
    n = 4000
    z = (given.sample((n,), lucid.Generator(3)).numpy() - loc) / scale
    # Mean and variance of each element within 5σ: 2e-5 over seeds and all of them.
    assert (abs(z.mean(0)) < 5 / math.sqrt(n)).all()
    assert (abs(z.var(0) - 1) < 5 * math.sqrt(2 / n)).all()
    if z.size > n:  # and the elements of an event do not go together
        apart = np.corrcoef(z.reshape(n, -1), rowvar=False) - np.eye(z[0].size)
        assert abs(apart).max() < 5.5 / math.sqrt(n)


def test_parameters_that_broadcast_within_the_base() -> None:
    loc, scale = np.arange(3.0)[:, None], np.array([0.5, 2.0])
    given = Independent(Normal(loc, scale), 1)  # 3 distributions of 2 elements
    x = np.random.default_rng(0).normal(size=(5, 3, 2))
    expected = stats.norm.logpdf(x, loc, scale).sum(-1)
    assert_allclose(given.log_prob(x).numpy(), expected, rtol=1e-13)
    assert_array_equal(given.mean.numpy(), np.broadcast_to(loc, (3, 2)))
    assert_allclose(given.entropy().numpy(), [2 * 1.4189385332046727] * 3, rtol=1e-14)


def test_one_inside_another_is_one() -> None:
    loc, scale = parameters((4, 2, 3))
    twice = Independent(Independent(Normal(loc, scale), 1), 1)
    once = Independent(Normal(loc, scale), 2)
    assert twice.batch_shape == (4,)
    assert twice.event_shape == (2, 3)
    x = np.random.default_rng(0).normal(size=(5, 4, 2, 3))
    assert_array_equal(twice.log_prob(x).numpy(), once.log_prob(x).numpy())
    for name in ("mean", "variance"):
        mine, other = getattr(twice, name).numpy(), getattr(once, name).numpy()
        assert_array_equal(mine, other)
    assert_allclose(twice.entropy().numpy(), once.entropy().numpy(), rtol=1e-14)
    draws = [d.sample((9,), lucid.Generator(1)).numpy() for d in (twice, once)]
    assert_array_equal(*draws)


def test_over_vectors() -> None:
    """A batch of multivariate normals as one event: no single family any more."""
    rng = np.random.default_rng(6)
    root = rng.normal(size=(2, 4, 3, 3))
    covariance = root @ root.swapaxes(-1, -2) + np.eye(3)
    loc = rng.normal(size=(2, 4, 3))
    base = MultivariateNormal(loc, covariance_matrix=covariance)
    given = Independent(base, 1)
    assert (given.batch_shape, given.event_shape) == ((2,), (4, 3))
    x = rng.normal(size=(5, 2, 4, 3))
    each = np.empty((5, 2, 4))
    for place in np.ndindex(2, 4):
        oracle = stats.multivariate_normal(loc[place], covariance[place])
        each[:, *place] = oracle.logpdf(x[:, *place])
    assert_allclose(given.log_prob(x).numpy(), each.sum(-1), rtol=1e-11)
    alone = rng.normal(size=(4, 3))  # one event, met by both of the batch
    wide = np.broadcast_to(alone, (2, 4, 3))
    assert given.log_prob(alone).shape == (2,)
    assert_array_equal(given.log_prob(alone).numpy(), given.log_prob(wide).numpy())
    assert_allclose(given.entropy().numpy(), base.entropy().numpy().sum(-1), rtol=1e-13)
    assert given.sample((7,)).shape == (7, 2, 4, 3)
    out = lucid.asarray(np.empty((5, 2)))
    assert given.log_prob(x, out=out) is out
    assert_array_equal(out.numpy(), given.log_prob(x).numpy())


def test_over_a_table_of_categories() -> None:
    """Two dimensions of what is no scalar family in the frame's sense."""
    table = np.random.default_rng(8).uniform(0.1, 1.0, (4, 2, 3, 5))
    log = np.log(table / table.sum(-1, keepdims=True))
    given = Independent(Categorical(table), 2)
    assert (given.batch_shape, given.event_shape) == ((4,), (2, 3))
    value = np.random.default_rng(9).integers(0, 5, (6, 4, 2, 3))
    every = np.broadcast_to(log, (6, *log.shape))
    picked = np.take_along_axis(every, value[..., None], axis=-1)[..., 0]
    expected = picked.sum((-2, -1))
    assert_allclose(given.log_prob(value).numpy(), expected, rtol=1e-13)
    assert given.entropy().shape == (4,)
    entropy = -(np.exp(log) * log).sum((-3, -2, -1))
    assert_allclose(given.entropy().numpy(), entropy, rtol=1e-13)
    assert given.sample((7,)).shape == (7, 4, 2, 3)


def test_over_categories() -> None:
    table = np.array([[1.0, 3.0], [0.25, 0.75], [1.0, 1.0]])
    given = Independent(Categorical(table), 1)
    p = table / table.sum(-1, keepdims=True)
    value = np.array([[0, 1, 1], [1, 1, 0], [0, 0, 2]])
    expected = np.log([p[0, 0] * p[1, 1] * p[2, 1], p[0, 1] * p[1, 1] * p[2, 0]])
    found = given.log_prob(value).numpy()
    assert_allclose(found[:2], expected, rtol=1e-14)
    assert found[2] == -np.inf
    assert given.sample((4,)).shape == (4, 3)


def test_an_element_that_is_nan_or_off_the_support() -> None:
    given = Independent(Poisson(np.array([1.0, 4.0])), 1)
    x = np.array([[1.0, 2.0], [0.5, 2.0], [1.0, -1.0], [NAN, 2.0], [NAN, -1.0]])
    found = given.log_prob(x).numpy()
    assert np.isfinite(found[0])
    assert (found[1:3] == -np.inf).all()
    assert np.isnan(found[3:]).all()
    inside = given.support.check(x).numpy().tolist()
    assert inside == [True, False, False, False, False]
    assert given.support.is_discrete
    assert given.support.event_ndim == 1
    boxes = Independent(Uniform(np.array([0.0, 2.0]), np.array([1.0, 3.0])), 1)
    corners = np.array([[0.5, 2.5], [0.5, 0.5], [1.0, 3.0]])
    assert boxes.support.check(corners).numpy().tolist() == [True, False, True]
    inside = np.isfinite(boxes.log_prob(corners).numpy()).tolist()
    assert inside == [True, False, True]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_dtypes(dtype: Any) -> None:
    loc, scale = (a.astype(dtype) for a in parameters((2, 3)))
    given = Independent(Normal(loc, scale), 1)
    assert given.dtype == dtype
    for found in (given.mean, given.variance, given.entropy(), given.sample()):
        assert found.numpy().dtype == dtype
    assert given.log_prob(np.zeros(3, dtype)).numpy().dtype == dtype
    assert given.log_prob([0, 1, 2]).numpy().dtype == dtype
    wide = given.log_prob(np.zeros(3)).numpy()
    assert wide.dtype == np.float64
    wider = Independent(Normal(loc.astype(np.float64), scale.astype(np.float64)), 1)
    assert_allclose(wide, wider.log_prob(np.zeros(3)).numpy(), rtol=1e-14)


# ---- what it refuses, copies


@pytest.mark.parametrize("ndims", [-1, 3])
def test_as_many_dimensions_as_there_are(ndims: int) -> None:
    with pytest.raises(ValueError, match=rf"`reinterpreted_batch_ndims` .*got {ndims}"):
        Independent(Normal(np.zeros((2, 3)), 1.0), ndims)
    with pytest.raises(ValueError, match=r"from 0 to the 0 batch dimensions"):
        Independent(Normal(0.0, 1.0), 1)


def test_wrong_types_name_the_argument() -> None:
    with pytest.raises(TypeError, match=r"^Independent: `base_distribution` .*got int"):
        Independent(3, 1)
    with pytest.raises(TypeError, match=r"`reinterpreted_batch_ndims`"):
        Independent(Normal([0.0], 1.0), 1.0)


def test_unfitting_values() -> None:
    given = Independent(Normal(np.zeros((2, 3)), 1.0), 1)
    with pytest.raises(ValueError, match=r"event's shape \(3,\), got shape \(2,\)"):
        given.log_prob(np.zeros(2))
    with pytest.raises(ValueError, match=r"event's shape \(3,\), got shape \(\)"):
        given.log_prob(0.0)
    with pytest.raises(ValueError, match=r"\(4, 3\) must broadcast .*\(2,\)"):
        given.log_prob(np.zeros((4, 3)))
    with pytest.raises(NotImplementedError, match="events are not scalars"):
        given.cdf(np.zeros(3))


@pytest.mark.parametrize("ndims", [1, 2])
def test_expanded(ndims: int) -> None:
    loc, scale = parameters((2, 1, 3))
    given = Independent(Normal(loc, scale), ndims)
    batch, event = given.batch_shape, given.event_shape
    larger = (4, 2, 5)[: 4 - ndims] if ndims == 1 else (4, 2)
    wide = given.expand(larger)
    assert (wide.batch_shape, wide.event_shape) == (larger, event)
    assert wide.base_distribution.batch_shape == larger + event
    assert given.batch_shape == batch
    x = np.random.default_rng(1).normal(size=(6, *larger, *event))
    expected = stats.norm.logpdf(x, loc, scale).sum(axis=event_axes(ndims))
    assert_allclose(wide.log_prob(x).numpy(), expected, rtol=1e-13, atol=1e-13)
    drawn = wide.sample((3,), lucid.Generator(0)).numpy()
    assert drawn.shape == (3, *larger, *event)
    assert len(np.unique(drawn)) == drawn.size
    assert wide.mean.shape == larger + event


def test_copied_and_shown() -> None:
    given = Independent(Bernoulli(probs=np.array([0.25, 0.5])), 1)
    x = np.array([[0.0, 1.0], [1.0, 1.0]])
    before = given.log_prob(x).numpy()
    assert_allclose(before, np.log([0.375, 0.125]), rtol=1e-14)
    for other in (
        pickle.loads(pickle.dumps(given)),
        copy.deepcopy(given),
        Independent(**given._parameters()),
    ):
        assert_array_equal(other.log_prob(x).numpy(), before)
    assert given.to(given.device) is given
    shown = "Independent(Normal(loc=[0.0, 1.0], scale=2.0), 1)"
    assert repr(Independent(Normal([0.0, 1.0], 2.0), 1)) == shown
