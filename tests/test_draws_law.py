"""Draws follow their laws: what would be noticed, and how seldom by mistake.

All checks of this file together raise a false alarm with probability below 1e-6: each
of at most `CHECKS` has 1e-6 / CHECKS = 1e-9. (The seeds are fixed, so what passes once
passes for ever.) The least defects found with probability 0.999, and planted below:

    distribution function   off by 0.5 % at any one place (Dvoretzky–Kiefer–Wolfowitz)
    χ² over 200 equal bins  every other bin off by ±1.7 %
    tails of 10⁻⁴           2.2 times too heavy or 4 times too light (exact binomial)
    weights                 one of 1/8 off by 0.8 %, of 1/100 by 3 % (exact binomial)
    χ² of pairs, 16 × 16    a correlation of 0.024 (component and value, neighbours)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import pytest
from scipy import stats

from lucid.backends.numpy import engine
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

engines = pytest.mark.usefixtures("each_engine")
CHECKS = 1000
ALARM = 1e-6 / CHECKS
N = 10**6
N_CATEGORIES = 10**7
BINS = 200
TAIL = 1e-4
F64 = np.dtype(np.float64)


@dataclass(frozen=True)
class Law:
    """A family's parameters, and SciPy's distribution with the same."""

    family: Any
    parameters: tuple[float, ...]
    oracle: Any

    def draw(self, seed: int, size: int = N) -> np.ndarray:
        arrays = tuple(np.full((1, 1, 1), p) for p in self.parameters)
        parts = Components(self.family, arrays, None, 1)
        return engine.current().draw(parts, (seed, 0), 0, size, F64)[0][:, 0]


def gamma(concentration: float, rate: float) -> Law:
    oracle = stats.gamma(concentration, scale=1 / rate)
    return Law(Gamma, (concentration, rate), oracle)


CONTINUOUS = {
    "Normal": Law(Normal, (1.0, 2.0), stats.norm(1.0, 2.0)),
    "Laplace": Law(Laplace, (-1.0, 0.5), stats.laplace(-1.0, 0.5)),
    "Uniform": Law(Uniform, (-1.0, 3.0), stats.uniform(-1.0, 4.0)),
    "StudentT(0.7)": Law(StudentT, (0.7, 0.0, 1.0), stats.t(0.7)),
    "StudentT(5)": Law(StudentT, (5.0, 1.0, 2.0), stats.t(5.0, 1.0, 2.0)),
    "StudentT(1e8)": Law(StudentT, (1e8, 0.0, 1.0), stats.t(1e8)),
    "Gamma(0.05)": gamma(0.05, 1.0),
    "Gamma(0.9)": gamma(0.9, 3.0),
    "Gamma(1)": gamma(1.0, 0.5),
    "Gamma(4.5)": gamma(4.5, 1.0),
    "Gamma(1e6)": gamma(1e6, 1.0),
}
DISCRETE = {
    "Bernoulli": Law(Bernoulli, (np.log(0.3 / 0.7),), stats.bernoulli(0.3)),
    "Poisson(0.01)": Law(Poisson, (0.01,), stats.poisson(0.01)),
    "Poisson(3)": Law(Poisson, (3.0,), stats.poisson(3.0)),
    "Poisson(9.99)": Law(Poisson, (9.99,), stats.poisson(9.99)),
    "Poisson(10)": Law(Poisson, (10.0,), stats.poisson(10.0)),
    "Poisson(40.5)": Law(Poisson, (40.5,), stats.poisson(40.5)),
    "Poisson(1e6)": Law(Poisson, (1e6,), stats.poisson(1e6)),
}
LAWS = CONTINUOUS | DISCRETE


def check_distribution_function(draw: np.ndarray, oracle: Any) -> None:
    """sup |F_n − F| by Massart's constant; conservative where F jumps."""
    at, counts = np.unique(draw, return_counts=True)
    above = np.cumsum(counts) / len(draw)
    below = above - counts / len(draw)
    jump = oracle.pmf(at) if hasattr(oracle.dist, "pmf") else 0.0
    value = oracle.cdf(at)
    distance = max(np.max(above - value), np.max(value - jump - below))
    assert distance < np.sqrt(np.log(2 / ALARM) / (2 * len(draw)))


def check_bins(draw: np.ndarray, oracle: Any) -> None:
    """χ² over bins of equal probability, or as equal as integers allow."""
    edges = np.unique(oracle.ppf(np.arange(1, BINS) / BINS))
    share = np.diff(oracle.cdf(edges), prepend=0.0, append=1.0)
    cells = np.searchsorted(edges, draw, side="left")  # of x ≤ edge
    check_shares(np.bincount(cells, minlength=len(share)), share)


def check_shares(counts: np.ndarray, share: np.ndarray) -> None:
    """χ² of counts against their exact shares."""
    counts, share = counts.ravel(), share.ravel()
    assert counts[share == 0].sum() == 0
    counts, share = counts[share > 0], share[share > 0]
    expected = counts.sum() * share
    assert expected.min() > 5
    statistic = np.sum((counts - expected) ** 2 / expected)
    assert stats.chi2.sf(statistic, max(len(share) - 1, 1)) > ALARM


