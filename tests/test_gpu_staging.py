"""Rows of the host through a real GPU. Where there is none, reported as not run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import backends
from lucid.distributions import Categorical, Independent, MixtureSameFamily, Normal

pytestmark = pytest.mark.gpu

HOUSE = Path(__file__).resolve().parent.parent
COUNT, EVENT = 64, 3


@pytest.fixture
def gpu() -> Any:
    return backends.get("cuda", 0)


def mixture(device: str = "cuda:0", dtype: Any = np.float32) -> MixtureSameFamily:
    random = np.random.default_rng(1)
    weights = random.uniform(0.1, 1, COUNT).astype(dtype)
    loc = (3 * random.normal(size=(COUNT, EVENT))).astype(dtype)
    scale = random.uniform(0.5, 2, (COUNT, EVENT)).astype(dtype)
    made = MixtureSameFamily(
        Categorical(probs=weights), Independent(Normal(loc, scale), 1)
    )
    return made.to(device)


@pytest.fixture(scope="module")
def rows() -> Any:
    found = 4 * np.random.default_rng(2).normal(size=(3_000_001, EVENT))
    found[[5, 2_000_000], 1] = np.nan, np.inf
    return found.astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block_rows", [100_000, 999_983, None])
def test_scores_are_those_of_one_call(
    rows: Any, dtype: Any, block_rows: int | None
) -> None:
    there = mixture(dtype=dtype)
    expected = there.log_prob(rows).numpy()
    found = lucid.score(there, rows, block_rows=block_rows)
    np.testing.assert_array_equal(found.log_prob, expected)
    assert (found.nan, found.minus_infinity) == (1, 1)
    finite = expected[np.isfinite(expected)]
    assert found.total == pytest.approx(finite.sum(dtype=float), rel=1e-12)
    assert found.minimum == finite.min()


def test_files_and_responsibilities(rows: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", rows)
    there = mixture()
    lucid.score(there, tmp_path / "x.npy", tmp_path / "out.npy", responsibilities=True)
    written = np.load(tmp_path / "out.npy")
    index, probability = there.posterior_mode(rows, return_probs=True)
    np.testing.assert_array_equal(written["log_prob"], there.log_prob(rows).numpy())
    np.testing.assert_array_equal(written["probability"], probability.numpy())
    known = ~np.isnan(probability.numpy())
    np.testing.assert_array_equal(
        written["component"], np.where(known, index.numpy(), -1)
    )


def test_rows_on_the_device_stay_there(rows: Any) -> None:
    there = mixture()
    on_device = lucid.tensor(rows, device="cuda:0")
    found = lucid.score(there, on_device, block_rows=100_000)
    np.testing.assert_array_equal(found.log_prob, there.log_prob(on_device).numpy())


def test_the_callers_stream_is_waited_for(gpu: Any, rows: Any) -> None:
    expected = mixture().log_prob(rows).numpy()
    with gpu.xp.cuda.Stream(non_blocking=True):
        busy = gpu.xp.random.random((4096, 4096))
        for _ in range(5):
            busy = busy @ busy
            busy /= busy.max()
        weights = gpu.xp.asarray(np.random.default_rng(1).uniform(0.1, 1, COUNT))
        late = lucid.asarray((weights + 0 * busy[0, 0]).astype("float32"))
        there = mixture()
        # Checked, the weights would be there before anything else happens.
        made = MixtureSameFamily(
            Categorical(probs=late, validate_args=False), there.component_distribution
        )
        found = lucid.score(made, rows, block_rows=50_000)
    np.testing.assert_array_equal(found.log_prob, expected)


@contextmanager
def memory_of(gpu: Any, size: int) -> Iterator[None]:
    """Arrays made here share that many bytes, and nothing that was there before."""
    pool = gpu.xp.cuda.MemoryPool()
    pool.set_limit(size=size)
    with gpu.xp.cuda.using_allocator(pool.malloc):
        yield


def test_little_memory_gives_the_same_scores(gpu: Any, rows: Any) -> None:
    there = mixture()
    expected = there.log_prob(rows).numpy()
    with memory_of(gpu, 4 * 2**20):
        found = lucid.score(there, rows, block_rows=1_000_000)
    np.testing.assert_array_equal(found.log_prob, expected)


def test_too_little_memory_is_an_error_and_not_the_end(gpu: Any, rows: Any) -> None:
    there = mixture()
    there.log_prob(rows[:1])
    said = r"cuda:0 .* 256 rows \(3,072 bytes"
    with memory_of(gpu, 512), pytest.raises(MemoryError, match=said):
        lucid.score(there, rows)
    found = lucid.score(there, rows[:1000])
    np.testing.assert_array_equal(found.log_prob, there.log_prob(rows[:1000]).numpy())


def test_an_error_in_the_middle_leaves_no_memory_in_use(gpu: Any, rows: Any) -> None:
    there = mixture()
    lucid.score(there, rows)
    pool = gpu.xp.get_default_memory_pool()
    used = pool.used_bytes()

    def blocks() -> Iterator[Any]:
        for start in range(0, 800_000, 100_000):
            yield rows[start : start + 100_000]
        raise KeyboardInterrupt

    def use() -> None:
        with closing(gpu.map_blocks(lambda x: (x + x,), blocks(), np.float32)) as done:
            for _ in done:
                pass

    with pytest.raises(KeyboardInterrupt):
        use()
    assert pool.used_bytes() == used


def test_threads_share_a_device(rows: Any) -> None:
    there = mixture()
    expected = there.log_prob(rows).numpy()
    found: list[Any] = [None] * 4

    def score(i: int) -> None:
        found[i] = lucid.score(there, rows, block_rows=100_000 + i).log_prob

    threads = [threading.Thread(target=score, args=(i,)) for i in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in found:
        np.testing.assert_array_equal(result, expected)


def test_another_device_than_the_current_one(gpu: Any, rows: Any) -> None:
    if lucid.cuda.device_count() < 2:
        pytest.skip("not run: only one GPU")
    expected = lucid.score(mixture("cuda:0"), rows, block_rows=100_000)
    found = lucid.score(mixture("cuda:1"), rows, block_rows=100_000)
    np.testing.assert_array_equal(found.log_prob, expected.log_prob)
    assert gpu.xp.cuda.runtime.getDevice() == 0


def test_no_rows_pass_through_a_capture(gpu: Any, rows: Any) -> None:
    there = mixture()
    lucid.score(there, rows[:1000])
    with gpu.xp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        try:
            with pytest.raises(RuntimeError, match="captured in a graph"):
                lucid.score(there, rows[:1000])
        finally:
            stream.end_capture()


LOST = """
import numpy as np, lucid
from lucid import backends
gpu = backends.get("cuda", 0)
code = 'extern "C" __global__ void bad(float* p) { p[1ll << 45] = 1; }'
kernel = gpu.xp.RawKernel(code, "bad")
calls = []
def work(values):
    calls.append(len(values))
    if len(calls) == 3:
        kernel((1,), (1,), (values,))
    return (values + values,)
