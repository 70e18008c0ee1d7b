"""Manipulation functions. Results share memory with their argument where they can."""

from __future__ import annotations

from collections.abc import Sequence

from lucid._array_api._delegate import call, call_many, view
from lucid._tensor import Shape, Tensor

Tensors = Sequence[Tensor]


def broadcast_arrays(*arrays: Tensor) -> list[Tensor]:
    """The tensors, each broadcast to the shape they have together; read-only."""
    return [
        Tensor._wrap(x._array, writeable=False)
        for x in call_many("broadcast_arrays", *arrays)
    ]


def broadcast_to(x: Tensor, /, shape: Shape) -> Tensor:
    """x repeated along new axes and those of length 1, without a copy; read-only."""
    return Tensor._wrap(call("broadcast_to", x, shape)._array, writeable=False)


def concat(arrays: Tensors, /, *, axis: int | None = 0) -> Tensor:
    """The tensors one after the other along an axis; None: flattened first."""
    return call("concat", arrays, axis=axis)


def expand_dims(x: Tensor, /, axis: int) -> Tensor:
    """x with a new axis of length 1."""
    return view("expand_dims", x, axis)


def flip(x: Tensor, /, *, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """The elements in reverse order along the axes; None: along all."""
    return view("flip", x, axis=axis)


def moveaxis(
    x: Tensor,
    source: int | tuple[int, ...],
    destination: int | tuple[int, ...],
    /,
) -> Tensor:
    """x with some axes moved, the others in their order."""
    return view("moveaxis", x, source, destination)


def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """x with its axes in another order."""
    return view("permute_dims", x, axes)


def repeat(x: Tensor, repeats: int | Tensor, /, *, axis: int | None = None) -> Tensor:
    """Each element several times in a row; axis None: flattened first."""
    return call("repeat", x, repeats, axis=axis)


def reshape(x: Tensor, /, shape: Shape, *, copy: bool | None = None) -> Tensor:
    """The elements in C order in another shape; one length may be −1.

    copy=True: always a copy; copy=False: never, or ValueError.
    """
    if copy is None:  # NumPy 2.0 knows no other
        return view("reshape", x, shape)
    return view("reshape", x, shape, copy=copy)


def roll(
    x: Tensor,
    /,
    shift: int | tuple[int, ...],
    *,
    axis: int | tuple[int, ...] | None = None,
) -> Tensor:
    """Elements shifted along the axes, those pushed out coming in at the start."""
    return call("roll", x, shift, axis=axis)


def squeeze(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    """x without those axes, which have length 1."""
    return view("squeeze", x, axis=axis)


def stack(arrays: Tensors, /, *, axis: int = 0) -> Tensor:
    """The tensors, of one shape, along a new axis."""
    return call("stack", arrays, axis=axis)


def tile(x: Tensor, repetitions: tuple[int, ...], /) -> Tensor:
    """x as a tile, laid so many times along each axis."""
    return call("tile", x, repetitions)


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices of x along an axis."""
    return tuple(moveaxis(x, axis, 0))
