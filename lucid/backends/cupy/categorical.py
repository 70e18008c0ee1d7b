"""Categoricals on a GPU: one pass over logits, and the gather out of a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from lucid.backends.cupy import kernels
from lucid.backends.cupy.device import CudaDevice
from lucid.backends.cupy.launch import (
    MOST_BLOCKS,
    MOST_BLOCKS_YZ,
    ceil_divide,
    int64,
)
from lucid.backends.protocol import Array

# Logits a thread reads, at least, before more threads take part in a row.
_LOGITS_PER_LANE = 8


def log_prob(
    device: CudaDevice, logits: Array, value: Array, dtype: Any, out: Array
) -> None:
    """Fill `out` [S, B] with log softmax(logits [B or 1, K])[value [S, B]]."""
    if out.size == 0:
        return
    if logits.shape[0] > 1:
        _one_pass(device, logits, value, dtype, out)
        return
    # Shared logits are normalised once, by scoring every category, then gathered.
    count = int(logits.shape[1])
    every = device.xp.arange(count, dtype="int64").reshape(count, 1)
    table = device.xp.full(count + 2, -np.inf, dtype)
    _one_pass(device, logits, every, dtype, table[1:-1].reshape(count, 1))
    gather(device, table, value, out)


def gather(device: CudaDevice, table: Array, value: Array, out: Array) -> None:
    """Fill `out` with table[value + 1], NaN for NaN: see `Backend.lookup`."""
    if out.size == 0:
        return
    if value.dtype.itemsize < 4 and value.dtype.kind == "f":
        value = value.astype("float32")
    spec = kernels.categorical_gather(table.dtype.name, value.dtype.name)
    device.elementwise(spec, (table, value, *int64(table.size - 2), out))


def _one_pass(
    device: CudaDevice, logits: Array, value: Array, dtype: Any, out: Array
) -> None:
    samples, batch = value.shape
    count = int(logits.shape[1])
    lanes = next(
        (n for n in kernels.LANES if n * _LOGITS_PER_LANE >= count), kernels.LANES[-1]
    )
    blocks = min(ceil_divide(batch, 256 // lanes), MOST_BLOCKS)
    # Few rows of logits leave most of the device idle: several blocks then share the
    # values of one, each at least as many as the logits, which it sums anew.
    wanted = ceil_divide(4 * device.multiprocessors, blocks)
    parts = min(wanted, ceil_divide(samples, max(count, lanes)), MOST_BLOCKS_YZ)
    arguments = (logits, value, out, *int64(samples, batch, count))
    spec = kernels.categorical_log_prob(logits.dtype.name, dtype.name, lanes)
    device.launch(spec, (blocks, parts), (256,), arguments)
