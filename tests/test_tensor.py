"""Tensor: making one, its operators, elements, text, and ways in and out."""

from __future__ import annotations

import copy
import operator
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucid._device._chosen", lucid.device("cpu"))


@pytest.fixture
def double() -> Iterator[None]:
    lucid.set_default_dtype(lucid.float64)
    yield
    lucid.set_default_dtype(lucid.float32)


# Making one


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (0.3, "float32"),
        ([0.3, 0.7], "float32"),
        ([[1, 2.5]], "float32"),
        ([], "float32"),
        ([1j], "complex64"),
        ([1, 2], "int64"),
        (range(3), "int64"),
        (True, "bool"),
        (2**63, "uint64"),
        (np.float64(0.3), "float64"),
        ([np.float64(0.3)], "float64"),
        (np.float16([0.3]), "float16"),
        (np.array([0.3, 0.7]), "float64"),
        (np.array([1, 2], "i2"), "int16"),
        (np.array([0.3], ">f8"), "float64"),
    ],
)
def test_dtype_of_data(data: Any, dtype: str) -> None:
    tensor = lucid.tensor(data)
    assert tensor.dtype == dtype
    assert tensor.dtype.isnative
    np.testing.assert_array_equal(tensor.numpy(), np.asarray(data, dtype))


def test_default_dtype_serves_all_creation_functions(double: None) -> None:
    made = [
        *(lucid.tensor(0.5), lucid.asarray([0.5]), lucid.zeros(2), lucid.ones(2)),
        *(lucid.empty(2), lucid.full(2, 0.5), lucid.eye(2), lucid.linspace(0, 1, 3)),
        *(lucid.arange(0.5), lucid.arange(2, step=0.5)),
    ]
    assert {x.dtype for x in made} == {lucid.float64}
    assert lucid.tensor(1j).dtype == lucid.complex128
    assert lucid.arange(3).dtype == lucid.full(2, 3).dtype == lucid.int64
    assert repr(lucid.tensor(0.5)) == "tensor(0.5)"
    lucid.set_default_dtype("float32")
    assert lucid.get_default_dtype() == lucid.zeros(2).dtype == lucid.float32


@pytest.mark.parametrize("dtype", ["float16", "int64", "complex64"])
def test_default_dtype_is_float32_or_float64(dtype: str) -> None:
    with pytest.raises(ValueError, match=f"float32 or float64, not {dtype}"):
        lucid.set_default_dtype(dtype)


@pytest.mark.parametrize(
    "data", ["a", None, [object()], np.array(["2020"], "M8"), np.zeros(1, "g")]
)
def test_other_types_are_errors(data: Any) -> None:
    with pytest.raises(TypeError, match="a tensor holds"):
        lucid.tensor(data)


def test_masked_array_is_an_error() -> None:
    masked = np.ma.masked_array([1.0, 2.0], [True, False])
    with pytest.raises(TypeError, match="filled"):
        lucid.tensor(masked)


def test_class_is_not_called() -> None:
    with pytest.raises(TypeError, match=r"lucid\.tensor"):
        Tensor()


def test_tensor_copies_and_asarray_shares() -> None:
    host = np.zeros(2)
    copied, shared = lucid.tensor(host), lucid.asarray(host)
    host[0] = 1
    assert copied[0] == 0
    assert shared[0] == 1
    assert lucid.asarray(shared).numpy() is not None
    assert np.shares_memory(lucid.asarray(shared).numpy(), host)
    assert not np.shares_memory(lucid.asarray(shared, copy=True).numpy(), host)
    assert np.shares_memory(lucid.asarray(host, copy=False).numpy(), host)
    for data, dtype in [([1.0], None), (host, lucid.float32), (shared, lucid.float32)]:
        with pytest.raises(ValueError, match="copy"):
            lucid.asarray(data, dtype=dtype, copy=False)


def test_memory_map_becomes_a_plain_array(tmp_path: Any) -> None:
    np.save(tmp_path / "x.npy", np.arange(3.0))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert type(lucid.asarray(mapped).numpy()) is np.ndarray
    with pytest.raises(ValueError, match="read-only"):
        lucid.asarray(mapped)[0] = 1


# What it is


def test_attributes() -> None:
    x = lucid.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    assert (x.shape, x.ndim, x.size, len(x)) == ((2, 3), 2, 6, 2)
    assert type(x.shape) is tuple
    assert str(x.device) == "cpu"
    assert x.T.tolist() == x.mT.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert lucid.zeros((4, 2, 3)).mT.shape == (4, 3, 2)
    with pytest.raises(ValueError, match="mT"):
        _ = lucid.zeros((4, 2, 3)).T
    with pytest.raises(ValueError, match="2 axes"):
        _ = lucid.zeros(3).mT
    with pytest.raises(AttributeError):
        x.shape = (6,)


