"""The fused operations that are compiled; the others are NumPy's."""

from __future__ import annotations

from lucid.backends.numpy.operations import NumpyOperations


class NumbaOperations(NumpyOperations):
    """Loops compiled on first use, and kept on disk."""

    name = "numba"
