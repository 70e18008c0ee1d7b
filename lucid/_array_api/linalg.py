"""Linear algebra of (stacks of) matrices: the standard's extension `linalg`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from lucid._array_api._delegate import call, call_many, view
from lucid._array_api.linear_algebra import matmul as matmul
from lucid._array_api.linear_algebra import matrix_transpose as matrix_transpose
from lucid._array_api.linear_algebra import tensordot as tensordot
from lucid._array_api.linear_algebra import vecdot as vecdot
from lucid._tensor import Tensor

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Eigh(NamedTuple):
    """x = eigenvectors · diag(eigenvalues) · eigenvectorsᴴ."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QR(NamedTuple):
    """x = Q · R."""

    Q: Tensor
    R: Tensor


class SlogDet(NamedTuple):
    """det x = sign · exp(logabsdet)."""

    sign: Tensor
    logabsdet: Tensor


class SVD(NamedTuple):
    """x = U · diag(S) · Vh."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """The triangular L with x = L·Lᴴ, or the upper U with x = Uᴴ·U."""
    return call("linalg.cholesky", x, upper=upper)


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """x1 × x2 of vectors of length 3 along an axis."""
    return call("linalg.cross", x1, x2, axis=axis)


def det(x: Tensor, /) -> Tensor:
    """The determinant."""
    return call("linalg.det", x)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """The diagonal, above the main one if offset > 0."""
    return view("linalg.diagonal", x, offset=offset)


def eigh(x: Tensor, /) -> Eigh:
    """Eigenvalues, ascending, and eigenvectors of a Hermitian matrix."""
    return Eigh(*call_many("linalg.eigh", x))


def eigvalsh(x: Tensor, /) -> Tensor:
    """Eigenvalues of a Hermitian matrix, ascending."""
    return call("linalg.eigvalsh", x)


def inv(x: Tensor, /) -> Tensor:
    """x⁻¹."""
    return call("linalg.inv", x)


def matrix_norm(
    x: Tensor,
    /,
    *,
    keepdims: bool = False,
    ord: float | Literal["fro", "nuc"] = "fro",
) -> Tensor:
    """The Frobenius, nuclear or operator norm of a matrix."""
    return call("linalg.matrix_norm", x, keepdims=keepdims, ord=ord)


def matrix_power(x: Tensor, n: int, /) -> Tensor:
    """xⁿ; n < 0: of the inverse."""
    return call("linalg.matrix_power", x, n)


def matrix_rank(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """How many singular values are above rtol times the largest."""
    return call("linalg.matrix_rank", x, rtol=rtol)


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """x1[i] · x2[j] of two vectors."""
    return call("linalg.outer", x1, x2)


def pinv(x: Tensor, /, *, rtol: float | Tensor | None = None) -> Tensor:
    """The Moore–Penrose inverse, singular values up to rtol times the largest as 0."""
    return call("linalg.pinv", x, rtol=rtol)


def qr(x: Tensor, /, *, mode: Literal["reduced", "complete"] = "reduced") -> QR:
    """Orthonormal Q and upper triangular R with x = Q·R."""
    return QR(*call_many("linalg.qr", x, mode=mode))


def slogdet(x: Tensor, /) -> SlogDet:
    """The sign and the logarithm of the size of the determinant."""
    return SlogDet(*call_many("linalg.slogdet", x))


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The y with x1 · y = x2."""
    return call("linalg.solve", x1, x2)


def svd(x: Tensor, /, *, full_matrices: bool = True) -> SVD:
    """The singular value decomposition, values descending."""
    return SVD(*call_many("linalg.svd", x, full_matrices=full_matrices))


def svdvals(x: Tensor, /) -> Tensor:
    """The singular values, descending."""
    return call("linalg.svdvals", x)


def trace(x: Tensor, /, *, offset: int = 0, dtype: DTypeLike | None = None) -> Tensor:
    """The sum of the diagonal."""
    return call("linalg.trace", x, offset=offset, dtype=dtype)


def vector_norm(
    x: Tensor,
    /,
    *,
    axis: int | tuple[int, ...] | None = None,
    keepdims: bool = False,
    ord: float = 2,
) -> Tensor:
    """(Σ |x|^ord)^(1/ord) along the axes; ord ±∞: the largest, the smallest |x|."""
    return call("linalg.vector_norm", x, axis=axis, keepdims=keepdims, ord=ord)