def test_is_not_hashable() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(lucid.tensor(1.0))


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ([0.3, 0.7], "tensor([0.3, 0.7])"),
        (3.0, "tensor(3.)"),
        ([1, 2], "tensor([1, 2])"),
        ([True], "tensor([ True])"),
        ([], "tensor([], shape=(0,))"),
        (np.zeros((0, 3)), "tensor([], shape=(0, 3), dtype=float64)"),
        (np.array([0.3]), "tensor([0.3], dtype=float64)"),
        ([[1, 2], [3, 4]], "tensor([[1, 2],\n        [3, 4]])"),
    ],
)
def test_repr(data: Any, shown: str) -> None:
    assert repr(lucid.tensor(data)) == shown


def test_repr_of_a_large_tensor_shows_its_corners() -> None:
    host = np.arange(40_000).reshape(100, 400)
    shown = np.array2string(host, separator=", ", prefix="tensor(")
    assert repr(lucid.asarray(host)) == f"tensor({shown})"
    assert "..." in shown


def test_format() -> None:
    assert f"{lucid.tensor(0.25):.3f}" == "0.250"
    assert f"{lucid.tensor([0.25])}" == "tensor([0.25])"
    with pytest.raises(TypeError, match="unsupported format string"):
        f"{lucid.tensor([0.25]):.3f}"


# Operators

BINARY = [
    *(operator.add, operator.sub, operator.mul, operator.truediv),
    *(operator.floordiv, operator.mod, operator.pow),
    *(operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne),
]
BITWISE = [operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift]
Operator = Callable[[Any, Any], Any]


@pytest.mark.parametrize("function", BINARY)
def test_operators_are_numpys(function: Operator) -> None:
    a, b = np.float32([1, 2, 7]), np.float32([3, 2, 4])
    x, y = lucid.asarray(a), lucid.asarray(b)
    for given, expected in [
        ((x, y), (a, b)),
        ((x, 2), (a, 2)),
        ((2.0, y), (2.0, b)),
        ((x, b), (a, b)),
        ((a, y), (a, b)),
        ((x, np.float32(2)), (a, np.float32(2))),
        ((np.float64(2), y), (np.float64(2), b)),
        ((x[0], y), (a[0], b)),
    ]:
        result, wanted = function(*given), function(*expected)
        assert type(result) is Tensor
        assert result.dtype == wanted.dtype
        np.testing.assert_array_equal(result.numpy(), wanted)


@pytest.mark.parametrize("function", BITWISE)
def test_bitwise_operators_are_numpys(function: Operator) -> None:
    a, b = np.array([6, 5, 1]), np.array([3, 2, 4])
    x, y = lucid.asarray(a), lucid.asarray(b)
    for given, expected in [((x, y), (a, b)), ((2, y), (2, b)), ((a, y), (a, b))]:
        np.testing.assert_array_equal(function(*given).numpy(), function(*expected))


def test_unary_operators_and_matmul() -> None:
    x = lucid.tensor([[1.0, -2.0], [3.0, 4.0]])
    assert (-x).tolist() == [[-1, 2], [-3, -4]]
    assert (+x).tolist() == x.tolist()
    assert abs(x).tolist() == [[1, 2], [3, 4]]
    assert (~lucid.tensor([True, False])).tolist() == [False, True]
    assert (x @ x).tolist() == [[-5, -10], [15, 10]]
    assert (x.numpy() @ x).tolist() == (x @ x).tolist()
    assert type(x[0] @ x[0]) is Tensor


def test_in_place_operators_bind_anew() -> None:
    x = lucid.tensor([1.0, 2.0])
    before = x
    x += 1
    x *= 2
    assert x.tolist() == [4, 6]
    assert before.tolist() == [1, 2]


def test_no_warning_for_infinity_and_nan() -> None:
    x = lucid.tensor([0.0, 1.0])
    assert (x / 0).tolist()[1] == np.inf
    assert np.isnan((x / 0).tolist()[0])
    assert lucid.log(x).tolist() == [-np.inf, 0]
    assert lucid.exp(x + 1000).tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("other", ["a", None, [1.0, 2.0], {}, object()])
def test_operators_refuse_other_things(other: Any) -> None:
    x = lucid.tensor([1.0, 2.0])
    with pytest.raises(TypeError, match="unsupported operand"):
        x + other
    with pytest.raises(TypeError, match="unsupported operand"):
        other - x
    assert (x == other) is False
    assert (x != other) is True


