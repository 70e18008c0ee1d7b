"""Profiling ranges: opened by name where nvtx is, nothing where it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from lucid.backends import profiling


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    profiling._annotate.cache_clear()
    yield
    profiling._annotate.cache_clear()


def test_a_range_carries_the_name_of_the_public_call(monkeypatch):
    opened = []

    class Range:
        def __init__(self, name):
            opened.append(name)

        def __enter__(self):
            opened.append("enter")

        def __exit__(self, *_):
            opened.append("exit")

    monkeypatch.setitem(sys.modules, "nvtx", SimpleNamespace(annotate=Range))
    with profiling.profile_range("lucid.MixtureSameFamily.log_prob"):
        opened.append("work")
    assert opened == ["lucid.MixtureSameFamily.log_prob", "enter", "work", "exit"]


@pytest.mark.parametrize("broken", [None, SimpleNamespace()])
def test_without_nvtx_a_range_does_nothing(monkeypatch, broken):
    monkeypatch.setitem(sys.modules, "nvtx", broken)  # None makes the import fail
    with profiling.profile_range("lucid.Normal.log_prob") as entered:
        assert entered is None


def test_the_real_nvtx_opens_and_closes_a_range():
    pytest.importorskip("nvtx")
    with (
        profiling.profile_range("lucid.Normal.log_prob"),
        profiling.profile_range("lucid.Normal.sample"),
    ):
        pass
