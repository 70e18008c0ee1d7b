"""How long calls take: by the wall clock, and by events on a GPU."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from .peers import Peer

# An idle OpenMP thread spins for a while, and would take a core from the next one.
_PAUSE = 0.05
# Idle cores wake late: a system may leave all threads on one of them for 15 ms. So
# calls that nobody times go before, as in a stream of batches, for this long. A call
# that lasts several times as long hardly feels it.
_AWAKE, _TIMES = 0.03, 5.0


def seconds(
    peer: Peer,
    calls: Sequence[Callable[[], Any]],
    turns: int = 1,
    start: int = 0,
    awake: bool = False,
) -> tuple[float, Any]:
    """Seconds a call, over `turns` of them with one set of inputs after the other.

    Also the result of the last, whose inputs are number start + turns − 1. `awake` has
    calls with other inputs go before, until the processor's cores are at work.
    """
    order = [calls[(start + turn) % len(calls)] for turn in range(turns)]
    peer.before()
    if peer.device == "cpu":
        time.sleep(_PAUSE)
        if awake:
            _wake(peer, [call for call in calls if call not in order] or calls)
    if peer.has_events and turns == 1:
        return _by_events(order[0])
    began = time.perf_counter()
    for call in order:
        result = call()
        peer.wait(result)
    return (time.perf_counter() - began) / turns, result


def is_brief(taken: float) -> bool:
    """Whether a call of so many seconds feels that cores wake late."""
    return taken < _AWAKE * _TIMES


def _wake(peer: Peer, calls: Sequence[Callable[[], Any]]) -> None:
    began = time.perf_counter()
    for call in itertools.cycle(calls):
        peer.wait(call())
        if time.perf_counter() - began >= _AWAKE:
            return


def _by_events(call: Callable[[], Any]) -> tuple[float, Any]:
    import cupy

    cupy.cuda.Device().synchronize()
    start, stop = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    result = call()
    stop.record()
    stop.synchronize()
    return float(cupy.cuda.get_elapsed_time(start, stop)) / 1e3, result


def quartiles(values: Sequence[float]) -> list[float]:
    """The first and the third, between the values where they fall there."""
    if len(values) == 1:
        return [values[0], values[0]]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return [first, third]
