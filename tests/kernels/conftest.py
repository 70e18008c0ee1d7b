"""The kernels on the host, built once for a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import on_host
import pytest
from host_device import HostDevice, units

from lucid.backends.cupy import CupyBackend
from tests.kernels.host import COMPILER, Host
from tests.kernels.sources import sources


@pytest.fixture(scope="session")
def compiler() -> str:
    """The one that makes kernels into host code: without it, nothing runs them here."""
    if COMPILER is None:
        pytest.skip("not run: g++ is needed to run the kernels on the host")
    return COMPILER


@pytest.fixture(scope="session")
def folder(compiler: str, pytestconfig: pytest.Config) -> Path:
    """Where host code is kept, so that no process makes twice what two tests need."""
    cache = pytestconfig.cache
    assert cache is not None
    return Path(cache.mkdir("kernels-on-host"))


@pytest.fixture(scope="session")
def host(folder: Path) -> Iterator[Host]:
    """Every kernel as host code under the sanitizers."""
    running = Host(*sources(), folder=folder)
    yield running
    running.close()


@pytest.fixture(scope="session")
def device(folder: Path) -> Iterator[HostDevice]:
    """A CUDA device played by the host."""
    device = HostDevice(units(on_host.specs()), folder)
    yield device
    device.close()


@pytest.fixture
def backend(device: HostDevice) -> CupyBackend:
    """The CUDA backend on it."""
    device.launches.clear()
    device.waits.clear()
    device.captured = False
    device.multiprocessors = 132
    return CupyBackend(device=device)


@pytest.fixture
def random() -> np.random.Generator:
    """Random numbers, the same in every run."""
    return np.random.default_rng(20_260_101)
