"""Rows of the host through a GPU, on a stand-in that works as late as it may.

There, whatever is read, reused or freed before its event was waited for is garbage.
"""

from __future__ import annotations

import gc
import itertools
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest

import lucid
from lucid.backends.copies import copy_rows
from lucid.backends.protocol import Components
from lucid.backends.tables import IndexTable
from lucid.distributions import Normal
from tests.late_backend import ROWS, LateBackend, cut
from tests.late_backend import backend as backend
from tests.late_backend import world as world
from tests.late_cuda import World


def double(values: Any) -> tuple[Any, ...]:
    """Twice the values, and how many they are."""
    twice = values + values
    return twice, (values == values).sum(axis=0)


def mapped(backend: Any, blocks: Any, work: Any = double, dtype: Any = float) -> Any:
    """The results of each block, copied as soon as they are there."""
    with closing(backend.map_blocks(work, blocks, dtype)) as results:
        return [[np.copy(array) for array in arrays] for arrays in results]


def joined(results: Any) -> Any:
    return np.concatenate([first for first, *_ in results])


@pytest.mark.parametrize("size", [1, 7, 999, 5000, 10_000])
def test_results_come_whole_and_in_order(backend: LateBackend, size: int) -> None:
    rows = ROWS[: 40 * size]
    results = mapped(backend, cut(rows, size))
    np.testing.assert_array_equal(joined(results), 2 * rows)
    assert [count.tolist() for _, count in results] == [
        [len(block)] * 3 for block in cut(rows, size)
    ]


def test_nothing_at_all(backend: LateBackend) -> None:
    assert mapped(backend, []) == []
    assert mapped(backend, [ROWS[:0]])[0][0].shape == (0, 3)


def test_blocks_of_other_sizes_layouts_and_types(backend: LateBackend) -> None:
    blocks = [
        ROWS[:5],
        ROWS[100:0:-1],
        ROWS[:50].astype(">f4"),
        np.arange(12).reshape(4, 3),
        np.asfortranarray(ROWS[:300]),
        ROWS[::20, [2, 0, 1]],
    ]
    results = mapped(backend, blocks, dtype=np.float32)
    for block, (found, _) in zip(blocks, results, strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, 2 * block.astype(np.float32))


def test_copies_and_work_overlap(world: World, backend: LateBackend) -> None:
    mapped(backend, cut(ROWS, 500))
    copied_in = finished = 0
    in_flight = []
    for step, _ in world.trace:
        copied_in += step == "copy in"
        finished += step == "synchronize event"
        in_flight.append(copied_in - finished)
    # One comes in, one is worked on, one goes out, while a fourth is being copied on
    # the host; and the host waits for nothing but the mark behind the oldest.
    assert max(in_flight) == 3
    assert in_flight.count(3) > len(in_flight) / 2
    assert {step for step, _ in world.trace} == {
        *("copy in", "copy out", "synchronize event")
    }
    assert len({stream for _, stream in world.trace}) == 4


def test_what_the_callers_stream_still_makes_is_waited_for(
    world: World, backend: LateBackend
) -> None:
    with world.namespace.cuda.Stream(non_blocking=True):
        shift = world.namespace.asarray(np.array([1.0, 2.0, 3.0]))
        results = mapped(backend, cut(ROWS, 900), lambda values: (values + shift,))
    np.testing.assert_array_equal(joined(results), ROWS + [1.0, 2.0, 3.0])


def test_what_the_first_call_keeps_serves_the_others(
    world: World, backend: LateBackend
) -> None:
    kept: list[Any] = []

    def work(values: Any) -> tuple[Any]:
        if not kept:
            kept.append(world.namespace.asarray(np.array([1.0, 2.0, 3.0])))
        return (values * kept[0],)

    np.testing.assert_array_equal(
        joined(mapped(backend, cut(ROWS, 900), work)), ROWS * [1.0, 2.0, 3.0]
    )


def test_blocks_that_are_on_the_device_stay_there(
    world: World, backend: LateBackend
) -> None:
    def blocks() -> Iterator[Any]:
        with world.namespace.cuda.Stream(non_blocking=True):
            for block in cut(ROWS, 900):
                yield world.namespace.asarray(block)

    results = mapped(backend, blocks(), dtype=np.float32)
    np.testing.assert_array_equal(joined(results), 2 * ROWS.astype(np.float32))
    assert "copy in" not in {step for step, _ in world.trace}


# Memory that runs out


def test_memory_may_run_out_at_any_step(world: World, backend: LateBackend) -> None:
    mapped(backend, cut(ROWS, 2500))
    steps, gone = world.allocations, []
    assert steps > 12
    for step in range(1, steps + 1):
        world.allocations, world.failing, world.trace = 0, {step}, []
        results = mapped(backend, cut(ROWS, 2500))
        np.testing.assert_array_equal(joined(results), 2 * ROWS)
        assert world.used == world.pinned == 0
        gone.append(("free", 0) in world.trace)
    assert all(gone)


@pytest.mark.parametrize("held", [1, 2])
def test_blocks_shrink_to_the_memory_there_is(
    world: World, backend: LateBackend, held: int
) -> None:
    world.limit = 24 * 10_000 * held
    sizes: list[int] = []
    tried: list[tuple[int, int, Any]] = []

    def work(values: Any) -> tuple[Any, ...]:
        tried.append((len(values), world.used, sys.exception()))
        return double(values)

    gc.disable()  # nothing may need it to be freed
    try:
        results = mapped(backend, cut(ROWS, 10_000), work)
    finally:
        gc.enable()
    np.testing.assert_array_equal(joined(results), 2 * ROWS)
    sizes = [len(first) for first, _ in results]
    assert sizes[0] < 10_000
    assert sizes == sorted(sizes, reverse=True)
    # No try stands on the remains of one that failed, nor inside its `except`.
    for rows, used, error in tried:
        assert used <= 4 * 2 * 24 * rows
        assert error is None
    assert world.used == world.pinned == 0


