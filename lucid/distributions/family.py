"""A distribution that is one family: named parameters and pure formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NoReturn, cast, overload

import numpy as np

from lucid import backends
from lucid._tensor import Tensor
from lucid.backends.protocol import Array, Backend, Family
from lucid.distributions._arguments import parameter_arrays, read_only, shown
from lucid.distributions._layout import Layout, Shape, broadcast_shapes
from lucid.distributions._parts import cut_arrays
from lucid.distributions.constraints import Constraint, real
from lucid.distributions.distribution import Distribution, validating


class Parameter:
    """A parameter of a family, read as a tensor of its full shape."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Parameter: ...
    @overload
    def __get__(self, instance: FamilyDistribution, owner: type) -> Tensor: ...
    def __get__(
        self, instance: FamilyDistribution | None, owner: type
    ) -> Parameter | Tensor:
        if instance is None:
            return self
        array = instance._broadcast(instance._arrays[self._name])
        return Tensor._wrap(array, writeable=False)

    def __set__(self, instance: FamilyDistribution, value: Any) -> NoReturn:
        raise AttributeError(
            f"{instance._name}: `{self._name}` is read-only; make a new distribution."
        )


class FamilyDistribution(Distribution):
    """One scalar family, with a batch of parameters that broadcast together.

    A subclass states `arg_constraints`, `support`, a `Parameter` for each argument,
    the parts of its log density (see `lucid.backends.protocol.Family`), and whichever
    of the formulas below exist in closed form. Formulas are static and pure; they
    compute in float64 and take the function namespace `fn` first. From the parts of the
    log density NumPy's steps, compiled loops and CUDA are made.

    >>> from lucid.distributions import constraints
    >>> class Gumbel(FamilyDistribution):
    ...     arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    ...     support = constraints.real
    ...     loc, scale = Parameter(), Parameter()
    ...
    ...     def __init__(self, loc, scale, validate_args=None):
    ...         super().__init__(validate_args, loc=loc, scale=scale)
    ...
    ...     @staticmethod
    ...     def prepare(fn, unit, loc, scale):  # the factors, then the constant
    ...         return loc, 1 / scale, unit, -unit * fn.log(scale)
    ...
    ...     @staticmethod
    ...     def pair(fn, row, factors):
    ...         (x,) = row
    ...         loc, inverse_scale, unit = factors
    ...         z = (x - loc) * inverse_scale
    ...         return -unit * (z + fn.exp(-z))
    ...
    ...     @staticmethod
    ...     def _mean_formula(fn, loc, scale):
    ...         return loc + np.euler_gamma * scale
    >>> Gumbel(loc=0.0, scale=2.0).log_prob([0.0, 2.0]).numpy()
    array([-1.6931472, -2.0610266], dtype=float32)
    """

    arg_constraints: ClassVar[Mapping[str, Constraint]] = {}
    family_parameters: ClassVar[tuple[str, ...]] = ()
    family_event_ndim: ClassVar[int] = 0
    # Whether pair is −((x − factors[0])·factors[1])².
    family_quadratic: ClassVar[bool] = False
    # Whether pair falls with |x − factors[0]|·factors[1].
    family_unimodal: ClassVar[bool] = False
    # A draw that underflows becomes the least normal number of its dtype, not 0.
    draws_above_zero: ClassVar[bool] = False
    # The text of a CUDA `struct Family` (kernels/README.md), of the formulas of this
    # class and of none that a subclass changes. None: it is written from them.
    family_cuda: ClassVar[str | None] = None

    _arrays: dict[str, Array]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = cls.__dict__
        if "arg_constraints" in own and "family_parameters" not in own:
            cls.family_parameters = tuple(cls.arg_constraints)
        rule: Any = own.get("support")
        scalar = isinstance(rule, Constraint) and rule.event_ndim == 0
        if scalar and rule is not real and "supports" not in own:
            holds: Any = staticmethod(rule.holds)
            cls.supports = holds  # type: ignore[method-assign]

    def __init__(self, validate_args: bool | None, **parameters: Any) -> None:
        backend, dtype, arrays = parameter_arrays(self._name, parameters)
        self._arrays = arrays
        shapes = {name: array.shape for name, array in arrays.items()}
        super().__init__(backend, dtype, broadcast_shapes(self._name, **shapes), ())
        if validating(validate_args):
            check_parameters(self._name, backend, arrays, self.arg_constraints)

    # ---- the parts of the log density that many families share

    @staticmethod
    def supports(fn: Any, value: Array) -> Array | None:
        """True where a value lies in the support that needs no parameter.

        None where every number does and `pair` carries NaN through by itself. Unless a
        class says it, what its `support` says, where that is a constraint of scalars.
        """
        return None

    @staticmethod
    def row(fn: Any, value: Array) -> tuple[Array, ...]:
        """What `pair` needs of a value."""
        return (value,)

    @staticmethod
    def log_base_measure(fn: Any, value: Array) -> Array | None:
        """The term of the value alone, in nats; None where it is 0."""
        return None

    # ---- formulas in closed form, where they exist

    _cdf_formula: ClassVar[Callable[..., Array] | None] = None
    _survival_formula: ClassVar[Callable[..., Array] | None] = None
    _log_cdf_formula: ClassVar[Callable[..., Array] | None] = None
    _log_survival_formula: ClassVar[Callable[..., Array] | None] = None
    _icdf_formula: ClassVar[Callable[..., Array] | None] = None
    _mean_formula: ClassVar[Callable[..., Array] | None] = None
    _variance_formula: ClassVar[Callable[..., Array] | None] = None
    _stddev_formula: ClassVar[Callable[..., Array] | None] = None
    _entropy_formula: ClassVar[Callable[..., Array] | None] = None

    def _cdf(self, value: Array) -> Array:
        return self._evaluate("a cumulative distribution function", "_cdf", value)

    def _survival(self, value: Array) -> Array:
        if self._survival_formula is None:
            return super()._survival(value)
        return self._evaluate("a survival function", "_survival", value)

    def _log_cdf(self, value: Array) -> Array:
        if self._log_cdf_formula is None:
            return super()._log_cdf(value)
        return self._evaluate("a log cdf", "_log_cdf", value)

    def _log_survival(self, value: Array) -> Array:
        if self._log_survival_formula is None:
            return super()._log_survival(value)
        return self._evaluate("a log survival function", "_log_survival", value)

    def _icdf(self, value: Array) -> Array:
        quantile = self._evaluate("a quantile function", "_icdf", value)
        return self._backend.xp.where((value >= 0) & (value <= 1), quantile, np.nan)

    def _mean(self) -> Array:
        return self._evaluate("a mean", "_mean")

    def _variance(self) -> Array:
        return self._evaluate("a variance", "_variance")

    def _stddev(self) -> Array:
        if self._stddev_formula is None:
            return super()._stddev()
        return self._evaluate("a standard deviation", "_stddev")

    def _entropy(self) -> Array:
        return self._evaluate("an entropy", "_entropy")

    def _evaluate(self, what: str, name: str, *values: Array) -> Array:
        formula = getattr(self, f"{name}_formula")
        if formula is None:
            raise self._lacks(f"{what} in closed form")
        wide = (a.astype(np.float64) for a in self._family_arrays())
        return formula(self._backend.fn, *values, *wide)

    # ---- how the base sees a family

    @property
    def _family(self) -> type[Family]:
        """The class itself: a subclass holds its formulas."""
        return cast(type[Family], type(self))

    def _family_arrays(self) -> tuple[Array, ...]:
        """The parameters that the formulas take, in their order."""
        return tuple(self._arrays[name] for name in self.family_parameters)

    def _log_prob(
        self, value: Array, shape: Shape, dtype: np.dtype[Any], out: Array | None
    ) -> Array:
        if value.shape != shape:
            value = self._backend.xp.broadcast_to(value, shape)
        return self._backend.log_prob(
            self._family, value, self._family_arrays(), dtype, out
        )

    def _layout(self) -> Layout | None:
        arrays = tuple(self._broadcast(a) for a in self._family_arrays())
        return Layout(self._family, arrays, self._batch_shape, self._event_shape)

    def _broadcast(self, array: Array) -> Array:
        return read_only(self._backend.xp.broadcast_to(array, self._batch_shape))

    def _parameters(self) -> dict[str, Any]:
        return dict(self._arrays)

    def _cut_parts(self, axis: int, rows: slice) -> None:
        self._arrays = cut_arrays(self._arrays, self.arg_constraints, axis, rows)

    def _map_parts(self, move: Callable[[Any], Any], backend: Backend) -> None:
        self._arrays = {
            name: read_only(move(Tensor._wrap(array))._array)
            for name, array in self._arrays.items()
        }

    def __repr__(self) -> str:
        given, ndims = self._parameters(), self.arg_constraints
        texts = [
            f"{name}={shown(self._backend, array)}" for name, array in given.items()
        ]
        batches = (a.shape[: a.ndim - ndims[n].event_ndim] for n, a in given.items())
        if np.broadcast_shapes(*batches) != self._batch_shape:
            texts.append(f"batch_shape={self._batch_shape}")
        return f"{self._name}({', '.join(texts)})"


