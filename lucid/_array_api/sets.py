"""Set functions. Values are ascending; every NaN counts as a value of its own."""

from __future__ import annotations

from typing import NamedTuple

from lucid._array_api._delegate import call, call_many
from lucid._array_api.sorting import sort
from lucid._tensor import Tensor


class UniqueAll(NamedTuple):
    """What `unique_all` finds."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` finds."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` finds."""

    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Tensor, /) -> UniqueAll:
    """The distinct values, where each is first, which each element is, how many."""
    return UniqueAll(*call_many("unique_all", x))


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """The distinct values, and how often each occurs."""
    return UniqueCounts(*call_many("unique_counts", x))


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """The distinct values, and which of them each element is."""
    return UniqueInverse(*call_many("unique_inverse", x))


def unique_values(x: Tensor, /) -> Tensor:
    """The distinct values."""
    return sort(call("unique_values", x))  # NumPy leaves the order open
