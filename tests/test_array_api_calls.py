"""Functions of the array namespace one by one, against NumPy's results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor
from tests.test_array_api import INTEGERS, REAL, same


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucid._device._chosen", lucid.device("cpu"))


def x(host: Any = REAL) -> Tensor:
    return lucid.asarray(host)


# What does not fit a pattern: a call, and NumPy's result.
CALLS: list[tuple[str, Callable[[], Tensor], Any]] = [
    ("clip", lambda: lucid.clip(x(), 0.2, 0.5), REAL.clip(0.2, 0.5)),
    ("clip max", lambda: lucid.clip(x(), max=0.5), REAL.clip(max=0.5)),
    ("clip tensor", lambda: lucid.clip(x(), x(REAL[0])), REAL.clip(REAL[0])),
    ("arange", lambda: lucid.arange(5), np.arange(5)),
    ("arange 3", lambda: lucid.arange(1, 5, 2), np.arange(1, 5, 2)),
    ("arange f", lambda: lucid.arange(1.0, 2, 0.5), np.float32([1, 1.5])),
    ("eye", lambda: lucid.eye(2, 3, k=1, dtype="int8"), np.eye(2, 3, 1, "int8")),
    ("full", lambda: lucid.full((2,), True), np.array([True, True])),
    ("full 1j", lambda: lucid.full(2, 1j), np.full(2, 1j, "c8")),
    ("full int", lambda: lucid.full_like(x(), 2), np.full_like(REAL, 2)),
    ("linspace", lambda: lucid.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype="f4")),
    (
        "linspace open",
        lambda: lucid.linspace(0, 1, 4, endpoint=False),
        np.float32([0, 0.25, 0.5, 0.75]),
    ),
    ("tril", lambda: lucid.tril(x(), k=-1), np.tril(REAL, -1)),
    ("triu", lambda: lucid.triu(x()), np.triu(REAL)),
    ("astype", lambda: lucid.astype(x(), lucid.float64), REAL.astype("f8")),
    ("take", lambda: lucid.take(x(), x(np.array([2, 0])), axis=1), REAL[:, [2, 0]]),
    (
        "take_along_axis",
        lambda: lucid.take_along_axis(x(), x(INTEGERS[:, :1] % 3), axis=1),
        np.take_along_axis(REAL, INTEGERS[:, :1] % 3, axis=1),
    ),
    ("vecdot", lambda: lucid.vecdot(x(), x(), axis=0), np.vecdot(REAL, REAL, axis=0)),
    ("tensordot", lambda: lucid.tensordot(x(), x(), axes=2), np.tensordot(REAL, REAL)),
    ("matmul", lambda: lucid.matmul(x(), x(REAL.T)), REAL @ REAL.T),
    ("concat", lambda: lucid.concat([x(), x()], axis=1), np.hstack([REAL, REAL])),
    ("concat flat", lambda: lucid.concat((x(), x()), axis=None), [*REAL.flat] * 2),
    ("stack", lambda: lucid.stack([x(), x()], axis=-1), np.dstack([REAL, REAL])),
    ("expand_dims", lambda: lucid.expand_dims(x(), -1), REAL[..., None]),
    ("flip", lambda: lucid.flip(x(), axis=1), REAL[:, ::-1]),
    ("moveaxis", lambda: lucid.moveaxis(x(), 0, 1), REAL.T),
    ("permute_dims", lambda: lucid.permute_dims(x(), (1, 0)), REAL.T),
    ("repeat", lambda: lucid.repeat(x(), 2, axis=0), REAL.repeat(2, 0)),
    ("reshape", lambda: lucid.reshape(x(), (-1, 2)), REAL.reshape(3, 2)),
    ("roll", lambda: lucid.roll(x(), 1, axis=1), np.roll(REAL, 1, 1)),
    ("squeeze", lambda: lucid.squeeze(x(REAL[:1]), 0), REAL[0]),
    ("tile", lambda: lucid.tile(x(), (2, 1)), np.tile(REAL, (2, 1))),
    ("broadcast_to", lambda: lucid.broadcast_to(x(REAL[0]), (2, 3)), REAL[[0, 0]]),
    ("argmax", lambda: lucid.argmax(x(INTEGERS)), INTEGERS.argmax()),
    ("argmin", lambda: lucid.argmin(x(INTEGERS), axis=1), INTEGERS.argmin(1)),
    ("searchsorted", lambda: lucid.searchsorted(x(REAL[0]), x(REAL[1])), [3, 3, 3]),
    ("where", lambda: lucid.where(x() > 0.5, x(), 0.0), np.where(REAL > 0.5, REAL, 0)),
    ("sort", lambda: lucid.sort(x(INTEGERS)), np.sort(INTEGERS)),
    (
        "sort down",
        lambda: lucid.sort(x(INTEGERS), axis=0, descending=True),
        [[3, 1, 2], [1, 1, 0]],
    ),
    ("argsort", lambda: lucid.argsort(x(INTEGERS)), [[1, 2, 0], [2, 0, 1]]),
    (
        "argsort down",  # equals in their order, as in a stable sort
        lambda: lucid.argsort(x(INTEGERS), descending=True),
        [[0, 2, 1], [0, 1, 2]],
    ),
    ("unique_values", lambda: lucid.unique_values(x(INTEGERS)), [0, 1, 2, 3]),
    ("cumulative_sum", lambda: lucid.cumulative_sum(x(), axis=1), REAL.cumsum(1)),
    (
        "cumulative_sum from 0",
        lambda: lucid.cumulative_sum(x(INTEGERS[0]), include_initial=True),
        [0, 3, 4, 6],
    ),
    (
        "cumulative_sum axis",
        lambda: lucid.cumulative_sum(x(INTEGERS), axis=-1, include_initial=True),
        [[0, 3, 4, 6], [0, 1, 2, 2]],
    ),
    ("cumulative_prod", lambda: lucid.cumulative_prod(x(INTEGERS[0])), [3, 3, 6]),
    ("prod", lambda: lucid.prod(x(), axis=0), REAL.prod(0)),
    ("sum", lambda: lucid.sum(x(np.int8([100, 100]))), 200),
    ("sum f8", lambda: lucid.sum(x(), dtype="float64"), REAL.sum(dtype="f8")),
    ("var", lambda: lucid.var(x(), correction=1), REAL.var(ddof=1)),
    ("std", lambda: lucid.std(x(), correction=1, axis=0), REAL.std(axis=0, ddof=1)),
    ("diff", lambda: lucid.diff(x(INTEGERS), axis=0), np.diff(INTEGERS, axis=0)),
    ("diff end", lambda: lucid.diff(x(INTEGERS[0]), append=x([5])), [-2, 1, 3]),
    ("trace", lambda: lucid.linalg.trace(x(INTEGERS)), 4),
    ("outer", lambda: lucid.linalg.outer(x([1, 2]), x([3])), [[3], [6]]),
    ("cross", lambda: lucid.linalg.cross(x([1, 0, 0]), x([0, 1, 0])), [0, 0, 1]),
    ("norm", lambda: lucid.linalg.vector_norm(x([3.0, 4.0])), np.float32(5)),
]


@pytest.mark.parametrize(
    ("call", "expected"),
    [(c, e) for _, c, e in CALLS],
    ids=[name for name, _, _ in CALLS],
)
def test_call(call: Callable[[], Tensor], expected: Any) -> None:
    same(call(), expected)


def test_several_results() -> None:
    grid = lucid.meshgrid(x(REAL[0]), x(REAL[1]), indexing="ij")
    assert [g.shape for g in grid] == [(3, 3), (3, 3)]
    assert [b.shape for b in lucid.broadcast_arrays(x(), x(REAL[0]))] == [(2, 3)] * 2
    assert [u.tolist() for u in lucid.unstack(x(INTEGERS), axis=1)] == [
        *([3, 1], [1, 1], [2, 0])
    ]
    assert [i.tolist() for i in lucid.nonzero(x(np.eye(2)))] == [[0, 1], [0, 1]]
    everything = lucid.unique_all(x(INTEGERS))
    assert everything.counts.tolist() == [1, 3, 1, 1]
    assert lucid.unique_counts(x(INTEGERS)).values.tolist() == [0, 1, 2, 3]
    assert lucid.unique_inverse(x(INTEGERS)).inverse_indices.shape == (2, 3)


def test_cumulative_functions_need_an_axis() -> None:
    with pytest.raises(ValueError, match="give `axis`"):
        lucid.cumulative_sum(x())


def test_linalg_decompositions() -> None:
    host = np.array([[4.0, 1.0], [1.0, 3.0]])
    a, linalg = x(host), lucid.linalg
    lower = linalg.cholesky(a)
    upper = linalg.cholesky(a, upper=True)
    values, vectors = linalg.eigh(a)
    sign, log = linalg.slogdet(a)
    rebuilt = [
        *(lower @ lower.mT, upper.mT @ upper, linalg.qr(a).Q @ linalg.qr(a).R),
        *(vectors @ (values[:, None] * vectors.mT), linalg.inv(linalg.inv(a))),
        *(linalg.svd(a).U * linalg.svd(a).S @ linalg.svd(a).Vh, linalg.solve(a, a @ a)),
        *(linalg.pinv(linalg.pinv(a)), linalg.matrix_power(linalg.inv(a), -1)),
    ]
    for matrix in rebuilt:
        np.testing.assert_allclose(matrix.numpy(), host, rtol=1e-12)
    numbers = [
        *(linalg.det(a), sign * lucid.exp(log), lucid.prod(linalg.eigvalsh(a))),
        *(lucid.prod(linalg.svdvals(a)), linalg.matrix_norm(a) ** 2 - 16),
        linalg.matrix_rank(a) * 5.5 + 0 * linalg.diagonal(a)[0],
    ]
    assert [float(n) for n in numbers] == pytest.approx([11, 11, 11, 11, 11, 11])
