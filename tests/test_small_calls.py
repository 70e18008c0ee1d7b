"""One value, or few under many components: no bit differs from those of many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import logsumexp

import lucid
from lucid.backends.numpy import plain
from lucid.distributions import Categorical, MixtureSameFamily, Normal
from tests.family_table import TABLE

pytestmark = pytest.mark.usefixtures("each_engine")

INF, NAN = np.inf, np.nan
DTYPES = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
SCALARS = {row.name: row for row in TABLE if not row.is_vector}


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucid._device._chosen", lucid.device("cpu"))


def normals(count: int, dtype: Any) -> tuple[MixtureSameFamily, Any]:
    """A mixture of normals, and what SciPy makes of a value under it."""
    rng = np.random.default_rng(count)
    loc, scale, probs = (rng.uniform(0.5, 2, count).astype(dtype) for _ in range(3))
    given = MixtureSameFamily(Categorical(probs), Normal(4 * loc, scale))
    loc, scale, probs = (a.astype(np.float64) for a in (4 * loc, scale, probs))

    def expected(x: float) -> Any:
        return logsumexp(stats.norm.logpdf(x, loc, scale), b=probs / probs.sum())

    return given, expected


@DTYPES
@pytest.mark.parametrize("count", [1, 8, 32, 33, 1025])
@pytest.mark.parametrize("name", SCALARS)
def test_a_value_alone_has_the_bits_of_many(name: str, count: int, dtype: Any) -> None:
    row = SCALARS[name]
    weights = np.linspace(1, 2, count, dtype=dtype)
    with np.errstate(over="ignore"):  # 2¹⁷ degrees of freedom in float16 are ∞
        given = {
            key: np.resize(p, count).astype(dtype) for key, p in row.parameters.items()
        }
        x = np.resize([*row.values, INF, -INF, NAN], 40).astype(dtype)
    mixture = MixtureSameFamily(Categorical(weights), row.family(**given))
    whole = mixture.log_prob(x).numpy()
    for value, expected in zip(x, whole, strict=True):
        found = mixture.log_prob(lucid.asarray(value)).numpy()
        assert (found.shape, found.dtype) == ((), dtype)
        assert found.tobytes() == expected.tobytes(), value


@pytest.mark.parametrize("x", [0.0, 4.0, -30.0, 90.0, 1e4, INF, -INF, NAN])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_value_near_and_far(dtype: Any, x: float) -> None:
    """Where a plain sum would underflow, too."""
    given, expected = normals(8, dtype)
    precision = {np.float32: 2e-6, np.float64: 1e-14}[dtype]
    for _ in range(2):  # of which the first prepares
        found = given.log_prob(lucid.asarray(dtype(x))).item()
        assert_allclose(found, expected(x), rtol=precision)


@pytest.mark.parametrize(
    "value",
    [
        4,
        4.0,
        np.int8(4),
        np.array(4.0, ">f4"),
        np.array([[4.0, 5.0]], np.float32)[:, ::2],
        np.broadcast_to(np.float32(4.0), (1, 1, 1)),
    ],
    ids=["int", "float", "int8", "big-endian", "strided", "three axes"],
)
def test_any_kind_of_one_value(value: Any) -> None:
    given, expected = normals(8, np.float32)
    for _ in range(2):
        found = given.log_prob(value)
        assert found.shape == np.shape(value)
        assert_allclose(found.numpy(), expected(4.0), rtol=1e-6)


def test_one_value_where_the_result_is_wanted() -> None:
    given, expected = normals(8, np.float64)
    out = lucid.asarray(np.zeros(()))
    for _ in range(2):
        assert given.log_prob(4.0, out=out) is out
        assert_allclose(out.item(), expected(4.0), rtol=1e-14)
        out[()] = 0.0


def test_one_value_of_one_mixture_beside_others() -> None:
    """A batch of mixtures scores one value each; a batch of one is a mixture."""
    loc = np.arange(16.0).reshape(2, 8)
    pair = MixtureSameFamily(Categorical(np.ones(8)), Normal(loc, 1.0))
    found = pair.log_prob(4.0).numpy()
    for b in range(2):
        alone = MixtureSameFamily(Categorical(np.ones(8)), Normal(loc[b : b + 1], 1.0))
        for _ in range(2):
            assert_array_equal(alone.log_prob(4.0).numpy(), found[b : b + 1])


@pytest.mark.parametrize("x", [1e30, 4.0, INF])
def test_nothing_raises_where_numpy_is_told_to(x: float) -> None:
    given, _ = normals(8, np.float32)
    with np.errstate(all="raise"):
        for _ in range(2):
            assert not np.isnan(given.log_prob(x).item())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_few_values_have_the_bits_of_many(
    dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many sums are kept at once, and whichever thread forms them."""
    rng = np.random.default_rng(0)
    loc, x = (rng.normal(size=size).astype(dtype) for size in (40_000, 1100))
    given = MixtureSameFamily(Categorical(np.ones_like(loc)), Normal(loc, dtype(1.0)))
    whole = given.log_prob(x).numpy()
    for sums, size, count in ((1, 1, 1), (1, 1 << 18, 2), (1 << 30, 1 << 30, 3)):
        monkeypatch.setattr(plain, "_KEPT_SUMS", sums)
        monkeypatch.setattr(plain, "_TILE_BYTES", size)
        lucid.set_num_threads(count)
        assert_array_equal(given.log_prob(x[:9]).numpy(), whole[:9])
