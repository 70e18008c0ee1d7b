"""`lucid.score` on a GPU that is not there, from end to end: see tests/late_cuda.py."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.distributions import Categorical, Independent, MixtureSameFamily, Normal
from tests.late_backend import ROWS, cut
from tests.late_backend import device as device
from tests.late_backend import world as world
from tests.late_cuda import World

WEIGHTS, LOCS, SCALES = [0.25, 0.75], [-2.0, 1.5], [0.5, 3.0]


def mixture(dtype: Any = np.float32) -> MixtureSameFamily:
    locs = np.array(LOCS, dtype)[:, None] + np.zeros(3, dtype)
    scales = np.array(SCALES, dtype)[:, None] + np.zeros(3, dtype)
    return MixtureSameFamily(
        Categorical(probs=lucid.tensor(np.array(WEIGHTS, dtype), device="cpu")),
        Independent(
            Normal(
                lucid.tensor(locs, device="cpu"), lucid.tensor(scales, device="cpu")
            ),
            1,
        ),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block_rows", [None, 777])
def test_scores_are_those_of_the_cpu(
    device: str, dtype: Any, block_rows: int | None, tmp_path: Path
) -> None:
    rows = ROWS.astype(dtype)
    rows[[3, 4, 9_000], 1] = np.nan, np.nan, np.inf
    here, there = mixture(), mixture().to(device)
    options: Any = {"block_rows": block_rows, "responsibilities": True}
    expected = lucid.score(here, rows, **options)
    found = lucid.score(there, rows, **options)
    assert found.device == device
    for name in ("log_prob", "component", "probability"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("rows", "finite", "nan", "minus_infinity", "total", "minimum"):
        assert getattr(found, name) == getattr(expected, name)
    assert (found.nan, found.minus_infinity) == (2, 1)
    np.save(tmp_path / "x.npy", rows)
    lucid.score(there, tmp_path / "x.npy", tmp_path / "out.npy", block_rows=block_rows)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected.log_prob)
    text = tmp_path / "x.csv"
    text.write_text("\n".join(",".join(map(repr, r)) for r in rows[10:200].tolist()))
    streamed = lucid.score(there, text, dtype=dtype, block_rows=20)
    np.testing.assert_array_equal(streamed.log_prob, expected.log_prob[10:200])


def test_little_memory_gives_the_same_scores(world: World, device: str) -> None:
    there = mixture().to(device)
    expected = lucid.score(mixture(), ROWS, dtype=np.float32)
    world.limit = world.used + 100_000
    found = lucid.score(there, ROWS, dtype=np.float32)
    np.testing.assert_array_equal(found.log_prob, expected.log_prob)
    world.limit = world.used + 1000
    with pytest.raises(MemoryError, match=r"cuda:1 .* 256 rows \(3,072 bytes"):
        lucid.score(there, ROWS, dtype=np.float32)


def test_an_interruption_leaves_no_file_and_no_memory(
    world: World, device: str, tmp_path: Path
) -> None:
    there = mixture().to(device)
    lucid.score(there, ROWS)
    used = world.used

    class Rows:
        name, count, row_shape, dtype = "rows", 4000, (3,), np.dtype(float)

        def blocks(self, size: int) -> Iterator[Any]:
            yield from cut(ROWS, 1000)[:6]
            raise KeyboardInterrupt

        def fraction(self) -> None:
            return None

    with pytest.raises(KeyboardInterrupt):
        lucid.score(there, Rows(), tmp_path / "out.npy")
    assert list(tmp_path.iterdir()) == []
    assert (world.used, world.pinned) == (used, 0)


def test_an_interruption_while_results_are_kept(
    world: World, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = mixture().to(device)
    calls = itertools.count()

    def copy(target: Any, source: Any) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("lucid.io.scoring.copy_rows", copy)
    with pytest.raises(KeyboardInterrupt) as raised:
        lucid.score(there, ROWS, block_rows=1000)
    assert raised.value.__traceback__ is not None
    # It holds on to the results that were being kept, and to no other block.
    assert world.pinned == 8 * 1000 + 5 * 8


def test_rows_on_another_device_are_an_error(device: str) -> None:
    there = mixture().to(device)
    for elsewhere in ("cpu", "cuda:0"):
        rows = lucid.tensor(ROWS, device=elsewhere)
        with pytest.raises(ValueError, match=rf"rows are on {elsewhere}, .* {device}"):
            lucid.score(there, rows)
    found = lucid.score(there, lucid.tensor(ROWS, device=device))
    expected = lucid.score(mixture(), ROWS)
    np.testing.assert_array_equal(found.log_prob, expected.log_prob)
