"""What the benchmark makes of a participant: right, wrong, too large, slow at first."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench import limits, measure, memory, peers, probe, workloads
from bench.peers import NotApplicableError
from bench.suites import Cell
from tests.fake_peer import Fake, only
from tests.test_bench_reference import ALL_CASES, SCALAR


@pytest.mark.usefixtures("quiet")
def test_a_right_participant_is_timed() -> None:
    found = only(SCALAR, Fake(), repeats=5)
    assert found["status"] == "ok"
    assert len(found["seconds"]) == 5
    assert found["process_medians"] == [found["median_seconds"]]
    low, high = found["quartiles"]
    assert 0 < low <= found["median_seconds"] <= high
    assert found["error_uB"] < 10


@pytest.mark.usefixtures("quiet")
def test_a_wrong_participant_is_shown_as_wrong() -> None:
    class Wrong(Fake):
        def numpy(self, result: Any) -> Any:
            return result * (1 + 1e-4)

    found = only(SCALAR, Wrong())
    assert found["status"] == "wrong"
    assert found["error_uB"] > 1e8
    assert "off by" in found["note"]
    assert found["seconds"] == []
    assert found["median_seconds"] is None


@pytest.mark.usefixtures("quiet")
def test_one_that_turns_wrong_loses_its_times() -> None:
    class Late(Fake):
        calls = 0

        def numpy(self, result: Any) -> Any:
            self.calls += 1
            return result + (self.calls > 5)

    found = only(SCALAR, Late())
    assert (found["status"], found["seconds"]) == ("wrong", [])


@pytest.mark.parametrize(
    ("error", "asked"),
    [
        (
            np.exceptions.DTypePromotionError("no"),
            None,
        ),
        (
            MemoryError(
                "Unable to allocate 7.28 TiB for an array with shape (1000000, 1000000)"
            ),
            "asked for 7.28 TiB",
        ),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: "
                "can't allocate memory: you tried to allocate 400000000000 bytes."
            ),
            "asked for 372.5 GiB",
        ),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4096 bytes."),
            "asked for 4 KiB",
        ),
        (
            RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has"),
            "asked for 20.00 GiB",
        ),
        (
            RuntimeError("Out of memory allocating 4,000,000,000 bytes (allocated so"),
            "asked for 3.725 GiB",
        ),
    ],
    ids=["another error", "NumPy", "torch", "JAX", "torch on a GPU", "CuPy"],
)
@pytest.mark.usefixtures("quiet")
def test_one_that_runs_out_of_memory_is_shown_with_the_size(
    error: Exception, asked: str | None
) -> None:
    def fail() -> None:
        raise error

    found = only(SCALAR, Fake(fail))
    if asked is None:
        assert found["status"] == "failed"
        assert found["note"] == "DTypePromotionError: no"
    else:
        assert (found["status"], found["note"]) == ("out of memory", asked)


def test_a_limit_makes_a_call_fail_and_goes_away() -> None:
    def take() -> Any:
        return np.empty(1 << 30, np.uint8)

    if memory.free_bytes() is None:
        pytest.skip("not run: this system does not say how much memory is free")
    with memory.limited(1 << 28), pytest.raises(MemoryError, match=r"1\.00 GiB"):
        take()
    assert take().size == 1 << 30


def test_what_would_end_the_process_is_tried_in_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = Cell("score", "scalar", "float32", 400_000, 400_000)
    names = {"scipy": peers.find("scipy", "cpu", 1)}
    tried: list[str] = []
    in_a_child = probe.in_a_child

    def noted(name: str, *rest: Any) -> tuple[str, str]:
        tried.append(name)
        return in_a_child(name, *rest)

    monkeypatch.setattr(probe, "in_a_child", noted)
    found = measure.measure(cell, names, 1)["participants"]["scipy"]
    assert tried == ["scipy"]
    assert found["status"] == "out of memory"
    assert found["note"].startswith("asked for ")
    assert found["note"].endswith("iB")


def ended(*given: Any) -> Any:
    os._exit(9)  # as the system ends a process that took too much


def test_a_process_that_was_ended_is_out_of_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "_call_once", ended)
    cell = Cell("score", "scalar", "float32", 1024, 1024)
    status, note = probe.in_a_child("scipy", cell, 1, 1 << 30)
    assert status == "out of memory"
    assert note == "its process was ended; one N×K array takes 4 MiB"


@pytest.mark.usefixtures("quiet")
def test_memory_is_that_of_a_finished_call() -> None:
    """A library may hand out its answer first, and compute it afterwards."""

    class Later(Fake):
        def wait(self, result: Any) -> None:
            np.ones(1 << 27, np.uint8).sum()

    found = only(SCALAR, Later())
    if found["extra_mb"] is None:
        pytest.skip("not run: this system does not keep the peak of memory")
    assert 120 < found["extra_mb"] < 250


def test_inputs_that_take_too_much_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system may hand out more than it has, and then end the process."""
    if memory.free_bytes() is None:
        pytest.skip("not run: this system does not say how much memory is free")
    monkeypatch.setattr(memory, "free_bytes", lambda: 1 << 26)
    cell = Cell("score", "scalar", "float32", 30_000_000, 2)
    with pytest.raises(MemoryError):
        measure.measure(cell, {}, 1)


