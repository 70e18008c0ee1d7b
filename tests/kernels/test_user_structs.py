"""CUDA that is written from a family's Python formulas, on the host: is it the same?

Against SciPy, and what is special against the CPU. The host rounds each operation by
itself, where a GPU may contract a product and a sum.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from host import Host
from host_device import HostDevice, unit
from numpy.testing import assert_allclose, assert_array_equal
from on_host import F32, KEY
from scipy.special import logsumexp

import lucid
from lucid import backends
from lucid.backends.cupy import CupyBackend, choice, kernels, structs
from lucid.backends.cupy.formula import struct_text
from lucid.backends.cupy.specs import Elementwise, Raw, Reduction
from lucid.backends.protocol import Components, Weights
from tests.bounds import bounded
from tests.family_table import (
    DTYPES,
    SCALAR,
    TABLE,
    UNIT,
    Row,
    batch,
    finite,
    formula_parameters,
    values,
)
from tests.kernels import calls
from tests.test_program import CHOICES, SPECIAL, direct, family, random_formula
from tests.user_families import USERS, Beta, ByHand, Größe, Logistic, Normal, User

HEADERS = (
    "elementwise.cuh",
    "mixture_fixed.cuh",
    "mixture_order.cuh",
    "mixture_mode.cuh",
    "mixture_rows.cuh",
    "draw.cuh",
)
users = pytest.mark.parametrize("user", USERS, ids=lambda user: user.family.__name__)
SUMMED = {user.family: user for user in USERS if user.family in {Beta, Größe, Normal}}
MAKES = {"float32": np.float32, "float64": np.float64}


def specs() -> list[Elementwise | Reduction | Raw]:
    """What the tests launch of users' families."""
    found: list[Elementwise | Reduction | Raw] = [kernels.mixture_shift("float32")]
    for user in USERS:
        struct = structs.of(user.family)
        found += [kernels.log_prob(struct, len(user.parameters), d) for d in MAKES]
    for own in SUMMED:
        struct = structs.of(own)
        found.append(kernels.prepare(struct, "float32", "float32"))
        if own is not Normal:
            found.append(kernels.mixture(struct, "float32", 1, 1))
    struct = structs.of(Beta)
    found.append(kernels.mixture_rows(struct, *["float32"] * 3, 1))
    found.append(kernels.mixture_mode(struct, "float32"))
    struct = structs.of(Normal)
    found.append(kernels.mixture_order(struct, "float32"))
    found.append(kernels.mixture_fixed(struct, "float32", 1, 8, 2))
    for own in (Logistic, ByHand):
        found.append(kernels.draw(structs.of(own), "float32", "float32"))
    return found


@pytest.fixture(scope="module")
def made(folder: Path) -> Iterator[HostDevice]:
    """A device with all kernels of this file: in one unit, which takes the least time.

    Beside those of users, the elementwise densities of lucid's own families, and the
    pairs of FORMULAS.
    """
    own = [written(row.family) for row in TABLE if not row.is_vector]
    pairs = {name: written(formula_family(pair)) for name, pair in FORMULAS.items()}
    every = [*(structs.of(user.family) for user in USERS), *own, *pairs.values()]
    texts = dict.fromkeys(struct.text for struct in every[1:])
    densities = [
        kernels.log_prob(written(row.family), len(row.family.family_parameters), dtype)
        for row in TABLE
        if not row.is_vector
        for dtype in MAKES
    ]
    text = unit(every[0].source(*HEADERS) + "".join(texts), [*specs(), *densities])
    for name, struct in pairs.items():
        text += _PAIR.format(name=name, struct=struct.name)
    device = HostDevice([text], folder)
    yield device
    device.close()


@pytest.fixture
def backend(made: HostDevice) -> CupyBackend:
    made.launches.clear()
    lucid.set_cpu_engine("numpy")
    return CupyBackend(device=made)


