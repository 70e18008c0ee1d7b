"""Tests marked `gpu` are reported as not run, with the reason, where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    """A test that sets threads, device or engine leaves the others theirs."""
    from lucid import _device
    from lucid.backends.numpy import engine, threads

    before = threads._num_threads, _device._chosen, engine._chosen
    yield
    threads._num_threads, _device._chosen, engine._chosen = before


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    from lucid.backends import cuda_status

    status = cuda_status()
    if not status.available:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=f"not run: {status.reason}"))
