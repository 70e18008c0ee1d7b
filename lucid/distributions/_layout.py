"""The canonical shapes that reach a backend: values [S, B, D], parameters [B, K, D].

S values for each of B mixtures of K components with D event elements. A leading 1
instead of B stands for parameters that all mixtures share.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lucid.backends.protocol import Array, Backend, Components, Family, Weights

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Parameters of one family, broadcast (as views) to their full shapes.

    A scalar family's parameters have shape batch_shape + event_shape; a vector
    family's have their own dimensions behind batch_shape.
    """

    family: type[Family]
    parameters: tuple[Array, ...]
    batch_shape: Shape
    event_shape: Shape

    def density(self, backend: Backend) -> Components:
        """One component for each element of the batch: K = 1, no weights."""
        parameters = tuple(
            array.reshape(self.batch_shape + (1,) + array.shape[self._ndim :])
            for array in self.parameters
        )
        one = Layout(self.family, parameters, (*self.batch_shape, 1), self.event_shape)
        return one.mixture(backend, self.batch_shape, None)

    def mixture(
        self, backend: Backend, batch_shape: Shape, weights: Weights | None
    ) -> Components:
        """The batch's last axis as the K components of mixtures of `batch_shape`."""

        def canonical(array: Array, ndim: int, tail: Shape) -> Array:
            own, rest = array.shape[:ndim], array.shape[ndim:]  # *own, K, …
            if math.prod(own) == 1:
                return array.reshape((1, rest[0], *tail))
            array = backend.xp.broadcast_to(array, batch_shape + rest)
            return array.reshape((math.prod(batch_shape), rest[0], *tail))

        if weights is not None:
            weights = weights.map(lambda part: canonical(part, part.ndim - 1, ()))
        ndim = self._ndim - 1
        return Components(
            self.family,
            tuple(canonical(a, ndim, self._tail(a)) for a in self.parameters),
            weights,
            math.prod(batch_shape),
        )

    @property
    def _ndim(self) -> int:
        return len(self.batch_shape)

    def _tail(self, array: Array) -> Shape:
        if self.family.family_event_ndim == 0:
            return (math.prod(self.event_shape),)
        return tuple(array.shape[self._ndim :])


def broadcast_shapes(owner: str, **shapes: Shape) -> Shape:
    """The common shape, or an error that names every argument's."""
    ndim = max((len(shape) for shape in shapes.values()), default=0)
    result = []
    for axis in range(-ndim, 0):
        sizes = {s[axis] for s in shapes.values() if len(s) >= -axis} - {1}
        if len(sizes) > 1:
            given = ", ".join(f"`{name}` {shape}" for name, shape in shapes.items())
            raise ValueError(
                f"{owner}: the arguments' shapes must broadcast together, got {given}; "
                "make the differing dimensions equal or 1."
            )
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)
