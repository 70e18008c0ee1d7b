"""`lucid.score` against SciPy, and results that appear whole or not at all."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special
import scipy.stats

import lucid
from lucid.distributions import Categorical, Independent, MixtureSameFamily, Normal
from lucid.io import DataError, OutputError
from lucid.io.writer import Writer

WEIGHTS, LOCS, SCALES = [0.25, 0.75], [-2.0, 1.5], [0.5, 3.0]
VALUES = np.random.default_rng(0).normal(size=1001) * 4


def mixture(dtype: Any = np.float64) -> MixtureSameFamily:
    return MixtureSameFamily(
        Categorical(probs=np.array(WEIGHTS, dtype)),
        Normal(np.array(LOCS, dtype), np.array(SCALES, dtype)),
    )


def joint(x: Any) -> Any:
    """log w_k p_k(x) of `mixture()`, [N, K], by SciPy."""
    parts = scipy.stats.norm.logpdf(np.asarray(x)[:, None], LOCS, SCALES)
    return parts + np.log(WEIGHTS)


def log_density(x: Any) -> Any:
    return scipy.special.logsumexp(joint(x), axis=1)


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("block_rows", [1, 7, 1000, 1001, None])
def test_scores_and_summary_for_any_block(block_rows: int | None) -> None:
    scores = lucid.score(mixture(), VALUES, block_rows=block_rows)
    truth = log_density(VALUES)
    assert scores.log_prob is not None
    np.testing.assert_allclose(scores.log_prob, truth, rtol=1e-14)
    assert (scores.rows, scores.finite, scores.nan) == (1001, 1001, 0)
    assert scores.total == pytest.approx(math.fsum(truth), rel=1e-14)
    assert scores.mean == pytest.approx(truth.mean(), rel=1e-14)
    assert scores.minimum == pytest.approx(truth.min(), rel=1e-14)
    assert scores.device == str(mixture().device)


def test_nan_and_infinite_rows_are_counted_apart() -> None:
    values = np.array([0.0, np.nan, np.inf, 1.0, -np.inf, np.nan, np.nan])
    scores = lucid.score(mixture(), values, block_rows=2, responsibilities=True)
    counts = scores.rows, scores.finite, scores.minus_infinity, scores.nan
    assert counts == (7, 2, 2, 3)
    truth = log_density([0.0, 1.0])
    assert scores.total == pytest.approx(truth.sum(), rel=1e-14)
    assert scores.minimum == pytest.approx(truth.min(), rel=1e-14)
    assert scores.log_prob is not None
    assert np.isnan(scores.log_prob[[1, 5, 6]]).all()
    assert scores.component is not None
    assert scores.component.tolist() == [1, -1, -1, 1, -1, -1, -1]


def test_a_single_precision_total_is_summed_in_double() -> None:
    scores = lucid.score(mixture(np.float32), np.zeros(10**6, np.float32))
    assert scores.log_prob is not None
    assert scores.log_prob.dtype == np.float32
    assert scores.total == pytest.approx(1e6 * float(scores.log_prob[0]), rel=1e-12)


@pytest.mark.parametrize(
    ("model", "data", "option", "result"),
    [
        ("float32", "float32", None, "float32"),
        ("float32", "float64", None, "float64"),
        ("float64", "float32", None, "float64"),
        ("float32", "int64", None, "float32"),
        ("float32", "float64", "float32", "float32"),
        ("float16", "float16", None, "float16"),
    ],
)
def test_dtypes_promote(model: str, data: str, option: Any, result: str) -> None:
    scores = lucid.score(mixture(model), np.arange(5).astype(data), dtype=option)
    assert scores.log_prob is not None
    assert scores.log_prob.dtype == scores.dtype == np.dtype(result)


def test_plain_lists_take_the_models_dtype() -> None:
    assert lucid.score(mixture(np.float32), [0.0, 1.0]).dtype == np.float32
    assert lucid.score(mixture(np.float32), lucid.tensor([0.0])).dtype == np.float32


def test_scores_into_an_array() -> None:
    out = np.empty(1001)
    scores = lucid.score(mixture(), VALUES, out, block_rows=100)
    assert scores.log_prob is out
    np.testing.assert_allclose(out, log_density(VALUES), rtol=1e-14)
    with pytest.raises(ValueError, match=r"shape \(1001,\), got ndarray of shape"):
        lucid.score(mixture(), VALUES, np.empty(1000))


READERS = {
    ".npy": lambda path: np.load(path, mmap_mode="r"),
    ".csv": lambda path: np.genfromtxt(path, delimiter=",", names=True),
    ".parquet": lambda path: (
        pytest.importorskip("pyarrow.parquet").read_table(path).to_pydict()
    ),
}


@pytest.mark.parametrize("ending", READERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_files_hold_the_scores_exactly(tmp_path: Path, ending: str, dtype: Any) -> None:
    values = VALUES.astype(dtype)
    np.save(tmp_path / "x.npy", values)
    out = tmp_path / f"out{ending}"
    model = mixture(dtype)
    kept = lucid.score(model, values, block_rows=1001, responsibilities=True)
    written = lucid.score(
        model, tmp_path / "x.npy", out, block_rows=64, responsibilities=True
    )
    assert written.log_prob is None
    table = READERS[ending](out)
    for name in ("log_prob", "component", "probability"):
        expected = getattr(kept, name)
        found = np.asarray(table[name])
        np.testing.assert_array_equal(found.astype(expected.dtype), expected)
    truth = joint(values)
    assert kept.component is not None
    assert (kept.component == truth.argmax(axis=1)).mean() > 0.999
    top = np.exp(truth.max(axis=1) - log_density(values))
    np.testing.assert_allclose(kept.probability, top, rtol=1e-5)
    assert files(tmp_path) == [f"out{ending}", "x.npy"]


def test_plain_scores_are_a_plain_array(tmp_path: Path) -> None:
    lucid.score(mixture(), VALUES, tmp_path / "out.npy", block_rows=10)
    loaded = np.load(tmp_path / "out.npy")
    assert loaded.dtype == np.float64
    np.testing.assert_array_equal(loaded, lucid.score(mixture(), VALUES).log_prob)


@pytest.mark.parametrize("ending", READERS)
def test_no_rows(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out{ending}"
    scores = lucid.score(mixture(), np.empty(0), out, responsibilities=True)
    assert (scores.rows, scores.total) == (0, 0.0)
    assert math.isnan(scores.mean)
    assert math.isnan(scores.minimum)
    assert out.stat().st_size > 0
    if ending == ".npy":
        assert np.load(out).shape == (0,)


def test_streamed_text_keeps_scores_too(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("x\n" + "\n".join(map(repr, VALUES.tolist())))
    scores = lucid.score(mixture(), path, block_rows=100)
    np.testing.assert_allclose(scores.log_prob, log_density(VALUES), rtol=1e-14)


def test_rows_of_vectors_and_matrices() -> None:
    loc = np.arange(6.0).reshape(2, 3)
    model = Independent(Normal(loc, np.ones((2, 3))), 2)
    values = np.random.default_rng(1).normal(size=(5, 2, 3))
    truth = scipy.stats.norm.logpdf(values, loc).sum(axis=(1, 2))
    for shape in ((5, 2, 3), (5, 6)):
        scores = lucid.score(model, values.reshape(shape), block_rows=2)
        np.testing.assert_allclose(scores.log_prob, truth, rtol=1e-13)
    for shape in ((5, 3, 2), (30,), (15, 2)):
        with pytest.raises(DataError, match=r"an event of shape \(2, 3\) a row"):
            lucid.score(model, values.reshape(shape))


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match=r"batch_shape \(2,\)"):
        lucid.score(Normal([0.0, 1.0], 1.0), VALUES)
    with pytest.raises(ValueError, match="only a mixture has responsibilities"):
        lucid.score(Normal(0.0, 1.0), VALUES, responsibilities=True)
    with pytest.raises(DataError, match="2 columns, but the model scores 1 number"):
        lucid.score(mixture(), VALUES[:1000].reshape(-1, 2))
    plane = Independent(Normal(np.zeros(2), 1.0), 1)
    with pytest.raises(DataError, match=r"^data: 1 column, .* \(2,\) a row$"):
        lucid.score(plane, VALUES)
    with pytest.raises(TypeError, match=r"`distribution` .* got ndarray"):
        lucid.score(VALUES, mixture())
    with pytest.raises(DataError, match="dtype object"):
        lucid.score(mixture(), {"x": VALUES})
    with pytest.raises(DataError, match="dtype complex128"):
        lucid.score(mixture(), VALUES * 1j)
    with pytest.raises(ValueError, match="`columns`"):
        lucid.score(mixture(), VALUES, columns=["a"])
    with pytest.raises(ValueError, match="`block_rows`"):
        lucid.score(mixture(), VALUES, block_rows=0)


# Results appear whole or not at all


class Failing:
    """Rows whose second block raises."""

    name, count, row_shape, dtype = "rows", 4, (), np.dtype(np.float64)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def blocks(self, size: int) -> Iterator[Any]:
        yield np.zeros(2)
        raise self.error

    def fraction(self) -> None:
        return None


@pytest.mark.parametrize("ending", READERS)
@pytest.mark.parametrize("error", [OSError("gone"), KeyboardInterrupt(), MemoryError()])
def test_a_failure_leaves_the_older_file(
    tmp_path: Path, error: BaseException, ending: str
) -> None:
    out = tmp_path / f"out{ending}"
    out.write_text("older")
    with pytest.raises(type(error)) as raised:
        lucid.score(mixture(), Failing(error), out)
    assert raised.value is error
    assert out.read_text() == "older"
    assert files(tmp_path) == [out.name]


@pytest.mark.parametrize("ending", READERS)
def test_a_full_disk_is_an_output_error(tmp_path: Path, ending: str) -> None:
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    out = tmp_path / f"out{ending}"
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OutputError, match="File too large") as raised:
            lucid.score(mixture(), np.random.default_rng(0).random(10**5), out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(raised.value).startswith(str(out))
    assert raised.value.errno == errno.EFBIG
    assert files(tmp_path) == []


def test_a_link_goes_on_pointing_to_its_file(tmp_path: Path) -> None:
    (tmp_path / "real.npy").write_text("older")
    (tmp_path / "link.npy").symlink_to("real.npy")
    lucid.score(mixture(), VALUES, tmp_path / "link.npy")
    assert (tmp_path / "link.npy").is_symlink()
    assert np.load(tmp_path / "real.npy").shape == (1001,)


def test_a_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    lucid.score(mixture(), VALUES, tmp_path / "out.npy")
    (tmp_path / "plain").touch()
    modes = [(tmp_path / name).stat().st_mode for name in ("out.npy", "plain")]
    assert modes[0] == modes[1]


def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", VALUES)
    with pytest.raises(OutputError, match="is the data itself"):
        lucid.score(mixture(), tmp_path / "x.npy", tmp_path / "." / "x.npy")
    with pytest.raises(OutputError, match="must end in one of"):
        lucid.score(mixture(), VALUES, tmp_path / "out.txt")
    with pytest.raises(OutputError, match="No such file or directory"):
        lucid.score(mixture(), VALUES, tmp_path / "none" / "out.npy")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(OutputError, match="not a regular file"):
        lucid.score(mixture(), VALUES, tmp_path / "folder.npy")
    assert files(tmp_path) == ["folder.npy", "x.npy"]


def test_a_writer_needs_no_rows_known_beforehand(tmp_path: Path) -> None:
    with Writer(tmp_path / "out.npy", {"log_prob": np.dtype(np.float32)}) as writer:
        for rows in (1, 10, 100_000):
            writer.append({"log_prob": np.full(rows, rows, np.float32)})
        assert len(files(tmp_path)) == 1
        assert not (tmp_path / "out.npy").exists()
    assert np.load(tmp_path / "out.npy").sum() == 1 + 100 + 100_000**2
