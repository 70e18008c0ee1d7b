"""Special values: dead components, infinities, NaN, and what no density takes."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest

import lucid
from lucid.distributions import (
    Bernoulli,
    Categorical,
    Gamma,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    Poisson,
    StudentT,
    Uniform,
)

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
FLOATS = ("float16", "float32", "float64")
WIDE = ("float32", "float64")
pytestmark = [
    pytest.mark.parametrize("device", DEVICES),
    pytest.mark.usefixtures("each_engine"),
]
INF, NAN = math.inf, math.nan


def on(device: str, values: Any, dtype: str = "float64") -> Any:
    return lucid.asarray(np.asarray(values, dtype=dtype), device=device)


def normals(
    device: str,
    probs: Any,
    loc: Any,
    scale: Any,
    dtype: str = "float64",
    validate_args: bool | None = None,
) -> MixtureSameFamily:
    return MixtureSameFamily(
        Categorical(probs=on(device, probs, dtype), validate_args=validate_args),
        Normal(on(device, loc, dtype), on(device, scale, dtype), validate_args),
        validate_args=validate_args,
    )


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize(
    ("second", "expected"), [(0.0, -1250.918938533205), (1e-20, -46.97064039308559)]
)
def test_small_weights_are_neither_clamped_nor_lost(
    second: float, expected: float, dtype: str, device: str
) -> None:
    mixture = normals(device, [1.0, second], [0.0, 50.0], [1.0, 1.0], dtype)
    tolerance = 4 * float(np.finfo(dtype).eps) * abs(expected)
    assert mixture.log_prob(50.0).item() == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("dtype", WIDE)
def test_small_weights_stay_in_probs_and_moments(dtype: str, device: str) -> None:
    weights = Categorical(probs=on(device, [1.0, 1e-20, 0.0], dtype))
    assert weights.probs.numpy() == pytest.approx([1.0, 1e-20, 0.0], rel=1e-6, abs=0.0)
    mixture = normals(device, [1.0, 1e-20], [0.0, 1e25], [1.0, 1.0])
    assert mixture.mean.item() == pytest.approx(1e5, rel=1e-13)
    assert mixture.variance.item() == pytest.approx(1e30, rel=1e-13)


@pytest.mark.parametrize("dtype", WIDE)
def test_no_weight_at_all(dtype: str, device: str) -> None:
    zeros, never = on(device, [0.0, 0.0], dtype), on(device, [-INF, -INF], dtype)
    with pytest.raises(ValueError, match="probs"):
        Categorical(probs=zeros)
    with pytest.raises(ValueError, match="logits"):
        Categorical(logits=never)
    components = Normal(on(device, [0.0, 1.0], dtype), on(device, [1.0, 1.0], dtype))
    for weights in (
        Categorical(probs=zeros, validate_args=False),
        Categorical(logits=never, validate_args=False),
    ):
        mixture = MixtureSameFamily(weights, components, validate_args=False)
        assert np.isnan(mixture.log_prob(on(device, [0.0, 3.0], dtype)).numpy()).all()


@pytest.mark.parametrize("validate_args", [None, True, False])
def test_no_components(validate_args: bool | None, device: str) -> None:
    empty = on(device, [])
    for given in ({"probs": empty}, {"logits": empty}):
        with pytest.raises(ValueError, match=next(iter(given))):
            Categorical(**given, validate_args=validate_args)


DEAD = [(NAN, 1.0), (INF, 1.0), (-INF, 1.0), (0.0, NAN), (0.0, INF), (0.0, 0.0)]
DEAD += [(0.0, -1.0), (NAN, NAN), (INF, INF), (3e38, 1e-38)]


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("kind", ["probs", "logits"])
@pytest.mark.parametrize("layout", ["shared", "rows", "event"])
@pytest.mark.parametrize("dead", DEAD)
def test_a_dead_component_changes_nothing(
    dead: tuple[float, float], layout: str, kind: str, dtype: str, device: str
) -> None:
    """Its parameters may be anything: log_prob, moments and draws do not see it."""
    given = [0.25, 0.0, 0.75] if kind == "probs" else [-1.0, -INF, 0.5]
    table = np.array([[1.0, 0.5], dead, [-2.0, 2.0]])
    values = np.array([0.0, 1.5, -30.0, 1e4, NAN, INF, -INF])

    def build(keep: list[int]) -> tuple[Any, Any]:
        weights, (loc, scale) = np.array(given)[keep], table[keep].T
        x = values
        if layout == "rows":
            weights, loc, scale = (np.tile(p, (7, 1)) for p in (weights, loc, scale))
        elif layout == "event":
            loc, scale = (np.stack([p, p], -1) for p in (loc, scale))
            x = np.stack([values, np.zeros(7)], -1)
        components: Any = Normal(
            on(device, loc, dtype), on(device, scale, dtype), validate_args=False
        )
        if layout == "event":
            components = Independent(components, 1)
        categorical = Categorical(
            **{kind: on(device, weights, dtype)}, validate_args=False
        )
        mixture = MixtureSameFamily(categorical, components, validate_args=False)
        return mixture, on(device, x, dtype)

    (whole, x), (without, _) = build([0, 1, 2]), build([0, 2])
    rtol = 4 * float(np.finfo(dtype).eps)
    expected = without.log_prob(x).numpy()
    assert np.isfinite(expected[:4]).all()
    assert np.isnan(expected[4])
    assert np.isneginf(expected[5:]).all()
    np.testing.assert_allclose(whole.log_prob(x).numpy(), expected, rtol)
    for name in ("mean", "variance"):
        ours, theirs = getattr(whole, name).numpy(), getattr(without, name).numpy()
        np.testing.assert_allclose(ours, theirs, rtol)
    draws = whole.sample((500,), generator=lucid.Generator(7, device=device)).numpy()
    other = without.sample((500,), generator=lucid.Generator(7, device=device)).numpy()
    assert np.isfinite(draws).all()
    np.testing.assert_array_equal(draws, other)


def test_validation_still_looks_at_dead_components(device: str) -> None:
    with pytest.raises(ValueError, match="scale"):
        normals(device, [1.0, 0.0], [0.0, 0.0], [1.0, -1.0])
    with pytest.raises(ValueError, match="loc"):
        normals(device, [1.0, 0.0], [0.0, NAN], [1.0, 1.0])


# A density of each family and whether x = +∞ has density 0 there (it has everywhere).
FAMILIES = [
    (Normal, {"loc": 0.5, "scale": 2.0}),
    (Laplace, {"loc": 0.5, "scale": 2.0}),
    (StudentT, {"df": 3.0, "loc": 0.5, "scale": 2.0}),
    (Gamma, {"concentration": 2.5, "rate": 1.5}),
    (Poisson, {"rate": 4.0}),
    (Bernoulli, {"logits": 0.3}),
    (Uniform, {"low": -1.0, "high": 4.0}),
]
NAMES = [family.__name__ for family, _ in FAMILIES]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixture"])
@pytest.mark.parametrize(("family", "parameters"), FAMILIES, ids=NAMES)
def test_infinite_and_nan_values(
    family: Any, parameters: dict[str, float], mixed: bool, dtype: str, device: str
) -> None:
    """−∞ at ±∞, NaN at NaN; the rows beside them as if alone."""
    shape = (3,) if mixed else ()
    target = family(
        **{name: on(device, np.full(shape, p), dtype) for name, p in parameters.items()}
    )
    if mixed:
        target = MixtureSameFamily(Categorical(on(device, np.ones(3), dtype)), target)
    values = np.array([1.0, NAN, 0.0, INF, 1.0, -INF, 0.0])
    found = target.log_prob(on(device, values, dtype)).numpy()
    assert found.dtype == dtype
    assert np.isnan(found).tolist() == np.isnan(values).tolist()
    assert np.isneginf(found[[3, 5]]).all()
    calm = target.log_prob(
        on(device, [1.0, 0.5, 0.0, 0.5, 1.0, 0.5, 0.0], dtype)
    ).numpy()
    np.testing.assert_array_equal(found[::2], calm[::2])


def test_nan_in_one_element_of_an_event(device: str) -> None:
    components = Independent(Normal(on(device, np.zeros((4, 3))), on(device, 1.0)), 1)
    mixture = MixtureSameFamily(Categorical(on(device, np.ones(4))), components)
    values = np.zeros((5, 3))
    values[1, 2] = NAN
    values[2, 0] = INF
    values[3] = INF, NAN, 0.0
    found = mixture.log_prob(on(device, values)).numpy()
    plain = -1.5 * math.log(2 * math.pi)
    np.testing.assert_allclose(found, [plain, NAN, -INF, NAN, plain], rtol=1e-14)
    full = MultivariateNormal(on(device, np.zeros(3)), scale_tril=on(device, np.eye(3)))
    found = full.log_prob(on(device, values)).numpy()
    np.testing.assert_allclose(found, [plain, NAN, -INF, NAN, plain], rtol=1e-14)


def test_different_supports_are_united(device: str) -> None:
    mixture = MixtureSameFamily(
        Categorical(on(device, [0.5, 0.5, 0.0])),
        Uniform(on(device, [0.0, 3.0, 8.0]), on(device, [1.0, 5.0, 9.0])),
    )
    values = [-1.0, 0.0, 1.0, 2.0, 3.0, 5.0, 8.5, NAN]
    half, quarter = math.log(0.5), math.log(0.25)
    expected = [-INF, half, half, -INF, quarter, quarter, -INF, NAN]
    found = mixture.log_prob(on(device, values)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-15)


@pytest.mark.parametrize("mixed", [False, True], ids=["plain", "mixture"])
@pytest.mark.parametrize(("family", "parameters"), FAMILIES, ids=NAMES)
def test_half_precision_is_computed_in_single(
    family: Any, parameters: dict[str, float], mixed: bool, device: str
) -> None:
    shape = (2,) if mixed else ()

    def target(dtype: str) -> Any:
        base = family(
            **{n: on(device, np.full(shape, p), dtype) for n, p in parameters.items()}
        )
        weights = on(device, [0.5, 0.25], dtype)
        return MixtureSameFamily(Categorical(weights), base) if mixed else base

    values = np.array([0.0, 1.0, 3.0, 300.0, 60000.0])
    half = target("float16")
    parameters16 = {n: np.float16(p) for n, p in parameters.items()}
    found = half.log_prob(on(device, values, "float16"))
    assert found.numpy().dtype == np.float16
    # Parameters and values that float16 holds exactly or rounds alike.
    wide = family(
        **{n: on(device, np.full(shape, p), "float32") for n, p in parameters16.items()}
    )
    if mixed:
        wide = MixtureSameFamily(Categorical(on(device, [0.5, 0.25], "float32")), wide)
    with np.errstate(over="ignore"):
        expected = (
            wide.log_prob(on(device, values.astype(np.float16), "float32"))
            .numpy()
            .astype(np.float16)
        )
    np.testing.assert_array_equal(found.numpy(), expected)


def test_half_precision_far_out(device: str) -> None:
    mixture = normals(device, [0.5, 0.5], [0.0, 1.0], [1.0, 1.0], "float16")
    found = mixture.log_prob(on(device, [300.0], "float16")).numpy()
    exact = mpmath.log(mpmath.npdf(300, 0, 1) / 2 + mpmath.npdf(300, 1, 1) / 2)
    assert found[0] == np.float16(float(exact))
    assert np.isneginf(mixture.log_prob(on(device, [400.0], "float16")).numpy()[0])


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("integer", ["int8", "uint8", "int32", "int64", "uint64"])
def test_integers_are_promoted_to_the_parameters(
    integer: str, dtype: str, device: str
) -> None:
    mixture = normals(device, [0.5, 0.5], [0.0, 3.0], [1.0, 2.0], dtype)
    whole = mixture.log_prob(on(device, [0, 1, 100], integer)).numpy()
    assert whole.dtype == dtype
    as_float = mixture.log_prob(on(device, [0, 1, 100], dtype)).numpy()
    np.testing.assert_array_equal(whole, as_float)
    rate = Poisson(on(device, 3.0, dtype)).log_prob(on(device, [0, 1, 100], integer))
    assert rate.numpy().dtype == dtype


WRONG = [
    np.array([True, False]),
    np.array([1 + 2j, 0j]),
    np.array([object(), None]),
    np.array(["1.0", "2.0"]),
    np.array([b"1", b"2"]),
    np.array(["2020-01-01"], dtype="datetime64[D]"),
    [True],
    ["a"],
    "a",
    1j,
    None,
]


@pytest.mark.parametrize("wrong", WRONG, ids=[repr(w)[:24] for w in WRONG])
def test_what_is_no_real_number_is_a_type_error(wrong: Any, device: str) -> None:
    plain = Normal(on(device, 0.0), on(device, 1.0))
    mixture = normals(device, [0.5, 0.5], [0.0, 3.0], [1.0, 2.0])
    for target in (plain, mixture):
        with pytest.raises(TypeError, match="value"):
            target.log_prob(wrong)
    with pytest.raises(TypeError, match="loc"):
        Normal(wrong, 1.0)
    if wrong is not None:  # `probs` not given
        with pytest.raises(TypeError, match="probs"):
            Categorical(probs=wrong)


@pytest.mark.parametrize("dtype", FLOATS)
def test_nothing_in_nothing_out(dtype: str, device: str) -> None:
    mixture = normals(device, [0.5, 0.5], [0.0, 3.0], [1.0, 2.0], dtype)
    event = MixtureSameFamily(
        Categorical(on(device, [0.5, 0.5], dtype)),
        Independent(
            Normal(on(device, np.zeros((2, 4)), dtype), on(device, 1.0, dtype)), 1
        ),
    )
    plain = Normal(on(device, 0.0, dtype), on(device, 1.0, dtype))
    for target, shape, result in (
        (mixture, (0,), (0,)),
        (mixture, (0, 3), (0, 3)),
        (event, (0, 4), (0,)),
        (event, (5, 0, 4), (5, 0)),
        (plain, (0,), (0,)),
    ):
        found = target.log_prob(on(device, np.zeros(shape), dtype))
        assert found.shape == result
        assert found.numpy().dtype == dtype
    assert mixture.sample((0,)).shape == (0,)
    assert mixture.sample((2, 0)).shape == (2, 0)
    assert event.sample((0,)).shape == (0, 4)


@pytest.mark.parametrize("dtype", WIDE)
def test_an_empty_batch(dtype: str, device: str) -> None:
    shape = (0, 3)
    mixture = MixtureSameFamily(
        Categorical(probs=on(device, np.ones(shape), dtype)),
        Normal(on(device, np.zeros(shape), dtype), on(device, np.ones(shape), dtype)),
    )
    assert mixture.batch_shape == (0,)
    assert mixture.log_prob(on(device, np.zeros((5, 0)), dtype)).shape == (5, 0)
    assert mixture.mean.shape == mixture.variance.shape == (0,)
    assert mixture.sample((4,)).shape == (4, 0)
