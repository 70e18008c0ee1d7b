"""Whether CUDA works here, and if not, why not."""

from __future__ import annotations

from lucid import backends


def is_available() -> bool:
    """Whether an array and a kernel ran on a GPU, tried once in each process."""
    return backends.cuda_status().available


def reason() -> str:
    """Why CUDA is not available, in a sentence; "" if it is."""
    return backends.cuda_status().reason


def device_count() -> int:
    """How many GPUs there are to use."""
    return len(backends.cuda_status().devices)