@pytest.mark.parametrize(("case", "arrays"), [("mdn", 3), ("categorical", 1)])
def test_large_sets_of_inputs_are_fewer(
    case: str, arrays: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = Cell(case, case, "float32", 100, 8)
    for most, count in ((arrays * 3200, 2), (arrays * 3200 + 1, 3)):
        monkeypatch.setattr(workloads, "_LARGE", most)
        values = [given["value"] for given in workloads.make(cell).inputs]
        assert len({value.tobytes() for value in values}) == count


def test_torch_compiles_draws() -> None:
    pytest.importorskip("torch")
    peer = peers.find("torch-compile", "cpu", 1)
    cell = Cell("sample", "draws", "float32", 20_000, 4)
    (found,) = measure.measure(cell, {"torch-compile": peer}, 1)[
        "participants"
    ].values()
    assert found["status"] == "ok", found["note"]


@pytest.mark.usefixtures("quiet")
def test_one_that_has_nothing_for_a_case_says_so() -> None:
    cell = Cell("mdn", "mdn", "float32", 10, 2)
    found = only(cell, Fake())
    assert found["status"] == "not applicable"
    assert found["note"] == "has nothing for mdn"
    missing = measure.Missing("not installed", "x is missing")
    assert only(cell, missing)["note"] == "x is missing"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("name", [*peers.LUCID, *peers.PEERS])
@pytest.mark.parametrize("cell", ALL_CASES, ids=lambda cell: cell.case)
def test_every_participant_that_is_here_is_right(name: str, cell: Cell) -> None:
    try:
        peer = peers.find(name, "cpu", 1)
    except (ImportError, NotApplicableError) as error:
        pytest.skip(f"not run: {error}")
    (found,) = measure.measure(cell, {name: peer}, 1)["participants"].values()
    assert found["status"] in ("ok", "not applicable"), found["note"]


@pytest.fixture
def cupy_over_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much of CuPy as its expressions and its events take; a call takes 2 ms."""
    random = np.random.default_rng(1)
    pool = SimpleNamespace(free_all_blocks=lambda: None, total_bytes=lambda: 0)
    event = SimpleNamespace(record=lambda: None, synchronize=lambda: None)
    device = SimpleNamespace(synchronize=lambda: None)
    fake = ModuleType("cupy")
    vars(fake).update({name: getattr(np, name) for name in np.__all__})
    vars(fake).update(
        asnumpy=np.asarray,
        random=SimpleNamespace(
            random=random.random, standard_normal=random.standard_normal
        ),
        get_default_memory_pool=lambda: pool,
        cuda=SimpleNamespace(
            Device=lambda: device,
            Event=lambda: event,
            get_elapsed_time=lambda start, stop: 2.0,
        ),
    )
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.delitem(sys.modules, "bench.peers.cupy", raising=False)


@pytest.mark.usefixtures("cupy_over_numpy")
@pytest.mark.parametrize("cell", ALL_CASES, ids=lambda cell: cell.case)
def test_cupys_expressions_are_right_and_events_time_them(cell: Cell) -> None:
    found = only(cell, peers.find("cupy", "cuda", 1))
    assert found["status"] == "ok", found["note"]
    assert cell.case == "single" or found["median_seconds"] == 2e-3
    assert found["extra_mb"] == 0


def test_memory_of_a_call_is_counted() -> None:
    def call() -> Any:
        return np.ones(1 << 26, np.uint8).sum()

    extra, result = memory.peak_above(call)
    assert result == 1 << 26
    if extra is None:
        pytest.skip("not run: this system does not keep the peak of memory")
    assert 0.9 * 2**26 < extra < 1.5 * 2**26


def test_the_limit_that_binds_is_found() -> None:
    rates = {
        "exp2_per_second": 1e3,
        "fma_float32_per_second": 1e4,
        "fma_float64_per_second": 1e4,
        "bytes_per_second": 1e5,
    }

    def binding(cell: Cell) -> tuple[str, float]:
        return limits.binding(measure.document(cell, {}), rates)

    scalar = Cell("score", "scalar", "float32", 100, 10)
    assert binding(scalar) == ("exp", 1.0)
    assert binding(Cell("score", "diagonal", "float32", 100, 10, 8)) == ("issue", 1.6)
    assert binding(Cell("score", "scalar", "float64", 100, 10)) == ("issue", 0.2)
    draws = Cell("sample", "draws", "float32", 1000, 10)
    assert binding(draws) == ("memory", 0.04)
    part = measure.document(scalar, {"lucid": {"status": "ok", "median_seconds": 4.0}})
    measure.hold_to_limits(part, rates)
    assert (part["limit_name"], part["limit_percent"]) == ("exp", 25.0)