def check_count(count: int, trials: int, share: float) -> None:
    """The exact two-sided binomial test of one count."""
    law = stats.binom(trials, share)
    assert 2 * min(law.cdf(count), law.sf(count - 1)) > ALARM


def check_tails(draw: np.ndarray, oracle: Any) -> None:
    """How many draws lie beyond the quantiles of 10⁻⁴ and 1 − 10⁻⁴."""
    low, high = oracle.ppf(TAIL), oracle.isf(TAIL)
    check_count(int(np.sum(draw <= low)), len(draw), oracle.cdf(low))
    check_count(int(np.sum(draw > high)), len(draw), oracle.sf(high))


def check_pairs(first: np.ndarray, second: np.ndarray) -> None:
    """χ² of the joint cells of two uniforms in [0, 1] that should be independent."""
    cells = [np.minimum((u * 16).astype(int), 15) for u in (first, second)]
    counts = np.bincount(cells[0] * 16 + cells[1], minlength=256)
    check_shares(counts, np.full(256, 1 / 256))


laws = pytest.mark.parametrize("law", LAWS.values(), ids=LAWS.keys())


@engines
@laws
@pytest.mark.parametrize(
    "check", [check_distribution_function, check_bins, check_tails]
)
def test_draws_follow_their_law(
    law: Law, check: Callable[[np.ndarray, Any], None]
) -> None:
    check(law.draw(seed=1), law.oracle)


@pytest.mark.parametrize("law", CONTINUOUS.values(), ids=CONTINUOUS.keys())
def test_neighbouring_draws_are_independent(law: Law) -> None:
    uniform = law.oracle.cdf(law.draw(seed=2))
    check_pairs(uniform[0::2], uniform[1::2])


@engines
def test_streams_and_seeds_are_independent() -> None:
    def uniform(key: tuple[int, int]) -> np.ndarray:
        arrays = np.zeros((1, 1, 2)), np.ones((1, 1, 2))
        return engine.current().draw(
            Components(Uniform, arrays, None, 1), key, 0, N, F64
        )[0]

    one = uniform((1, 0))
    check_pairs(one[:, 0], one[:, 1])  # blocks of one event
    for key in [(1, 1), (2, 0), (1, 2**63), (1 + 2**63, 0)]:
        check_pairs(one[:, 0], uniform(key)[:, 0])


WEIGHTS = {
    "eight": np.full(8, 1 / 8),
    "ramp": np.arange(0.0, 14.0) / 91,
    "two": np.array([0.3, 0.7]),
    "many": np.full(4096, 1 / 4096),
}


@engines
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_categories_have_their_weights(weights: np.ndarray) -> None:
    table = IndexTable.from_weights(weights)
    index = engine.current().draw_index(table, (3, 0), 0, N_CATEGORIES)
    counts = np.bincount(index, minlength=len(weights))
    check_shares(counts, weights)
    for k in range(min(len(weights), 16)):
        check_count(int(counts[k]), N_CATEGORIES, weights[k])


@engines
def test_few_draws_are_exactly_multinomial() -> None:
    """All outcomes of 3 draws, 10⁵ times over, against the multinomial's masses."""
    weights = np.array([0.2, 0.3, 0.5])
    table = IndexTable.from_weights(weights)
    index = engine.current().draw_index(table, (4, 0), 0, 300_000).reshape(-1, 3)
    outcome = np.stack([(index == k).sum(axis=1) for k in range(3)], axis=1)
    possible = [(i, j, 3 - i - j) for i in range(4) for j in range(4 - i)]
    counts = np.array([np.sum((outcome == o).all(axis=1)) for o in possible])
    check_shares(counts, stats.multinomial(3, weights).pmf(possible))


@engines
def test_a_mixture_draws_component_and_value_independently() -> None:
    weights = np.arange(1.0, 17.0)[::-1] / 136
    loc, scale = np.linspace(-40, 40, 16), np.linspace(0.5, 2, 16)
    parts = tuple(p.reshape(1, 16, 1) for p in (loc, scale))
    kept = Weights.normalised(np.log(weights)[None])
    mixture = Components(Normal, parts, kept, 1)
    values, index = engine.current().draw(mixture, (5, 0), 0, N, F64)
    counts = np.bincount(index, minlength=16)
    check_shares(counts, weights)
    for k in range(16):
        check_count(int(counts[k]), N, weights[k])
    uniform = stats.norm.cdf(values[:, 0], loc[index], scale[index])
    check_distribution_function(uniform, stats.uniform())
    cells = np.bincount(index * 16 + (uniform * 16).astype(int), minlength=256)
    check_shares(cells, np.outer(weights, np.full(16, 1 / 16)))


