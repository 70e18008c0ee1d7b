"""MixtureSameFamily against the user's specification and a brute force of its own."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp

import lucid
from lucid.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    MixtureSameFamily,
    Normal,
    Uniform,
)
from tests.brute import BATCHES, COUNT, EVERY_BATCH, KINDS, Brute, values
from tests.family_table import device as device

pytestmark = pytest.mark.usefixtures("each_engine")

INF, NAN = math.inf, math.nan

# ---- the specification


def test_names_and_signatures_are_the_specified() -> None:
    assert issubclass(MixtureSameFamily, Distribution)
    given = inspect.signature(MixtureSameFamily).parameters
    assert list(given) == [
        "mixture_distribution",
        "component_distribution",
        "validate_args",
    ]
    assert given["validate_args"].default is None
    drawing = inspect.signature(MixtureSameFamily.sample).parameters
    assert list(drawing)[:2] == ["self", "sample_shape"]
    assert drawing["sample_shape"].default == ()
    assert list(inspect.signature(MixtureSameFamily.log_prob).parameters)[1] == "value"
    weights, components = Categorical([0.3, 0.7]), Normal([0.0, 1.0], 1.0)
    mixture = MixtureSameFamily(weights, components, validate_args=True)
    assert mixture.mixture_distribution is weights
    assert mixture.component_distribution is components
    assert mixture.num_components == weights._num_events == 2
    assert isinstance(mixture.mean, lucid.Tensor)
    assert isinstance(mixture.variance, lucid.Tensor)


NORMALS = Normal([0.0, 1.0], 1.0)


@pytest.mark.parametrize(
    ("weights", "components", "message"),
    [
        (lambda: Normal(0.0, 1.0), lambda: Normal([0.0], 1.0), "must be a Categorical"),
        (lambda: [0.5, 0.5], lambda: Normal([0.0], 1.0), "be a Categorical, got list"),
        (lambda: Categorical([1.0, 1.0]), lambda: 3, "must be a Distribution, got int"),
        (lambda: Categorical([1.0] * 3), lambda: Normal([0.0, 1.0], 1.0), "the 3 comp"),
        (
            lambda: Categorical([1.0] * 3),
            lambda: Normal(0.0, 1.0),
            r"batch_shape is \(",
        ),
        (lambda: Categorical([1.0]), lambda: Normal([0.0, 1.0], 1.0), "the 1 comp"),
        (
            lambda: Categorical(np.ones((3, 2))),
            lambda: Normal(np.zeros((4, 2)), 1.0),
            r"`mixture_distribution` \(3,\), `component_distribution` \(4,\)",
        ),
    ],
)
@pytest.mark.parametrize("validate_args", [None, False])
def test_wrong_parts(
    weights: Any, components: Any, message: str, validate_args: bool | None
) -> None:
    with pytest.raises(ValueError, match=f"^MixtureSameFamily: .*{message}"):
        MixtureSameFamily(weights(), components(), validate_args)


# ---- batches


@EVERY_BATCH
@KINDS
def test_log_prob_in_batches(batches: Any, kind: str) -> None:
    brute = Brute(*batches)
    mixture, x = brute.mixture(), values(brute.batch, kind)
    assert mixture.batch_shape == brute.batch
    assert mixture.event_shape == ()
    expected = logsumexp(brute.joint(x), axis=-1)
    found = mixture.log_prob(x)
    assert found.shape == expected.shape
    assert_allclose(found.numpy(), expected, rtol=1e-13)
    assert_allclose(mixture.prob(x).numpy(), np.exp(expected), rtol=1e-12)


@EVERY_BATCH
@KINDS
def test_posterior_in_batches(batches: Any, kind: str) -> None:
    brute = Brute(*batches)
    mixture, x = brute.mixture(), values(brute.batch, kind)
    joint = brute.joint(x)
    posterior = np.exp(joint - logsumexp(joint, axis=-1, keepdims=True))
    index, probs = mixture.posterior_mode(x, return_probs=True)
    assert index.numpy().dtype == np.int64
    assert_array_equal(index.numpy(), posterior.argmax(-1))
    assert_array_equal(mixture.posterior_mode(x).numpy(), index.numpy())
    assert_allclose(probs.numpy(), posterior.max(-1), rtol=1e-12)
    found = mixture.posterior(x)
    assert isinstance(found, Categorical)
    assert found.batch_shape == posterior.shape[:-1]
    assert_allclose(found.probs.numpy(), posterior, rtol=1e-11, atol=1e-300)
    # The shape of the result is held by test_component_log_probs_have_the_whole_batch.
    parts = mixture.component_log_probs(x).numpy()
    wide = np.broadcast_to(brute.parts(x), joint.shape)
    assert_allclose(np.broadcast_to(parts, joint.shape), wide, rtol=1e-13)


@pytest.mark.parametrize("kind", ["one", "each", "many"])
def test_component_log_probs_have_the_whole_batch(kind: str) -> None:
    """(*sample_shape, *batch_shape, K), whichever part the batch comes from."""
    for weights, components in BATCHES:
        brute = Brute(weights, components)
        x = values(brute.batch, kind)
        found = brute.mixture().component_log_probs(x)
        assert found.shape == brute.joint(x).shape
    wide = Brute((), ()).mixture().expand((4,))
    assert wide.component_log_probs(0.5).shape == (4, COUNT)
    assert wide.posterior(0.5).probs.shape == (4, COUNT)


# ---- events of several elements


@pytest.mark.parametrize("event", [(3,), (1,), (2, 3), (2, 1, 3)], ids=str)
@pytest.mark.parametrize("batches", [((), ()), ((2,), ()), ((2,), (5, 1))], ids=str)
def test_events(event: Any, batches: Any) -> None:
    brute = Brute(*batches, event)
    mixture, x = brute.mixture(), values(brute.batch, "many", event)
    assert (mixture.batch_shape, mixture.event_shape) == (brute.batch, event)
    joint = brute.joint(x)
    expected = logsumexp(joint, axis=-1)
    assert_allclose(mixture.log_prob(x).numpy(), expected, rtol=1e-13)
    assert_array_equal(mixture.posterior_mode(x).numpy(), joint.argmax(-1))
    posterior = np.exp(joint - expected[..., None])
    assert_allclose(mixture.posterior(x).probs.numpy(), posterior, rtol=1e-10)
    loc, pi = brute.wide(brute.loc)
    variances = brute.wide(brute.scale**2)[0]
    mean, size = (pi * loc).sum(-1), math.prod(event)
    assert_allclose(mixture.mean.numpy(), mean, rtol=1e-12, atol=1e-14)
    flat = (*brute.batch, size, COUNT)
    loc, pi, variances = (a.reshape(flat) for a in (loc, pi, variances))
    covariance = np.einsum("...ik,...ik,...jk->...ij", pi, loc, loc)
    covariance = covariance + (pi * variances).sum(-1)[..., None] * np.eye(size)
    first = mean.reshape(*brute.batch, size)
    covariance = covariance - first[..., :, None] * first[..., None, :]
    assert mixture.covariance.shape == (*brute.batch, size, size)
    assert_allclose(mixture.covariance.numpy(), covariance, rtol=1e-11, atol=1e-12)
    diagonal = np.diagonal(covariance, axis1=-2, axis2=-1).reshape(mean.shape)
    assert_allclose(mixture.variance.numpy(), diagonal, rtol=1e-11)
    drawn, index = mixture.sample((4,), return_components=True)
    assert drawn.shape == (4, *brute.batch, *event)
    assert index.shape == (4, *brute.batch)
    for name in ("cdf", "survival_function", "log_cdf", "icdf"):
        with pytest.raises(NotImplementedError, match="events are not scalars"):
            getattr(mixture, name)(x)


# ---- components that are no single family


def test_a_mixture_of_mixtures_is_one_mixture() -> None:
    rng = np.random.default_rng(5)
    inner, outer = rng.uniform(0.1, 1.0, (3, 2)), np.array([0.2, 0.3, 0.5])
    loc, x = rng.normal(0, 3, (3, 2)), rng.normal(0, 3, 9)
    nested = MixtureSameFamily(
        Categorical(outer), MixtureSameFamily(Categorical(inner), Normal(loc, 1.5))
    )
    share = (outer[:, None] * inner / inner.sum(-1, keepdims=True)).reshape(-1)
    flat = MixtureSameFamily(Categorical(share), Normal(loc.reshape(-1), 1.5))
    for name in ("log_prob", "cdf", "log_cdf", "survival_function"):
        found, expected = (getattr(m, name)(x).numpy() for m in (nested, flat))
        assert_allclose(found, expected, rtol=1e-12, err_msg=name)
    p = np.array([0.01, 0.5, 0.9])
    assert_allclose(nested.icdf(p).numpy(), flat.icdf(p).numpy(), rtol=1e-12)
    for name in ("mean", "variance", "covariance"):
        found, expected = (getattr(m, name).numpy() for m in (nested, flat))
        assert_allclose(found, expected, rtol=1e-12, err_msg=name)
    grouped = flat.posterior(x).probs.numpy().reshape(9, 3, 2).sum(-1)
    assert_allclose(nested.posterior(x).probs.numpy(), grouped, rtol=1e-12)
    index, probs = nested.posterior_mode(x, return_probs=True)
    assert_array_equal(index.numpy(), grouped.argmax(-1))
    assert_allclose(probs.numpy(), grouped.max(-1), rtol=1e-12)
    out = lucid.asarray(np.zeros(9))
    assert nested.log_prob(x, out=out) is out
    assert_array_equal(out.numpy(), nested.log_prob(x).numpy())
    drawn, picked = nested.sample((20_000,), lucid.Generator(1), return_components=True)
    # Each 5σ two-sided: together 4 in 10⁶ runs of other seeds would fail.
    for k in range(3):
        sd = math.sqrt(outer[k] * (1 - outer[k]) / 20_000)
        assert abs((picked.numpy() == k).mean() - outer[k]) < 5 * sd
    error = nested.stddev.item() / math.sqrt(20_000)
    assert abs(drawn.numpy().mean() - nested.mean.item()) < 5 * error
    means = nested.component_distribution.mean.numpy()[picked.numpy()]
    spread = nested.component_distribution.stddev.numpy()[picked.numpy()]
    z = (drawn.numpy() - means) / spread
    assert abs(z.mean()) < 5 / math.sqrt(20_000)


def test_components_that_are_categorical() -> None:
    weights, table = np.array([0.25, 0.75]), np.array([[1.0, 3.0, 0], [2.0, 1.0, 1.0]])
    mixture = MixtureSameFamily(Categorical(weights), Categorical(table))
    with np.errstate(divide="ignore"):
        expected = np.log([*(weights @ (table / 4.0)), 0.0])
    assert_allclose(mixture.log_prob([0, 1, 2, 3]).numpy(), expected, rtol=1e-14)
    assert set(mixture.sample((200,), lucid.Generator(0)).numpy()) == {0, 1, 2}


# ---- draws


def test_draws_name_their_component() -> None:
    loc = np.arange(5.0) * 1e6
    mixture = MixtureSameFamily(Categorical([1.0, 2.0, 0.0, 3.0, 4.0]), Normal(loc, 1))
    drawn, index = mixture.sample((3, 500), lucid.Generator(2), return_components=True)
    assert index.numpy().dtype == np.int64
    assert_array_equal(index.numpy(), np.rint(drawn.numpy() / 1e6))
    assert_array_equal(index.numpy(), mixture.posterior_mode(drawn).numpy())
    assert set(index.numpy().ravel()) == {0, 1, 3, 4}
    again = mixture.sample((3, 500), generator=lucid.Generator(2))
    assert_array_equal(again.numpy(), drawn.numpy())
    lucid.manual_seed(4)
    first = mixture.sample((10,)).numpy()
    lucid.manual_seed(4)
    assert_array_equal(mixture.sample((10,)).numpy(), first)


def test_draws_of_a_batch_follow_each_mixture() -> None:
    weights = np.array([[0.9, 0.1], [0.1, 0.9]])
    mixture = MixtureSameFamily(
        Categorical(weights), Normal(np.array([[0.0, 10.0], [100.0, 110.0]]), 0.5)
    )
    n = 10_000
    drawn = mixture.sample((n,), lucid.Generator(1)).numpy()
    error = mixture.stddev.numpy() / math.sqrt(n)
    assert (abs(drawn.mean(0) - mixture.mean.numpy()) < 5 * error).all()
    spread = np.abs(drawn.var(0) / mixture.variance.numpy() - 1)
    assert (spread < 5 * math.sqrt(10 / n)).all()


# ---- support, copies


def test_support_is_the_union_of_the_components() -> None:
    low, high = np.array([0.0, 3.0, 8.0]), np.array([1.0, 5.0, 9.0])
    mixture = MixtureSameFamily(Categorical([0.5, 0.5, 0.0]), Uniform(low, high))
    x = np.array([-0.5, 0.0, 1.0, 2.0, 4.0, 8.5, NAN])
    inside = [False, True, True, False, True, False, False]
    assert mixture.support.check(x).numpy().tolist() == inside
    assert_array_equal(np.isfinite(mixture.log_prob(x).numpy()), inside)
    assert not mixture.support.is_discrete
    coins = MixtureSameFamily(Categorical([1.0, 1.0]), Bernoulli([0.5, 0.5]))
    assert coins.support.is_discrete
    assert "0 or 1" in repr(coins.support)


def test_expanded() -> None:
    brute = Brute((3,), ())
    mixture, x = brute.mixture(), values((3,), "many")
    wide = mixture.expand((2, 3))
    assert type(wide) is MixtureSameFamily
    assert (wide.batch_shape, mixture.batch_shape) == ((2, 3), (3,))
    every = mixture.log_prob(x[:, None]).numpy() + np.zeros((6, 2, 3))
    assert_array_equal(wide.log_prob(x[:, None]).numpy(), every)
    for name in ("mean", "variance", "stddev"):
        narrow = getattr(mixture, name).numpy()
        assert_array_equal(getattr(wide, name).numpy(), np.stack([narrow, narrow]))
    assert wide.cdf(0.0).shape == wide.icdf(0.5).shape == (2, 3)
    drawn = wide.sample((50,), lucid.Generator(1)).numpy()
    assert drawn.shape == (50, 2, 3)
    assert len(np.unique(drawn)) == drawn.size
    with pytest.raises(ValueError, match=r"`batch_shape` .* \(3,\) .* got \(4,\)"):
        mixture.expand((4,))


def test_copied_and_moved() -> None:
    brute = Brute((3,), (2, 1), (2,))
    mixture, x = brute.mixture(), values((2, 3), "many", (2,))
    before = mixture.log_prob(x).numpy()
    here = mixture.to(mixture.device)
    assert here is mixture
    for other in (
        pickle.loads(pickle.dumps(mixture)),
        copy.deepcopy(mixture),
        copy.copy(mixture),
        MixtureSameFamily(**mixture._parameters()),
    ):
        assert_array_equal(other.log_prob(x).numpy(), before)
        assert other.batch_shape == (2, 3)
        assert other.device == mixture.device
    on_the_cpu = mixture.to("cpu").log_prob(x)
    assert str(on_the_cpu.device) == "cpu"
    assert_allclose(on_the_cpu.numpy(), before, rtol=1e-13)


def test_repr() -> None:
    mixture = MixtureSameFamily(Categorical([0.25, 0.75]), Normal([0.0, 1.0], 2.0))
    weights = "Categorical(probs=[0.25, 0.75])"
    shown = f"MixtureSameFamily({weights}, Normal(loc=[0.0, 1.0], scale=2.0))"
    assert repr(mixture) == shown
    large = Normal(np.zeros((40, 30)), 1.0)
    large_mixture = MixtureSameFamily(Categorical(np.ones(30)), large)
    assert "loc=(40, 30)" in repr(large_mixture)