def check_parameters(
    owner: str,
    backend: Backend,
    arrays: Mapping[str, Array],
    rules: Mapping[str, Constraint],
) -> None:
    """Raise ValueError for the first parameter that breaks its constraint.

    All verdicts reach the host in one transfer: one device synchronisation.
    """
    checked = {name: rules[name] for name in arrays if name in rules}
    with backends.scope(backend):
        met = [rule.verdict(backend, arrays[name]) for name, rule in checked.items()]
        verdicts = backend.to_numpy(backend.xp.stack(met))
        for (name, rule), good in zip(checked.items(), verdicts, strict=True):
            if not good:
                mask = rule.holds(backend.fn, arrays[name])
                complaint = _complaint(owner, backend, name, rule, arrays[name], mask)
                raise ValueError(complaint)


def _complaint(
    owner: str, backend: Backend, name: str, rule: Constraint, array: Array, mask: Array
) -> str:
    good = backend.to_numpy(mask)
    values = backend.to_numpy(array)
    bad = np.argwhere(~good)
    where = tuple(int(i) for i in bad[0]) if good.ndim else ()
    first = values[where]
    shown = f"{float(first):g}" if first.ndim == 0 else f"\n{first}"
    if good.ndim == 0:
        return f"{owner}: `{name}` must be {rule}, but it is {shown}."
    index = ", ".join(map(str, where))
    return (
        f"{owner}: `{name}` must be {rule}, but {len(bad)} of {good.size} values are "
        f"not; the first is {name}[{index}] = {shown}."
    )
