"""The kernel of a fixed shift: rows it must refuse, and the shift it is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp

from tests.bounds import bounded
from tests.corpus import PROMISE, unit
from tests.kernels import calls
from tests.kernels.host import Host
from tests.kernels.sources import TYPES, fixed_unit

# Kernel, rows a thread, whether components are put in order.
VARIANTS = [("fixed", 2, False), ("fixed8", 8, True), ("fixed_ex2", 4, True)]
variants = pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: v[0])
F32 = np.float32


def mixture(
    count: int, offset: float = 0.0, spread: float = 3.0, seed: int = 1
) -> tuple[Any, Any, Any]:
    """loc, scale and log weights of `count` components, as float32."""
    random = np.random.default_rng(seed)
    loc = (offset + spread * random.normal(size=count)).astype(F32)
    scale = random.uniform(0.5, 2, count).astype(F32)
    logs = random.normal(size=count)
    return loc, scale, (logs - logsumexp(logs)).astype(F32)


def run(
    host: Host, law: tuple[Any, Any, Any], x: Any, variant: tuple[str, int, bool]
) -> Any:
    """The log densities of x by one variant."""
    loc, scale, logs = law
    kernel, rows, in_order = variant
    given = [loc[:, None].astype(x.dtype), scale[:, None].astype(x.dtype)]
    prepared = calls.prepare(host, "Normal", given, logs.astype(x.dtype))
    if in_order:
        prepared = calls.ordered(host, "Normal", prepared)
    return calls.fixed(host, "Normal", prepared, x[:, None], kernel, rows)


def error(found: Any, law: tuple[Any, Any, Any], x: Any) -> Any:
    """|ŷ − y| in u·B."""
    loc, scale, logs = law
    y, bound = bounded("Normal", {"loc": loc, "scale": scale}, x, logs)
    return abs(found - y) / (unit(F32) * bound)


def near(law: tuple[Any, Any, Any], size: int, deviations: float) -> Any:
    """Values at most so many standard deviations from a component."""
    random = np.random.default_rng(2)
    k = random.integers(len(law[0]), size=size)
    z = random.uniform(-deviations, deviations, size)
    return (law[0][k] + law[1][k] * z).astype(F32)


@variants
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("count", [1, 2, 17, 18, 19, 37, 252, 270, 1025])
def test_any_number_of_components(host: Host, count, offset, variant):
    law = mixture(count, offset)
    x = near(law, 700, 4)
    assert error(run(host, law, x, variant), law, x).max() <= PROMISE


@pytest.mark.parametrize("count", [1, 3, 16])
@pytest.mark.parametrize("deviations", [4.0, 12.0, 40.0, 1e4])
def test_few_components(host: Host, count, deviations):
    """Rows near and far, of which some are done again, in blocks that walk."""
    law = mixture(count, 5.0)
    x = near(law, 2500, 4)
    x[::9] = near(law, len(x[::9]), deviations)
    found = run(host, law, x, (f"small{count}", 4, False))
    assert error(found, law, x).max() <= PROMISE
    x[::9] = np.nan, *[np.inf] * (len(x[::9]) - 1)
    special = run(host, law, x, (f"small{count}", 4, False))
    assert np.isnan(special[0])
    assert (special[9::9] == -np.inf).all()
    rest = np.arange(len(x)) % 9 > 0
    np.testing.assert_array_equal(special[rest], found[rest])


@variants
@pytest.mark.parametrize("spread", [0.1, 1.0, 30.0])
def test_components_near_and_apart(host: Host, spread, variant):
    law = mixture(120, 50.0, spread)
    x = near(law, 1000, 4)
    assert error(run(host, law, x, variant), law, x).max() <= PROMISE


@variants
def test_a_spread_of_the_constants_beyond_any(host: Host, variant):
    """Weights down to 1e-30 and scales of 1e-4 to 1e4 in one mixture."""
    loc, _, _ = mixture(60, 0.0, 1e3)
    random = np.random.default_rng(3)
    scale = (10.0 ** random.uniform(-4, 4, 60)).astype(F32)
    logs = np.log(10.0 ** random.uniform(-30, 0, 60))
    law = loc, scale, (logs - logsumexp(logs)).astype(F32)
    x = near(law, 1000, 3)
    assert error(run(host, law, x, variant), law, x).max() <= PROMISE


@variants
@pytest.mark.parametrize("scale", [1e-20, 1e-12, 1e12, 1e20])
def test_a_shift_that_is_not_zero(host: Host, scale, variant):
    loc, width, logs = mixture(40, 0.0, 1.0)
    law = (loc * F32(scale)).astype(F32), (width * F32(scale)).astype(F32), logs
    x = near(law, 500, 4)
    assert error(run(host, law, x, variant), law, x).max() <= PROMISE


@variants
@pytest.mark.parametrize("deviations", [11.0, 12.0, 13.0, 40.0, 1e4])
@pytest.mark.parametrize("count", [1, 30])
def test_outliers(host: Host, count, deviations, variant):
    """Far rows among near ones: each is right, and costs the others nothing."""
    law = mixture(count, 0.0, 0.01)
    x = near(law, 1500, 3)
    far = np.arange(0, 1500, 7)
    x[far] = law[0].max() + F32(deviations) * law[1].max()
    x[far[::2]] = law[0].min() - F32(deviations) * law[1].max()
    found = run(host, law, x, variant)
    assert error(found, law, x).max() <= PROMISE
    some = x[: 1500 - 1500 % 7]
    np.testing.assert_array_equal(run(host, law, some, variant), found[: len(some)])


@variants
@pytest.mark.parametrize("count", [1, 18, 257])
def test_about_the_least_sum(host: Host, count, variant):
    """Sums from K·2^-108 to K·2^-94, on both sides of what is accepted."""
    law = np.zeros(count, F32), np.ones(count, F32), np.zeros(count)
    law = law[0], law[1], np.full(count, -np.log(count), F32)
    bits = np.linspace(94, 108, 800)
    # Each term is 2^-bits: −½z² − ½ log 2π − log K = −bits·log 2.
    half = bits * np.log(2) - np.log(2 * np.pi) / 2 - np.log(count)
    x = np.sqrt(2 * half).astype(F32)
    assert error(run(host, law, x, variant), law, x).max() <= PROMISE


@variants
@pytest.mark.parametrize("dtype", list(TYPES))
def test_special_rows(host: Host, dtype, variant):
    """NaN stays in its row; ±∞ gives −∞; dead components change nothing."""
    loc, scale, logs = mixture(40)
    x = np.array([0.5, np.nan, np.inf, -np.inf, 1.0, 3e38], dtype)
    clean = run(host, (loc, scale, logs), x, variant)
    assert np.isfinite(clean[[0, 4]]).all()
    assert np.isnan(clean[1])
    assert (clean[2:4] == -np.inf).all()
    dead = [np.nan, np.inf, 0.5, np.nan]
    law = (
        np.append(loc, dead).astype(F32),
        np.append(scale, [np.nan, 1.0, np.nan, np.inf]).astype(F32),
        np.append(logs, [-np.inf] * 4).astype(F32),
    )
    found = run(host, law, x, variant)
    few = 64 * np.finfo(dtype).eps
    np.testing.assert_allclose(found, clean, rtol=few, atol=few)
    alive = law[0], law[1], np.where(np.isneginf(law[2]), -3, law[2]).astype(F32)
    assert np.isnan(run(host, alive, x, variant)).all()
    none = loc, scale, np.full(40, -np.inf, F32)
    assert not np.isfinite(run(host, none, x, variant)).any()


@pytest.mark.parametrize("dtype", list(TYPES))
@pytest.mark.parametrize(
    ("constants", "shift"),
    [
        ([0.0, -40.0], 0.0),  # within 2^±32 no spread is too wide
        ([31.5, -70.0], 0.0),
        ([-31.5, -99.0], 0.0),
        ([40.0, 33.0], 40.0),
        ([-50.0, -57.5, -np.inf], -50.0),
        ([40.0, 31.0], np.nan),
        ([-50.0, -59.0], np.nan),
        ([0.0, np.nan], np.nan),
        ([-np.inf, -np.inf], np.nan),
    ],
)
def test_the_shift_of_a_mixture(host: Host, constants, shift, dtype):
    """For two mixtures, the other of 300 equal constants."""
    first = np.resize(np.array(constants, dtype), 300)
    both = np.stack([np.full(300, -3.0, dtype), first])
    found = host(
        f"shift_{TYPES[dtype]}", (1,), 128, both, 2, 300, np.empty((2, 2), dtype)
    )[-1]
    np.testing.assert_array_equal(found[:, 0], [0.0, shift])
    lost = {"float32": 2.0**-101, "float64": 2.0**-960}[dtype]
    assert found[0, 1] == 300 * lost
    if shift == 0:
        assert found[1, 1] == 300 * lost * 2.0 ** max(constants[0], 0)


def test_order(host: Host):
    """By loc, NaN as +∞, equal ones as they came."""
    loc = np.array([3, -1, np.nan, 3, -np.inf, 0, np.inf], F32)
    factors = np.stack([loc, np.arange(7, dtype=F32)], axis=-1)[:, None]
    given = calls.Prepared((factors,), np.arange(10, 17, dtype=F32))
    found = calls.ordered(host, "Normal", given)
    np.testing.assert_array_equal(found.constants, [14, 11, 15, 10, 13, 12, 16])
    np.testing.assert_array_equal(found.factors[0][:, 0, 1] + 10, found.constants)


@pytest.mark.parametrize(
    ("kept", "broken"),
    [
        ("known.least && ", "T(0) && "),  # accepts what lost terms
        (
            "block.refused.add(r *",
            "if (false) block.refused.add(r *",
        ),  # forgets the row
    ],
)
def test_a_missing_fallback_shows(kept, broken, folder):
    """The test of outliers fails where a refused row is not done again."""
    source = fixed_unit()
    assert source.count(kept) == 1
    law = mixture(30, 0.0, 0.01)
    x = near(law, 500, 3)
    x[::50] = 40.0
    errors = []
    for text in (source, source.replace(kept, broken)):
        running = Host(text, folder=folder)
        errors.append(error(run(running, law, x, VARIANTS[0]), law, x).max())
        running.close()
    assert errors[0] <= PROMISE
    assert not errors[1] <= PROMISE
