"""Draws on the CPU: the same bits in any blocks, by any threads, in any split."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import mpmath
import numpy as np
import pytest

from lucid import _random, distributions
from lucid._random import Generator
from lucid.backends.numpy import draws, engine, threads
from lucid.backends.numpy.philox import NumpyBits
from lucid.backends.protocol import Components, Weights
from lucid.backends.tables import IndexTable
from lucid.distributions import (
    Bernoulli,
    Gamma,
    Laplace,
    MultivariateNormal,
    Normal,
    Poisson,
    StudentT,
    Uniform,
    _draws,
)

pytestmark = pytest.mark.usefixtures("each_engine")

RNG = np.random.default_rng(7)
KEY = (20250101, 3)
F64 = np.dtype(np.float64)


def components(
    family: Any, batch: int, count: int, events: int, shared_weights: bool = False
) -> Components:
    """Parameters and weights of their own for each of `batch` mixtures."""
    shape = (batch, count, events)
    loc, scale = RNG.normal(size=shape), RNG.uniform(0.5, 2.0, size=shape)
    parameters: dict[Any, Callable[[], tuple[np.ndarray, ...]]] = {
        Normal: lambda: (loc, scale),
        Laplace: lambda: (loc, scale),
        StudentT: lambda: (np.exp(loc), loc, scale),
        Gamma: lambda: (np.exp(2 * loc), scale),  # concentrations on both sides of 1
        Poisson: lambda: (10 * np.exp(loc),),  # rates on both sides of 10
        Bernoulli: lambda: (loc,),
        Uniform: lambda: (loc, loc + scale),
        MultivariateNormal: lambda: (
            loc,
            np.tril(RNG.normal(size=(*shape, events))),
        ),
    }
    weights = RNG.uniform(size=(1 if shared_weights else batch, count))
    weights[:, 1::4] = 0.0
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights / weights.sum(axis=1, keepdims=True))
    given = tuple(p.astype(np.float32) for p in parameters[family]())
    kept = Weights.normalised(log_weights) if count > 1 else None
    return Components(family, given, kept, batch)


CASES = {
    "Normal": components(Normal, 1, 5, 1),
    "Normal, one component": components(Normal, 1, 1, 1),
    "Normal, many": components(Normal, 6, 1, 2),
    "Normal, events": components(Normal, 1, 4, 3),
    "Normal, batch": components(Normal, 3, 4, 2),
    "Normal, batch, shared weights": components(Normal, 3, 4, 2, True),
    "Normal, each row its own": components(Normal, 600, 9, 1),
    "Laplace": components(Laplace, 1, 5, 1),
    "StudentT": components(StudentT, 1, 5, 1),
    "Gamma": components(Gamma, 1, 5, 2),
    "Poisson": components(Poisson, 1, 5, 2),
    "Bernoulli": components(Bernoulli, 1, 5, 3),
    "Uniform": components(Uniform, 2, 5, 1),
    "MultivariateNormal": components(MultivariateNormal, 1, 5, 3),
    "MultivariateNormal, D = 17": components(MultivariateNormal, 1, 3, 17),
    "MultivariateNormal, batch": components(MultivariateNormal, 3, 2, 2),
}
cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


@cases
@pytest.mark.parametrize("block", [1, 7, 64, 600])
@pytest.mark.parametrize("workers", [1, 3])
def test_blocks_and_threads_change_nothing(
    case: Components, block: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values, indices = engine.current().draw(case, KEY, 10, 600, F64)
    if engine.get_cpu_engine() == "numba":
        monkeypatch.setattr("lucid.backends.numba.draws._ROWS", block)
    monkeypatch.setattr(draws._Job, "block_rows", lambda _: block)
    threads.set_num_threads(workers)
    again, same = engine.current().draw(case, KEY, 10, 600, F64)
    assert np.array_equal(values, again)
    assert np.array_equal(indices, same)
    assert len(np.unique(values)) > 1


@cases
def test_a_draw_in_parts_is_the_whole_draw(case: Components) -> None:
    size = 4 * case.batch
    values, indices = engine.current().draw(case, KEY, 5, size, F64)
    cut = 3 * case.batch
    parts = [engine.current().draw(case, KEY, 5, cut, F64)]
    parts.append(engine.current().draw(case, KEY, 5 + cut, size - cut, F64))
    assert np.array_equal(values, np.concatenate([part[0] for part in parts]))
    assert np.array_equal(indices, np.concatenate([part[1] for part in parts]))


@cases
def test_the_picked_component_alone_is_drawn_from(case: Components) -> None:
    """Each row equals the draw, from the same bits, of its component on its own."""
    size, batch = 2 * case.batch + 30 // case.batch * case.batch, case.batch
    values, indices = engine.current().draw(case, KEY, 0, size, F64)
    table = None
    if case.weights is not None:
        relative = case.weights.relative()
        table = IndexTable.from_weights(relative if len(relative) > 1 else relative[0])
    for row in (*range(10), size - 1):
        bits = NumpyBits(KEY, row, 1)
        if table is not None:
            expected = table.find(bits.words(0)[:, 0], row)[0]
            assert indices[row] == expected
        else:
            assert indices[row] == 0
        k = int(indices[row])
        own = tuple(p[row % batch, k][None, None] for p in case.parameters)
        alone = Components(case.family, own, None, 1)
        assert np.array_equal(
            engine.current().draw(alone, KEY, row, 1, F64)[0][0], values[row]
        )


def test_a_normal_is_box_and_mullers_of_words_1_and_2() -> None:
    loc, scale = np.array([[[3.0]]]), np.array([[[0.5]]])
    values, _ = engine.current().draw(
        Components(Normal, (loc, scale), None, 1), KEY, 9, 200, F64
    )
    for value, words in zip(values[:, 0], NumpyBits(KEY, 9, 200).words(0), strict=True):
        radius = math.sqrt(-2 * math.log(((int(words[1]) >> 11) + 1) / 2**53))
        angle = 2 * math.pi * (int(words[2]) >> 11) / 2**53
        assert value == pytest.approx(3 + 0.5 * radius * math.cos(angle), rel=1e-14)


# Draws of two-element events under key (12345, 6) from element 2⁴⁰ on: bits version 1.
# Whoever has to change a number here has to raise the version.
KNOWN = [
    (
        Normal,
        (1.0, 2.0),
        "3.606134312547 0.4919031524921 0.8339407349129 -1.34765421737 "
        "0.2022526857806 0.6573721493687 2.912279925274 3.08313916492",
    ),
    (
        Laplace,
        (1.0, 2.0),
        "0.2915453313918 -0.9712722734324 6.184177739272 0.6460906142432 "
        "2.19432997836 5.1656184028 1.51977031757 -1.132196587227",
    ),
    (
        Uniform,
        (1.0, 3.0),
        "1.701715425234 1.373201744077 2.925136503442 1.837817742773 "
        "2.449630269416 2.875420249439 2.228859860611 1.344349450204",
    ),
    (
        Bernoulli,
        (0.0,),
        "1 1 0 1 0 0 0 1",
    ),
    (
        StudentT,
        (3.0, 0.0, 1.0),
        "1.772734079501 -0.1834334865804 -0.1175437999143 -1.8130291637 "
        "-0.2738563473128 -0.2944908325101 0.9048216168165 1.750939281906",
    ),
    (
        Gamma,
        (0.3, 1.0),
        "0.4192897780353 1.055095491009 0.2110487563293 0.3666814941057 "
        "1.01101517439 0.2110508588737 0.1705364670533 0.06312885683367",
    ),
    (
        Gamma,
        (1.0, 1.0),
        "0.4075888871357 2.093587829805 0.3649581819649 0.2854016844403 "
        "2.366420698651 0.2091960659663 1.066323803057 0.2233881582549",
    ),
    (
        Poisson,
        (4.0,),
        "3 2 8 3 5 7 4 2",
    ),
    (
        Poisson,
        (11.0,),
        "17 8 16 14 10 11 6 12",
    ),
]


@pytest.mark.parametrize(("family", "parameters", "expected"), KNOWN)
def test_version_1_draws_these_values(
    family: Any, parameters: tuple[float, ...], expected: str
) -> None:
    assert _random.BITS_VERSION == 1
    arrays = tuple(np.full((1, 1, 2), parameter) for parameter in parameters)
    parts = Components(family, arrays, None, 1)
    values, _ = engine.current().draw(parts, (12345, 6), 2**40, 4, F64)
    assert values.ravel() == pytest.approx(
        np.array(expected.split(), dtype=F64), rel=1e-11
    )


def test_the_angles_cosine_is_within_three_ulp() -> None:
    """Also beside its zeros, where an angle rounded to 2πu would have no digit left."""
    near = np.array([i * 2**51 + j for i in range(4) for j in range(-20, 21)][20:])
    angles = np.concatenate([near, RNG.integers(0, 2**53, 3000)]).astype(np.uint64)
    cosines = _draws._cosine_of_turn(angles << np.uint64(11))
    for angle, cosine in zip(angles.tolist(), cosines.tolist(), strict=True):
        exact = mpmath.cospi(mpmath.mpf(angle) / 2**52)
        assert abs(cosine - exact) <= 3 * math.ulp(float(exact))


def test_a_multivariate_normal_maps_the_normals_of_its_blocks() -> None:
    loc, factor = np.array([1.0, -1.0]), np.array([[2.0, 0.0], [-3.0, 0.5]])
    whole = Components(
        MultivariateNormal, (loc[None, None], factor[None, None]), None, 1
    )
    plain = Components(Normal, (np.zeros((1, 1, 2)), np.ones((1, 1, 2))), None, 1)
    normals, _ = engine.current().draw(plain, KEY, 3, 100, F64)
    values, _ = engine.current().draw(whole, KEY, 3, 100, F64)
    assert values == pytest.approx(loc + normals @ factor.T, rel=1e-13)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_draws_are_rounded_once(dtype: type) -> None:
    case = CASES["Normal"]
    values, indices = engine.current().draw(case, KEY, 0, 100, np.dtype(dtype))
    assert values.dtype == dtype
    assert indices.dtype == np.int64
    exact, _ = engine.current().draw(case, KEY, 0, 100, F64)
    assert np.array_equal(values, exact.astype(dtype))


@cases
def test_nothing_drawn_is_empty(case: Components) -> None:
    values, indices = engine.current().draw(case, KEY, 0, 0, F64)
    assert values.shape == (0, case.parameters[0].shape[2])
    assert indices.shape == (0,)


def test_repeated_views_draw_what_copies_draw() -> None:
    loc = np.broadcast_to(RNG.normal(size=(1, 4, 1)), (6, 4, 3))
    scale = np.broadcast_to(RNG.uniform(1, 2, size=(6, 1, 3)), (6, 4, 3))
    given = np.broadcast_to(np.log(np.full((1, 4), 0.25)), (6, 4))
    weights = [Weights.normalised(array) for array in (given, given.copy())]
    views = Components(Normal, (loc, scale), weights[0], 6)
    copies = Components(Normal, (loc.copy(), scale.copy()), weights[1], 6)
    for one, other in zip(
        engine.current().draw(views, KEY, 0, 60, F64),
        engine.current().draw(copies, KEY, 0, 60, F64),
        strict=True,
    ):
        assert np.array_equal(one, other)


def test_a_dead_component_is_never_drawn_whatever_it_holds() -> None:
    loc = np.array([np.nan, 1.0, np.inf, 2.0, np.nan]).reshape(1, 5, 1)
    with np.errstate(divide="ignore"):
        log_weights = np.log([[0.0, 0.5, 0.0, 0.5, 0.0]])
    weights = Weights.normalised(log_weights)
    dead = Components(Normal, (loc, np.ones((1, 5, 1))), weights, 1)
    values, indices = engine.current().draw(dead, KEY, 0, 50_000, F64)
    assert set(indices.tolist()) == {1, 3}
    assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("family", "parameters"),
    [
        (Gamma, ([np.nan, -1.0, 0.0, np.inf, 1.0], [1.0] * 5)),
        (Poisson, ([np.nan, -1.0, -np.inf, np.inf, 1.0],)),
        (StudentT, ([np.nan, -1.0, 0.0, -np.inf, 1.0], [0.0] * 5, [1.0] * 5)),
    ],
)
def test_a_rejection_ends_where_there_is_no_law(family: Any, parameters: Any) -> None:
    arrays = tuple(np.array(p).reshape(5, 1, 1) for p in parameters)
    values, _ = engine.current().draw(
        Components(family, arrays, None, 5), KEY, 0, 50, F64
    )
    assert np.isnan(values.reshape(10, 5)[:, :4]).all()
    assert np.isfinite(values.reshape(10, 5)[:, 4]).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("rate", [0.25, 1000.0])
def test_a_gamma_stays_in_its_support(dtype: Any, rate: float) -> None:
    """Also in a narrow dtype, and when divided by its rate: never 0, never denormal."""
    concentration = np.array([1e-5, 0.01, 0.5], dtype)
    given = Gamma(concentration, np.array(rate, dtype))
    values = given.sample((4000,), generator=Generator(3)).numpy()
    assert values.dtype == dtype
    assert (values >= np.finfo(dtype).tiny).all()
    assert values.min() < 8 * np.finfo(dtype).tiny  # so some would have underflowed
    assert np.isfinite(given.log_prob(values).numpy()).all()


def test_no_other_draw_is_kept_from_zero() -> None:
    arrays = (np.zeros((1, 1, 1)), np.full((1, 1, 1), 1e-6))
    parts = Components(Uniform, arrays, None, 1)
    values, _ = engine.current().draw(parts, KEY, 0, 1000, np.dtype(np.float16))
    assert (values <= np.float16(1e-6)).all()
    parts = Components(Bernoulli, (np.zeros((1, 1, 1)),), None, 1)
    values, _ = engine.current().draw(parts, KEY, 0, 1000, np.dtype(np.float32))
    assert set(values.ravel().tolist()) == {0.0, 1.0}


def test_infinite_degrees_of_freedom_draw_normals() -> None:
    loc, scale = np.full((1, 1, 1), 2.0), np.full((1, 1, 1), 0.5)
    infinite = Components(StudentT, (np.full((1, 1, 1), np.inf), loc, scale), None, 1)
    values, _ = engine.current().draw(infinite, KEY, 0, 1000, F64)
    normals, _ = engine.current().draw(
        Components(Normal, (loc, scale), None, 1), KEY, 0, 1000, F64
    )
    np.testing.assert_allclose(values, normals, rtol=1e-13)


def test_a_poisson_of_rate_zero_is_zero() -> None:
    arrays = (np.zeros((1, 1, 1)),)
    values, _ = engine.current().draw(
        Components(Poisson, arrays, None, 1), KEY, 0, 1000, F64
    )
    assert (values == 0).all()


def test_indices_read_word_0_of_their_row() -> None:
    table = IndexTable.from_weights(RNG.uniform(size=(3, 50)))
    found = engine.current().draw_index(table, KEY, 12, 40_000)
    words = NumpyBits(KEY, 12, 40_000).words(0)[:, 0]
    assert np.array_equal(found, table.find(words))
    assert np.array_equal(
        found[20_001:], engine.current().draw_index(table, KEY, 20_013, 19_999)
    )


# Family, mixtures, components, events; rows.
PEAK_CASES: dict[str, tuple[Any, int, int, int, int]] = {
    # [rows, D, D] would be 2 GB; rows × K 800 MB; a table of all weights 160 MB.
    "MultivariateNormal": (MultivariateNormal, 1, 4, 50, 100_000),
    "many components": (Normal, 1, 1000, 1, 100_000),
    "many events": (Normal, 1, 3, 500, 4_000),
    "each row its own": (Normal, 20_000, 1000, 1, 20_000),
}


@pytest.mark.parametrize("peak", PEAK_CASES.values(), ids=PEAK_CASES.keys())
def test_memory_is_that_of_a_block(peak: tuple[Any, int, int, int, int]) -> None:
    *given, size = peak
    case = components(*given)
    threads.set_num_threads(2)
    engine.current().draw(
        case, KEY, 0, 1 if case.batch == 1 else size, np.dtype(np.float32)
    )
    tracemalloc.start()
    try:
        values, indices = engine.current().draw(
            case, KEY, 0, size, np.dtype(np.float32)
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - values.nbytes - indices.nbytes < 64 * 2**20


@pytest.mark.parametrize("shape", [(), (4,)])
def test_two_samples_are_one_longer_sample(shape: tuple[int, ...]) -> None:
    mixture = distributions.MixtureSameFamily(
        distributions.Categorical(probs=np.ones((*shape, 3)) / 3),
        distributions.Normal(RNG.normal(size=(*shape, 3)), np.ones(3)),
    )
    generator = Generator(5)
    parts = [mixture.sample((n,), generator=generator).numpy() for n in (7, 0, 40_000)]
    whole = mixture.sample((40_007,), generator=Generator(5)).numpy()
    assert np.array_equal(np.concatenate(parts), whole)
    assert generator.position == 40_007 * math.prod(shape)
