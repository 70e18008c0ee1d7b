"""CuPy: the expression written out, which holds arrays of N×K."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import cupy

from ..workloads import Array
from . import Peer

Function = Callable[..., Any]


def extra_bytes(call: Function) -> tuple[int, Any]:
    """What a call adds to the memory that CuPy's pool holds."""
    pool = cupy.get_default_memory_pool()
    cupy.cuda.Device().synchronize()
    pool.free_all_blocks()
    before = pool.total_bytes()
    result = call()
    cupy.cuda.Device().synchronize()
    return pool.total_bytes() - before, result


class CuPy(Peer):
    """Array expressions, one kernel an operation."""

    def scalar(self, weights: Any, loc: Any, scale: Any) -> Function:
        constant = cupy.log(weights) - cupy.log(scale) - math.log(2 * math.pi) / 2
        return lambda value: _log_sum_exp(
            constant - 0.5 * ((value[..., None] - loc) / scale) ** 2
        )

    single = scalar

    def diagonal(self, weights: Any, loc: Any, scale: Any) -> Function:
        constant = cupy.log(weights) - cupy.log(scale).sum(axis=-1)
        constant -= loc.shape[-1] * math.log(2 * math.pi) / 2

        def log_prob(value: Any) -> Any:
            square = (((value[:, None, :] - loc) / scale) ** 2).sum(axis=-1)
            return _log_sum_exp(constant - 0.5 * square)

        return log_prob

    def mdn(self) -> Function:
        def log_prob(logits: Any, loc: Any, scale: Any, value: Any) -> Any:
            terms = logits - _log_sum_exp(logits)[:, None] - cupy.log(scale)
            terms -= 0.5 * ((value[:, None] - loc) / scale) ** 2
            return _log_sum_exp(terms) - math.log(2 * math.pi) / 2

        return log_prob

    def categorical(self) -> Function:
        def log_prob(logits: Any, value: Any) -> Any:
            picked = cupy.take_along_axis(logits, value[:, None], axis=-1)[:, 0]
            return picked - _log_sum_exp(logits)

        return log_prob

    def categorical_shared(self, logits: Any) -> Function:
        log_probs = logits - _log_sum_exp(logits)
        return lambda value: log_probs[value]

    def draws(self, weights: Any, loc: Any, scale: Any, count: int) -> Function:
        cumulative = cupy.cumsum(weights.astype(cupy.float64))
        cumulative /= cumulative[-1]

        def sample(seed: int) -> Any:
            index = cupy.searchsorted(cumulative, cupy.random.random(count), "right")
            noise = cupy.random.standard_normal(count, dtype=loc.dtype)
            return loc[index] + scale[index] * noise

        return sample

    def array(self, array: Array) -> Any:
        return cupy.asarray(array)

    def numpy(self, result: Any) -> Array:
        array: Array = cupy.asnumpy(result)
        return array

    def wait(self, result: Any) -> None:
        cupy.cuda.Device().synchronize()

    @property
    def has_events(self) -> bool:
        return True

    def extra_bytes(self, call: Function) -> tuple[int | None, Any]:
        return extra_bytes(call)

    def release(self) -> None:
        cupy.get_default_memory_pool().free_all_blocks()


def _log_sum_exp(terms: Any) -> Any:
    top = terms.max(axis=-1, keepdims=True)
    return cupy.log(cupy.exp(terms - top).sum(axis=-1)) + top[..., 0]
