"""The bits and the generator: known answers, positions, states, threads and forks."""

from __future__ import annotations

import copy
import json
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lucid import _random
from lucid._device import device
from lucid._random import Generator, default_generator, manual_seed
from lucid.backends.numpy.philox import NumpyBits, NumpyVectorBits

MASK = 2**64 - 1
Counter = tuple[int, int, int, int]


def philox4x64(counter: Counter, key: tuple[int, int]) -> Counter:
    """Ten rounds of Philox4x64 in Python's integers, as the paper has them."""
    (a, b, c, d), (k, m) = counter, key
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b = (second >> 64) ^ b ^ k, second & MASK
        c, d = (first >> 64) ^ d ^ m, first & MASK
        k, m = (k + 0x9E3779B97F4A7C15) & MASK, (m + 0xBB67AE8584CAA73B) & MASK
    return a, b, c, d


# The vectors published with Random123 (kat_vectors: philox4x64 10).
PUBLISHED = [
    (
        (0, 0, 0, 0),
        (0, 0),
        "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b",
    ),
    (
        (MASK, MASK, MASK, MASK),
        (MASK, MASK),
        "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0",
    ),
    (
        (
            0x243F6A8885A308D3,
            0x13198A2E03707344,
            0xA4093822299F31D0,
            0x082EFA98EC4E6C89,
        ),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED)
def test_published_vectors(counter: Counter, key: tuple[int, int], words: str) -> None:
    assert " ".join(f"{word:016x}" for word in philox4x64(counter, key)) == words


def test_first_words_are_the_published_ones() -> None:
    words = NumpyBits((0, 0), 0, 1).words(0)
    assert words.shape == (1, 4)
    assert words.dtype == np.uint64
    assert " ".join(f"{int(word):016x}" for word in words[0]) == PUBLISHED[0][2]


@pytest.mark.parametrize("key", [(0, 0), (7, 3), (2**63 + 1, 2**64 - 1)])
@pytest.mark.parametrize("start", [0, 1, 2**32 - 2, 2**63 - 1, 2**64 - 5])
@pytest.mark.parametrize("block", [0, 1, 127])
@pytest.mark.parametrize("attempt", [0, 1, 9])
def test_words_are_those_of_their_counter(
    key: tuple[int, int], start: int, block: int, attempt: int
) -> None:
    words = NumpyBits(key, start, 5, block).words(attempt)
    counters = [(start + row, block, attempt, 0) for row in range(5)]
    assert words.tolist() == [list(philox4x64(c, key)) for c in counters]


@pytest.mark.parametrize("attempt", [0, 1, 2])
@pytest.mark.parametrize(
    "rows",
    [[], [0], [4999], [3, 4, 5], [1, 4000], [7, 2, 900, 4], list(range(5000))],
    ids=lambda rows: f"{len(rows)} rows",
)
def test_words_of_some_rows_are_rows_of_all_words(
    attempt: int, rows: list[int]
) -> None:
    bits = NumpyBits((5, 1), 2**40, 5000, block=2)
    some = bits.words(attempt, np.array(rows, dtype=np.int64))
    assert some.shape == (len(rows), 4)
    assert np.array_equal(some, bits.words(attempt)[rows])


def test_words_of_whole_events_are_those_of_their_blocks() -> None:
    whole = NumpyVectorBits((5, 1), 77, 400, blocks=3)
    rows = np.array([1, 5, 399])
    part = whole.part(np.array([0, 1, 5, 200, 399])).part(np.array([1, 2, 4]))
    for attempt in (0, 1):
        for block in range(3):
            expected = NumpyBits((5, 1), 77, 400, block).words(attempt)
            assert np.array_equal(whole.words(attempt)[:, block], expected)
            assert np.array_equal(whole.words(attempt, rows)[:, block], expected[rows])
            assert np.array_equal(part.words(attempt)[:, block], expected[rows])
            last = part.words(attempt, np.array([2]))
            assert np.array_equal(last[:, block], expected[[399]])
    assert part.size == 3


def test_reserve_takes_the_next_elements() -> None:
    generator = Generator(1)
    assert [generator.reserve(n) for n in (3, 0, 5)] == [0, 3, 3]
    assert generator.position == 8
    assert generator.key == (1, 0)
    assert Generator(1, stream=4).key == (1, 4)


def test_reserve_is_atomic() -> None:
    generator = Generator(1)
    barrier = threading.Barrier(4)

    def take(_: int) -> list[int]:
        barrier.wait()
        return [generator.reserve(3) for _ in range(2000)]

    with ThreadPoolExecutor(4) as pool:
        starts = sorted(start for part in pool.map(take, range(4)) for start in part)
    assert starts == list(range(0, 3 * 8000, 3))


def test_a_stream_ends() -> None:
    generator = Generator(1)
    generator.reserve(2**64 - 2)
    with pytest.raises(
        ValueError, match="3 elements are more than the 2 that stream 0"
    ):
        generator.reserve(3)
    assert generator.reserve(2) == 2**64 - 2
    with pytest.raises(ValueError, match="must not be negative"):
        generator.reserve(-1)


def test_state_comes_back() -> None:
    generator = Generator(2**64 - 1, stream=2)
    generator.reserve(10)
    state = json.loads(json.dumps(generator.get_state()))
    generator.manual_seed(4)
    assert (generator.key, generator.position) == ((4, 2), 0)
    generator.set_state(state)
    assert (generator.key, generator.position) == ((2**64 - 1, 2), 10)
    assert generator.get_state() == state


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copies_go_their_own_way(duplicate: object) -> None:
    generator = Generator(3, device="cpu", stream=1)
    generator.reserve(5)
    twin = duplicate(generator)
    if isinstance(twin, bytes):
        twin = pickle.loads(twin)
    generator.reserve(5)
    assert (twin.key, twin.position, twin.device) == ((3, 1), 5, device("cpu"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits_version": 2}, "bits version 2"),
        ({"seed": -1}, "`seed` must be"),
        ({"position": 2**64 + 1}, "`position` must be"),
        ({"position": 1.5}, "holds the integers"),
    ],
)
def test_bad_states_are_refused(change: dict[str, object], message: str) -> None:
    generator = Generator(1)
    with pytest.raises(ValueError, match=message):
        generator.set_state({**generator.get_state(), **change})
    with pytest.raises(ValueError, match="holds the integers"):
        generator.set_state({})
    assert generator.key == (1, 0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_are_one_word(seed: int) -> None:
    with pytest.raises(ValueError, match="`seed` must be 0 … 2⁶⁴ − 1"):
        Generator(seed)
    with pytest.raises(ValueError, match="`stream` must be 0 … 2⁶⁴ − 1"):
        Generator(0, stream=seed)


@pytest.mark.parametrize("seed", [1.0, True, "1"])
def test_seeds_are_integers(seed: object) -> None:
    with pytest.raises(TypeError, match="`seed` must be an int"):
        Generator(seed)


def test_seeds_of_numpy_are_integers() -> None:
    assert Generator(np.uint64(2**64 - 1)).seed == 2**64 - 1


def test_a_generator_may_serve_one_device_only() -> None:
    generator = Generator(1, device="cuda:1")
    assert generator.reserve(2, device("cuda:1")) == 0
    with pytest.raises(ValueError, match="serves cuda:1, but the draws are on cpu"):
        generator.reserve(2, device("cpu"))
    assert Generator(1).reserve(2, device("cpu")) == 0
    assert repr(generator) == "<Generator(1, device='cuda:1') at 2>"


def test_unseeded_generators_differ() -> None:
    assert len({Generator().seed for _ in range(10)}) == 10


@pytest.fixture
def _default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_random, "_default", Generator())


@pytest.mark.usefixtures("_default")
def test_manual_seed_starts_the_default_generator_again() -> None:
    assert manual_seed(9) is default_generator()
    default_generator().reserve(4)
    assert manual_seed(9).position == 0
    assert default_generator().key == (9, 0)


def _child_key(pipe: multiprocessing.connection.Connection) -> None:
    state = default_generator().get_state()  # under the lock
    pipe.send(((state["seed"], state["stream"]), state["position"]))


def _key_in_forked_child() -> tuple[tuple[int, int], int]:
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_child_key, args=(there,))
    child.start()
    assert here.poll(30), "the child hangs"
    key: tuple[tuple[int, int], int] = here.recv()
    child.join()
    return key


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.usefixtures("_default")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_draws_its_own_numbers_unless_seeded() -> None:
    assert _key_in_forked_child()[0] != default_generator().key
    manual_seed(11).reserve(6)
    assert _key_in_forked_child() == ((11, 0), 6)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.usefixtures("_default")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_others_draw_leaves_no_lock_held() -> None:
    stop = threading.Event()

    def draw() -> None:
        while not stop.is_set():
            default_generator().reserve(1)

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        for _ in range(20):
            _key_in_forked_child()
    finally:
        stop.set()
        thread.join()
