"""The inputs of a corpus case, made of exact binary values by an integer recipe.

A case is named; its name and dtype are the key of a Philox stream, whose raw words
(a sequence NumPy keeps stable) become floats by shifts, power-of-two scaling and single
IEEE operations only. So the same bits come out everywhere, and nothing of size K need
be stored: the frozen files hold a digest of the inputs beside the expected results.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = Literal["probs", "logits"]
Layout = Literal["elementwise", "shared", "rows"]


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a density is evaluated on, every array in the case's dtype.

    elementwise   parameters [S] or [S, D], no weights; values [S] or [S, D]
    shared        parameters [K] or [K, D] (a vector family's own shape behind [K]),
                  weights [K]; values [S] or [S, D]
    rows          parameters [S, K], weights [S, K]; values [S]
    """

    family: str
    layout: Layout
    parameters: dict[str, Array]
    values: Array
    weights: Array | None = None
    weights_are: Weights = "probs"

    @property
    def dimension(self) -> int | None:
        """D of an event, None for a scalar."""
        return int(self.values.shape[1]) if self.values.ndim == 2 else None

    @property
    def components(self) -> int:
        """K; 1 for a plain density."""
        return 1 if self.weights is None else int(self.weights.shape[-1])

    @property
    def pairs(self) -> int:
        """Density terms (value, component, dimension) that the case takes."""
        per_term = self.dimension or 1
        if self.family == "MultivariateNormal":
            per_term *= per_term
        return len(self.values) * self.components * per_term

    def digest(self) -> str:
        """A digest of every input bit, in little-endian order."""
        state = hashlib.sha256(f"{self.family} {self.layout}".encode())
        arrays = dict(self.parameters) | {"values": self.values}
        if self.weights is not None:
            arrays[self.weights_are] = self.weights
        for name in sorted(arrays):
            array = np.ascontiguousarray(arrays[name])
            state.update(f"{name} {array.dtype.name} {array.shape}".encode())
            state.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return state.hexdigest()[:16]


class Draw:
    """Floats of one dtype from the Philox stream of a name."""

    def __init__(self, name: str, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.single = self.dtype == np.float32
        key = hashlib.sha256(f"{name} {self.dtype.name}".encode()).digest()[:16]
        self._bits = np.random.Philox(key=int.from_bytes(key, "little"))

    def array(self, values: Any) -> Array:
        """Given numbers, rounded once to the dtype."""
        return np.asarray(values, dtype=np.float64).astype(self.dtype)

    def _unit(self, size: int) -> Array:
        words = self._bits.random_raw(size)
        unit: Array = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return unit

    def uniform(self, shape: Any, low: float = 0.0, high: float = 1.0) -> Array:
        """Uniform in [low, high)."""
        unit = self._unit(int(np.prod(shape))).reshape(shape)
        return self.array(low + (high - low) * unit)

    def bell(self, shape: Any, centre: float = 0.0, spread: float = 1.0) -> Array:
        """Bell-shaped (a sum of four uniforms) of deviation `spread`."""
        size = int(np.prod(shape))
        total = self._unit(size)
        for _ in range(3):
            total = total + self._unit(size)
        deviate = (total - 2.0) * 1.7320508075688772
        return self.array((centre + spread * deviate).reshape(shape))

    def powers(self, shape: Any, low: int, high: int) -> Array:
        """Positive, log-uniform between 2**low and 2**high."""
        size = int(np.prod(shape))
        exponent = low + np.floor(self._unit(size) * (high - low)).astype(np.int64)
        mantissa = 1.0 + self._unit(size)
        return self.array(np.ldexp(mantissa, exponent).reshape(shape))

    def integers(self, shape: Any, low: int, high: int) -> Array:
        """Integers low … high − 1, as floats."""
        unit = self._unit(int(np.prod(shape))).reshape(shape)
        return self.array(np.floor(low + (high - low) * unit))

    def pick(self, array: Array, size: int) -> Array:
        """`size` rows of `array`, with repeats."""
        index = np.floor(self._unit(size) * len(array)).astype(np.int64)
        picked: Array = array[index]
        return picked


Recipe = Callable[[Draw], Inputs]
SPECIAL = (np.inf, -np.inf, np.nan)
