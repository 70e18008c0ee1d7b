"""Categorical: weights as given, gathered log probabilities, draws, what it refuses."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax

import lucid
from lucid.distributions import Categorical
from tests.family_table import device as device

pytestmark = pytest.mark.usefixtures("each_engine")

INF, NAN = math.inf, math.nan
FLOATS = pytest.mark.parametrize("dtype", [np.float32, np.float64])
BATCHES = pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 1, 3), (0,)], ids=str)
KINDS = pytest.mark.parametrize("kind", ["probs", "logits"])


def given(kind: str, batch: Any, count: int = 5, dtype: Any = np.float64) -> Any:
    """Unnormalised weights, and their normalised logarithms in float64."""
    rng = np.random.default_rng(11)
    logits = rng.normal(0.0, 3.0, (*batch, count))
    array = (np.exp(logits) if kind == "probs" else logits + 40.0).astype(dtype)
    wide = array.astype(np.float64)
    return array, log_softmax(np.log(wide) if kind == "probs" else wide, axis=-1)


# ---- weights


@KINDS
@BATCHES
def test_probs_and_logits_are_normalised(kind: str, batch: Any) -> None:
    array, expected = given(kind, batch)
    weights = Categorical(**{kind: array})
    assert weights.batch_shape == batch
    assert weights.event_shape == ()
    assert weights.num_events == weights._num_events == 5
    assert_allclose(weights.logits.numpy(), expected, rtol=1e-13, atol=1e-15)
    assert_allclose(weights.probs.numpy(), np.exp(expected), rtol=1e-13)
    assert_array_equal(weights.mode.numpy(), array.argmax(-1))
    entropy = -(np.exp(expected) * expected).sum(-1)
    assert_allclose(weights.entropy().numpy(), entropy, rtol=1e-12)


def test_small_weights_and_huge_ones_are_kept() -> None:
    weights = Categorical(np.array([1.0, 1e-300, 0.0, 3.0]))
    assert_allclose(weights.probs.numpy(), [0.25, 2.5e-301, 0.0, 0.75], rtol=1e-15)
    log = weights.logits.numpy()
    assert log[1] == pytest.approx(math.log(2.5) - 301 * math.log(10), rel=1e-14)
    assert log[2] == -INF
    huge = Categorical(np.full(8, 2e38, np.float32))  # the sum is beyond float32
    assert_array_equal(huge.probs.numpy(), np.full(8, 0.125))
    far = Categorical(logits=np.array([-1e4, -1e4 - math.log(3.0), -INF]))
    assert_allclose(far.probs.numpy(), [0.75, 0.25, 0.0], rtol=1e-11)
    assert_allclose(far.log_prob([0, 1, 2]).numpy(), far.logits.numpy())
    equal = Categorical(np.ones(3, np.float16))
    assert equal.probs.numpy().dtype == np.float16
    with_zero = Categorical(np.array([0.5, 0.5, 0.0]))
    assert with_zero.entropy().item() == pytest.approx(math.log(2.0), rel=1e-15)


# ---- log probabilities


@KINDS
@BATCHES
@FLOATS
def test_log_prob_gathers(kind: str, batch: Any, dtype: Any) -> None:
    array, log = given(kind, batch, dtype=dtype)
    weights = Categorical(**{kind: array})
    # Values in front of the batch, one for all of it, and longer where it has size 1.
    longer = tuple(4 if size == 1 else size for size in batch)
    rng = np.random.default_rng(1)
    for shape in ((), batch, (7, *batch), (7, *longer)):
        value = rng.integers(0, 5, shape)
        full = np.broadcast_shapes(shape, batch)
        table = np.broadcast_to(log, (*full, 5))
        chosen = np.broadcast_to(value, full)[..., None]
        expected = np.take_along_axis(table, chosen, axis=-1)[..., 0]
        found = weights.log_prob(value)
        assert found.shape == full
        assert found.numpy().dtype == dtype
        # The logits are 40 + …: what float32 rounds is of that size.
        eps = float(np.finfo(dtype).eps)
        assert_allclose(found.numpy(), expected, rtol=8 * eps, atol=64 * eps)
        as_float = weights.log_prob(value.astype(dtype)).numpy()
        assert_array_equal(as_float, found.numpy())


@KINDS
@pytest.mark.parametrize("batch", [(), (3,)], ids=str)
def test_what_is_no_category(kind: str, batch: Any) -> None:
    array, log = given(kind, batch)
    weights = Categorical(**{kind: array})
    value = np.array([-1.0, 0.5, 5.0, 1e30, -INF, INF, NAN, 4.0])
    found = weights.log_prob(value.reshape(-1, *(1 for _ in batch))).numpy()
    assert (found[:6] == -INF).all()
    assert np.isnan(found[6]).all()
    assert_allclose(found[7], log[..., 4], rtol=1e-13)
    whole = np.array([-1, 5, 2**40, -(2**62)]).reshape(-1, *(1 for _ in batch))
    assert (weights.log_prob(whole).numpy() == -INF).all()
    unsigned = np.array([2**63 + 1, 2**64 - 1], np.uint64)
    column = unsigned.reshape(-1, *(1 for _ in batch))
    assert (weights.log_prob(column).numpy() == -INF).all()
    inside = weights.support.check(np.array([-1.0, 0.0, 0.5, 4.0, 5.0, NAN]))
    assert inside.numpy().tolist() == [False, True, False, True, False, False]
    assert weights.support.is_discrete


def test_indices_stay_integers() -> None:
    """Not made floats of the parameters' dtype: float16 ends at 65504."""
    count = 70_000
    weights = Categorical(logits=np.zeros(count, np.float16))
    found = weights.log_prob(np.array([0, 65_505, 69_999, 70_000])).numpy()
    assert found.dtype == np.float16
    expected = np.float16(-math.log(count))
    assert_array_equal(found, [expected, expected, expected, -INF])


