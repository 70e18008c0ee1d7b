"""The NumPy engine: no result depends on how rows are cut, and no N×K array is made."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.special import logsumexp

import lucid
from lucid.backends.numpy import blocks, categorical, elementwise, prepare
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


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucid._device._chosen", lucid.device("cpu"))
    lucid.set_cpu_engine("numpy")


def cases(dtype: Any) -> dict[str, tuple[Any, Any]]:
    """name → (mixture, values): each layout, and what makes rows special."""
    rng = np.random.default_rng(17)

    def bell(*shape: int) -> Any:
        return rng.normal(0, 3, shape).astype(dtype)

    def share(*shape: int) -> Any:
        return rng.uniform(0.2, 2, shape).astype(dtype)

    def mixed(components: Any, *shape: int) -> Any:
        return MixtureSameFamily(Categorical(share(*shape)), components)

    x = bell(401)
    strange = x * 4
    strange[::97], strange[1::89], strange[2::83] = np.inf, np.nan, -np.inf
    far = np.where(np.arange(401) % 3 == 0, x * dtype(1e4), x)
    wide = Normal(bell(40), share(40))
    factor = np.tril(bell(5, 6, 6)) * dtype(0.1) + 2 * np.eye(6, dtype=dtype)
    return {
        "normal": (mixed(wide, 40), x),
        "far from all": (mixed(wide, 40), far),
        "infinite and missing": (mixed(wide, 40), strange),
        "an infinite scale": (
            mixed(Normal(bell(40), np.append(share(39), dtype(np.inf))), 40),
            strange,
        ),
        "one component": (mixed(Normal(bell(1), share(1)), 1), strange),
        "three tiles and a bit": (mixed(Normal(bell(70), share(70)), 70), x),
        "tall densities": (
            mixed(Normal(bell(40) * dtype(1e-30), share(40) * dtype(1e-30)), 40),
            x * dtype(1e-30),
        ),
        "student": (mixed(StudentT(share(40), bell(40), share(40)), 40), strange),
        "gamma": (mixed(Gamma(share(40), share(40)), 40), strange),
        "poisson": (mixed(Poisson(share(40)), 40), np.floor(strange)),
        "uniform": (mixed(Uniform(-share(40), share(40)), 40), strange),
        "bernoulli": (mixed(Bernoulli(logits=bell(40)), 40), np.sign(strange)),
        "diagonal": (
            mixed(Independent(Normal(bell(9, 3), share(9, 3)), 1), 9),
            np.stack([strange, x, x[::-1]], -1),
        ),
        "many components": (mixed(Normal(bell(600), share(600)), 600), far),
        "very many components": (mixed(Laplace(bell(2100), share(2100)), 2100), x),
        "events far apart": (
            mixed(Independent(Normal(bell(40, 6) * dtype(9), share(40, 6)), 1), 40),
            np.stack([strange, x, x[::-1], x * 9, x[::-1] * 9, far], -1),
        ),
        "full": (
            mixed(MultivariateNormal(bell(5, 6), scale_tril=np.tril(factor)), 5),
            bell(201, 6),
        ),
        "batch": (mixed(Normal(bell(7, 9), share(7, 9)), 7, 9), bell(91, 7)),
        "batch of weights": (mixed(Normal(bell(9), share(9)), 7, 9), bell(91, 7)),
        "rows of their own": (mixed(Normal(bell(403, 9), dtype(1)), 403, 9), bell(403)),
        "and several values": (
            mixed(Normal(bell(403, 9), dtype(1)), 9),
            bell(3, 403),
        ),
        "full, rows of their own": (
            mixed(MultivariateNormal(bell(61, 3, 2), scale_tril=np.eye(2)), 61, 3),
            bell(61, 2),
        ),
    }


DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
CASES = {dtype: cases(dtype) for dtype in (np.float32, np.float64)}
EVERY_CASE = pytest.mark.parametrize("name", CASES[np.float32])
SIZES = [(1, 1), (1, 7), (1, 64), (1 << 12, 1), (1 << 26, 1 << 20)]


def results(given: Any, x: Any) -> list[bytes]:
    index, probs = given.posterior_mode(x, return_probs=True)
    found = (given.log_prob(x), index, probs)
    return [tensor.numpy().tobytes() for tensor in found]


@DTYPES
@EVERY_CASE
def test_any_block_gives_the_same_bits(
    name: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, x = CASES[dtype][name]
    expected = results(given, x)
    for size, fewest in SIZES:
        monkeypatch.setattr(blocks, "BUFFER_BYTES", size)
        monkeypatch.setattr(blocks, "FEWEST_ROWS", fewest)
        assert results(given, x) == expected, (size, fewest)


@DTYPES
@EVERY_CASE
def test_it_is_the_sum_over_the_components(name: str, dtype: Any) -> None:
    """Of densities from the elementwise path, summed by SciPy: a coarse check."""
    given, x = CASES[dtype][name]
    parts = given.component_log_probs(x.astype(np.float64)).numpy()
    weights = given.mixture_distribution.probs.numpy().astype(np.float64)
    joint = parts + np.log(weights)
    with np.errstate(invalid="ignore"):
        joint[np.isnan(joint) & ~np.isnan(joint).all(-1, keepdims=True)] = -np.inf
        expected = logsumexp(joint, axis=-1)
        probs = np.exp(joint - expected[..., None])
    eps = 8 * float(np.finfo(dtype).eps)
    found = given.log_prob(x).numpy()
    # In units of the largest number that a term is made of, as B is.
    size = np.where(np.isfinite(expected), abs(expected), 0.0) + 50.0
    assert_allclose(found / size, expected / size, rtol=0, atol=eps)
    if "scale" in name:  # ∞ · 0 is explained row by row, elsewhere than here
        return
    index, top = (t.numpy() for t in given.posterior_mode(x, return_probs=True))
    alive = np.isfinite(expected)
    best = np.take_along_axis(probs, index[..., None], axis=-1)[..., 0]
    assert_allclose(top[alive], best[alive], rtol=2e3 * eps)
    assert (best[alive] >= probs.max(-1)[alive] * (1 - 2e3 * eps)).all()
    assert np.isnan(top[~alive]).all()


@DTYPES
@pytest.mark.parametrize("family", [Normal, Laplace, StudentT])
@pytest.mark.parametrize("count", [2, 8, 32, 33])
def test_a_few_values_have_the_bits_of_many(
    count: int, family: Any, dtype: Any
) -> None:
    rng = np.random.default_rng(18)
    share = rng.uniform(0.2, 2, (4, count)).astype(dtype)
    loc = rng.normal(0, 3, count).astype(dtype)
    own = (share[0], loc, share[1]) if family is StudentT else (loc, share[1])
    given = MixtureSameFamily(Categorical(share[2]), family(*own))
    x = rng.normal(0, 4, 1100).astype(dtype)
    x[3:8] = np.inf, np.nan, -np.inf, 1e30, 60
    many = given.log_prob(x).numpy()
    for size in (1, 2, 15, 16, 17, 100, 1024):
        for start in range(0, 12, 3):
            few = slice(start, start + size)
            found = given.log_prob(x[few]).numpy()
            assert found.tobytes() == many[few].tobytes(), (size, start)


@DTYPES
@pytest.mark.parametrize("count", [2, 33, 70])
def test_of_equal_components_the_first_is_the_mode(count: int, dtype: Any) -> None:
    loc = np.zeros(count, dtype)
    loc[0] = 5.0
    given = MixtureSameFamily(Categorical(np.ones(count, dtype)), Normal(loc, dtype(1)))
    x = np.array([-1.0, 0.0, 1.0, 5.0, 60.0], dtype)
    index, probs = given.posterior_mode(x, return_probs=True)
    assert index.numpy().tolist() == [1, 1, 1, 0, 0]
    near = 1 / (count - 1)
    assert_allclose(probs.numpy()[0], near, rtol=1e-5)
    few = MixtureSameFamily(
        Categorical(np.arange(count) % 2 * dtype(1)), Normal(loc[::-1], dtype(1))
    )
    assert few.posterior_mode(x).numpy().tolist()[:3] == [1, 1, 1]


@DTYPES
@EVERY_CASE
def test_a_row_does_not_see_its_neighbours(name: str, dtype: Any) -> None:
    given, x = CASES[dtype][name]
    if given.batch_shape:
        return
    whole = given.log_prob(x).numpy()
    index, probs = (t.numpy() for t in given.posterior_mode(x, return_probs=True))
    for rows in (slice(0, 1), slice(5, 6), slice(0, None, 3), slice(97, 110)):
        assert given.log_prob(x[rows]).numpy().tobytes() == whole[rows].tobytes()
        found = given.posterior_mode(x[rows], return_probs=True)
        assert_array_equal(found[0].numpy(), index[rows])
        assert_array_equal(found[1].numpy(), probs[rows])


@DTYPES
@pytest.mark.parametrize("block", [1, 3, 1 << 20])
def test_any_block_of_elementwise_and_gathered(
    block: int, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(700, 9)).astype(dtype)
    logits = Categorical(logits=rng.normal(size=(700, 9)).astype(dtype))
    normal, gamma = Normal(x[0], dtype(2.0)), Gamma(np.exp(x[0]), dtype(2.0))
    value = rng.integers(0, 9, 700)

    def every() -> list[bytes]:
        found = normal.log_prob(x), gamma.log_prob(x), logits.log_prob(value)
        return [tensor.numpy().tobytes() for tensor in found]

    expected = every()
    monkeypatch.setattr(elementwise, "BLOCK", block)
    monkeypatch.setattr(categorical, "BLOCK_ELEMENTS", block)
    if lucid.get_cpu_engine() == "numba":
        monkeypatch.setattr("lucid.backends.numba.categorical.BLOCK", block)
    assert every() == expected


# ---- what is prepared


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[slice]:
    """The mixtures of every preparation from now on."""
    seen: list[slice] = []
    real = prepare.prepare

    def spy(
        fn: Any, components: Any, dtype: Any, mixtures: slice = slice(None)
    ) -> prepare.Prepared:
        seen.append(mixtures)
        return real(fn, components, dtype, mixtures)

    monkeypatch.setattr(prepare, "prepare", spy)
    return seen


def test_components_are_prepared_once(prepared: list[slice]) -> None:
    given, x = cases(np.float32)["normal"]
    for _ in range(3):
        given.log_prob(x)
    given.posterior_mode(x)
    assert prepared == [slice(None)]
    given.log_prob(x.astype(np.float64))
    assert len(prepared) == 2  # another dtype
    given.expand((2,)).log_prob(x[:, None])
    assert len(prepared) == 3  # a copy keeps nothing


@DTYPES
@pytest.mark.parametrize(
    "name", ["rows of their own", "and several values", "batch", "batch of weights"]
)
def test_many_parameters_are_prepared_block_by_block(
    name: str, dtype: Any, prepared: list[slice], monkeypatch: pytest.MonkeyPatch
) -> None:
    given, x = cases(dtype)[name]
    expected = results(given, x)
    assert prepared == [slice(None)]
    again, _ = cases(dtype)[name]
    monkeypatch.setattr(prepare, "KEPT_ELEMENTS", 10)
    monkeypatch.setattr(blocks, "FEWEST_ROWS", 1)
    monkeypatch.setattr(blocks, "BUFFER_BYTES", 1 << 12)
    prepared.clear()
    assert results(again, x) == expected
    assert len(prepared) > 2
    size = given.batch_shape[0]
    ranges = [part.indices(size) for part in prepared]
    assert {i for part in ranges for i in range(*part)} == {*range(size)}
    assert again._density().prepared["numpy", np.dtype(dtype)] == (False, None)


def test_a_dead_component_of_some_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of their own weights: a component is none in one row and one in the next."""
    weights = np.array([[1.0, 0.0, 2.0], [1.0, 3.0, 0.0], [0.0, 1.0, 0.0]] * 40)
    loc = np.array(
        [[0.0, np.nan, 4.0], [0.0, 2.0, np.inf], [np.nan, 3.0, -np.inf]] * 40
    )
    given = MixtureSameFamily(
        Categorical(weights), Normal(loc, 1.0, validate_args=False)
    )
    x = np.linspace(-3.0, 5.0, 120)
    with np.errstate(all="ignore"):
        parts = stats.norm.logpdf(x[:, None], loc, 1.0)
        terms = np.where(weights > 0, parts, -np.inf)
        shares = np.log(weights / weights.sum(-1, keepdims=True))
        expected = logsumexp(np.where(weights > 0, terms + shares, -np.inf), axis=-1)
    assert_allclose(given.log_prob(x).numpy(), expected, rtol=1e-13)
    monkeypatch.setattr(prepare, "KEPT_ELEMENTS", 1)
    assert_allclose(given.log_prob(x).numpy(), expected, rtol=1e-13)
    best = np.where(weights > 0, terms + shares, -np.inf).argmax(-1)
    assert_array_equal(given.posterior_mode(x).numpy(), best)