def test_too_little_memory_is_an_error_that_says_how_much(
    world: World, backend: LateBackend
) -> None:
    world.limit = 4000
    with pytest.raises(
        MemoryError, match=r"cuda:0 .* 256 rows \(6,144 bytes"
    ) as raised:
        mapped(backend, cut(ROWS, 10_000))
    assert raised.value.__context__ is None
    del raised
    assert world.used == world.pinned == 0
    world.limit = 2**30
    np.testing.assert_array_equal(joined(mapped(backend, cut(ROWS, 999))), 2 * ROWS)


def test_a_lost_context_is_said_at_once() -> None:
    rows = ROWS[:3000]
    for after in itertools.count():
        world, sizes = World(), set()
        world.doomed = after

        def work(values: Any, sizes: set[int] = sizes) -> tuple[Any, ...]:
            sizes.add(len(values))
            return double(values)

        late = LateBackend(world)
        try:
            results = mapped(late, cut(rows, 600), work)
            break
        except lucid.DeviceUnavailableError as error:
            said = str(error)
        assert "cuda:0 is lost (cudaError700" in said
        assert sizes <= {600}  # no smaller block was tried
        assert world.faults == []
    assert after > 50
    np.testing.assert_array_equal(joined(results), 2 * rows)


# Errors and interruptions in the middle


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("good", [0, 1, 2, 5, 8])
@pytest.mark.parametrize("where", ["blocks", "work", "results"])
def test_an_error_leaves_nothing_in_use(
    world: World, backend: LateBackend, where: str, good: int, error: BaseException
) -> None:
    calls = itertools.count()

    def fails(here: str) -> None:
        if here == where and next(calls) == good:
            raise error

    def blocks() -> Iterator[Any]:
        for block in cut(ROWS, 1000):
            fails("blocks")
            yield block

    def work(values: Any) -> tuple[Any, ...]:
        fails("work")
        return double(values)

    def use() -> None:
        with closing(backend.map_blocks(work, blocks(), float)) as results:
            while next(results, None) is not None:
                fails("results")

    with pytest.raises(type(error)) as raised:
        use()
    assert raised.value is error
    assert world.pinned == 0  # although the traceback still holds the generator
    del raised
    error.__traceback__ = None
    assert world.used == world.pinned == 0
    assert not any(t.name.startswith("lucid-copy") for t in threading.enumerate())


def test_the_caller_keeps_its_stream_and_device(
    world: World, backend: LateBackend
) -> None:
    second = LateBackend(world, 1)
    own = world.namespace.cuda.Stream(non_blocking=True)
    with own, closing(second.map_blocks(double, cut(ROWS, 1000), float)) as results:
        for found, expected in zip(results, cut(ROWS, 1000), strict=True):
            assert (world.current_device, world.stream) == (0, own)
            np.testing.assert_array_equal(found[0], 2 * expected)
    assert {stream.device_id for _, stream in world.trace} == {1}


def test_threads_share_a_device(backend: LateBackend) -> None:
    failures: list[BaseException] = []

    def score(sign: int) -> None:
        try:
            for size in (300, 1000, 2000):
                results = mapped(backend, cut(sign * ROWS, size))
                np.testing.assert_array_equal(joined(results), 2 * sign * ROWS)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=score, args=(s,)) for s in (1, -1, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_no_rows_pass_through_a_capture(world: World, backend: LateBackend) -> None:
    world.null[0].capturing = True
    with pytest.raises(RuntimeError, match="captured in a graph"):
        mapped(backend, [ROWS])


# What is kept from call to call


def test_what_is_kept_is_waited_for_until_it_is_there(
    world: World, backend: LateBackend
) -> None:
    device, components = backend._device, Components(Normal, (), None, 1)
    made: list[Any] = []

    def build() -> Any:
        made.append(world.namespace.asarray(np.arange(3.0)))
        return made[-1]

    streams = [world.namespace.cuda.Stream(non_blocking=True) for _ in range(3)]
    for stream in streams[:2]:
        with stream:
            kept = device.kept(components, ("key",), build)
            found = world.namespace.asnumpy(kept + 1.0)
        np.testing.assert_array_equal(found, [1, 2, 3])
    with streams[2]:
        assert device.kept(components, ("key",), build) is made[0]
    assert streams[2].put == 0  # what is done needs no wait
    assert len(made) == 1


def test_no_table_is_kept_that_a_graph_only_recorded(
    world: World, backend: LateBackend
) -> None:
    drawn: list[Any] = []
    backend._device.launch = lambda spec, *rest: drawn.append(rest)
    table = IndexTable.from_weights(np.array([1.0, 2.0, 3.0]))
    stream = world.namespace.cuda.Stream(non_blocking=True)
    tables = []
    for capturing in (True, False, False, True):
        stream.capturing = capturing
        with stream:
            backend.draw_index(table, (1, 0), 0, 5)
        tables.append(drawn[-1][-1][0])
    assert tables[0] is not tables[1]
    assert tables[1] is tables[2] is tables[3]


# Copies on the host


@pytest.mark.parametrize("threads", [1, 3])
def test_copies_by_threads(threads: int) -> None:
    lucid.set_num_threads(threads)
    source = np.random.default_rng(1).normal(size=(300_001, 3))[::-1]
    target = np.zeros(source.shape, np.float32)
    copy_rows(target, source)
    np.testing.assert_array_equal(target, source.astype(np.float32))
    copy_rows(target[:0], source[:0])