@KINDS
def test_rows_of_logits_in_one_pass(kind: str) -> None:
    """Rows of their own, many and long ones, and categories that do not exist."""
    for rows, count in ((5000, 3), (7, 90_000)):
        rng = np.random.default_rng(2)
        logits = rng.normal(0.0, 5.0, (rows, count))
        logits[:, 1] = -INF
        array = np.exp(logits) if kind == "probs" else logits
        value = rng.integers(0, count, rows)
        expected = log_softmax(logits, axis=-1)[np.arange(rows), value]
        found = Categorical(**{kind: array}).log_prob(value).numpy()
        assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@FLOATS
def test_equal_logits_of_long_rows(dtype: Any) -> None:
    """Their sum's rounding, all one way, stays small; so does what an offset costs."""
    count = 100_000
    logits = np.zeros((3, count), dtype)
    logits[1] = -1e4
    logits[2, ::2] = -INF
    found = Categorical(logits=logits).log_prob(count - 1).numpy()
    expected = -np.log([count, count, count / 2])
    assert_allclose(found, expected, rtol=4 * float(np.finfo(dtype).eps))


@FLOATS
def test_rows_of_far_apart_logits(dtype: Any) -> None:
    """To a few u of what the largest logit leaves, at lengths about a vector's."""
    rng = np.random.default_rng(4)
    for count in (1, 2, 15, 16, 17, 33, 1023, 1025, 2500):
        logits = rng.uniform(-100.0, 100.0, (4, count)).astype(dtype)
        value = logits.argmax(axis=-1) if count % 2 else np.arange(4) % count
        wide = logits.astype(np.longdouble)
        total = np.exp(wide - wide.max(axis=-1, keepdims=True)).sum(axis=-1)
        expected = wide[np.arange(4), value] - wide.max(axis=-1) - np.log(total)
        found = Categorical(logits=logits).log_prob(value).numpy()
        eps = float(np.finfo(dtype).eps)
        assert_allclose(found, expected.astype(float), rtol=2 * eps, atol=2 * eps)


@FLOATS
def test_rows_are_normalised_to_the_last_digits(dtype: Any) -> None:
    """Rows of logits at an offset, one category of which does not exist."""
    rng = np.random.default_rng(5)
    logits = (rng.normal(0.0, 3.0, (2, 50, 7)) - 1e4).astype(dtype)
    logits[..., 0] = -INF
    expected = log_softmax(logits.astype(np.float64), axis=-1)
    found = Categorical(logits=logits)._weights().log()
    assert found.dtype == np.float64
    assert (found[..., 0] == -INF).all()
    assert_allclose(found[..., 1:], expected[..., 1:], rtol=1e-13, atol=1e-14)
    assert Categorical(logits=logits[:, :0])._weights().log().shape == (2, 0, 7)


def test_nan_logits_are_of_their_row() -> None:
    logits = np.array([[0.0, 1.0], [NAN, 1.0], [-INF, -INF]])
    weights = Categorical(logits=logits, validate_args=False)
    found = weights.log_prob(1).numpy()
    assert found[0] == pytest.approx(-math.log1p(math.exp(-1.0)), rel=1e-15)
    assert np.isnan(found[1:]).all()


