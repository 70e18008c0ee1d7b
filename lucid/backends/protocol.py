"""What the floors of lucid say to one another: families, components and backends.

A *family* is pure formulas, written once per backend; *components* are one family's
parameters laid out for a kernel; a *backend* runs the fused operations on them.
Everything here speaks of raw arrays (NumPy or CuPy), never of tensors.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

# One array of either backend. NumPy's and CuPy's types share no checkable base.
Array = Any

# The units in which a prepared log density is counted.
NATS = 1.0
BITS = math.log2(math.e)


class Family(Protocol):
    """The log density of one family, in parts, by what each part depends on:

        log p(x | θ) = (pair(row(x), factors) + constant) / unit + log_base_measure(x)

    where (*factors, constant) = prepare(unit, *θ). `prepare` runs once per component,
    `row` and `log_base_measure` once per value, and `pair` once per (value, component)
    pair, so `pair` holds a few multiply-adds and nothing that depends on one side
    alone. Every function takes its namespace `fn` (NumPy's names and those of
    scipy.special) first, so that the same text serves NumPy, CuPy and tracing.

    Its CUDA struct has the same parts. One of lucid's own may have it by hand, of the
    same name in `kernels/families`, a user's by the attribute `family_cuda`; for all
    others it is written from a trace of these functions.
    """

    __name__: str
    family_parameters: tuple[str, ...]
    # 0: a scalar family, whose pair is elementwise. 1: a family of vectors, whose
    # pair takes rows […, R, D] and factors that broadcast with them, and gives […, R].
    family_event_ndim: int
    # Whether pair is −((x − factors[0])·factors[1])² of a row that is x alone.
    family_quadratic: bool
    # Whether pair falls with |x − factors[0]|·factors[1], a location and the inverse of
    # a width, of a row that is x alone.
    family_unimodal: bool
    # Whether a draw may not be rounded to 0, where its density may be infinite.
    draws_above_zero: bool

    @staticmethod
    def prepare(fn: Any, unit: float, *parameters: Array) -> tuple[Array, ...]:
        """(*factors, constant) of each component, counted in `unit` per nat."""

    @staticmethod
    def supports(fn: Any, value: Array) -> Array | None:
        """True where a value lies in the support that needs no parameter.

        None where every number does and `pair` carries NaN through by itself.
        """

    @staticmethod
    def row(fn: Any, value: Array) -> tuple[Array, ...]:
        """What `pair` needs of a value."""

    @staticmethod
    def log_base_measure(fn: Any, value: Array) -> Array | None:
        """The term of the value alone, in nats; None where it is 0."""

    @staticmethod
    def pair(fn: Any, row: tuple[Array, ...], factors: tuple[Array, ...]) -> Array:
        """The term of value and component together, without the constant."""

    @staticmethod
    def draw(bits: Bits, *parameters: Array) -> Array:
        """One value per row from counter-based bits, in float64."""


# A backend has an attribute `type`, which hides the builtin inside its class.
FamilyType = type[Family]


class Bits(Protocol):
    """The random words of n rows and one event element; see lucid/_random.py.

    Attempt 0 holds the direct words, attempts 1, 2, … one rejection round each.
    """

    size: int
    fn: Any  # the namespace of formulas over these words

    def words(self, attempt: int, rows: Array | None = None) -> Array:
        """uint64 [n, 4], or [len(rows), 4] for those row positions only."""


# The total and the shift of `Weights`.
Normaliser = tuple[Array, Array | None]

# One lock for all components: made anew in a forked child, which may inherit it held.
_preparing = threading.RLock()


def _after_fork() -> None:
    global _preparing
    _preparing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Weights:
    """How much each component counts, as given, and what normalises it.

        log w = log(given / total)              given are weights
        log w = (given − shift) − log total     given are their logarithms

    given         [B or 1, K]; a weight of 0, or a logarithm of −∞: no such component
    shift, total  [B or 1, 1], float64; no shift where given are weights

    Kept apart, so that weights of their own for each of millions of rows need no
    second array of that size. NumPy's functions hand CuPy's arrays to CuPy.
    """

    __slots__ = ("_normaliser", "given", "logarithms")

    def __init__(self, given: Array, total: Array, shift: Array | None = None) -> None:
        self.given, self.logarithms = given, shift is not None
        self._normaliser: Callable[[], Normaliser] = lambda: (total, shift)

    @classmethod
    def lazy(
        cls, given: Array, logarithms: bool, normaliser: Callable[[], Normaliser]
    ) -> Weights:
        """With total and shift by a call of `normaliser`, which keeps what is costly.

        What normalises the weights of a row as it scores them asks for neither.
        """
        found = cls.__new__(cls)
        found.given, found.logarithms = given, logarithms
        found._normaliser = normaliser
        return found

    @property
    def total(self) -> Array:
        """The sum of the weights, relative to the shift where there is one."""
        return self._normaliser()[0]

    @property
    def shift(self) -> Array | None:
        """What logarithms are relative to; None where weights are given."""
        return self._normaliser()[1]

    def map(self, change: Callable[[Array], Array]) -> Weights:
        """Weights with all arrays changed alike, those not asked for later on."""

        def normaliser() -> Normaliser:
            total, shift = self._normaliser()
            return change(total), None if shift is None else change(shift)

        return Weights.lazy(change(self.given), self.logarithms, normaliser)

    @classmethod
    def normalised(cls, log_weights: Array) -> Weights:
        """Logarithms [B or 1, K] of weights that already sum to 1."""
        zero = np.zeros_like(log_weights[:1, :1], dtype=np.float64)
        return cls(log_weights, zero + 1.0, zero)

    def log(self, mixtures: slice = slice(None)) -> Array:
        """Normalised log weights of some mixtures in float64, [b or 1, K]."""
        given, (total, shift) = _part(self.given, mixtures), self._normaliser()
        total = _part(total, mixtures)
        with np.errstate(all="ignore"):  # log 0 is what a weight of 0 has
            if shift is None:
                return np.log(given.astype(np.float64) / total)
            return (given - _part(shift, mixtures)) - np.log(total)

    def relative(self, mixtures: slice = slice(None)) -> Array:
        """Weights of some mixtures up to a factor, float64 [b or 1, K]."""
        given = _part(self.given, mixtures).astype(np.float64)
        shift = self.shift if self.logarithms else None
        return given if shift is None else np.exp(given - _part(shift, mixtures))


def _part(array: Array, mixtures: slice) -> Array:
    return array if array.shape[0] == 1 else array[mixtures]


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """K components of one family in each of B mixtures, laid out for a kernel.

    parameters   each [B or 1, K, D] (a vector family's own shape behind [B or 1, K])
    weights      of the components; None for a plain density (K = 1)

    A leading 1 stands for parameters shared by all mixtures. Parameters are snapshots:
    nothing writes to them, so what a backend prepares from them is kept in `prepared`.
    """

    family: type[Family]
    parameters: tuple[Array, ...]
    weights: Weights | None
    batch: int
    prepared: dict[Any, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """K, the number of components."""
        return int(self.parameters[0].shape[1])

    @property
    def log_weights(self) -> Array:
        """All normalised log weights [B or 1, K] in float64; kept. None if plain."""
        weights = self.weights
        if weights is None:
            return None
        return self.once("log weights", weights.log)

    def once(self, key: Any, build: Callable[..., Any], *args: Any) -> Any:
        """The value kept under `key`, build(*args), made by the first caller only."""
        try:
            return self.prepared[key]
        except KeyError:
            with _preparing:
                if key not in self.prepared:
                    self.prepared[key] = build(*args)
                return self.prepared[key]


class Backend(Protocol):
    """The fused operations, and what else differs between NumPy and CuPy.

    They are called within `backends.scope`.
    """

    type: str  # "cpu" or "cuda"
    index: int
    xp: Any  # the array namespace
    fn: Any  # `xp` and the special functions under SciPy's names

    def asarray(self, value: Any, dtype: Any = None, copy: bool | None = None) -> Array:
        """An array of this backend's device; never from another device's array."""

    def copy_of(self, array: Array, source: Backend, dtype: Any = None) -> Array:
        """A copy on this device of an array of another one's, which `source` holds."""

    def to_numpy(self, array: Array) -> Array:
        """A NumPy array with the same values, copied off the device if need be."""

    def kept(self, store: dict[str, Any], key: str, build: Callable[[], Any]) -> Any:
        """What `build` made of arrays, kept in `store`; there for all that comes now.

        On a GPU one stream may still be making it when another asks for it.
        """

    def map_blocks(
        self,
        work: Callable[[Array], tuple[Array, ...]],
        blocks: Iterable[Array],
        dtype: Any,
    ) -> Generator[tuple[Array, ...], None, None]:
        """work(block) of blocks of rows in order, each result as a NumPy array.

        work    of an array [rows, ...] of this device in `dtype`, arrays of one axis
                or more, which depend on that block alone
        blocks  arrays [rows, ...] of the host or of this device, not to be changed
                before their results came; a block too large for the memory is cut

        Results hold until the next are asked for. Raises MemoryError where even small
        blocks are too large. To be closed: until then it keeps memory.
        """

    def log_prob(
        self,
        family: FamilyType,
        value: Array,
        parameters: tuple[Array, ...],
        dtype: Any,
        out: Array | None = None,
    ) -> Array:
        """Elementwise log density of a scalar family, operands broadcast."""

    def mixture_log_prob(
        self, components: Components, value: Array, dtype: Any, out: Array | None = None
    ) -> Array:
        """log Σ_k w_k p_k(x) for values [S, B, D], as [S, B], with no S×B×K array."""

    def mixture_mode(
        self, components: Components, value: Array, dtype: Any
    ) -> tuple[Array, Array]:
        """The most probable component [S, B] (int64) and its log probability."""

    def categorical_log_prob(self, logits: Array, value: Array, dtype: Any) -> Array:
        """log softmax(logits [B or 1, K])[value [S, B]] for integers, as [S, B].

        Per-row logits take one pass. An index outside 0 … K−1 gives −∞.
        """

    def lookup(self, table: Array, value: Array, out: Array | None = None) -> Array:
        """table[value + 1] for values 0 … K−1 and a table [K + 2], in its dtype.

        What is no such integer gives an end of the table, and NaN gives NaN.
        """

    def draw(
        self,
        components: Components,
        key: tuple[int, int],
        start: int,
        size: int,
        dtype: Any,
    ) -> tuple[Array, Array]:
        """Values [S·B, D] and component indices [S·B] of `size` = S·B rows.

        Row r belongs to mixture r mod B and reads the words of element start + r.
        """

    def draw_index(
        self, table: Any, key: tuple[int, int], start: int, size: int
    ) -> Array:
        """Category indices [size] (int64); row r reads table r mod B, word 0."""
