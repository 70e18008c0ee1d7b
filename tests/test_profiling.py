"""Profiling ranges: opened by name where nvtx is, nothing where it is not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
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
    scope = Range("scope")
    with profiling.profile_range(scope, "lucid", "MixtureSameFamily", "log_prob"):
        opened.append("work")
    name = "lucid.MixtureSameFamily.log_prob"
    assert opened == ["scope", name, "enter", "enter", "work", "exit", "exit"]


@pytest.mark.parametrize("broken", [None, SimpleNamespace()])
def test_without_nvtx_there_is_the_scope_alone(monkeypatch, broken):
    monkeypatch.setitem(sys.modules, "nvtx", broken)  # None makes the import fail
    scope = nullcontext()
    assert profiling.profile_range(scope, "lucid", "Normal", "log_prob") is scope


def test_the_real_nvtx_opens_and_closes_a_range():
    pytest.importorskip("nvtx")
    with (
        profiling.profile_range(nullcontext(), "lucid", "Normal", "log_prob"),
        profiling.profile_range(nullcontext(), "lucid", "Normal", "sample"),
    ):
        pass