class Reentrant(Normal):
    """A normal whose support asks for another mixture's density."""

    other: Any = None

    @staticmethod
    def supports(fn: Any, value: Any) -> Any:
        Reentrant.other.log_prob(np.full(2000, 9.0, value.dtype))
        return value == value


@DTYPES
@pytest.mark.parametrize("count", [1, 40])
def test_a_call_inside_a_call(count: int, dtype: Any) -> None:
    """On the same thread, as a signal's handler may do: buffers are not shared."""
    Reentrant.other, _ = CASES[dtype]["one component" if count == 1 else "normal"]
    loc, x = np.linspace(-3, 3, count).astype(dtype), CASES[dtype]["normal"][1]
    weights = Categorical(np.ones(count, dtype))
    inner = MixtureSameFamily(weights, Reentrant(loc, dtype(1.0)))
    plain = MixtureSameFamily(weights, Normal(loc, dtype(1.0)))
    assert_array_equal(inner.log_prob(x).numpy(), plain.log_prob(x).numpy())


# ---- memory


def peak(call: Callable[[], Any]) -> int:
    """Bytes beyond those of the result, at the most at once."""
    tracemalloc.start()
    try:
        found = call()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    kept = found if isinstance(found, tuple) else (found,)
    return int(most) - sum(tensor.numpy().nbytes for tensor in kept)


