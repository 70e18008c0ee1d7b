"""Threads: how many, that no result depends on them, errors, forks, many callers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.backends.numpy import threads
from lucid.backends.numpy.threads import run_blocks
from lucid.distributions import (
    Categorical,
    Gamma,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucid._device._chosen", lucid.device("cpu"))


# ---- how many


def test_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_num_threads", None)
    monkeypatch.delenv("LUCID_NUM_THREADS", raising=False)
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count()
    )
    assert lucid.get_num_threads() == cores
    monkeypatch.setenv("LUCID_NUM_THREADS", "")
    assert lucid.get_num_threads() == cores
    monkeypatch.setenv("LUCID_NUM_THREADS", "13")
    assert lucid.get_num_threads() == 13
    lucid.set_num_threads(3)
    assert lucid.get_num_threads() == 3


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", " 2", "²"])
def test_a_wrong_environment_is_named(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_num_threads", None)
    monkeypatch.setenv("LUCID_NUM_THREADS", text)
    with pytest.raises(ValueError, match=r"^LUCID_NUM_THREADS must be a positive int"):
        lucid.get_num_threads()
    with pytest.raises(ValueError, match=r"^LUCID_NUM_THREADS"):
        Normal(0.0, 1.0).log_prob([0.0] * 100_000)  # more than one block


@pytest.mark.parametrize("wrong", [True, 2.0, "2"])
def test_a_wrong_type_of_number(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"^`count` must be an int"):
        lucid.set_num_threads(wrong)


def test_at_least_one_thread() -> None:
    before = lucid.get_num_threads()
    for wrong in (0, -3):
        with pytest.raises(
            ValueError, match=rf"^`count` must be at least 1, got {wrong}"
        ):
            lucid.set_num_threads(wrong)
    assert lucid.get_num_threads() == before


# ---- blocks


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize(
    ("count", "block"), [(0, 4), (1, 4), (4, 4), (5, 4), (1000, 7), (30, 1)]
)
def test_every_element_is_given_once(count: int, block: int, workers: int) -> None:
    lucid.set_num_threads(workers)
    given: list[tuple[int, int]] = []
    run_blocks(count, block, lambda start, stop: given.append((start, stop)))
    given.sort()
    assert [i for start, stop in given for i in range(start, stop)] == [*range(count)]
    assert all(0 < stop - start <= block for start, stop in given)


def test_threads_work_at_the_same_time() -> None:
    """Three blocks that wait for one another: fewer threads would time out."""
    lucid.set_num_threads(3)
    barrier, names = threading.Barrier(3, timeout=60), set()

    def work(start: int, stop: int) -> None:
        barrier.wait()
        names.add(threading.get_ident())

    run_blocks(3, 1, work)
    assert len(names) == 3
    assert threading.get_ident() in names


def test_one_block_or_one_thread_stays_with_the_caller() -> None:
    seen = set()

    def work(start: int, stop: int) -> None:
        seen.add(threading.get_ident())

    lucid.set_num_threads(1)
    run_blocks(100, 1, work)
    lucid.set_num_threads(4)
    run_blocks(100, 100, work)
    assert seen == {threading.get_ident()}
    assert threads._pool is None


@pytest.mark.parametrize("where", ["worker", "caller"])
@pytest.mark.parametrize("error", [RuntimeError, MemoryError, KeyboardInterrupt])
def test_an_exception_ends_the_call(where: str, error: type[BaseException]) -> None:
    lucid.set_num_threads(3)
    caller, barrier = threading.get_ident(), threading.Barrier(3, timeout=60)
    started, finished = [], []

    def work(start: int, stop: int) -> None:
        started.append(start)
        if start < 3:  # each thread has one of the first three
            barrier.wait()
            if (threading.get_ident() == caller) == (where == "caller"):
                raise error("a block failed")
            time.sleep(0.05)
        time.sleep(0.001)  # all blocks would take seconds, however late the exception
        finished.append(start)

    with pytest.raises(error, match="a block failed"):
        run_blocks(10_000, 1, work)
    ended = len(finished)
    assert len(started) < 10_000
    time.sleep(0.15)
    assert len(finished) == ended  # no worker outlived the call
    done: list[int] = []
    run_blocks(50, 1, lambda start, stop: done.append(start))
    assert sorted(done) == [*range(50)]


# ---- results


def calls() -> dict[str, Callable[[], Any]]:
    rng = np.random.default_rng(12)
    x, few = rng.normal(0, 5, 40_003), rng.normal(0, 5, (9, 2001))
    weights = rng.uniform(0.1, 1, 40)
    loc, scale = rng.normal(0, 4, 40), rng.uniform(0.2, 2, 40)
    normals = MixtureSameFamily(Categorical(weights), Normal(loc, scale))
    gammas = MixtureSameFamily(Categorical(weights), Gamma(scale, scale[::-1]))
    rows = MixtureSameFamily(
        Categorical(rng.uniform(0.1, 1, (2001, 40))),
        Normal(rng.normal(0, 4, (2001, 40)), scale),
    )
    diagonal = MixtureSameFamily(
        Categorical(weights),
        Independent(Normal(rng.normal(0, 2, (40, 3)), scale[:, None]), 1),
    )
    events = rng.normal(0, 3, (20_001, 3))
    logits = Categorical(logits=rng.normal(0, 3, (25_001, 50)))
    categories = rng.integers(0, 50, 25_001)
    one, many = Normal(loc, scale), rng.normal(0, 5, (4001, 40))
    return {
        "elementwise": lambda: one.log_prob(many),
        "mixture": lambda: normals.log_prob(x),
        "single precision": lambda: normals.log_prob(x.astype(np.float32)),
        "off the support": lambda: gammas.log_prob(np.where(x > 9, np.inf, x)),
        "rows of their own": lambda: rows.log_prob(few),
        "events": lambda: diagonal.log_prob(events),
        "posterior_mode": lambda: normals.posterior_mode(x, return_probs=True)[1],
        "posterior_mode of events": lambda: diagonal.posterior_mode(events),
        "categorical": lambda: logits.log_prob(categories),
        "sample": lambda: normals.sample((70_001,), lucid.Generator(3)),
        "component_log_probs": lambda: normals.component_log_probs(x[:3000]),
    }


CALLS = calls()


@pytest.mark.parametrize("name", CALLS)
def test_results_are_the_same_bits(name: str) -> None:
    results = []
    for count in (1, 2, 5):
        lucid.set_num_threads(count)
        results.append(CALLS[name]().numpy().tobytes())
    assert len(set(results)) == 1


def vectors(size: int, dtype: Any) -> Any:
    rng = np.random.default_rng(size)
    factor = np.tril(rng.normal(0, 0.3, (5, size, size))) + 2 * np.eye(size)
    return MixtureSameFamily(
        Categorical(np.ones(5, dtype)),
        MultivariateNormal(
            rng.normal(size=(5, size)).astype(dtype),
            scale_tril=np.tril(factor).astype(dtype),
        ),
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [2, 8, 33, 64])
def test_results_of_vectors_are_the_same_bits(size: int, dtype: Any) -> None:
    """A matrix product of few rows may round another way than one of many."""
    given = vectors(size, dtype)
    rng = np.random.default_rng(0)
    for rows in (1025, 5000, 10_001):
        x, results = rng.normal(size=(rows, size)).astype(dtype), []
        for count in (1, 3, 5):
            lucid.set_num_threads(count)
            results.append(given.log_prob(x).numpy())
        assert [int((r != results[0]).sum()) for r in results] == [0, 0, 0]


# ---- several callers, forks


def test_callers_at_the_same_time() -> None:
    """Each with its own shapes, while the number of threads changes under them."""
    expected = {name: call().numpy().tobytes() for name, call in CALLS.items()}
    stop = threading.Event()

    def change() -> None:
        count = 1
        while not stop.wait(0.002):
            count = count % 4 + 1
            lucid.set_num_threads(count)

    def caller(shift: int) -> list[str]:
        names = [*CALLS][shift:] + [*CALLS][:shift]
        return [n for n in names if CALLS[n]().numpy().tobytes() != expected[n]]

    changer = threading.Thread(target=change)
    changer.start()
    try:
        with ThreadPoolExecutor(4) as pool:
            wrong = [*pool.map(caller, [0, 3, 6, 9])]
    finally:
        stop.set()
        changer.join()
    assert wrong == [[], [], [], []]


def _child(pipe: Any, name: str) -> None:
    signal.alarm(30)  # a child that hangs must not outlive the test
    pipe.send(CALLS[name]().numpy().tobytes())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("name", ["mixture", "elementwise", "sample"])
def test_a_forked_child_has_threads_of_its_own(name: str) -> None:
    lucid.set_num_threads(3)
    expected = CALLS[name]().numpy().tobytes()
    assert threads._pool is not None  # the child gets the object, not its threads
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_child, args=(there, name))
    child.start()
    assert here.poll(30), "the child hangs"
    assert here.recv() == expected
    child.join()
    assert CALLS[name]().numpy().tobytes() == expected


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_the_lock_is_held() -> None:
    lucid.set_num_threads(2)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    with threads._lock:
        child = context.Process(target=_child, args=(there, "mixture"))
        child.start()
    assert here.poll(30), "the child hangs"
    assert here.recv() == CALLS["mixture"]().numpy().tobytes()
    child.join()