def test_numpys_functions_refuse_a_tensor() -> None:
    """Rather than give an array where a tensor went in."""
    x = lucid.tensor([1.0, 2.0])
    for call in (lambda: np.exp(x), lambda: np.add(x, 1), lambda: np.add(x.numpy(), x)):
        with pytest.raises(TypeError, match="does not support ufuncs"):
            call()


# Elements


def test_indexing() -> None:
    host = np.arange(24.0).reshape(2, 3, 4)
    x = lucid.asarray(host)
    index, mask = np.array([1, 0]), host > 10
    for key, raw in [
        *((key, key) for key in [0, -1, (1, 2, 3), ..., (..., 1), None, slice(1)]),
        (lucid.asarray(index), index),
        ((slice(None), lucid.asarray(index)), (slice(None), index)),
        (lucid.asarray(mask), mask),
        (lucid.tensor(1), 1),
        (index, index),
    ]:
        assert type(x[key]) is Tensor
        np.testing.assert_array_equal(x[key].numpy(), host[raw])
    with pytest.raises(IndexError):
        x[2]


def test_setting_elements() -> None:
    x = lucid.zeros(4)
    x[0] = 1.0
    x[1:3] = lucid.tensor([2.0, 3.0])
    x[lucid.tensor([False, False, False, True])] = np.float32(4)
    assert x.tolist() == [1, 2, 3, 4]
    x[1:][0] = 9.0
    assert x[1] == 9


def test_iteration() -> None:
    assert [row.tolist() for row in lucid.tensor([[1, 2], [3, 4]])] == [[1, 2], [3, 4]]
    assert 3 in lucid.tensor([1, 3])
    for function in (iter, len):
        with pytest.raises(TypeError, match="0-dimensional"):
            function(lucid.tensor(1.0))


def test_python_numbers() -> None:
    assert float(lucid.tensor(0.5)) == lucid.tensor([0.5]).item() == 0.5
    assert type(lucid.tensor(0.5).item()) is float
    assert int(lucid.tensor(2.7)) == 2
    assert complex(lucid.tensor(1j)) == 1j
    assert "abc"[lucid.tensor(1)] == "b"
    assert lucid.tensor(1.0)
    assert not lucid.tensor(0)
    for function in (float, int, bool, complex, operator.index):
        with pytest.raises(TypeError, match=r"shape is \(2,\)"):
            function(lucid.tensor([1, 2]))
    for data, function in [(1j, float), (0.5, operator.index)]:
        with pytest.raises(TypeError):
            function(lucid.tensor(data))
    with pytest.raises(ValueError, match="one element"):
        lucid.tensor([1, 2]).item()


# In and out


def test_astype() -> None:
    x = lucid.tensor([1.5, -2.5])
    assert x.astype("int32").tolist() == [1, -2]
    assert x.astype(lucid.float32, copy=False) is x
    assert not np.shares_memory(x.astype(lucid.float32).numpy(), x.numpy())
    with pytest.raises(TypeError, match="a tensor holds"):
        x.astype("U3")


def test_numpy_shares_memory_on_the_cpu() -> None:
    x = lucid.zeros(2)
    x.numpy()[0] = 1
    assert x.tolist() == [1, 0]
    assert np.asarray(x) is x.numpy()
    assert np.array(x, dtype=np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype=np.float64, copy=False)
    assert np.mean(lucid.tensor([1.0, 2.0])) == 1.5


def test_pickle_and_copy() -> None:
    x = lucid.tensor([[1.0, 2.0]])
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(x, protocol))
        assert (back.tolist(), back.dtype, back.shape) == ([[1, 2]], x.dtype, (1, 2))
    for other in (copy.copy(x), copy.deepcopy(x)):
        other[0, 0] = 9.0
    assert copy.deepcopy(x).tolist() == x.tolist()


def test_dlpack_both_ways() -> None:
    x = lucid.tensor([1.0, 2.0])
    host = np.from_dlpack(x)
    assert np.shares_memory(host, x.numpy())
    assert x.__dlpack_device__() == (1, 0)
    host = np.float32([1, 2])
    assert np.shares_memory(lucid.from_dlpack(host).numpy(), host)
    assert not np.shares_memory(lucid.from_dlpack(host, copy=True).numpy(), host)
    assert lucid.from_dlpack(x, device="cpu", copy=False).tolist() == [1, 2]


def test_array_namespace() -> None:
    x = lucid.tensor(1.0)
    for version in [None, "2024.12", "2023.12", "2022.12"]:
        assert x.__array_namespace__(api_version=version) is lucid
    with pytest.raises(ValueError, match="1999"):
        x.__array_namespace__(api_version="1999.12")