def test_memory_of_a_large_batch() -> None:
    """N×K would be 205 MB in float32."""
    lucid.set_num_threads(2)
    rng = np.random.default_rng(0)
    loc = rng.normal(size=256).astype(np.float32)
    x = rng.normal(size=200_000).astype(np.float32)
    given = MixtureSameFamily(
        Categorical(np.ones(256, np.float32)), Normal(loc, np.float32(0.5))
    )
    assert peak(lambda: given.log_prob(x)) < 12 * 2**20
    out = lucid.asarray(np.empty_like(x))
    assert peak(lambda: given.log_prob(x, out=out)) < 12 * 2**20
    some = x[:40_000]  # N×K would be 41 MB
    assert peak(lambda: given.posterior_mode(some, return_probs=True)) < 12 * 2**20
    assert peak(lambda: given.log_prob(some.astype(np.float64))) < 16 * 2**20


def test_memory_of_events() -> None:
    """N×K×D would be 256 MB; of full covariances too."""
    lucid.set_num_threads(2)
    rng = np.random.default_rng(0)
    loc = rng.normal(size=(64, 16)).astype(np.float32)
    x = rng.normal(size=(62_500, 16)).astype(np.float32)
    weights = Categorical(np.ones(64, np.float32))
    diagonal = MixtureSameFamily(weights, Independent(Normal(loc, np.float32(1)), 1))
    assert peak(lambda: diagonal.log_prob(x)) < 16 * 2**20
    tril = np.broadcast_to(np.eye(16, dtype=np.float32), (64, 16, 16))
    full = MixtureSameFamily(weights, MultivariateNormal(loc, scale_tril=tril))
    assert peak(lambda: full.log_prob(x[:20_000])) < 24 * 2**20


def test_memory_of_rows_of_their_own() -> None:
    """Parameters of 3·16 MB, and no second array of that size."""
    lucid.set_num_threads(2)
    rng = np.random.default_rng(0)
    shape = (8192, 512)
    loc = rng.normal(size=shape).astype(np.float32)
    scale = rng.uniform(0.5, 1, shape).astype(np.float32)
    logits = Categorical(logits=loc)
    given = MixtureSameFamily(logits, Normal(loc, scale))
    x = rng.normal(size=8192).astype(np.float32)
    assert peak(lambda: given.log_prob(x)) < 40 * 2**20
    value = rng.integers(0, 512, 8192)
    assert peak(lambda: logits.log_prob(value)) < 8 * 2**20
