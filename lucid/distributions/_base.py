"""What stands below every distribution's public methods: its state and its formulas.

The public methods are in distribution.py. Everything here sees raw arrays.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Self

import numpy as np

from lucid import backends
from lucid._device import Device, device_of
from lucid._random import Generator, default_generator
from lucid._tensor import Tensor
from lucid.backends.profiling import profile_range
from lucid.backends.protocol import Array, Backend, Components
from lucid.distributions._arguments import read_only, value_array
from lucid.distributions._layout import Layout, Shape
from lucid.distributions._parts import Key, check_draws, draw_picked
from lucid.distributions.constraints import Constraint


class DistributionBase:
    """Shapes, dtype and device of a distribution, and the formulas it may have.

    Formulas take and give raw arrays; a subclass overrides those that exist for it.
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

    # ---- what a subclass provides: formulas on raw arrays

    def _log_prob(
        self, value: Array, shape: Shape, dtype: np.dtype[Any], out: Array | None
    ) -> Array:
        """Log density as `shape` in `dtype`, written to `out` when it is given."""
        components = self._density()
        if components is None:
            return self._log_prob_in_parts(value, shape, dtype)
        values = self._canonical(value, shape)
        target = None if out is None else out.reshape(values.shape[:2])
        result = self._backend.mixture_log_prob(components, values, dtype, target)
        return out if out is not None else result.reshape(shape)

    def _log_prob_in_parts(
        self, value: Array, shape: Shape, dtype: np.dtype[Any]
    ) -> Array:
        """The same of what is not one family, from the formulas of its parts."""
        raise self._lacks("a log density")

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

    def _covariance_blocks(self) -> Array:
        """The blocks along the diagonal of the covariance, [*batch, R, d, d], float64.

        R·d is the number of event elements: those of different blocks are uncorrelated.
        """
        if self._event_shape:
            raise self._lacks("a covariance")
        variance = self._backend.xp.broadcast_to(self._variance(), self._batch_shape)
        return variance.astype(np.float64)[..., None, None, None]

    def _layout(self) -> Layout | None:
        """The family and its parameters; None for what is not one family."""
        return None

    def _parameters(self) -> dict[str, Any]:
        """The constructor's arguments: raw arrays, distributions, integers."""
        raise self._lacks("parameters")

    def _expand_parts(self, batch_shape: Shape) -> None:
        """Make the parts agree with a larger batch shape."""

    def _cut(self, axis: int, rows: slice) -> Self:
        """The part `rows` of batch axis `axis` < 0, as views of the parameters.

        An axis of length 1, or that the batch does not have, serves every row.
        """
        if len(self._batch_shape) < -axis or self._batch_shape[axis] == 1:
            return self
        clone, sizes = self._copy(), list(self._batch_shape)
        sizes[axis] = len(range(sizes[axis])[rows])
        clone._batch_shape = tuple(sizes)
        clone._cut_parts(axis, rows)
        return clone

    def _cut_parts(self, axis: int, rows: slice) -> None:
        """Make the parts agree with a batch that was cut."""
        raise self._lacks("parts that can be cut")

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

    def _draw_at(
        self, rows: Array, key: Key, start: int, dtype: np.dtype[Any]
    ) -> Array:
        """One draw from each of `rows` of the flattened batch, [n, *event_shape].

        The i-th takes the words of element start + i.
        """
        layout = self._layout()
        if layout is None:
            raise self._lacks("draws as a component")
        return draw_picked(self._backend, layout, rows, key, start, dtype)

    def _keeps_integers(self) -> bool:
        """Whether integer values stay integers: a float32 holds them up to 2²⁴."""
        return False

    # ---- shared by the subclasses

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _density(self) -> Components | None:
        """This distribution as canonical components; kept, since parameters are."""
        found: Components | None = self._kept("density", self._new_density)
        return found

    def _new_density(self) -> Components | None:
        layout = self._layout()
        return None if layout is None else layout.density(self._backend)

    def _kept(self, name: str, build: Callable[[], Any]) -> Any:
        """What `build` makes of the parameters, once: see `Backend.kept`."""
        return self._backend.kept(self.__dict__, f"_cached_{name}", build)

    def _draw(
        self, components: Components, sample_shape: Shape, generator: Generator | None
    ) -> tuple[Array, Array]:
        check_draws(components.family)
        size = math.prod(sample_shape + self._batch_shape)
        source = random_source(generator)
        start = source.reserve(size, self.device)
        values, indices = self._backend.draw(
            components, source.key, start, size, self._dtype
        )
        shape = sample_shape + self._batch_shape
        return values.reshape(shape + self._event_shape), indices.reshape(shape)

    def _value(self, value: Any, name: str = "value") -> Array:
        if type(value) is Tensor:  # the least time for what most calls are given
            array = value._array
            if array.dtype == self._dtype and backends.of(array) is self._backend:
                return array
        integers = self._keeps_integers()
        return value_array(
            self._name, name, value, self._backend, self._dtype, integers
        )

    def _result_shape(self, value: Array) -> Shape:
        """The shape of a log density: value's, less the event, with the batch."""
        if not (self._event_shape or self._batch_shape):
            own: Shape = value.shape
            return own
        lead = value.ndim - len(self._event_shape)
        if lead < 0 or value.shape[lead:] != self._event_shape:
            raise ValueError(
                f"{self._name}: `value` must end with the event's shape "
                f"{self._event_shape}, got shape {value.shape}."
            )
        if not self._batch_shape:
            shape: Shape = value.shape[:lead]
            return shape
        try:
            return np.broadcast_shapes(value.shape[:lead], self._batch_shape)
        except ValueError:
            raise ValueError(
                f"{self._name}: `value` of shape {value.shape} must broadcast with "
                f"batch_shape {self._batch_shape} (before the event's shape "
                f"{self._event_shape}); reshape it to "
                "(*sample_shape, *batch_shape, *event_shape)."
            ) from None

    def _canonical(self, value: Array, shape: Shape) -> Array:
        """Values as [S, B, D]: S for each of the B elements of the batch."""
        if not (self._event_shape or self._batch_shape):
            return value.reshape(-1, 1, 1)
        full = shape + self._event_shape
        if value.shape != full:
            value = self._backend.xp.broadcast_to(value, full)
        batch = math.prod(self._batch_shape)
        events = math.prod(self._event_shape)
        samples = math.prod(shape) // batch if batch else 0
        return value.reshape(samples, batch, events)

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
        if components is None:
            return ()
        weights = components.weights
        own = components.parameters
        return own if weights is None else (*own, weights.given)

    def _wrap_parameterwise(self, result: Array, shape: Shape) -> Tensor:
        full = self._backend.xp.broadcast_to(result, shape)
        return Tensor._wrap(read_only(full.astype(self._dtype)))

    def _range(self, name: str) -> AbstractContextManager[Any]:
        """Around each public method: a profiling range, the device made current."""
        scope = backends.scope(self._backend)
        return profile_range(scope, "lucid", type(self).__name__, name)

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