try:
    blocks = (np.ones(1000, "f4") for _ in range(100))
    for _ in gpu.map_blocks(work, blocks, np.float32):
        pass
except lucid.DeviceUnavailableError as error:
    assert set(calls) == {1000}, calls
    print(error, flush=True)
import os
os._exit(0)  # nothing can be given back any more
"""


def test_a_lost_context_is_said_at_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOST],
        capture_output=True,
        text=True,
        cwd=HOUSE,
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
    )
    said = r"cuda:0 is lost \((cudaErrorIllegalAddress|CUDA_ERROR_ILLEGAL_ADDRESS)"
    assert re.search(said, done.stdout), done.stderr


@pytest.mark.slow
def test_a_block_of_more_than_two_to_the_31_rows(gpu: Any) -> None:
    count = 2**31 + 1000
    # Values and results in half precision; computed in single, behind a copy.
    if gpu.xp.cuda.Device(0).mem_info[0] < 24 * count:
        pytest.skip("not run: too little memory on the device")
    if os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES") < 12 * count:
        pytest.skip("not run: too little memory on the host")
    there = Normal(np.float16(0), np.float16(1)).to("cuda:0")
    values = np.zeros(count, np.float16)
    values[-1000:] = np.arange(1000) / 500
    found = lucid.score(there, values, block_rows=count).log_prob
    assert found is not None
    expected = there.log_prob(values[-1000:]).numpy()
    np.testing.assert_array_equal(found[-1000:], expected)
    assert (found[:-1000] == expected[0]).all()
