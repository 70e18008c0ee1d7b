"""The categorical gather on a GPU."""

from __future__ import annotations

from typing import Any

from lucid.backends.cupy import kernels
from lucid.backends.cupy.device import CudaDevice
from lucid.backends.cupy.launch import MOST_BLOCKS, ceil_divide, int64
from lucid.backends.protocol import Array

# Logits a thread reads, at least, before more threads take part in a row.
_LOGITS_PER_LANE = 8


def log_prob(
    device: CudaDevice, logits: Array, value: Array, dtype: Any, out: Array
) -> None:
    """Fill `out` [S, B] with log softmax(logits [B or 1, K])[value [S, B]]."""
    samples, batch = value.shape
    if samples * batch == 0:
        return
    if logits.shape[0] > 1:
        _one_pass(device, logits, value, dtype, out)
        return
    # Shared logits are normalised once, by scoring every category, then gathered.
    count = int(logits.shape[1])
    every = device.xp.arange(count, dtype="int64").reshape(count, 1)
    log_probs = device.xp.empty((count, 1), dtype)
    _one_pass(device, logits, every, dtype, log_probs)
    arguments = (log_probs, value, out, *int64(samples * batch, 1, count))
    spec = kernels.categorical_gather(dtype.name)
    blocks = ceil_divide(samples * batch, 256)
    device.launch(spec, (blocks,), (256,), arguments)


def _one_pass(
    device: CudaDevice, logits: Array, value: Array, dtype: Any, out: Array
) -> None:
    samples, batch = value.shape
    count = int(logits.shape[1])
    lanes = next(
        (n for n in kernels.LANES if n * _LOGITS_PER_LANE >= count), kernels.LANES[-1]
    )
    arguments = (logits, value, out, *int64(samples, batch, count))
    spec = kernels.categorical_log_prob(logits.dtype.name, dtype.name, lanes)
    blocks = min(ceil_divide(batch, 256 // lanes), MOST_BLOCKS)
    device.launch(spec, (blocks,), (256,), arguments)
