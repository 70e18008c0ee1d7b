"""Tests marked `gpu` are reported as not run, with the reason, where there is none."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    from lucid.backends import cuda_status

    status = cuda_status()
    if not status.available:
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=f"not run: {status.reason}"))
