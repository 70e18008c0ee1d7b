"""The CPU's fused operations compiled by Numba, over the same NumPy arrays.

What is not compiled here runs in NumPy: a user without Numba loses speed alone.
"""

from lucid.backends.numba.operations import NumbaOperations as NumbaOperations
