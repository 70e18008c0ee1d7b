"""The base of every distribution: shapes, devices, dtypes, and the public methods.

A public method is written once, here: it unwraps its argument, checks shapes, opens a
profiling range, calls the subclass's formula on raw arrays, and wraps the result.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from lucid import backends
from lucid._device import Device, device_of
from lucid._device import device as as_device
from lucid._random import Generator, default_generator
from lucid._tensor import Tensor
from lucid.backends.protocol import Array, Backend, Components
from lucid.distributions._arguments import (
    as_shape,
    compute_dtype,
    out_array,
    read_only,
    value_array,
)
from lucid.distributions._layout import Layout, Shape
from lucid.distributions.constraints import Constraint

_validate_by_default = True


def set_default_validate_args(enabled: bool) -> None:
    """Whether distributions check their parameters when `validate_args` is None."""
    global _validate_by_default
    _validate_by_default = bool(enabled)


class Distribution:
    """A probability distribution over events, batched.

    batch_shape    one distribution for each element
    event_shape    the shape of one draw of one of them
    arg_constraints  the constraint that each parameter must meet
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {}

    _backend: Backend
    _dtype: np.dtype[Any]
    _batch_shape: Shape
    _event_shape: Shape

    def __init__(
        self,
        backend: Backend,
        dtype: np.dtype[Any],
        batch_shape: Shape,
        event_shape: Shape,
    ) -> None:
        self._backend = backend
        self._dtype = dtype
        self._batch_shape = batch_shape
        self._event_shape = event_shape

    # ---- what a distribution is

    @property
    def batch_shape(self) -> Shape:
        """The shape of the batch of distributions."""
        return self._batch_shape

    @property
    def event_shape(self) -> Shape:
        """The shape of one event."""
        return self._event_shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the parameters, and of draws."""
        return self._dtype

    @property
    def device(self) -> Device:
        """The device that holds the parameters."""
        return device_of(self._backend)

    @property
    def support(self) -> Constraint:
        """The constraint that values of positive density meet."""
        raise self._lacks("a support")

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
            if result is target and out is not None:
                return out
            result = result.astype(dtype, copy=False)
            if out is not None:
                out._array[...] = result
                return out
            return Tensor._wrap(result)

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

    # ---- what a subclass provides: formulas on raw arrays

    def _log_prob(
        self, value: Array, shape: Shape, dtype: np.dtype[Any], out: Array | None
    ) -> Array:
        """Log density as `shape` in `dtype`, written to `out` when it is given."""
        components = self._density()
        if components is None:
            raise self._lacks("a log density")
        values = self._canonical(value, shape)
        target = None if out is None else out.reshape(values.shape[:2])
        result = self._backend.mixture_log_prob(components, values, dtype, target)
        return out if out is not None else result.reshape(shape)

    def _cdf(self, value: Array) -> Array:
        raise self._lacks("a cumulative distribution function")

    def _survival(self, value: Array) -> Array:
        return 1.0 - self._cdf(value)

    def _log_cdf(self, value: Array) -> Array:
        xp, below = self._backend.xp, self._cdf(value)
        # Near 1 the logarithm needs what is left, not the probability itself.
        return xp.where(below < 0.5, xp.log(below), xp.log1p(-self._survival(value)))

    def _log_survival(self, value: Array) -> Array:
        xp, above = self._backend.xp, self._survival(value)
        return xp.where(above < 0.5, xp.log(above), xp.log1p(-self._cdf(value)))

    def _icdf(self, value: Array) -> Array:
        raise self._lacks("a quantile function")

    def _mean(self) -> Array:
        raise self._lacks("a mean")

    def _variance(self) -> Array:
        raise self._lacks("a variance")

    def _stddev(self) -> Array:
        return self._backend.xp.sqrt(self._variance())

    def _entropy(self) -> Array:
        raise self._lacks("an entropy")

    def _layout(self) -> Layout | None:
        """The family and its parameters; None for what is not one family."""
        return None

    def _parameters(self) -> dict[str, Any]:
        """The constructor's arguments: raw arrays, distributions, integers."""
        raise self._lacks("parameters")

    def _expand_parts(self, batch_shape: Shape) -> None:
        """Make the parts agree with a larger batch shape."""

    def _map_parts(self, move: Callable[[Any], Any], backend: Backend) -> None:
        """Replace every tensor and distribution inside by its image under `move`."""

    def _sample(
        self, sample_shape: Shape, generator: Generator | None
    ) -> tuple[Array, Array]:
        """Draws and the index of each draw's component, in their full shapes."""
        components = self._density()
        if components is None:
            raise self._lacks("draws")
        return self._draw(components, sample_shape, generator)

    # ---- shared by the subclasses

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _density(self) -> Components | None:
        """This distribution as canonical components; kept, since parameters are."""
        found = self.__dict__.get("_cached_density")
        if found is None and (layout := self._layout()) is not None:
            found = layout.density(self._backend)
            self.__dict__["_cached_density"] = found
        return found

    def _draw(
        self, components: Components, sample_shape: Shape, generator: Generator | None
    ) -> tuple[Array, Array]:
        size = math.prod(sample_shape + self._batch_shape)
        source = random_source(generator)
        start = source.reserve(size, self.device)
        values, indices = self._backend.draw(
            components, source.key, start, size, self._dtype
        )
        shape = sample_shape + self._batch_shape
        return values.reshape(shape + self._event_shape), indices.reshape(shape)

    def _value(self, value: Any, name: str = "value") -> Array:
        return value_array(self._name, name, value, self._backend, self._dtype)

    def _result_shape(self, value: Array) -> Shape:
        """The shape of a log density: value's, less the event, with the batch."""
        lead = value.ndim - len(self._event_shape)
        if lead < 0 or value.shape[lead:] != self._event_shape:
            raise ValueError(
                f"{self._name}: `value` must end with the event's shape "
                f"{self._event_shape}, got shape {value.shape}."
            )
        try:
            return np.broadcast_shapes(value.shape[:lead], self._batch_shape)
        except ValueError:
            raise ValueError(
                f"{self._name}: `value` of shape {value.shape} must broadcast with "
                f"batch_shape {self._batch_shape} (before the event's shape "
                f"{self._event_shape}); reshape it to "
                "(*sample_shape, *batch_shape, *event_shape)."
            ) from None

    def _matching(self, shape: Shape) -> Self:
        """This distribution, its batch expanded to the trailing axes of `shape`.

        A value that is longer where the batch has axes of length 1 expands them; a
        batch of one element in all needs no expansion, since every value meets it.
        """
        trailing = shape[len(shape) - len(self._batch_shape) :]
        if trailing == self._batch_shape or math.prod(self._batch_shape) == 1:
            return self
        return self.expand(trailing)

    def _canonical(self, value: Array, shape: Shape) -> Array:
        """Values as [S, B, D]: S for each of the B elements of the batch."""
        full = self._backend.xp.broadcast_to(value, shape + self._event_shape)
        batch = math.prod(self._batch_shape)
        events = math.prod(self._event_shape)
        samples = math.prod(shape) // batch if batch else 0
        return full.reshape((samples, batch, events))

    def _pointwise(
        self, name: str, value: Any, formula: Callable[[Array], Array]
    ) -> Tensor:
        """A formula of scalar events, evaluated in float64 and rounded once."""
        with self._range(name):
            array = self._value(value)
            dtype = array.dtype if array.dtype.kind == "f" else self._dtype
            if self._event_shape:
                raise self._lacks(f"{name} (its events are not scalars)")
            shape = self._result_shape(array)
            result = formula(array.astype(np.float64))
            result = self._backend.xp.broadcast_to(result, shape)
            return Tensor._wrap(result.astype(dtype))

    def _moment(self, name: str, formula: Callable[[], Array]) -> Tensor:
        with self._range(name):
            shape = self._batch_shape + self._event_shape
            return self._wrap_parameterwise(formula(), shape)

    def _borrowed(self) -> tuple[Array, ...]:
        """Parameters too large to have been copied at construction."""
        components = self._density()
        return () if components is None else components.parameters

    def _wrap_parameterwise(self, result: Array, shape: Shape) -> Tensor:
        full = self._backend.xp.broadcast_to(result, shape)
        return Tensor._wrap(read_only(full.astype(self._dtype)))

    @contextlib.contextmanager
    def _range(self, name: str) -> Iterator[None]:
        """Around each public method: a profiling range, the device made current."""
        public = f"lucid.{self._name}.{name}"
        with backends.scope(self._backend), self._backend.range(public):
            yield

    def _lacks(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"{self._name} does not have {what}.")

    def _copy(self) -> Self:
        clone = copy.copy(self)
        for cached in [name for name in clone.__dict__ if name.startswith("_cached")]:
            del clone.__dict__[cached]
        return clone

    def __getstate__(self) -> dict[str, Any]:
        kept = {k: v for k, v in self.__dict__.items() if not k.startswith("_cached")}
        kept["_backend"] = (self._backend.type, self._backend.index)
        return kept

    def __setstate__(self, state: dict[str, Any]) -> None:
        place = state.pop("_backend")
        self.__dict__.update(state)
        self._backend = backends.get(*place)

    def __repr__(self) -> str:
        shapes = f"batch_shape={self._batch_shape}, event_shape={self._event_shape}"
        return f"{self._name}({shapes})"


def random_source(generator: Generator | None) -> Generator:
    """The generator that `sample` was given, or the default one."""
    if generator is None:
        return default_generator()
    if not isinstance(generator, Generator):
        raise TypeError(
            "`generator` must be a lucid.Generator or None, got "
            f"{type(generator).__name__}; make one by lucid.Generator(seed)."
        )
    return generator


def validating(validate_args: bool | None) -> bool:
    """What a constructor's `validate_args` means."""
    return _validate_by_default if validate_args is None else bool(validate_args)
