"""Arrays of any layout, moments to the last digits, and more than 2³¹ elements."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.distributions import Categorical, Independent, MixtureSameFamily, Normal
from tests.bounds import bounded
from tests.corpus.inputs import Draw

pytestmark = pytest.mark.usefixtures("each_engine")

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
WIDE = ("float32", "float64")
# The CPU takes 10 GB and a minute for these; a GPU machine runs them always.
LARGE = [
    pytest.param(
        "cpu",
        marks=pytest.mark.skipif(
            not os.environ.get("LUCID_TEST_LARGE"),
            reason="not run: takes 10 GB; set LUCID_TEST_LARGE=1",
        ),
    ),
    pytest.param("cuda", marks=pytest.mark.gpu),
]


def big_endian(x: np.ndarray) -> np.ndarray:
    return x.astype(x.dtype.newbyteorder(">"))


def read_only(x: np.ndarray) -> np.ndarray:
    view = x[...]
    view.flags.writeable = False
    return view


def every_other(x: np.ndarray) -> np.ndarray:
    wide = np.full((2 * len(x), *x.shape[1:]), np.nan, x.dtype)
    wide[::2] = x
    return wide[::2]


def unaligned(x: np.ndarray) -> np.ndarray:
    raw = np.zeros(x.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(x.tobytes(), np.uint8)
    return raw[1:].view(x.dtype).reshape(x.shape)


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "every other": every_other,
    "negative stride": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "Fortran": np.asfortranarray,
    "inner stride": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "read-only": read_only,
    "big-endian": big_endian,
    "unaligned": unaligned,
}


def target_of(kind: str, draw: Draw) -> Any:
    """A distribution whose log_prob takes the values of `values_of`."""
    if kind == "plain":
        return Normal(lucid.asarray(draw.array(1.0)), lucid.asarray(draw.array(2.0)))
    shape = {"event": (9, 5), "rows": (7001, 4)}.get(kind, (9,))
    loc, scale = draw.bell(shape, spread=3.0), draw.powers(shape, -2, 2)
    components: Any = Normal(lucid.asarray(loc), lucid.asarray(scale))
    if kind == "event":
        components = Independent(components, 1)
    weights = draw.uniform(shape if kind == "rows" else shape[:1], 0.1, 1.0)
    return MixtureSameFamily(Categorical(lucid.asarray(weights)), components)


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("kind", ["plain", "mixture", "event", "batch", "rows"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_same_bits(layout: str, kind: str, dtype: str) -> None:
    draw = Draw(f"layout {kind}", dtype)
    target = target_of(kind, draw)
    shape = {"event": (40_001, 5), "batch": (201, 199), "rows": (5, 7001)}
    values = draw.bell(shape.get(kind, (40_001,)), spread=4.0)
    expected = target.log_prob(values).numpy()
    given = LAYOUTS[layout](values)
    before = given.tobytes()
    found = target.log_prob(given)
    assert found.numpy().tobytes() == expected.tobytes()
    assert found.numpy().dtype == dtype
    assert given.tobytes() == before
    if layout != "big-endian":  # a tensor has its device's byte order
        tensor = lucid.asarray(given)
        assert target.log_prob(tensor).numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", ["plain", "mixture", "event"])
@pytest.mark.parametrize("dtype", WIDE)
def test_a_value_repeated_by_stride_zero(kind: str, dtype: str) -> None:
    draw = Draw("stride 0", dtype)
    target = target_of(kind, draw)
    one = draw.bell((1, 5) if kind == "event" else (1,))
    repeated = np.broadcast_to(one, (20_011, *one.shape[1:]))
    found = target.log_prob(repeated).numpy()
    expected = target.log_prob(np.ascontiguousarray(repeated)).numpy()
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_parameters_of_any_layout(layout: str, dtype: str) -> None:
    draw = Draw("parameters", dtype)
    loc, scale = draw.bell((64, 6), spread=3.0), draw.powers((64, 6), -2, 2)
    weights, values = draw.uniform(64, 0.1, 1.0), draw.bell((500, 6), spread=3.0)

    def result(change: Any) -> bytes:
        given = [change(array) for array in (weights, loc, scale)]
        before = [array.tobytes() for array in given]
        components = Independent(Normal(given[1], given[2]), 1)
        mixture = MixtureSameFamily(Categorical(probs=given[0]), components)
        found: bytes = mixture.log_prob(values).numpy().tobytes()
        assert [array.tobytes() for array in given] == before
        return found

    assert result(LAYOUTS[layout]) == result(lambda array: array)


def exact_moments(
    probs: np.ndarray, loc: np.ndarray, scale: np.ndarray
) -> tuple[float, float]:
    """Mean and variance by the law of total variance, in rationals."""
    w, m, s = ([Fraction(float(v)) for v in array] for array in (probs, loc, scale))
    total = sum(w)
    mean = sum(a * b for a, b in zip(w, m, strict=True)) / total
    spread = sum(a * (c * c + (b - mean) ** 2) for a, b, c in zip(w, m, s, strict=True))
    return float(mean), float(spread / total)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("offset", [0.0, 1e4, 1e6])
@pytest.mark.parametrize("count", [1, 2, 50, 3000])
def test_law_of_total_variance(
    count: int, offset: float, dtype: str, device: str
) -> None:
    draw = Draw(f"moments {count} {offset}", dtype)
    probs = draw.uniform(count, 0.01, 1.0)
    loc, scale = draw.bell(count, offset), draw.powers(count, -10, 0)
    mixture = MixtureSameFamily(
        Categorical(probs=lucid.asarray(probs, device=device)),
        Normal(lucid.asarray(loc, device=device), lucid.asarray(scale, device=device)),
    )
    mean, variance = exact_moments(probs, loc, scale)
    tolerance = 1e-13 if dtype == "float64" else 2.0**-23
    assert mixture.mean.item() == pytest.approx(mean, rel=tolerance)
    assert mixture.variance.item() == pytest.approx(variance, rel=tolerance)
    assert mixture.stddev.item() == pytest.approx(variance**0.5, rel=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("device", LARGE)
def test_more_than_2_to_the_31_values(device: str) -> None:
    """Overlapping windows of a small array stand for 2³¹ + 2¹⁶ values on the CPU."""
    columns, rows = 2**16, 2**15 + 1
    base = Draw("large", np.float32).bell(rows + columns, spread=4.0)
    values: Any = np.lib.stride_tricks.sliding_window_view(base, columns)[:rows]
    assert values.size > 2**31
    if device == "cuda":
        values = lucid.asarray(values, device=device)
    target = Normal(
        lucid.asarray(np.float32(0.5), device=device),
        lucid.asarray(np.float32(1.5), device=device),
    )
    found = target.log_prob(values)
    for row in (0, 2**15 - 1, 2**15, rows - 1):  # row 2¹⁵ begins at element 2³¹
        line = base[row : row + columns]
        exact = bounded("Normal", {"loc": 0.5, "scale": 1.5}, line)
        error = np.abs(found[row].numpy() - exact.log_prob)
        assert (error <= 4 * 2.0**-24 * exact.bound).all()


@pytest.mark.slow
@pytest.mark.parametrize("device", LARGE)
def test_more_than_2_to_the_31_pairs(device: str) -> None:
    """N·K = 2³¹ + 2¹⁶, and the last rows are right."""
    rows, count = 2**21 + 64, 2**10
    draw = Draw("pairs", np.float32)
    loc, scale = draw.bell(count, spread=4.0), draw.powers(count, -1, 1)
    weights, values = draw.uniform(count, 0.1, 1.0), draw.bell(rows, spread=5.0)
    mixture = MixtureSameFamily(
        Categorical(lucid.asarray(weights, device=device)),
        Normal(lucid.asarray(loc, device=device), lucid.asarray(scale, device=device)),
    )
    found = mixture.log_prob(values).numpy()
    for part in (slice(0, 200), slice(rows - 200, rows)):
        log_weights = np.log(weights.astype(np.float64))
        parameters = {"loc": loc, "scale": scale}
        exact = bounded("Normal", parameters, values[part], log_weights)
        error = np.abs(found[part] - exact.log_prob)
        assert (error <= 4 * 2.0**-24 * exact.bound).all()
