"""The kernels on the host, built once for a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernels.host import COMPILER, Host
from tests.kernels.sources import sources


@pytest.fixture(scope="session")
def host(pytestconfig: pytest.Config) -> Iterator[Host]:
    """Every kernel as host code under the sanitizers."""
    if COMPILER is None:
        pytest.skip("not run: g++ is needed to run the kernels on the host")
    cache = pytestconfig.cache
    assert cache is not None
    running = Host(*sources(), folder=Path(cache.mkdir("kernels-on-host")))
    yield running
    running.close()