def test_out_and_prob() -> None:
    weights = Categorical(np.array([1.0, 3.0]))
    out = lucid.asarray(np.empty(3))
    assert weights.log_prob([0, 1, 2], out=out) is out
    assert_allclose(out.numpy(), [math.log(0.25), math.log(0.75), -INF], rtol=1e-15)
    assert_allclose(weights.prob([0, 1, 2]).numpy(), [0.25, 0.75, 0.0], rtol=1e-15)


# ---- the distribution function, draws


@KINDS
@pytest.mark.parametrize("batch", [(), (1,), (3,)], ids=str)
def test_cdf(kind: str, batch: Any) -> None:
    array, log = given(kind, batch)
    weights = Categorical(**{kind: array})
    steps = np.exp(log).cumsum(-1)
    x = np.array([-INF, -0.5, 0.0, 1.9, 3.0, 4.0, 1e9, INF, NAN])
    found = weights.cdf(x.reshape(-1, *(1 for _ in batch))).numpy()
    assert found.shape == (9, *batch)
    zero, one = np.zeros(batch), np.ones(batch)
    parts = (zero, zero, steps[..., 0], steps[..., 1], steps[..., 3], one, one, one)
    assert_allclose(found[:8], np.stack(parts), rtol=1e-13)
    assert (found[5:8] == 1.0).all()
    assert np.isnan(found[8]).all()
    above = weights.survival_function(x[2:5].reshape(-1, *(1 for _ in batch))).numpy()
    assert_allclose(above, 1.0 - found[2:5], rtol=1e-12, atol=1e-15)


@KINDS
@BATCHES
def test_draws(kind: str, batch: Any) -> None:
    array, _ = given(kind, batch)
    weights = Categorical(**{kind: array})
    drawn = weights.sample((400,), lucid.Generator(3))
    assert drawn.shape == (400, *batch)
    assert drawn.numpy().dtype == np.int64
    assert ((drawn.numpy() >= 0) & (drawn.numpy() < 5)).all()
    assert weights.sample().shape == batch
    assert weights.sample(2).shape == (2, *batch)
    again = weights.sample((400,), lucid.Generator(3)).numpy()
    assert_array_equal(again, drawn.numpy())


@KINDS
def test_draws_of_each_row_have_its_weights(kind: str) -> None:
    """5σ two-sided for each of 15 frequencies: false alarm 9e-6 over seeds."""
    array, log = given(kind, (3,))
    array = array.copy()
    array[:, 2] = 0.0 if kind == "probs" else -INF
    weights, n = Categorical(**{kind: array}), 20_000
    drawn = weights.sample((n,), lucid.Generator(9)).numpy()
    p = np.exp(log)
    p[:, 2] = 0.0
    p /= p.sum(-1, keepdims=True)
    for row in range(3):
        share = np.bincount(drawn[:, row], minlength=5) / n
        assert share[2] == 0.0
        assert (abs(share - p[row]) <= 5 * np.sqrt(p[row] * (1 - p[row]) / n)).all()


@pytest.mark.parametrize("order", ["C", "F"])
def test_large_parameters_are_kept_as_they_were(order: Any) -> None:
    """Copies by threads: nothing that is done to the array later reaches them."""
    logits = np.random.default_rng(6).normal(size=(700, 1000))
    logits = np.asarray(logits, order=order)
    expected = log_softmax(logits, axis=-1)
    wide = np.broadcast_to(logits[:1], (700, 1000))
    rows, same = Categorical(logits=logits), Categorical(logits=wide)
    single = Categorical(logits=logits.reshape(1, -1))
    logits[...] = 0.0
    assert_allclose(rows.logits.numpy(), expected, rtol=1e-12)
    assert_allclose(same.logits.numpy()[-1], expected[0], rtol=1e-12)
    assert single.logits.numpy().std() > 0.5


# ---- what it refuses


def test_exactly_one_of_probs_and_logits() -> None:
    one_of = r"^Categorical: give exactly one of `probs` and `logits`, got "
    with pytest.raises(ValueError, match=one_of + "neither"):
        Categorical()
    with pytest.raises(ValueError, match=one_of + "both"):
        Categorical([0.5, 0.5], [0.0, 0.0])


