"""What of a participant's time counts: not its first call, nor what wakes its cores."""

from __future__ import annotations

from typing import Any

import pytest

from bench import measure, timing
from bench.suites import Cell
from tests.fake_peer import Fake, only
from tests.test_bench_reference import SCALAR


class Clock:
    """Time that passes only where a test lets it."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_compiling_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    taken = iter([5.0, 1.0, 1.0, 2.0, 3.0, 4.0])
    found = only(SCALAR, Fake(lambda: clock.sleep(next(taken))))
    assert found["seconds"] == pytest.approx([2.0, 3.0, 4.0])
    assert found["median_seconds"] == pytest.approx(3.0)
    assert found["compile_seconds"] == pytest.approx(2.0)
    assert found["quartiles"] == pytest.approx([2.5, 3.5])


def test_slow_ones_get_fewer_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    assert len(only(SCALAR, Fake(lambda: clock.sleep(1.0)), 9)["seconds"]) == 3
    assert len(only(SCALAR, Fake(lambda: clock.sleep(0.1)), 9)["seconds"]) == 9


@pytest.mark.usefixtures("quiet")
def test_participants_take_turns_and_inputs_rotate() -> None:
    order: list[tuple[str, float]] = []

    class Noted(Fake):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def scalar(self, weights: Any, loc: Any, scale: Any) -> Any:
            log_prob = super().scalar(weights, loc, scale)

            def noted(value: Any) -> Any:
                order.append((self.name, float(value[0])))
                return log_prob(value)

            return noted

    measure.measure(SCALAR, {name: Noted(name) for name in "abc"}, 9)
    timed = order[9:]  # three calls of each to warm up
    names = "".join(name for name, _ in timed)
    turns = [names[i : i + 3] for i in range(0, len(names), 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in turns)
    # Everyone follows everyone at times.
    neighbours = {turn[i : i + 2] for turn in turns for i in range(2)}
    assert neighbours >= {"ab", "ac", "ba", "bc", "ca", "cb"}
    rounds = [{value for _, value in timed[i : i + 3]} for i in range(0, len(timed), 3)]
    assert all(len(values) == 1 for values in rounds)
    assert len(set.union(*rounds)) == 3
    assert rounds[3] == rounds[0]


def test_a_latency_is_that_of_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    calls: list[int] = []

    class Single(Fake):
        def single(self, weights: Any, loc: Any, scale: Any) -> Any:
            log_prob = self.scalar(weights, loc, scale)
            return lambda value: log_prob(value.reshape(1)).reshape(())

    def act() -> None:
        calls.append(1)
        clock.sleep(1e-3)

    cell = Cell("latency", "single", "float64", 1, 8)
    found = only(cell, Single(act), 2)
    assert found["seconds"] == pytest.approx([1e-3, 1e-3])
    awake = 30
    assert len(calls) == pytest.approx(3 + 2 * (awake + 20), abs=2)


def test_cores_are_awake_when_a_call_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    asleep = [0.0]
    calls: list[float] = []

    class Sleepy(Fake):
        def before(self) -> None:
            asleep[0] = clock.now + timing._PAUSE + 0.015

        def scalar(self, weights: Any, loc: Any, scale: Any) -> Any:
            log_prob = super().scalar(weights, loc, scale)

            def noted(value: Any) -> Any:
                calls.append(float(value[0]))
                return log_prob(value)

            return noted

    def act() -> None:
        clock.sleep(0.004 if clock.now < asleep[0] else 0.002)

    found = only(SCALAR, Sleepy(act), 4)
    assert found["seconds"] == pytest.approx([0.002] * 4)
    # The inputs that are timed are others.
    assert calls[-1] not in calls[-6:-1]
    # A call of a second wakes them by itself.
    calls.clear()
    only(SCALAR, Sleepy(lambda: clock.sleep(1.0)))
    assert len(calls) == 3 + 3
