"""The multivariate normal distribution."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from lucid import backends
from lucid._tensor import Tensor
from lucid.backends.protocol import Array, Bits, Components, Family
from lucid.distributions import _draws, constraints
from lucid.distributions._arguments import parameter_arrays, read_only
from lucid.distributions._layout import Layout, Shape, broadcast_shapes
from lucid.distributions._parts import Key
from lucid.distributions._special import HALF_LOG_TWO_PI
from lucid.distributions.constraints import cholesky
from lucid.distributions.distribution import Distribution, validating
from lucid.distributions.family import FamilyDistribution, check_parameters
from lucid.distributions.normal import Normal


class MultivariateNormal(FamilyDistribution):
    """Multivariate normal distribution over vectors of D elements.

        log p(x) = −½ ‖L⁻¹(x − μ)‖² − Σ_d log L_dd − ½ D log 2π,   Σ = L·Lᵀ

    loc                the mean μ, shape [..., D]
    covariance_matrix  Σ, symmetric positive definite, shape [..., D, D]
    precision_matrix   Σ⁻¹, likewise
    scale_tril         L, lower triangular with a positive diagonal, likewise
    Give exactly one of the three; L is found from it once, in float64.
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    family_parameters = ("loc", "scale_tril")
    family_event_ndim = 1
    support = constraints.real_vector

    def __init__(
        self,
        loc: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        matrices = {
            "covariance_matrix": covariance_matrix,
            "precision_matrix": precision_matrix,
            "scale_tril": scale_tril,
        }
        given = {name: a for name, a in matrices.items() if a is not None}
        if len(given) != 1:
            raise ValueError(
                f"{self._name}: give exactly one of {', '.join(matrices)}, got "
                f"{' and '.join(given) or 'none'}."
            )
        (self._given,) = given
        backend, dtype, arrays = parameter_arrays(self._name, {"loc": loc, **given})
        matrix = arrays[self._given]
        batch_shape, size = self._shapes(arrays["loc"], matrix)
        Distribution.__init__(self, backend, dtype, batch_shape, (size,))
        if validating(validate_args):
            check_parameters(self._name, backend, arrays, self.arg_constraints)
        with backends.scope(backend):
            factor = self._factor(backend.fn, matrix)
        self._arrays = arrays | {"scale_tril": read_only(factor)}

    def _shapes(self, loc: Array, matrix: Array) -> tuple[Shape, int]:
        size = loc.shape[-1] if loc.ndim else 0
        if not size or matrix.shape[-2:] != (size, size):
            raise ValueError(
                f"{self._name}: `loc` must have shape (..., D) with D ≥ 1, and "
                f"`{self._given}` (..., D, D), got {loc.shape} and {matrix.shape}."
            )
        lead = {"loc": loc.shape[:-1], self._given: matrix.shape[:-2]}
        return broadcast_shapes(self._name, **lead), size

    def _factor(self, fn: Any, matrix: Array) -> Array:
        if self._given == "scale_tril":
            return matrix
        if self._given == "covariance_matrix":
            return cholesky(fn, matrix)
        # Σ⁻¹ = U·Uᵀ with U upper triangular, so L = (Uᵀ)⁻¹. U is the factor of the
        # matrix with its axes reversed, reversed again.
        upper = cholesky(fn, matrix[..., ::-1, ::-1])[..., ::-1, ::-1]
        return _lower_inverse(fn, upper.swapaxes(-2, -1))

    @property
    def loc(self) -> Tensor:
        """μ, of shape batch_shape + (D,)."""
        return self.mean

    @property
    def scale_tril(self) -> Tensor:
        """L, of shape batch_shape + (D, D)."""
        with self._range("scale_tril"):
            return self._matrix(self._arrays["scale_tril"])

    @property
    def covariance_matrix(self) -> Tensor:
        """Σ, of shape batch_shape + (D, D)."""
        with self._range("covariance_matrix"):
            return self._matrix(self._covariance_blocks()[..., 0, :, :])

    @property
    def precision_matrix(self) -> Tensor:
        """Σ⁻¹, of shape batch_shape + (D, D)."""
        with self._range("precision_matrix"):
            if self._given == "precision_matrix":
                return self._matrix(self._arrays[self._given])
            factor = self._arrays["scale_tril"].astype(np.float64)
            inverse = _lower_inverse(self._backend.fn, factor)
            return self._matrix(inverse.swapaxes(-2, -1) @ inverse)

    def _matrix(self, array: Array) -> Tensor:
        return Tensor._wrap(self._broadcast(array.astype(self._dtype, copy=False), 2))

    def _broadcast(self, array: Array, ndim: int = 1) -> Array:
        """An array [..., D] or [..., D, D] (`ndim` 2) over the whole batch."""
        shape = self._batch_shape + array.shape[array.ndim - ndim :]
        return read_only(self._backend.xp.broadcast_to(array, shape))

    def _layout(self) -> Layout:
        loc, factor = self._family_arrays()
        arrays = self._broadcast(loc), self._broadcast(factor, 2)
        return Layout(self._family, arrays, self._batch_shape, self._event_shape)

    def _parameters(self) -> dict[str, Any]:
        return {name: self._arrays[name] for name in ("loc", self._given)}

    _log_prob = Distribution._log_prob

    def _covariance_blocks(self) -> Array:
        matrix = self._arrays[self._given].astype(np.float64)
        if self._given != "covariance_matrix":
            factor = self._arrays["scale_tril"].astype(np.float64)
            matrix = factor @ factor.swapaxes(-2, -1)
        return self._broadcast(matrix, 2)[..., None, :, :]

    def _draw_at(
        self, rows: Array, key: Key, start: int, dtype: np.dtype[Any]
    ) -> Array:
        """μ + L·z, the rows of one element together: no factor for each row."""
        backend, xp, size = self._backend, self._backend.xp, self._event_shape[0]
        parameters = xp.zeros((1, 1, size)), xp.ones((1, 1, size))
        standard = Components(cast(type[Family], Normal), parameters, None, 1)
        normals, _ = backend.draw(standard, key, start, len(rows), np.dtype(np.float64))
        values = xp.empty(normals.shape, dtype)
        loc, factor = self._layout().parameters
        order = xp.argsort(rows)
        elements, first = map(
            backend.to_numpy, xp.unique(rows[order], return_index=True)
        )
        for element, own in zip(elements, xp.split(order, first[1:]), strict=False):
            place = np.unravel_index(element, self._batch_shape)
            wide = factor[place].astype(np.float64)
            values[own] = loc[place] + _draws.linear_map(wide, normals[own])
        return values

    @staticmethod
    def prepare(
        fn: Any, unit: float, loc: Array, scale_tril: Array
    ) -> tuple[Array, ...]:
        """(μ, √(unit/2)·L⁻¹, the constant)."""
        whitener = math.sqrt(0.5 * unit) * _lower_inverse(fn, scale_tril)
        size = HALF_LOG_TWO_PI * loc.shape[-1]
        return loc, whitener, -unit * (_log_diagonal(fn, scale_tril) + size)

    @staticmethod
    def pair(fn: Any, row: tuple[Array, ...], factors: tuple[Array, ...]) -> Array:
        """−‖W(x − μ)‖², subtracting first: expanding the square would cancel."""
        (x,) = row
        loc, whitener = factors
        z = (x - loc) @ whitener.swapaxes(-1, -2)
        return -fn.vecdot(z, z)

    @staticmethod
    def draw(bits: Bits, loc: Array, scale_tril: Array) -> Array:
        """μ + L·z, z normals."""
        return loc + _draws.linear_map(scale_tril, _draws.normal(bits))

    @staticmethod
    def _mean_formula(fn: Any, loc: Array, scale_tril: Array) -> Array:
        return loc

    @staticmethod
    def _variance_formula(fn: Any, loc: Array, scale_tril: Array) -> Array:
        return (scale_tril * scale_tril).sum(axis=-1)

    @staticmethod
    def _entropy_formula(fn: Any, loc: Array, scale_tril: Array) -> Array:
        return _log_diagonal(fn, scale_tril) + (0.5 + HALF_LOG_TWO_PI) * loc.shape[-1]


def _log_diagonal(fn: Any, factors: Array) -> Array:
    """Σ_d log L_dd."""
    return fn.log(fn.diagonal(factors, axis1=-2, axis2=-1)).sum(axis=-1)


def _lower_inverse(fn: Any, factors: Array) -> Array:
    """L⁻¹ of lower triangular factors [..., D, D], by forward substitution."""
    inverse = fn.zeros_like(factors)
    for i in range(factors.shape[-1]):
        row = -(factors[..., i : i + 1, :i] @ inverse[..., :i, :])
        row[..., i] += 1.0
        inverse[..., i : i + 1, :] = row / factors[..., i : i + 1, i : i + 1]
    return inverse
