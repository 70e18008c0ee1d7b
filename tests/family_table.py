"""One row per family; tests/test_famil*.py hold every row to the same properties.

To add a family, add a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from scipy import stats

import lucid
from lucid import distributions

Parameters = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A family, what SciPy calls it, and where to look.

    parameters  by name, lists over a batch; exactly representable in float32
    scipy       SciPy's distribution of the same arguments
    values      inside the support of every element of the batch
    outside     where the density is 0 for every element
    bad         parameter → (a value it must refuse, what the message says it must be)
    other       another way to give the same distribution (logits for probs)
    known       (parameters, value, log density): hard cases with published or exact
                answers
    """

    family: type[distributions.Distribution]
    parameters: Parameters
    scipy: Callable[..., Any]
    values: list[Any]
    outside: list[Any] = field(default_factory=list)
    bad: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    discrete: bool = False
    known: list[tuple[Parameters, Any, float]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The family's name."""
        return self.family.__name__

    @property
    def is_vector(self) -> bool:
        """Whether an event is a vector."""
        return bool(self.family.family_event_ndim)

    def make(self, dtype: Any = np.float64, **changes: Any) -> Any:
        """The distribution over the batch, its parameters of one dtype."""
        with np.errstate(over="ignore"):  # 2¹⁷ degrees of freedom in float16 are ∞
            given = {n: np.asarray(p).astype(dtype) for n, p in self.parameters.items()}
        return self.family(**given | changes)

    def oracle(self) -> Any:
        """SciPy's distribution over the batch, with `logpdf` for masses too."""
        frozen = self.scipy(**{n: np.asarray(p) for n, p in self.parameters.items()})
        if self.discrete:
            frozen.logpdf = frozen.logpmf
        return frozen


class Normals:
    """SciPy's multivariate normal over a batch."""

    def __init__(self, loc: Any, covariance_matrix: Any) -> None:
        self._all = [
            stats.multivariate_normal(*one)
            for one in zip(loc, covariance_matrix, strict=True)
        ]

    def logpdf(self, value: Any) -> Any:
        """[N, 1, D] → [N, batch]."""
        return np.stack([one.logpdf(value[:, 0]) for one in self._all], axis=-1)

    def mean(self) -> Any:
        return np.stack([one.mean for one in self._all])

    def var(self) -> Any:
        return np.stack([np.diag(one.cov) for one in self._all])

    def entropy(self) -> Any:
        return np.stack([one.entropy() for one in self._all])


REAL_LINE = [-30.0, -2.5, -1.0, 0.0, 0.25, 1.0, 1.5, 4.0, 40.0]
BAD_PLACE = {"loc": (np.nan, "real"), "scale": (-0.5, "positive")}

TABLE = [
    Row(
        distributions.Normal,
        {"loc": [-2.0, 0.0, 0.5], "scale": [0.5, 1.0, 8.0]},
        stats.norm,
        REAL_LINE,
        bad=BAD_PLACE,
        known=[({"loc": 0.0, "scale": 1e-30}, 0.0, 68.15861425661670)],
    ),
    Row(
        distributions.Laplace,
        {"loc": [-2.0, 0.0, 0.5], "scale": [0.5, 1.0, 8.0]},
        stats.laplace,
        REAL_LINE,
        bad=BAD_PLACE,
    ),
    Row(
        distributions.StudentT,
        {
            "df": [0.5, 1.0, 2.0, 3.5, 30.0, 2.0**17, np.inf],
            "loc": [0.5, -2.0, 0.0, 0.0, 1.0, 1.0, -0.5],
            "scale": [1.0, 2.0, 0.5, 1.0, 4.0, 1.0, 2.0],
        },
        stats.t,
        REAL_LINE,
        bad=BAD_PLACE | {"df": (0.0, "positive")},
        known=[
            # Cauchy's; then the normalisation where log Γ cancels, and its limit.
            ({"df": 1.0}, 1.0, -np.log(2 * np.pi)),
            ({"df": 1e6}, 0.0, -0.9189387832046727),
            ({"df": np.inf}, 2.0, -2.9189385332046727),
        ],
    ),
    Row(
        distributions.Gamma,
        {
            "concentration": [0.125, 1.0, 1.5, 3.0, 40.0, 5000.0],
            "rate": [2.0, 0.5, 8.0, 1.0, 16.0, 512.0],
        },
        lambda concentration, rate: stats.gamma(concentration, scale=1 / rate),
        [0.015625, 0.5, 1.0, 2.5, 4.0, 9.75, 11.0, 300.0],
        outside=[-1.0, -1e-30, np.inf],
        bad={"concentration": (0.0, "positive"), "rate": (-2.0, "positive")},
        known=[
            ({"concentration": 0.5, "rate": 2.0}, 0.0, np.inf),
            ({"concentration": 1.0, "rate": 2.0}, 0.0, np.log(2.0)),
            ({"concentration": 1.5, "rate": 2.0}, 0.0, -np.inf),
            # An exponential near 0: nothing may be left of log x.
            ({"concentration": 1.0, "rate": 1.0}, 1e-30, -1e-30),
            # At the mode, −½ log 2π + log β − ½ log a − δ(a).
            ({"concentration": 1e8 + 1, "rate": 1.0}, 1e8, -10.129278906014188),
        ],
    ),
    Row(
        distributions.Poisson,
        {"rate": [0.0625, 1.0, 4.5, 64.0, 4096.0]},
        lambda rate: stats.poisson(rate),
        [0.0, 1.0, 2.0, 5.0, 16.0, 70.0, 4000.0],
        outside=[-1.0, 0.5, 63.5, np.inf],
        bad={"rate": (-1.0, "nonnegative")},
        discrete=True,
        known=[
            ({"rate": 1e6}, 1e6, -7.826693895520143),
            ({"rate": 1e6}, 1000500.0, -7.951923004872761),
            ({"rate": 0.0}, 0.0, 0.0),
            ({"rate": 0.0}, 3.0, -np.inf),
        ],
    ),
    Row(
        distributions.Bernoulli,
        {"probs": [0.125, 0.5, 0.9375]},
        lambda probs: stats.bernoulli(probs),
        [0.0, 1.0],
        outside=[0.5, -1.0, 2.0, np.inf],
        bad={"probs": (1.5, "in the interval [0, 1]")},
        discrete=True,
        known=[
            ({"probs": 0.0}, 0.0, 0.0),
            ({"probs": 0.0}, 1.0, -np.inf),
            ({"probs": 1.0}, 1.0, 0.0),
            ({"logits": -800.0}, 1.0, -800.0),
            ({"logits": 800.0}, 1.0, 0.0),
        ],
    ),
    Row(
        distributions.Uniform,
        {"low": [-2.0, 0.0, 0.25], "high": [1.0, 1.0, 1000.0]},
        lambda low, high: stats.uniform(low, high - low),
        [0.25, 0.5, 1.0],
        outside=[-3.0, 2000.0, -np.inf, np.inf],
        bad={"low": (np.nan, "real"), "high": (-5.0, "greater than `low`")},
    ),
    Row(
        distributions.MultivariateNormal,
        {
            "loc": [[0.0, 1.0, -1.0], [10.0, 0.0, 0.5]],
            "covariance_matrix": [
                [[4.0, 1.0, 0.5], [1.0, 2.0, -0.25], [0.5, -0.25, 1.0]],
                [[0.5, 0.0, 0.0], [0.0, 8.0, 4.0], [0.0, 4.0, 8.0]],
            ],
        },
        Normals,
        [[[0.0, 0.0, 0.0]], [[1.0, 2.0, -3.0]], [[12.0, -1.0, 4.0]]],
        bad={
            "loc": ([0.0, np.nan, 0.0], "a real vector"),
            "covariance_matrix": (
                [[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
                "a symmetric positive-definite matrix",
            ),
        },
    ),
]


# ---- what the tests over the table share

UNIT = {np.float32: 2.0**-24, np.float64: 2.0**-53}
EVERY = pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
SCALAR = pytest.mark.parametrize(
    "row", [row for row in TABLE if not row.is_vector], ids=lambda row: row.name
)
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@pytest.fixture(
    autouse=True, params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
)
def device(request: pytest.FixtureRequest) -> Iterator[None]:
    """NumPy arrays handed to a constructor go to the default device: each in turn."""
    before = lucid.get_default_device()
    lucid.set_default_device(request.param)
    yield
    lucid.set_default_device(before)


def values(row: Row, dtype: Any = np.float64) -> Any:
    """The row's values, one axis in front of the batch: [N, 1] or [N, 1, D]."""
    array = np.asarray(row.values, dtype)
    return array if row.is_vector else array[:, None]


def batch(row: Row) -> int:
    """How many elements the row's batch has."""
    return int(row.make().batch_shape[0])


def formula_parameters(given: Any) -> dict[str, Any]:
    """What the family's formulas take, in float64 NumPy."""
    arrays = map(given._backend.to_numpy, given._family_arrays())
    wide = [np.asarray(array, np.float64) for array in arrays]
    return dict(zip(given.family_parameters, wide, strict=True))


def finite(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Infinite degrees of freedom as many, of the same law: tests.bounds computes."""
    return {name: np.minimum(array, 1e30) for name, array in parameters.items()}