def test_a_boosted_gamma_is_independent_of_its_component() -> None:
    """The boost of concentration < 1 has a word of its own."""
    parts = np.full((1, 16, 1), 0.3), np.ones((1, 16, 1))
    kept = Weights.normalised(np.full((1, 16), -np.log(16.0)))
    values, index = engine.current().draw(
        Components(Gamma, parts, kept, 1), (9, 0), 0, N, F64
    )
    check_pairs((index + 0.5) / 16, stats.gamma(0.3).cdf(values[:, 0]))


@pytest.mark.parametrize("rate", [10.0, 16.5, 400.0, 1e6, 1e12])
def test_the_mass_that_accepts_a_poisson_is_exact(rate: float) -> None:
    k = np.floor(rate + np.sqrt(rate) * np.linspace(-6, 8, 200))
    k = np.unique(np.concatenate([np.arange(30.0), k[k >= 0]]))
    with mpmath.workdps(40):
        exact = [
            float(i * mpmath.log(rate) - rate - mpmath.loggamma(mpmath.mpf(i) + 1))
            for i in k.tolist()
        ]
    found = _draws._log_poisson(k, np.full(len(k), rate))
    assert found == pytest.approx(np.array(exact), rel=1e-12, abs=1e-8)


@pytest.mark.parametrize("concentration", [1.0, 3.0, 1e4, 1e12])
def test_what_accepts_a_gamma_is_exact(concentration: float) -> None:
    """Marsaglia and Tsang's comparison, on the same words, at 40 digits."""
    d, count = concentration - 1 / 3, 3000
    words = NumpyBits((10, 0), 0, count).words(1)
    each = np.full(count, d)
    with np.errstate(all="ignore"):
        drawn, accepted = _draws._propose_gamma(words, each, 1 / np.sqrt(9 * each))
    normal = _draws._normal(words[:, 0], words[:, 1])
    with mpmath.workdps(40):
        for i in range(count):
            x = mpmath.mpf(float(normal[i]))
            root = 1 + x / mpmath.sqrt(9 * mpmath.mpf(d))
            if root <= 0:
                assert not accepted[i]
                continue
            u = (mpmath.mpf(int(words[i, 2]) >> 12) + 0.5) / 2**52
            cube = root**3
            margin = x * x / 2 + d * (1 - cube + mpmath.log(cube)) - mpmath.log(u)
            assert accepted[i] == (margin > 0)
            assert drawn[i] == pytest.approx(float(d * cube), rel=1e-12)


def test_a_multivariate_normal_has_its_factor() -> None:
    loc = np.array([1.0, -2.0, 3.0])
    factor = np.array([[2.0, 0.0, 0.0], [-1.0, 0.5, 0.0], [0.3, 0.7, 1.5]])
    parts = Components(
        MultivariateNormal, (loc[None, None], factor[None, None]), None, 1
    )
    values, _ = engine.current().draw(parts, (6, 0), 0, N, F64)
    white = np.linalg.solve(factor, (values - loc).T)
    for row in white:
        check_distribution_function(row, stats.norm())
        check_tails(row, stats.norm())
    uniform = stats.norm.cdf(white)
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        check_pairs(uniform[i], uniform[j])


def test_the_normal_tail_has_its_weight_beyond_4_5_sigma() -> None:
    draw = LAWS["Normal"].draw(seed=7, size=4 * 10**6)
    beyond = int(np.sum(np.abs(draw - 1.0) > 2.0 * 4.5))
    check_count(beyond, len(draw), 2 * stats.norm.sf(4.5))


def test_these_defects_are_found() -> None:
    """Those that the head of this file promises to find."""
    rng = np.random.default_rng(8)
    law, uniform, chance = stats.uniform(), rng.uniform(size=N), rng.uniform(size=N)
    moved = np.where((uniform > 0.495) & (uniform < 0.5), uniform + 0.005, uniform)
    with pytest.raises(AssertionError):
        check_distribution_function(moved, law)
    odd = (uniform * BINS).astype(int) % 2 == 1
    moved = np.where(odd & (chance < 0.017), uniform - 1 / BINS, uniform)
    with pytest.raises(AssertionError):
        check_bins(moved, law)
    light = np.where((uniform < TAIL) & (chance < 0.75), 0.5, uniform)
    heavy = np.where(uniform < 2.2 * TAIL, 0.5 * TAIL, uniform)
    for moved in (light, heavy, 1 - light, 1 - heavy):
        with pytest.raises(AssertionError):
            check_tails(moved, law)
    for share, off in [
        (1 / 8, 1.008),
        (1 / 8, 0.992),
        (1 / 100, 1.03),
        (1 / 100, 0.97),
    ]:
        count = rng.binomial(N_CATEGORIES, share * off)
        with pytest.raises(AssertionError):
            check_count(count, N_CATEGORIES, share)
    one, other = rng.normal(size=(2, N // 2))
    other = 0.024 * one + np.sqrt(1 - 0.024**2) * other
    with pytest.raises(AssertionError):
        check_pairs(stats.norm.cdf(one), stats.norm.cdf(other))
