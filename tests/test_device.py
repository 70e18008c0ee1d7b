"""Devices: names, the default, and why CUDA does not work."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import lucid
from lucid import backends
from lucid.backends import CudaStatus, status
from tests.stand_in import two_gpus as two_gpus

HOUSE = Path(__file__).resolve().parent.parent
WORKS = SimpleNamespace(probe=lambda: (True, "", ("GPU A",)))


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUCID_DEVICE", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("lucid._device._chosen", None)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_status", CudaStatus(False, "the reason"))
    monkeypatch.setattr(
        backends,
        "_backends",
        {k: b for k, b in backends._backends.items() if k[0] == "cpu"},
    )


def python(code: str, **environment: str) -> str:
    """What a fresh interpreter prints; a warning is an error there too."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=HOUSE,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("name", "shown"),
    [("cpu", "cpu"), ("cpu:0", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1")],
)
def test_names(name: str, shown: str) -> None:
    device = lucid.device(name)
    assert str(device) == shown
    assert repr(device) == f"device('{shown}')"
    assert lucid.device(device) is device
    assert device == lucid.device(shown)
    assert hash(device) == hash(lucid.device(shown))
    assert pickle.loads(pickle.dumps(device)) == device


@pytest.mark.parametrize("name", ["", "gpu", "cpu:1", "cuda:", "cuda:-1", "CUDA", 0])
def test_other_names_are_errors(name: Any) -> None:
    with pytest.raises(ValueError, match="'cpu', 'cuda' or 'cuda:1', not"):
        lucid.device(name)


def test_default_is_a_gpu_that_works(two_gpus: None) -> None:
    assert str(lucid.get_default_device()) == "cuda:0"
    assert str(lucid.tensor([1.0]).device) == "cuda:0"
    assert str(lucid.zeros(2).device) == "cuda:0"


def test_default_is_the_cpu_where_no_gpu_works(no_gpu: None) -> None:
    assert str(lucid.get_default_device()) == "cpu"
    assert str(lucid.arange(2).device) == "cpu"


def test_environment_names_the_default(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for name in ["cpu", "cuda", "cuda:1", "auto", ""]:
        monkeypatch.setenv("LUCID_DEVICE", name)
        found[name] = str(lucid.tensor(1.0).device)
    assert found == {
        **{"cpu": "cpu", "cuda": "cuda:0", "cuda:1": "cuda:1"},
        **{"auto": "cuda:0", "": "cuda:0"},
    }


def test_bad_environment_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LUCID_DEVICE", "gpu")
    with pytest.raises(ValueError, match=r"LUCID_DEVICE is 'cpu', .* not 'gpu'"):
        lucid.tensor([1.0])


def test_what_is_set_goes_before_the_environment(
    two_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCID_DEVICE", "cuda:1")
    lucid.set_default_device("cpu")
    assert str(lucid.tensor(1.0).device) == "cpu"
    lucid.set_default_device(lucid.device("cuda"))
    assert str(lucid.tensor(1.0).device) == "cuda:0"
    lucid.set_default_device(None)
    assert str(lucid.tensor(1.0).device) == "cuda:1"


def test_asking_for_cuda_never_falls_back(
    no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "cuda:0 cannot be used: the reason"
    with pytest.raises(lucid.DeviceUnavailableError, match=said):
        lucid.zeros(2, device="cuda")
    with pytest.raises(lucid.DeviceUnavailableError, match=said):
        lucid.tensor([1.0], device="cpu").to("cuda")
    with pytest.raises(lucid.DeviceUnavailableError, match=said):
        lucid.set_default_device("cuda")
    monkeypatch.setenv("LUCID_DEVICE", "cuda")
    with pytest.raises(lucid.DeviceUnavailableError, match=said):
        lucid.tensor([1.0])


def test_missing_gpu_is_named_with_those_there(two_gpus: None) -> None:
    with pytest.raises(lucid.DeviceUnavailableError, match=r"cuda:2.*GPU A, GPU B"):
        lucid.zeros(2, device="cuda:2")


def test_cuda_namespace(two_gpus: None) -> None:
    assert lucid.cuda.is_available()
    assert lucid.cuda.reason() == ""
    assert lucid.cuda.device_count() == 2


def test_cuda_namespace_without_a_gpu(no_gpu: None) -> None:
    assert not lucid.cuda.is_available()
    assert lucid.cuda.reason() == "the reason"
    assert lucid.cuda.device_count() == 0


# Each way in which CUDA can fail to work, and the words for it.


def probed(
    monkeypatch: pytest.MonkeyPatch, module: Any, compat: bool = True
) -> CudaStatus:
    """The status on a machine with a driver, where the CUDA backend is `module`."""

    def imported(name: str) -> Any:
        assert name == "lucid.backends.cupy"
        if isinstance(module, Exception):
            raise module
        return module

    monkeypatch.setattr(status, "_has_driver", lambda: True)
    monkeypatch.setattr(status, "import_module", imported)
    monkeypatch.setattr(status, "find_spec", lambda name: object() if compat else None)
    return status.probe_cuda()


def test_reason_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for hidden in ["", " ", "-1"]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        found = probed(monkeypatch, WORKS)
        assert not found.available
        assert "CUDA_VISIBLE_DEVICES hides every GPU" in found.reason
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert probed(monkeypatch, WORKS) == CudaStatus(True, "", ("GPU A",))


def test_reason_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(status.ctypes, "CDLL", load)
    assert status.probe_cuda().reason == "no NVIDIA driver is installed on this machine"


def test_reason_old_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "CUDARuntimeError: cudaErrorInsufficientDriver: CUDA driver version is ..."
    found = probed(monkeypatch, SimpleNamespace(probe=lambda: (False, text, ())))
    assert "driver is too old" in found.reason


def test_reason_from_the_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "CuPy is not installed"
    found = probed(monkeypatch, SimpleNamespace(probe=lambda: (False, text, ())))
    assert found == CudaStatus(False, text)


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError("/home/nobody/.cupy"), ImportError("no symbol"), OSError()],
)
def test_reason_broken_install(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    found = probed(monkeypatch, error)
    assert not found.available
    assert type(error).__name__ in found.reason
    assert str(error) in found.reason


def test_reason_no_array_api_compat(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "array-api-compat" in probed(monkeypatch, WORKS, compat=False).reason


def test_reason_forked_from_a_user_of_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "cudaErrorInitializationError: initialization error"
    found = probed(monkeypatch, SimpleNamespace(probe=lambda: (False, text, ())))
    assert found is backends.DEAD_AFTER_FORK


@pytest.mark.parametrize(
    "module",
    [
        "raise FileNotFoundError('read-only home')",
        "raise ImportError('libnvrtc.so.13: cannot open shared object file')",
        "x = 1  # not CuPy at all",
    ],
)
def test_broken_cupy_does_no_harm(tmp_path: Path, module: str) -> None:
    (tmp_path / "cupy.py").write_text(module)
    code = (
        "from lucid.backends import status; status._has_driver = lambda: True;"
        "import lucid; print(lucid.tensor([1.0]).device, lucid.cuda.reason())"
    )
    shown = python(code, PYTHONPATH=f"{tmp_path}")
    assert shown.startswith("cpu ")
    assert len(shown) > len("cpu ")


def test_read_only_home(tmp_path: Path) -> None:
    code = (
        "from lucid.backends import status; status._has_driver = lambda: True;"
        "import lucid; print(lucid.tensor([1.0]).shape)"
    )
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    assert python(code, HOME=str(home), CUPY_CACHE_DIR=str(home / "c")) == "(1,)"


# Forks. os.fork, since multiprocessing would import this file anew.

FORK = """
import os, warnings, lucid
from lucid import backends
from lucid.backends import CudaStatus
lucid.tensor([1.0], device="cpu")
backends._status = CudaStatus({available}, "the reason", ("GPU A",))
backends._backends["cuda", 0] = object()
pid = os.fork()
if pid == 0:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        print(lucid.get_default_device(), lucid.tensor([1.0, 2.0]).shape, flush=True)
        print([str(w.message) for w in caught], flush=True)
    try:
        lucid.zeros(2, device="cuda")
    except lucid.DeviceUnavailableError as error:
        print(error, flush=True)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(backends.cuda_status().available)
"""
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@forks
def test_fork_of_a_live_context() -> None:
    device, warned, error, parent = python(FORK.format(available=True)).splitlines()
    assert device == "cpu (2,)"
    assert "computing on the CPU: this process was forked" in warned
    assert "spawn" in error
    assert "cuda:0 cannot be used" in error
    assert parent == "True"


@forks
def test_fork_without_a_context() -> None:
    device, warned, error, parent = python(FORK.format(available=False)).splitlines()
    assert (device, warned) == ("cpu (2,)", "[]")
    assert "the reason" in error
    assert parent == "False"


@pytest.mark.gpu
def test_a_real_gpu_computes() -> None:
    assert lucid.cuda.is_available()
    x = lucid.tensor([1.0, 2.0], device="cuda")
    assert str(x.device) == "cuda:0"
    assert lucid.sum(lucid.exp(x) + 1).item() == pytest.approx(12.107337, rel=1e-6)
