"""The base of every distribution: messages, validation, dtypes, devices, out=."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import lucid
from lucid.distributions import (
    Categorical,
    Distribution,
    Gamma,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    Uniform,
    set_default_validate_args,
)
from lucid.distributions.distribution import validating
from tests.family_table import device as device
from tests.stand_in import two_gpus as two_gpus

NAN = math.nan


def mixture(dtype: Any = np.float64) -> MixtureSameFamily:
    return MixtureSameFamily(
        Categorical(np.array([0.25, 0.75], dtype)),
        Normal(np.array([0.0, 2.0], dtype), np.array([1.0, 0.5], dtype)),
    )


def whole(message: str) -> str:
    """The pattern of a message and nothing else."""
    return f"^{re.escape(message)}$"


def event() -> Independent:
    return Independent(Normal(np.zeros((4, 3)), 1.0), 1)


# ---- messages of validation

MESSAGES = [
    (
        lambda: Normal(0.0, [1.0, 1.0, -0.5, 1.0, 0.0, 1.0, NAN, 1.0]),
        "Normal: `scale` must be positive, but 3 of 8 values are not; "
        "the first is scale[2] = -0.5.",
    ),
    (
        lambda: Normal([0.0, NAN], 1.0),
        "Normal: `loc` must be real, but 1 of 2 values are not; "
        "the first is loc[1] = nan.",
    ),
    (
        lambda: Normal(0.0, [[1.0, 1.0], [2.0, -3.0]]),
        "Normal: `scale` must be positive, but 1 of 4 values are not; "
        "the first is scale[1, 1] = -3.",
    ),
    (lambda: Normal(0.0, -0.5), "Normal: `scale` must be positive, but it is -0.5."),
    (
        lambda: Uniform([0.0, 2.0], [1.0, 2.0]),
        "Uniform: `high` must be greater than `low`, but 1 of 2 values are not; "
        "the first is high[1] = 2.",
    ),
    (
        lambda: Gamma(0.0, -1.0),
        "Gamma: `concentration` must be positive, but it is 0.",
    ),
    (
        lambda: Normal(np.zeros(3), np.ones(2)),
        "Normal: the arguments' shapes must broadcast together, got `loc` (3,), "
        "`scale` (2,); make the differing dimensions equal or 1.",
    ),
]


@pytest.mark.parametrize(("build", "message"), MESSAGES)
def test_messages_of_validation(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=whole(message)):
        build()


def test_validation_can_be_left_out() -> None:
    bad = Normal(0.0, [1.0, -0.5], validate_args=False)
    assert np.isfinite(bad.log_prob(0.0).numpy()[0])
    with pytest.raises(ValueError, match="scale"):
        Normal(0.0, [1.0, -0.5], validate_args=True)


@pytest.fixture
def _validating() -> Iterator[None]:
    yield
    set_default_validate_args(True)


@pytest.mark.usefixtures("_validating")
def test_the_default_of_validation() -> None:
    assert validating(None) is True
    assert inspect.signature(Normal).parameters["validate_args"].default is None
    set_default_validate_args(False)
    for build in (
        lambda **more: Normal(0.0, -1.0, **more),
        lambda **more: Uniform(1.0, 0.0, **more),
        lambda **more: Categorical([-1.0, 1.0], **more),
        lambda **more: MultivariateNormal([0.0], scale_tril=[[-1.0]], **more),
    ):
        build()
        with pytest.raises(ValueError, match="must be"):
            build(validate_args=True)
        set_default_validate_args(True)
        with pytest.raises(ValueError, match="must be"):
            build()
        build(validate_args=False)
        set_default_validate_args(False)


# ---- values


def test_unfitting_values_name_both_shapes() -> None:
    wide = Normal(np.zeros((2, 3)), 1.0)
    message = (
        "Normal: `value` of shape (2, 4) must broadcast with batch_shape (2, 3) "
        "(before the event's shape ()); reshape it to "
        "(*sample_shape, *batch_shape, *event_shape)."
    )
    with pytest.raises(ValueError, match=whole(message)):
        wide.log_prob(np.zeros((2, 4)))
    for name in ("cdf", "icdf", "log_cdf", "survival_function", "prob"):
        with pytest.raises(ValueError, match=r"^Normal: `value` of shape \(2, 4\)"):
            getattr(wide, name)(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"^Independent: `value` must end with the ev"):
        event().log_prob(np.zeros((4, 2)))
    for name in ("component_log_probs", "posterior", "posterior_mode"):
        batch = MixtureSameFamily(Categorical(np.ones((3, 2))), Normal([0.0, 1.0], 1.0))
        with pytest.raises(ValueError, match=r"\(4,\) must broadcast with batch_shape"):
            getattr(batch, name)(np.zeros(4))


@pytest.mark.parametrize("wrong", [True, [False], "1", 1j, None, [object()]])
def test_values_that_are_no_numbers(wrong: Any) -> None:
    for name in ("log_prob", "prob", "cdf", "icdf"):
        with pytest.raises(TypeError, match=r"^Normal: `value` must hold real numbers"):
            getattr(Normal(0.0, 1.0), name)(wrong)
    with pytest.raises(TypeError, match=r"^Normal: `scale` must hold real numbers"):
        Normal(0.0, wrong)


def test_ragged_lists_name_the_argument() -> None:
    ragged = [[1.0], [2.0, 3.0]]
    with pytest.raises((TypeError, ValueError), match=r"^Normal: `value`"):
        Normal(0.0, 1.0).log_prob(ragged)
    with pytest.raises((TypeError, ValueError), match=r"^Normal: `scale`"):
        Normal(0.0, ragged)


def test_what_is_missing_says_so() -> None:
    class Bare(Distribution):
        pass

    given = mixture()
    bare = Bare(given._backend, np.dtype(np.float64), (), ())
    lacking = "^Bare does not have "
    for name in ("log_prob", "prob", "cdf", "icdf", "log_cdf", "survival_function"):
        with pytest.raises(NotImplementedError, match=lacking):
            getattr(bare, name)(0.5)
    for name in ("sample", "entropy"):
        with pytest.raises(NotImplementedError, match=lacking):
            getattr(bare, name)()
    for name in ("mean", "variance", "stddev", "support"):
        with pytest.raises(NotImplementedError, match=lacking):
            getattr(bare, name)
    assert repr(bare) == "Bare(batch_shape=(), event_shape=())"


def test_a_parameter_cannot_be_set() -> None:
    given = Normal(0.0, 1.0)
    with pytest.raises(AttributeError, match=r"^Normal: `loc` is read-only"):
        given.loc = 3.0
    assert given.loc.item() == 0.0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_repr_has_the_digits_of_the_dtype(dtype: Any) -> None:
    loc, probs = np.array([0.1, -np.inf], dtype), np.array([0.3, 0.7], dtype)
    assert repr(Normal(loc, dtype(1))) == "Normal(loc=[0.1, -inf], scale=1.0)"
    assert repr(Categorical(probs)) == "Categorical(probs=[0.3, 0.7])"


# ---- dtypes


def test_python_numbers_are_weak() -> None:
    assert Normal(0.0, 1.0).dtype == lucid.float32
    assert Normal([0, 1], [1, 2]).dtype == lucid.float32
    half, double = np.zeros(2, np.float16), np.zeros(2)
    assert Normal(half, 1.0).dtype == lucid.float16
    assert Normal(half, [1.0, 2.0]).dtype == lucid.float16
    assert Normal(half, np.ones(2, np.float32)).dtype == lucid.float32
    assert Normal(half, np.float64(1.0)).dtype == lucid.float64
    assert Normal(double, np.ones(2, np.float32)).dtype == lucid.float64
    assert Normal(np.arange(2), 1.0).dtype == lucid.float32  # integers are weak, too
    assert Normal(np.arange(2), np.float64(1.0)).dtype == lucid.float64
    lucid.set_default_dtype(lucid.float64)
    try:
        assert Normal(0.0, 1.0).dtype == lucid.float64
        assert Normal(half, 1.0).dtype == lucid.float16
    finally:
        lucid.set_default_dtype(lucid.float32)


@pytest.mark.parametrize("parameter", [np.float16, np.float32, np.float64])
def test_results_have_the_promoted_dtype(parameter: Any) -> None:
    for given in (Normal(np.zeros(2, parameter), 1.0), mixture(parameter)):
        for value in (np.float16, np.float32, np.float64, np.int8, np.int64, np.uint32):
            x = np.array([[0], [1]], value)
            floats = np.issubdtype(value, np.floating)
            expected = np.result_type(value, parameter) if floats else parameter
            for name in ("log_prob", "prob", "cdf", "log_cdf", "survival_function"):
                assert getattr(given, name)(x).numpy().dtype == expected, name
        for weak in (0, 1.0, [[0.0], [1.0]], [0, 1]):
            assert given.log_prob(weak).numpy().dtype == parameter
        for own in (given.mean, given.variance, given.stddev, given.sample((2,))):
            assert own.numpy().dtype == parameter
    mixed = MixtureSameFamily(Categorical(np.ones(2, parameter)), Normal([0.0, 1.0], 1))
    assert mixed.dtype == np.result_type(parameter, np.float32)
    assert mixed.log_prob(0.0).numpy().dtype == mixed.dtype


# ---- shapes of samples


def test_sample_shapes() -> None:
    given = Normal(np.zeros((2, 3)), 1.0)
    for shape, lead in (((), ()), (4, (4,)), ([4, 1], (4, 1)), (np.int64(2), (2,))):
        assert given.sample(shape).shape == (*lead, 2, 3)
    assert given.sample((3, 0)).shape == (3, 0, 2, 3)
    for wrong in (2.5, "ab", None, (1, 2.0), ((1,),)):
        with pytest.raises(TypeError, match=r"^`sample_shape` must be an int or a tup"):
            given.sample(wrong)
    for wrong in (-1, (2, -3)):
        with pytest.raises(ValueError, match=r"^`sample_shape` must not hold negative"):
            given.sample(wrong)
    for target in (given, mixture(), Categorical([1.0, 1.0]), event()):
        with pytest.raises((TypeError, ValueError), match="`generator`"):
            target.sample((2,), generator=3)


def test_expanded_shapes() -> None:
    given = Normal(np.zeros((2, 1)), 1.0)
    assert given.expand((2, 5)).loc.shape == (2, 5)
    assert given.expand([3, 2, 5]).batch_shape == (3, 2, 5)
    assert Normal(0.0, 1.0).expand(4).batch_shape == (4,)
    for wrong in ((3, 1), (2,), (), (5, 3, 5)):
        with pytest.raises(ValueError, match=r"^Normal: `batch_shape` must be a shape"):
            given.expand(wrong)
    with pytest.raises(ValueError, match=r"^`batch_shape` must not hold negative"):
        given.expand((2, -1))
    with pytest.raises(TypeError, match=r"^`batch_shape` must be an int or a tuple"):
        given.expand(2.0)


# ---- out=


def outs(shape: Any, dtype: Any) -> list[Any]:
    """Tensors of a shape, laid out one way and another."""
    whole = np.full(shape, NAN, dtype)
    wide = np.full((*shape[:-1], 2 * shape[-1]), NAN, dtype)
    return [lucid.asarray(whole), lucid.asarray(wide)[..., ::2]]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_out_receives_the_result(dtype: Any) -> None:
    x = np.linspace(-3.0, 3.0, 2 * 3001).reshape(3001, 2).astype(dtype)
    normal = Normal(np.zeros(2, dtype), 2.0)
    events = np.ones((5, 4, 3))
    for given, value in ((normal, x), (mixture(dtype), x), (event(), events)):
        expected = given.log_prob(value).numpy()
        for out in outs(expected.shape, expected.dtype):
            assert given.log_prob(value, out=out) is out
            assert_array_equal(out.numpy(), expected)


def test_out_may_be_the_value() -> None:
    x = np.linspace(-3.0, 3.0, 40_000)
    for given in (Normal(0.0, np.float64(2.0)), mixture()):
        expected = given.log_prob(x).numpy()
        both = lucid.asarray(x.copy())
        assert given.log_prob(both, out=both) is both
        assert_array_equal(both.numpy(), expected)
        # One element further on: a block would write what the next one reads.
        shared = lucid.asarray(np.append(x, 0.0))
        given.log_prob(shared[:-1], out=shared[1:])
        assert_array_equal(shared[1:].numpy(), expected)


NO_TENSOR = "`out` must be a Tensor, got ndarray."


@pytest.mark.parametrize("build", [lambda: Normal([0.0, 1.0], 1.0), mixture])
def test_out_that_does_not_fit(build: Any) -> None:
    given: Any = build()
    name, dtype = type(given).__name__, given.dtype
    x = np.zeros((3, 2), dtype)
    for wrong in (np.zeros((2, 3), dtype), np.zeros(6, dtype), np.zeros((3, 2), "f2")):
        message = (
            f"{name}: `out` must have shape (3, 2) and dtype {dtype}, got "
            f"{wrong.shape} and {wrong.dtype}."
        )
        with pytest.raises(ValueError, match=whole(message)):
            given.log_prob(x, out=lucid.asarray(wrong))
    with pytest.raises(TypeError, match=whole(f"{name}: {NO_TENSOR}")):
        given.log_prob(x, out=np.zeros((3, 2), dtype))


def test_out_that_is_read_only() -> None:
    given = Normal(np.array([0.0, 1.0]), 1.0)
    if str(given.device) != "cpu":
        pytest.skip("a GPU's memory cannot be read-only")
    frozen = np.zeros(2)
    frozen.flags.writeable = False
    for out in (given.loc, given.mean, lucid.asarray(frozen, copy=False)):
        with pytest.raises(ValueError, match=r"^Normal: `out` is read-only; pass a te"):
            given.log_prob(np.zeros(2), out=out)
    assert_array_equal(given.loc.numpy(), [0.0, 1.0])


# ---- devices


def test_everything_is_on_the_parameters_device() -> None:
    given = mixture()
    here = lucid.get_default_device()
    assert given.device == given.component_distribution.device == here
    x = lucid.asarray([0.0, 1.0])
    for found in (given.log_prob(x), given.mean, given.sample((2,)), given.cdf(x)):
        assert found.device == here
    assert given.to(here) is given
    assert given.to(str(here)) is given
    there = given.to("cpu")
    assert str(there.device) == str(there.sample().device) == "cpu"
    assert_array_equal(there.log_prob(np.zeros(2)).shape, (2,))
    with pytest.raises(ValueError, match="a device is 'cpu', 'cuda' or"):
        given.to("tpu")


def test_devices_do_not_mix(two_gpus: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucid._device._chosen", lucid.device("cpu"))
    given = mixture()
    elsewhere = lucid.asarray(np.zeros(2), device="cuda:1")
    message = (
        "MixtureSameFamily: `value` is on cuda:1, but the distribution is on cpu; "
        "move one of them with .to(device)."
    )
    with pytest.raises(ValueError, match=whole(message)):
        given.log_prob(elsewhere)
    with pytest.raises(ValueError, match=r"`out` must be on cpu, got cuda:1"):
        given.log_prob(np.zeros(2), out=elsewhere)
    message = (
        "Normal: all arguments must be on one device, but `loc` is on cpu and "
        "`scale` is on cuda:1; move them with .to(device)."
    )
    with pytest.raises(ValueError, match=whole(message)):
        Normal(lucid.asarray(np.zeros(2), device="cpu"), elsewhere)
