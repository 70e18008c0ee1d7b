"""Constraints: predicates over parameters and values, each with a phrase for messages.

A constraint's text completes "must be …": `str(positive)` is "positive". A constraint
on vectors or matrices gives one verdict per event: its mask lacks the event's axes.
Predicates are functions of this module and `partial`s of them: constraints pickle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from lucid import backends
from lucid._tensor import Tensor, asarray
from lucid.backends.numpy.threads import run_blocks
from lucid.backends.protocol import Array, Backend

Predicate = Callable[[Any, Array], Array]
# What one thread checks at a time, its verdicts in the second-level cache.
_BLOCK_BYTES = 1 << 20


class Constraint:
    """A predicate over raw arrays, and the phrase that names what meets it.

    event_ndim   how many trailing axes one verdict covers
    is_discrete  whether only isolated values meet it
    """

    def __init__(
        self,
        phrase: str,
        predicate: Predicate,
        event_ndim: int = 0,
        is_discrete: bool = False,
    ) -> None:
        self.phrase = phrase
        self.event_ndim = event_ndim
        self.is_discrete = is_discrete
        self._predicate = predicate

    def holds(self, fn: Any, array: Array) -> Array:
        """The verdicts on a raw array; `fn` is its backend's function namespace."""
        return self._predicate(fn, array)

    def verdict(self, backend: Backend, array: Array) -> Array:
        """Whether all of a raw array meets it; a large one by threads, in blocks."""
        bounds = getattr(self._predicate, "args", ())
        whole = array.ndim <= self.event_ndim or any(np.ndim(_raw(b)) for b in bounds)
        if whole or backend.type != "cpu" or array.nbytes <= _BLOCK_BYTES:
            return self.holds(backend.fn, array).all()
        found: list[Array] = []

        def work(start: int, stop: int) -> None:
            found.append(self.holds(backend.fn, array[start:stop]).all())

        block = max(1, _BLOCK_BYTES * len(array) // array.nbytes)
        run_blocks(len(array), block, work)
        return np.all(found)

    def check(self, value: Any) -> Tensor:
        """True for each event of `value` that meets the constraint, as a tensor."""
        array = asarray(value)._array
        backend = backends.of(array)
        with backends.scope(backend):
            return Tensor._wrap(backend.asarray(self.holds(backend.fn, array)))

    def __str__(self) -> str:
        return self.phrase

    def __repr__(self) -> str:
        return f"<constraint: {self.phrase}>"


# Comparisons are False for NaN, so NaN meets no constraint.


def _is_number(fn: Any, x: Array) -> Array:
    return x == x


def _above(low: Any, fn: Any, x: Array) -> Array:
    return x > _raw(low)


def _at_least(low: Any, fn: Any, x: Array) -> Array:
    return x >= _raw(low)


def _within(low: Any, high: Any, fn: Any, x: Array) -> Array:
    return (x >= _raw(low)) & (x <= _raw(high))


def _is_integer_within(low: Any, high: Any, fn: Any, x: Array) -> Array:
    return (fn.floor(x) == x) & _within(low, high, fn, x)


def _is_boolean(fn: Any, x: Array) -> Array:
    return (x == 0) | (x == 1)


def _is_count(fn: Any, x: Array) -> Array:
    return (x >= 0) & (fn.floor(x) == x) & (x < np.inf)


real = Constraint("real", _is_number)
positive = Constraint("positive", partial(_above, 0))
nonnegative = Constraint("nonnegative", partial(_at_least, 0))
unit_interval = Constraint("in the interval [0, 1]", partial(_within, 0, 1))
boolean = Constraint("0 or 1", _is_boolean, is_discrete=True)
nonnegative_integer = Constraint("a nonnegative integer", _is_count, is_discrete=True)


def interval(low: Any, high: Any) -> Constraint:
    """low ≤ x ≤ high; the bounds are numbers, or arrays that broadcast with x."""
    phrase = f"in the interval [{_shown(low)}, {_shown(high)}]"
    return Constraint(phrase, partial(_within, low, high))


def greater_than(low: Any, name: str | None = None) -> Constraint:
    """x > low; `name` is what a message calls a bound that is an array."""
    return Constraint(f"greater than {name or _shown(low)}", partial(_above, low))


def integer_interval(low: Any, high: Any) -> Constraint:
    """The integers from low to high, both included."""
    phrase = f"an integer from {_shown(low)} to {_shown(high)}"
    return Constraint(phrase, partial(_is_integer_within, low, high), is_discrete=True)


def independent(base: Constraint, ndim: int) -> Constraint:
    """Every one of the last `ndim` axes' elements meets `base`."""
    if ndim == 0:
        return base
    return Constraint(
        f"{base.phrase} in every element",
        partial(_in_every_element, base, ndim),
        base.event_ndim + ndim,
        base.is_discrete,
    )


def _in_every_element(base: Constraint, ndim: int, fn: Any, x: Array) -> Array:
    return base.holds(fn, x).all(axis=tuple(range(-ndim, 0)))


def union(base: Constraint, alive: Array) -> Constraint:
    """Met by what meets `base` of any component that `alive` [..., K] marks.

    `base` is the components' support, with the K components on its last batch axis: its
    bounds are arrays [..., K], and one value meets them all, axis K inserted.
    """
    return Constraint(
        f"{base.phrase}, for at least one component of non-zero weight",
        partial(_in_a_component, base, alive),
        base.event_ndim,
        base.is_discrete,
    )


def _in_a_component(base: Constraint, alive: Array, fn: Any, x: Array) -> Array:
    axis = x.ndim - base.event_ndim
    verdicts = base.holds(fn, fn.expand_dims(x, axis))  # [..., K]
    return (verdicts & alive).any(axis=-1)


def _sums_to_one(fn: Any, x: Array) -> Array:
    """Within what summing and rounding K terms of the array's dtype can do."""
    eps = np.finfo(x.dtype).eps if x.dtype.kind == "f" else 0.0
    tolerance = eps * (16.0 + math.sqrt(x.shape[-1]))
    total = x.sum(axis=-1, dtype=np.float64)
    return (x >= 0).all(axis=-1) & (abs(total - 1.0) <= tolerance)


def _is_weights(fn: Any, x: Array) -> Array:
    # Of what is nonnegative, one positive element says what the sum would, which can
    # overflow.
    return ((x >= 0) & (x < np.inf)).all(axis=-1) & (x > 0).any(axis=-1)


def _is_log_weights(fn: Any, x: Array) -> Array:
    return (x < np.inf).all(axis=-1) & (x > -np.inf).any(axis=-1)


def _is_real_vector(fn: Any, x: Array) -> Array:
    return (x == x).all(axis=-1)


weights = Constraint("nonnegative and finite, with a positive sum", _is_weights, 1)
log_weights = Constraint("below +∞, and not all −∞", _is_log_weights, 1)
real_vector = Constraint("a real vector", _is_real_vector, 1)
simplex = Constraint("a nonnegative vector that sums to 1", _sums_to_one, 1)


def _is_lower_cholesky(fn: Any, x: Array) -> Array:
    finite = fn.isfinite(x).all(axis=(-2, -1))
    lower = (x == fn.tril(x)).all(axis=(-2, -1))
    return finite & lower & (_diagonal(fn, x) > 0).all(axis=-1)


def _is_positive_definite(fn: Any, x: Array) -> Array:
    transposed = x.swapaxes(-2, -1)
    eps = np.finfo(x.dtype).eps if x.dtype.kind == "f" else 0.0
    # An entry may differ from its mirror image by the rounding of what it was computed
    # from: where E[x xᵀ] − μ μᵀ cancels, much more than its own.
    scale = fn.sqrt(abs(_diagonal(fn, x)))
    slack = math.sqrt(eps) * scale[..., :, None] * scale[..., None, :]
    symmetric = (abs(x - transposed) <= slack).all(axis=(-2, -1))
    return symmetric & (_diagonal(fn, cholesky(fn, x)) > 0).all(axis=-1)


lower_cholesky = Constraint(
    "a lower-triangular matrix with a positive diagonal", _is_lower_cholesky, 2
)
positive_definite = Constraint(
    "a symmetric positive-definite matrix", _is_positive_definite, 2
)


def cholesky(fn: Any, matrices: Array) -> Array:
    """Lower factors L of A = L·Lᵀ [..., D, D] in float64; NaN where A has none.

    Only the lower triangle is read. NumPy gives up on a whole stack for one bad matrix,
    and CUDA's solver leaves debris in its place, so a factor also has to give its
    matrix back.
    """
    wide = fn.asarray(matrices, dtype=np.float64)
    try:
        factors = fn.linalg.cholesky(wide)
    except np.linalg.LinAlgError:
        if wide.ndim == 2:
            return fn.full_like(wide, np.nan)
        rows = [cholesky(fn, a) for a in wide.reshape(-1, *wide.shape[-2:])]
        return fn.stack(rows).reshape(wide.shape)
    error = fn.tril(abs(factors @ factors.swapaxes(-2, -1) - wide))
    size = abs(_diagonal(fn, wide)).max(axis=-1)[..., None, None]
    good = (error <= 1e-10 * size).all(axis=(-2, -1)) & (
        _diagonal(fn, factors) > 0
    ).all(axis=-1)
    return fn.where(good[..., None, None], factors, np.nan)


def _diagonal(fn: Any, matrices: Array) -> Array:
    return fn.diagonal(matrices, axis1=-2, axis2=-1)


def _raw(bound: Any) -> Any:
    return bound._array if isinstance(bound, Tensor) else bound


def _shown(bound: Any) -> str:
    array = _raw(bound)
    return f"{float(array):g}" if getattr(array, "size", 1) == 1 else "…"