def components(user: User, count: int, dead: tuple[int, ...] = ()) -> Components:
    """One mixture of `count` components of the user's three, some of weight 0."""
    place = np.arange(count) % 3
    own = [array[place].reshape(1, count, 1) for array in user.arrays(F32)]
    weights = np.arange(1.0, count + 1)
    weights[list(dead)] = 0
    with np.errstate(divide="ignore"):
        logs = np.log(weights / weights.sum()).astype(F32)[None]
    for k in dead:
        for array in own:
            array[0, k] = np.nan
    return Components(user.family, tuple(own), Weights.normalised(logs), 1)


def fresh(given: Components) -> Components:
    """The same with nothing prepared."""
    return Components(given.family, given.parameters, given.weights, given.batch)


def mixed(user: User, x: Any, given: Components) -> Any:
    """log Σ_k w_k p_k(x) by SciPy."""
    assert given.weights is not None
    logs = given.weights.log()[0]
    terms = user.expected(x)[:, np.arange(len(logs)) % 3]
    alive = logs > -np.inf
    return logsumexp(terms[:, alive] + logs[alive], axis=1)


@users
@DTYPES
def test_a_value_at_a_time(backend: CupyBackend, user: User, dtype: Any) -> None:
    x = np.array(user.values, dtype)
    found = backend.log_prob(user.family, x[:, None], user.arrays(dtype), dtype)
    u = float(np.finfo(dtype).eps)
    assert_allclose(found, user.expected(x), rtol=16 * u, atol=16 * u)


@users
@DTYPES
def test_special_values_are_the_cpus(
    backend: CupyBackend, user: User, dtype: Any
) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, *user.outside], dtype)[:, None]
    given = [np.append(array, np.nan).astype(dtype) for array in user.arrays(dtype)]
    found = backend.log_prob(user.family, x, given, dtype)
    expected = backends.get("cpu").log_prob(user.family, x, tuple(given), dtype)
    special = ~np.isfinite(expected)
    assert special.mean() > 0.5
    assert_array_equal(found[special], expected[special])
    assert np.isfinite(found[~special]).all()


@pytest.mark.parametrize("own", [Beta, Größe])
@pytest.mark.parametrize("count", [3, 21])  # tiles are filled up, whatever factors 0 do
def test_a_mixture(backend: CupyBackend, own: Any, count: int) -> None:
    user = SUMMED[own]
    given = components(user, count, dead=(1,))
    x = np.array([*user.values, *user.outside, np.nan], F32)
    found = backend.mixture_log_prob(given, x[:, None, None], F32)[:, 0]
    known = len(user.values)
    u = float(np.finfo(F32).eps)
    expected = mixed(user, x[:known], given)
    assert_allclose(found[:known], expected, rtol=16 * u, atol=16 * u)
    assert (found[known:-1] == -np.inf).all()
    assert np.isnan(found[-1])


def test_parameters_of_a_row_and_the_mode(backend: CupyBackend) -> None:
    user = SUMMED[Beta]
    x, given = np.array(user.values, F32), components(user, 3)
    each = [np.repeat(array, len(x), axis=0) for array in given.parameters]
    assert given.weights is not None
    logs = np.repeat(given.weights.given, len(x), axis=0)
    rows = Components(Beta, tuple(each), Weights.normalised(logs), len(x))
    found = backend.mixture_log_prob(rows, x[None, :, None], F32)[0]
    u = float(np.finfo(F32).eps)
    assert_allclose(found, mixed(user, x, given), rtol=16 * u, atol=16 * u)
    index, log_posterior = backend.mixture_mode(given, x[:, None, None], F32)
    terms = user.expected(x) + given.weights.log()
    assert_array_equal(index[:, 0], terms.argmax(axis=1))
    expected = terms.max(axis=1) - mixed(user, x, given)
    assert_allclose(log_posterior[:, 0], expected, atol=64 * u)


def test_a_quadratic_family_has_the_fastest_kernels(backend: CupyBackend) -> None:
    user = SUMMED[Normal]
    given = components(user, 21, dead=(4,))
    x = np.array(user.values * 3, F32)
    forced = {"kernel": "fixed", "rows": 8, "polynomials": 2, "ordered": True}
    with choice.force(**forced):
        found = backend.mixture_log_prob(given, x[:, None, None], F32)[:, 0]
    u = float(np.finfo(F32).eps)
    assert_allclose(found, mixed(user, x, given), rtol=16 * u, atol=16 * u)
    names = [launch.name for launch in backend._device.launches]
    assert re.fullmatch(
        r"lucid_mixture_fixed_normal_[0-9a-f]{12}_float32_d1_rows8_polynomials2",
        names[-1],
    )


