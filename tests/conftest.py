"""Tests marked `gpu` are reported as not run, with the reason, where there is none."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

# A shell's background job ignores Ctrl-C, and so would the commands that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    """A test that sets threads, device or engine leaves the others theirs."""
    from lucid import _device
    from lucid.backends.numpy import engine, threads

    before = threads._num_threads, _device._chosen, engine._chosen
    yield
    threads._num_threads, _device._chosen, engine._chosen = before


@pytest.fixture(params=["numpy", "numba"])
def each_engine(request: pytest.FixtureRequest) -> str:
    """The test runs once on each engine of the CPU: `usefixtures("each_engine")`."""
    from lucid.backends.numpy import engine

    engine.set_cpu_engine(request.param)
    name: str = request.param
    return name


@pytest.fixture
def numba_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs on the CPU by Numba."""
    import lucid

    monkeypatch.setattr("lucid._device._chosen", lucid.device("cpu"))
    lucid.set_cpu_engine("numba")


@pytest.fixture
def no_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mixture that is handed to NumPy fails."""
    from lucid.backends.numpy.operations import NumpyOperations

    def refuse(*arguments: object) -> None:
        raise AssertionError("scored by NumPy")

    monkeypatch.setattr(NumpyOperations, "mixture_log_prob", refuse)
    monkeypatch.setattr(NumpyOperations, "mixture_mode", refuse)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A process that is done takes tests from one that is not."""
    if config.getoption("dist") != "load":  # not the default: somebody's choice
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # A GPU has no engine of the CPU to choose: such a test would run twice the same.
    items[:] = [item for item in items if not _repeats(item)]
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    from lucid.backends import cuda_status

    status = cuda_status()
    if not status.available:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=f"not run: {status.reason}"))


def _repeats(item: pytest.Item) -> bool:
    case = getattr(item, "callspec", None)  # only tests with parameters have one
    second = case is not None and case.params.get("each_engine") == "numba"
    return second and item.get_closest_marker("gpu") is not None


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The benchmark does not wait, nor wake cores, before what it times."""
    from bench import timing

    monkeypatch.setattr(timing, "_PAUSE", 0.0)
    monkeypatch.setattr(timing, "_AWAKE", 0.0)
