"""How a function of tensors becomes the same function of NumPy's or CuPy's arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from lucid import backends
from lucid._tensor import Tensor, raw
from lucid.backends.protocol import Backend

Number = complex  # to a type checker, bool, int and float are complex too
F = TypeVar("F", bound=Callable[..., Any])


class Unary(Protocol):
    """A function of one tensor."""

    def __call__(self, x: Tensor, /) -> Tensor: ...


class Binary(Protocol):
    """A function of two operands, at least one of them a tensor."""

    def __call__(self, x1: Tensor | Number, x2: Tensor | Number, /) -> Tensor: ...


class Reduction(Protocol):
    """A function that takes all axes away, or those given."""

    def __call__(
        self,
        x: Tensor,
        /,
        *,
        axis: int | tuple[int, ...] | None = None,
        keepdims: bool = False,
    ) -> Tensor: ...


def unary(name: str, doc: str) -> Unary:
    """The function of that name: one tensor in, one out."""

    def function(x: Tensor, /) -> Tensor:
        return call(name, x)

    return published(function, name, doc)


def binary(name: str, doc: str) -> Binary:
    """The function of that name: two operands in, broadcast, one tensor out."""

    def function(x1: Tensor | Number, x2: Tensor | Number, /) -> Tensor:
        return call(name, x1, x2)

    return published(function, name, doc)


def reduction(name: str, doc: str) -> Reduction:
    """The function of that name: one tensor in, fewer axes out."""

    def function(
        x: Tensor,
        /,
        *,
        axis: int | tuple[int, ...] | None = None,
        keepdims: bool = False,
    ) -> Tensor:
        return call(name, x, axis=axis, keepdims=keepdims)

    return published(function, name, doc)


def published(function: F, name: str, doc: str) -> F:
    """`function` under its public name, so that help and pickle find it in lucid."""
    function.__module__, function.__name__ = "lucid", name
    function.__qualname__, function.__doc__ = name, doc
    return function


def call(name: str, *args: Any, **options: Any) -> Tensor:
    """Run the function `name` on the backend that its tensors share."""
    backend, result = _run(name, args, options)
    return _wrapped(result, backend)


def call_many(name: str, *args: Any, **options: Any) -> tuple[Tensor, ...]:
    """As `call`, for a function that gives several tensors."""
    backend, results = _run(name, args, options)
    return tuple(_wrapped(result, backend) for result in results)


def view(name: str, x: Tensor, *args: Any, **options: Any) -> Tensor:
    """As `call`, for a result in the memory of `x`: read-only if `x` is."""
    result = call(name, x, *args, **options)
    result._writeable &= x._writeable
    return result


def _run(
    name: str, args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[Backend, Any]:
    first = _first_tensor((*args, *options.values()))
    if first is None:
        given = type(args[0]).__name__ if args else "nothing"
        raise TypeError(
            f"lucid.{name} takes tensors, not {given}; make one by lucid.asarray(x)"
        )
    backend = first.backend
    function = attrgetter(name)(backends.namespace(backend))
    arrays = {key: raw(value, backend) for key, value in options.items()}
    with backends.scope(backend):
        return backend, function(*raw(args, backend), **arrays)


def _first_tensor(values: Iterable[Any]) -> Tensor | None:
    for value in values:
        if isinstance(value, Tensor):
            return value
        if isinstance(value, (list, tuple)):
            found = _first_tensor(value)
            if found is not None:
                return found
    return None


def _wrapped(result: Any, backend: Backend) -> Tensor:
    """The tensor of a result; NumPy 2.0 counts in Python integers."""
    return Tensor._wrap(backend.asarray(result) if isinstance(result, int) else result)