@pytest.mark.parametrize("own", [Logistic, ByHand])
def test_draws_are_the_cpus(backend: CupyBackend, own: Any) -> None:
    user = next(user for user in USERS if user.family is own)
    given = components(user, 5, dead=(2,))
    found, index = backend.draw(given, KEY, 7, 500, F32)
    expected, picked = backends.get("cpu").draw(fresh(given), KEY, 7, 500, F32)
    assert_array_equal(index, picked)
    assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


# ---- lucid's own families and arbitrary formulas


def written(family: Any) -> structs.Struct:
    """The struct of a family's formulas, though it may have a header."""
    return structs.given(family, struct_text(family))


_PAIR = """
static void {name}(const double* x, const double* f, double* out) {{
  using Family = lucid::{struct}<double>;
  const long long i = threadIdx.x + blockIdx.x * blockDim.x;
  out[i] = Family::pair({{x[2 * i], x[2 * i + 1]}}, {{f[2 * i], f[2 * i + 1]}}, 0);
}}
ENROLL({name});
"""
FORMULAS: dict[str, Any] = {
    f"chosen{i}": lambda fn, row, factors, choose=choose: choose(fn, row[0], factors[0])
    for i, choose in enumerate(CHOICES.values())
} | {f"random{seed}": random_formula(seed) for seed in range(20)}


def formula_family(pair: Any) -> Any:
    """A family that is its pair: two terms a row, two factors a component."""
    made = family(pair)
    made.family_parameters, made.family_quadratic = ("a", "b"), False
    made.prepare = staticmethod(lambda fn, unit, a, b: (a, b, 0.0))
    made.row = staticmethod(lambda fn, x: (x, x))
    made.supports = made.log_base_measure = staticmethod(lambda fn, x: None)
    return made


@SCALAR
@DTYPES
def test_the_struct_of_a_family_that_has_a_header(
    host: Host, made: HostDevice, row: Row, dtype: Any
) -> None:
    """Within the promise of the header's, at special values the same."""
    given, name = row.make(dtype), np.dtype(dtype).name
    x = np.append(values(row)[:, 0], [*row.outside, np.nan, np.inf, -np.inf])
    x = x.astype(dtype)
    own = written(row.family)
    spec = kernels.log_prob(own, len(row.family.family_parameters), name)
    for k in range(batch(row)):
        here = {n: np.full(len(x), p[k]) for n, p in formula_parameters(given).items()}
        parameters = [p.astype(dtype) for p in here.values()]
        expected = calls.log_prob(host, row.name, parameters, x)
        size = np.int64(len(x))
        arguments = (x, *parameters, np.empty_like(x), size)
        found = made._host(spec.name, (1,), len(x), *arguments)[-1]
        known = np.isfinite(expected)
        assert_array_equal(found[~known], expected[~known])
        bound = bounded(row.name, finite(here), x).bound[known]
        assert (abs(found[known] - expected[known]) <= 8 * UNIT[dtype] * bound).all()


@pytest.mark.parametrize("name", FORMULAS)
def test_any_formula_is_numpys(made: HostDevice, name: str) -> None:
    """To a rounding of the functions in it; without any, bit for bit."""
    rng = np.random.default_rng(0)
    x, f = rng.choice([*SPECIAL, 2.0, -7.0], (2, 256, 2))
    found = made._host(name, (2,), 128, x, f, np.empty(256))[-1]
    pair = FORMULAS[name]
    expected = direct(pair, (x[:, 0], x[:, 1]), (f[:, 0], f[:, 1]), 0.0)
    text = struct_text(formula_family(pair))
    if re.search(r"\b(exp|log1p)\(", text):
        assert_allclose(found, expected + np.zeros(256), rtol=1e-12, atol=1e-290)
    else:
        assert_array_equal(found, expected + np.zeros(256))
