"""The array namespace: every name of the standard, and the same results as NumPy's."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lucid
from lucid import Tensor
from lucid._array_api import elementwise

HOUSE = Path(__file__).resolve().parent.parent


def words(text: str) -> list[str]:
    return text.split()


# The main namespace of the standard's version 2024.12, chapter by chapter.
STANDARD = words("""
arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones
ones_like tril triu zeros zeros_like
astype can_cast finfo iinfo isdtype result_type
bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64
complex128
abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift
bitwise_invert bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign cos
cosh divide equal exp expm1 floor floor_divide greater greater_equal hypot imag isfinite
isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not
logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive
pow real reciprocal remainder round sign signbit sin sinh square sqrt subtract tan tanh
trunc
take take_along_axis
__array_api_version__ __array_namespace_info__
matmul matrix_transpose tensordot vecdot
broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims repeat
reshape roll squeeze stack tile unstack
argmax argmin count_nonzero nonzero searchsorted where
unique_all unique_counts unique_inverse unique_values
argsort sort
cumulative_prod cumulative_sum max mean min prod std sum var
all any diff
e inf nan newaxis pi
""")
LINALG = words("""
cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power
matrix_rank matrix_transpose outer pinv qr slogdet solve svd svdvals tensordot trace
vecdot vector_norm
""")
FUNCTIONS = [n for n in STANDARD if inspect.isfunction(getattr(lucid, n, None))]
REDUCTIONS = words("all any count_nonzero max mean min std sum var")

REAL = np.linspace(0.1, 0.9, 6, dtype=np.float32).reshape(2, 3)
INTEGERS = np.array([[3, 1, 2], [1, 1, 0]])
COMPLEX = REAL + 1j * REAL[::-1]


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lucid._device._chosen", lucid.device("cpu"))


def same(result: Tensor, expected: Any) -> None:
    """Equal bit for bit, dtypes too."""
    assert type(result) is Tensor
    expected = np.asarray(expected)
    assert (result.dtype, result.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(result.numpy(), expected)


def test_every_name_of_the_standard_is_there() -> None:
    assert [name for name in STANDARD if not hasattr(lucid, name)] == []
    assert [name for name in LINALG if not hasattr(lucid.linalg, name)] == []
    assert lucid.__array_api_version__ == "2024.12"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_tell_their_signature_and_purpose(name: str) -> None:
    function = getattr(lucid, name)
    assert function.__name__ == name
    assert function.__doc__
    assert function.__doc__.splitlines()[0].endswith((".", ";", ",", "None:"))
    assert inspect.signature(function).return_annotation != inspect.Signature.empty
    assert pickle.loads(pickle.dumps(function)) is function


# By shape of the call

ELEMENTWISE = [n for n in FUNCTIONS if hasattr(elementwise, n) and n != "clip"]
BINARY = [
    n for n in ELEMENTWISE if len(inspect.signature(getattr(lucid, n)).parameters) == 2
]
UNARY = sorted({*ELEMENTWISE} - {*BINARY})


def operands(name: str) -> np.ndarray[Any, Any]:
    if name in {"imag", "real", "conj"}:
        return COMPLEX
    return INTEGERS if name.startswith("bitwise") else REAL


def test_the_table_is_whole() -> None:
    assert (len(UNARY), len(BINARY)) == (38, 28)


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str) -> None:
    host = operands(name) + (1 if name == "acosh" else 0)
    result = getattr(lucid, name)(lucid.asarray(host))
    same(result, getattr(np, name)(host))
    assert type(getattr(lucid, name)(lucid.asarray(host[0, 0]))) is Tensor


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    a, b = operands(name), operands(name)[::-1]
    x, y = lucid.asarray(a), lucid.asarray(b)
    function, expected = getattr(lucid, name), getattr(np, name)
    same(function(x, y), expected(a, b))
    same(function(x, y[0]), expected(a, b[0]))
    same(function(x, 2), expected(a, 2))
    same(function(2, y), expected(2, b))
    same(function(x, b), expected(a, b))


@pytest.mark.parametrize(
    "name", ["all", "any", "count_nonzero", "max", "mean", "min", "std", "sum", "var"]
)
@pytest.mark.parametrize("host", [REAL, INTEGERS])
def test_reduction(name: str, host: np.ndarray[Any, Any]) -> None:
    function, expected = getattr(lucid, name), getattr(np, name)
    for options in [{}, {"axis": 0}, {"axis": (0, 1)}, {"axis": 1, "keepdims": True}]:
        same(function(lucid.asarray(host), **options), expected(host, **options))


# Dtypes and inspection


def test_dtype_functions() -> None:
    half = lucid.asarray(np.float16(1))
    assert lucid.result_type(lucid.asarray(REAL), lucid.int8, 1.5) == lucid.float32
    assert lucid.result_type(half, lucid.float64) == lucid.float64
    assert lucid.can_cast(lucid.asarray(REAL), lucid.float64)
    assert not lucid.can_cast(lucid.float64, lucid.float32)
    assert lucid.isdtype(lucid.int8, ("bool", "signed integer"))
    assert not lucid.isdtype(lucid.asarray(REAL).dtype, "integral")
    assert (
        lucid.finfo(lucid.float32).eps
        == lucid.finfo(lucid.asarray(COMPLEX)).eps
        == 2**-23
    )
    assert lucid.finfo("float64").smallest_normal == 2**-1022
    assert type(lucid.finfo(half).max) is float
    assert (lucid.iinfo(lucid.int8).min, lucid.iinfo("uint8").max) == (-128, 255)
    assert {lucid.float32: 1}[lucid.asarray(REAL).dtype] == 1


def test_namespace_info() -> None:
    info = lucid.__array_namespace_info__()
    assert info.default_device() == lucid.asarray(REAL).device
    assert lucid.asarray(REAL).device in info.devices()
    assert info.default_dtypes()["real floating"] == lucid.float32
    assert set(info.dtypes(kind=("bool", "complex floating"))) == {
        *("bool", "complex64", "complex128")
    }
    assert len(info.dtypes(device="cpu")) == 13
    assert info.capabilities()["boolean indexing"] is True


# Errors


@pytest.mark.parametrize("given", [REAL, 1.0, [1.0, 2.0], None])
def test_a_function_needs_a_tensor(given: Any) -> None:
    for function in (lucid.exp, lucid.sum, lucid.sort):
        with pytest.raises(TypeError, match=r"takes tensors.*lucid\.asarray"):
            function(given)
    with pytest.raises(TypeError, match=r"lucid\.add takes tensors"):
        lucid.add(given, given)


def test_creation_checks_its_dtype() -> None:
    for dtype in ("U3", "object", "longdouble"):
        with pytest.raises(TypeError, match="a tensor holds"):
            lucid.zeros(3, dtype=dtype)


# For code that is written for any library, and for type checkers


def test_scipy_takes_the_namespace() -> None:
    code = (
        "import lucid, scipy.stats;"
        "print(repr(scipy.stats.skew(lucid.tensor([1.0, 2.0, 6.0], device='cpu'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=HOUSE,
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tensor(0.5951")


SEEN = """
import lucid
x: lucid.Tensor = lucid.exp(lucid.tensor([1.0]))
y: lucid.Tensor = 2 * x + lucid.sum(x, axis=0, keepdims=True)
mask: lucid.Tensor = x == y
shape: tuple[int, ...] = y.shape
counts: lucid.Tensor = lucid.unique_counts(lucid.add(x, 1)).counts
normal: lucid.distributions.Normal
lucid.set_num_threads(1)
"""
UNSEEN = """
import lucid
lucid.exp("a")
lucid.exp(lucid.tensor(1.0), axis=0)
lucid.exponential
lucid.tensor(1.0) + "a"
"""


@pytest.mark.slow
@pytest.mark.parametrize(("code", "errors"), [(SEEN, 0), (UNSEEN, 4)])
def test_type_checkers_see_it(tmp_path: Path, code: str, errors: int) -> None:
    (tmp_path / "use.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "use.py")],
        capture_output=True,
        text=True,
        cwd=HOUSE,
    )
    found = [
        line
        for line in done.stdout.splitlines()
        if "use.py" in line and ": error:" in line
    ]
    assert len(found) == errors, done.stdout
