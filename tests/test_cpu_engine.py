"""Which engine runs the CPU's fused operations, and what is said where it cannot."""

from __future__ import annotations

import sys

import pytest

import lucid
from lucid.backends.numpy import engine


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(engine, "_chosen", None)
    monkeypatch.delenv("LUCID_CPU", raising=False)
    engine._from_environment.cache_clear()
    engine._numba.cache_clear()
    yield
    engine._from_environment.cache_clear()
    engine._numba.cache_clear()


def _without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)


def test_numba_is_used_where_it_is_installed() -> None:
    assert lucid.get_cpu_engine() == "numba"
    assert engine.current().name == "numba"


def test_numpy_is_used_where_numba_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_numba(monkeypatch)
    assert lucid.get_cpu_engine() == "numpy"
    assert engine.current().name == "numpy"


@pytest.mark.parametrize("name", engine.ENGINES)
def test_one_is_forced(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCID_CPU", name)
    assert lucid.get_cpu_engine() == name
    lucid.set_cpu_engine("numpy")
    assert engine.current().name == "numpy"
    lucid.set_cpu_engine(None)
    assert engine.current().name == name


def test_an_engine_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"`name` must be one of numpy, numba, got"):
        lucid.set_cpu_engine("fortran")
    monkeypatch.setenv("LUCID_CPU", "fast")
    with pytest.raises(ValueError, match=r"LUCID_CPU must be .* got 'fast'"):
        lucid.get_cpu_engine()


def test_an_engine_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_numba(monkeypatch)
    with pytest.raises(ImportError, match=r"`name` asks for numba.*pip install"):
        lucid.set_cpu_engine("numba")
    monkeypatch.setenv("LUCID_CPU", "numba")
    with pytest.raises(ImportError, match="LUCID_CPU asks for numba"):
        lucid.get_cpu_engine()
