"""The base of every distribution: the public methods, each written once.

A public method unwraps its argument, checks shapes, opens a profiling range, calls the
subclass's formula (see _base.py) on raw arrays, and wraps the result.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from lucid._device import Device
from lucid._device import device as as_device
from lucid._random import Generator
from lucid._tensor import Tensor
from lucid.distributions._arguments import as_shape, compute_dtype, out_array
from lucid.distributions._base import DistributionBase
from lucid.distributions._layout import Shape

_validate_by_default = True


def set_default_validate_args(enabled: bool) -> None:
    """Whether distributions check their parameters when `validate_args` is None."""
    global _validate_by_default
    _validate_by_default = bool(enabled)


class Distribution(DistributionBase):
    """A probability distribution over events, batched.

    batch_shape    one distribution for each element
    event_shape    the shape of one draw of one of them
    arg_constraints  the constraint that each parameter must meet

    Parameters are copied at construction. One of more than 2²⁰ elements (2²⁴ on a GPU),
    as in a mixture density network, is borrowed: it must not be written to as long as
    the distribution is used.
    """

    # ---- densities and probabilities

    def log_prob(self, value: Any, out: Tensor | None = None) -> Tensor:
        """Log density (or log mass) at `value`.

        value  shape (*sample_shape, *batch_shape, *event_shape), broadcast to it
        out    optional: the tensor that receives the result and is returned
        Returns shape (*sample_shape, *batch_shape), in the dtype promoted from value
        and parameters. −∞ outside the support; NaN where the value is NaN.
        """
        with self._range("log_prob"):
            array = self._value(value)
            shape = self._result_shape(array)
            dtype = array.dtype if array.dtype.kind == "f" else self._dtype
            target = None
            if out is not None:
                read = (array, *self._borrowed())
                target = out_array(self._name, out, self._backend, shape, dtype, read)
            matched = self._matching(shape)
            result = matched._log_prob(array, shape, compute_dtype(dtype), target)
            if out is None:
                rounded = result.dtype is not dtype and result.dtype != dtype
                return Tensor._wrap(result.astype(dtype) if rounded else result)
            if result is not target:
                out._array[...] = result.astype(dtype, copy=False)
            return out

    def prob(self, value: Any) -> Tensor:
        """Density (or mass) at `value`: exp(log_prob(value))."""
        log_prob = self.log_prob(value)
        with self._range("prob"):
            return Tensor._wrap(self._backend.xp.exp(log_prob._array))

    def cdf(self, value: Any) -> Tensor:
        """P(X ≤ value)."""
        return self._pointwise("cdf", value, self._cdf)

    def survival_function(self, value: Any) -> Tensor:
        """P(X > value), accurate in the right tail."""
        return self._pointwise("survival_function", value, self._survival)

    def log_cdf(self, value: Any) -> Tensor:
        """log P(X ≤ value), accurate in the left tail."""
        return self._pointwise("log_cdf", value, self._log_cdf)

    def log_survival_function(self, value: Any) -> Tensor:
        """log P(X > value), accurate in the right tail."""
        return self._pointwise("log_survival_function", value, self._log_survival)

    def icdf(self, value: Any) -> Tensor:
        """The quantile inf{x : value ≤ P(X ≤ x)}; NaN for a value outside [0, 1]."""
        return self._pointwise("icdf", value, self._icdf)

    # ---- draws

    def sample(
        self, sample_shape: int | Sequence[int] = (), generator: Generator | None = None
    ) -> Tensor:
        """Independent draws, shape (*sample_shape, *batch_shape, *event_shape).

        generator  the source of random bits; the process's default one if None.
        The same seed gives the same bits on every device (see lucid.Generator).
        """
        with self._range("sample"):
            values, _ = self._sample(as_shape(sample_shape), generator)
            return Tensor._wrap(values)

    # ---- moments

    @property
    def mean(self) -> Tensor:
        """Expected value, shape (*batch_shape, *event_shape)."""
        return self._moment("mean", self._mean)

    @property
    def variance(self) -> Tensor:
        """Variance of each event element, shape (*batch_shape, *event_shape)."""
        return self._moment("variance", self._variance)

    @property
    def stddev(self) -> Tensor:
        """Standard deviation of each event element."""
        return self._moment("stddev", self._stddev)

    def entropy(self) -> Tensor:
        """Differential (or discrete) entropy in nats, shape batch_shape."""
        with self._range("entropy"):
            return self._wrap_parameterwise(self._entropy(), self._batch_shape)

    # ---- other shapes and devices

    def expand(self, batch_shape: int | Sequence[int]) -> Self:
        """The same distribution broadcast to `batch_shape`, parameters not copied."""
        shape = as_shape(batch_shape, name="batch_shape")
        try:
            fits = np.broadcast_shapes(shape, self._batch_shape) == shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"{self._name}: `batch_shape` must be a shape that {self._batch_shape} "
                f"broadcasts to, got {shape}."
            )
        clone = self._copy()
        clone._batch_shape = shape
        clone._expand_parts(shape)
        return clone

    def to(self, device: Device | str) -> Self:
        """The same distribution with its parameters on `device`."""
        target = as_device(device).backend
        if target is self._backend:
            return self
        clone = self._copy()
        clone._backend = target
        clone._map_parts(lambda part: part.to(device), target)
        return clone

    def _matching(self, shape: Shape) -> Self:
        """This distribution, its batch expanded to the trailing axes of `shape`.

        A value that is longer where the batch has axes of length 1 expands them; a
        batch of one element in all needs no expansion, since every value meets it.
        """
        if not self._batch_shape:
            return self
        trailing = shape[len(shape) - len(self._batch_shape) :]
        if trailing == self._batch_shape or math.prod(self._batch_shape) == 1:
            return self
        return self.expand(trailing)


def validating(validate_args: bool | None) -> bool:
    """What a constructor's `validate_args` means."""
    return _validate_by_default if validate_args is None else bool(validate_args)
