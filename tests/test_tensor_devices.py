"""Tensors on several devices, which never mix and never move by themselves."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor
from tests.stand_in import Array
from tests.stand_in import two_gpus as two_gpus

Operator = Callable[[Any, Any], Any]


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucid._device._chosen", lucid.device("cpu"))


def test_move(two_gpus: None) -> None:
    x = lucid.tensor([1.0, 2.0])
    assert x.to("cpu") is x
    first = x.to("cuda")
    assert (str(first.device), type(first._array)) == ("cuda:0", Array)
    second = first.to(lucid.device("cuda:1"))
    assert (str(second.device), second._array.device.id) == ("cuda:1", 1)
    back = second.to_device("cpu")
    assert (str(back.device), back.tolist()) == ("cpu", [1, 2])
    assert second.numpy().tolist() == second.tolist() == [1, 2]
    with pytest.raises(ValueError, match="stream"):
        x.to_device("cpu", stream=1)


def test_moving_needs_a_copy(two_gpus: None) -> None:
    x = lucid.tensor([1.0])
    for given in [x, x.numpy(), x.to("cuda:0")]:
        with pytest.raises(ValueError, match="cuda:1 needs a copy, but copy=False"):
            lucid.asarray(given, device="cuda:1", copy=False)


@pytest.mark.parametrize(
    "use",
    [
        operator.add,
        operator.lt,
        lambda x, y: x[y],
        lambda x, y: x.__setitem__(0, y[0]),
        lambda x, y: lucid.concat([x, y]),
        lambda x, y: lucid.maximum(x, y),
        lambda x, y: lucid.clip(x, max=y),
    ],
)
def test_two_devices_do_not_mix(two_gpus: None, use: Operator) -> None:
    here, there = lucid.tensor([0, 1]), lucid.tensor([0, 1], device="cuda:1")
    with pytest.raises(ValueError, match=r"cpu and cuda:1 .*\.to\('cpu'\)"):
        use(here, there)
    with pytest.raises(ValueError, match=r"cuda:1 and cpu .*\.to\('cuda:1'\)"):
        use(there, here)
    with pytest.raises(ValueError, match="cuda:1 and cuda:0"):
        use(there, here.to("cuda"))


def test_numbers_and_numpy_arrays_join_a_tensor_on_its_gpu(two_gpus: None) -> None:
    x = lucid.tensor([1.0, 2.0], device="cuda:1")
    host = np.float32([3, 4])
    results = [x + 1, 1 - x, x * host, host * x, x[np.array([1])], -x]
    results += [lucid.maximum(x, host), lucid.where(x > 1, x, 0.0), lucid.stack([x, x])]
    results += [lucid.sum(x), lucid.linalg.vector_norm(x), x.astype("int64"), x < 2]
    assert {str(y.device) for y in results} == {"cuda:1"}
    assert results[2].tolist() == results[3].tolist() == [3, 8]


def test_creation_on_a_gpu(two_gpus: None) -> None:
    like = lucid.tensor([1, 2], device="cuda:1")
    made = [lucid.zeros_like(like), lucid.full_like(like, 3), lucid.empty_like(like)]
    assert {(str(x.device), x.dtype.name) for x in made} == {("cuda:1", "int64")}
    assert str(lucid.linspace(0, 1, 3, device="cuda:1").device) == "cuda:1"
    assert str(lucid.ones_like(like, device="cpu").device) == "cpu"
    assert str(lucid.tensor(like).device) == "cuda:1"
    assert str(lucid.tensor(like._array).device) == "cuda:1"
    assert lucid.asarray(like._array)._array.host is like._array.host


def test_gpu_tensor_is_not_numpys_by_itself(two_gpus: None) -> None:
    x = lucid.tensor([1.0], device="cuda:1")
    with pytest.raises(TypeError, match=r"cuda:1.*\.numpy\(\)"):
        np.asarray(x)
    assert (float(x[0]), bool(x[0]), x.tolist()) == (1.0, True, [1.0])


def test_pickle_on_a_gpu(two_gpus: None) -> None:
    x = lucid.tensor([1.0], device="cuda:1")
    assert str(pickle.loads(pickle.dumps(x)).device) == "cuda:1"


def test_repr_names_a_gpu(two_gpus: None) -> None:
    assert repr(lucid.tensor([1.0], device="cuda:1")) == (
        "tensor([1.], device='cuda:1')"
    )
    assert "..., 1., 1., 1.]" in repr(lucid.ones(10_000, device="cuda:1"))


def test_snapshot_is_read_only_and_so_are_its_views(two_gpus: None) -> None:
    for device in ["cpu", "cuda:1"]:
        array = lucid.zeros((2, 2), device=device)._array
        fixed = Tensor._wrap(array, writeable=False)
        views = [fixed[0], fixed.T, fixed.mT, lucid.reshape(fixed, (4,))]
        views += [lucid.expand_dims(fixed, 0), lucid.flip(fixed), lucid.asarray(fixed)]
        views += [lucid.broadcast_to(lucid.ones(2, device=device), (2, 2))]
        for view in [fixed, *views]:
            with pytest.raises(ValueError, match=r"read-only.*lucid\.tensor"):
                view[:] = 1
        writeable = lucid.tensor(fixed)
        writeable[0] = 1
        assert fixed.tolist() == [[0, 0], [0, 0]]


def test_cuda_array_interface_is_for_gpus(two_gpus: None) -> None:
    assert not hasattr(lucid.tensor(1.0), "__cuda_array_interface__")
    assert lucid.tensor([1.0], device="cuda").__cuda_array_interface__["shape"] == (1,)