@KINDS
@pytest.mark.parametrize("empty", [0.5, [], np.ones((3, 0))], ids=["scalar", "0", "30"])
@pytest.mark.parametrize("validate_args", [None, False])
def test_at_least_one_category(
    kind: str, empty: Any, validate_args: bool | None
) -> None:
    shape = re_escaped(np.shape(empty))
    message = rf"^Categorical: `{kind}` must have shape .* got shape {shape}\.$"
    with pytest.raises(ValueError, match=message):
        Categorical(**{kind: empty}, validate_args=validate_args)


def re_escaped(shape: Any) -> str:
    return str(shape).replace("(", r"\(").replace(")", r"\)")


BAD = {
    "probs": [[-0.5, 1.0], [NAN, 1.0], [0.0, 0.0], [INF, 1.0]],
    "logits": [[NAN, 1.0], [-INF, -INF], [INF, 1.0]],
}


@pytest.mark.parametrize(
    ("kind", "bad"), [(kind, bad) for kind, rows in BAD.items() for bad in rows]
)
def test_weights_that_are_none(kind: str, bad: Any) -> None:
    phrase = {
        "probs": "nonnegative and finite, with a positive sum",
        "logits": "below +∞, and not all −∞",
    }[kind].replace("+", r"\+")
    with pytest.raises(ValueError, match=rf"^Categorical: `{kind}` must be {phrase}"):
        Categorical(**{kind: bad})
    rows = np.array([[1.0, 1.0], bad, [2.0, 1.0]])
    counted = rf"{phrase}, but 1 of 3 values are not; the first is {kind}\[1\]"
    with pytest.raises(ValueError, match=counted):
        Categorical(**{kind: rows})
    unchecked = Categorical(**{kind: rows}, validate_args=False)
    others = unchecked.log_prob(np.zeros(3)).numpy()[[0, 2]]
    assert np.isfinite(others).all()


@pytest.mark.parametrize("bad", [[True, False], ["a"], [1j], [None]])
def test_weights_that_are_no_numbers(bad: Any) -> None:
    with pytest.raises(TypeError, match=r"^Categorical: `probs` must hold real"):
        Categorical(bad)
    with pytest.raises(TypeError, match=r"^Categorical: `value` must hold real"):
        Categorical([1.0, 1.0]).log_prob(bad)


def test_what_does_not_exist() -> None:
    weights = Categorical([0.5, 0.5])
    for name in ("mean", "variance", "stddev"):
        with pytest.raises(NotImplementedError, match=r"^Categorical does not have a "):
            getattr(weights, name)


# ---- copies


@KINDS
def test_expanded_copied_and_shown(kind: str) -> None:
    array, log = given(kind, (3,))
    weights = Categorical(**{kind: array})
    wide = weights.expand((2, 3))
    assert (wide.batch_shape, weights.batch_shape) == ((2, 3), (3,))
    assert wide.probs.shape == wide.logits.shape == (2, 3, 5)
    assert_allclose(wide.log_prob(1).numpy(), np.stack([log[:, 1]] * 2), rtol=1e-12)
    value = np.random.default_rng(0).integers(0, 5, (6, 2, 3))
    narrow = np.stack([weights.log_prob(value[:, i]).numpy() for i in (0, 1)], axis=1)
    assert_array_equal(wide.log_prob(value).numpy(), narrow)
    drawn = wide.sample((300,), lucid.Generator(0)).numpy()
    assert drawn.shape == (300, 2, 3)
    assert (drawn[:, 0] != drawn[:, 1]).any()
    assert wide.mode.shape == wide.entropy().shape == wide.cdf(1.0).shape == (2, 3)
    for other in (
        pickle.loads(pickle.dumps(weights)),
        copy.deepcopy(weights),
        Categorical(**weights._parameters()),
    ):
        assert_array_equal(other.logits.numpy(), weights.logits.numpy())
        assert_array_equal(
            other.sample((5,), lucid.Generator(1)).numpy(),
            weights.sample((5,), lucid.Generator(1)).numpy(),
        )
    assert weights.to(weights.device) is weights
    assert repr(weights) == f"Categorical({kind}=(3, 5))"
    assert (
        repr(Categorical(**{kind: [0.5, 0.25]})) == f"Categorical({kind}=[0.5, 0.25])"
    )


@KINDS
def test_weights_are_a_snapshot(kind: str) -> None:
    array, _ = given(kind, ())
    mine = array.copy()
    weights = Categorical(**{kind: mine})
    before = weights.logits.numpy().copy()
    mine[:] = NAN
    assert_array_equal(Categorical(**weights._parameters()).logits.numpy(), before)
    assert not weights.probs.numpy().flags.writeable or str(weights.device) != "cpu"
    assert_array_equal(weights.log_prob(np.arange(5)).numpy(), before)
