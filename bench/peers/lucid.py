"""lucid itself: on a GPU, and on each engine of the CPU."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import lucid
from lucid.backends.numpy.engine import numba_problem
from lucid.distributions import Categorical, Independent, MixtureSameFamily, Normal

from ..workloads import Array, Workload
from . import NotApplicableError, Peer

Function = Callable[..., Any]
# Calls and turns by which the time outside the fused operation is told apart.
_CALLS, _TURNS = 100, 15


class Lucid(Peer):
    """The public methods, without validation; compiled where the device is the CPU."""

    engine = "numba"

    def __init__(self, device: str, threads: int) -> None:
        super().__init__(device, threads)
        lucid.set_num_threads(threads)
        problem = numba_problem() if (device, self.engine) == ("cpu", "numba") else None
        if problem:
            raise ImportError(f"{problem}: pip install 'lucid-distributions[cpu]'")

    def before(self) -> None:
        lucid.set_cpu_engine(self.engine if self.device == "cpu" else None)

    def scalar(self, weights: Any, loc: Any, scale: Any) -> Function:
        return _mixture(weights, Normal(loc, scale, validate_args=False)).log_prob

    single = scalar

    def diagonal(self, weights: Any, loc: Any, scale: Any) -> Function:
        normal = Normal(loc, scale, validate_args=False)
        return _mixture(weights, Independent(normal, 1, validate_args=False)).log_prob

    def mdn(self) -> Function:
        def log_prob(logits: Any, loc: Any, scale: Any, value: Any) -> Any:
            mixture = MixtureSameFamily(
                Categorical(logits=logits, validate_args=False),
                Normal(loc, scale, validate_args=False),
                validate_args=False,
            )
            return mixture.log_prob(value)

        return log_prob

    def categorical(self) -> Function:
        def log_prob(logits: Any, value: Any) -> Any:
            return Categorical(logits=logits, validate_args=False).log_prob(value)

        return log_prob

    def categorical_shared(self, logits: Any) -> Function:
        return Categorical(logits=logits, validate_args=False).log_prob

    def draws(self, weights: Any, loc: Any, scale: Any, count: int) -> Function:
        mixture = _mixture(weights, Normal(loc, scale, validate_args=False))
        return lambda seed: mixture.sample((count,))

    def array(self, array: Array) -> Any:
        return lucid.asarray(array, device=self.device)

    def numpy(self, result: Any) -> Array:
        array: Array = result.numpy()
        return array

    def wait(self, result: Any) -> None:
        if self.device == "cuda":
            _cupy().cupy.cuda.Device().synchronize()

    @property
    def has_events(self) -> bool:
        return self.device == "cuda"

    def note(self, workload: Workload) -> str:
        """The part of a call's time that is not the fused operation's own."""
        if workload.cell.case != "single":
            return ""
        self.before()
        parts = (workload.shared[name] for name in ("weights", "loc", "scale"))
        weights, loc, scale = map(self.array, parts)
        mixture = _mixture(weights, Normal(loc, scale, validate_args=False))
        value = self.array(workload.inputs[0]["value"])
        values, backend = value._array.reshape(1, 1, 1), mixture._backend
        components, dtype = mixture._density(), value._array.dtype
        assert components is not None

        def operation() -> Any:
            return backend.mixture_log_prob(components, values, dtype)

        # The least of each: what else runs on the machine only ever adds.
        whole = alone = math.inf
        for _ in range(_TURNS):
            whole = min(whole, self._seconds_per_call(lambda: mixture.log_prob(value)))
            alone = min(alone, self._seconds_per_call(operation))
        return (
            f"at best {whole * 1e6:.1f} µs, {(whole - alone) * 1e6:.1f} of them "
            "outside the fused operation"
        )

    def _seconds_per_call(self, call: Function) -> float:
        self.wait(call())
        start = time.perf_counter()
        for _ in range(_CALLS):
            self.wait(call())
        return (time.perf_counter() - start) / _CALLS

    def extra_bytes(self, call: Function) -> tuple[int | None, Any]:
        if self.device == "cpu":
            return super().extra_bytes(call)
        found: tuple[int, Any] = _cupy().extra_bytes(call)
        return found

    def release(self) -> None:
        if self.device == "cuda":
            _cupy().cupy.get_default_memory_pool().free_all_blocks()


class LucidNumPy(Lucid):
    """The same with NumPy in place of the compiled operations."""

    engine = "numpy"

    def __init__(self, device: str, threads: int) -> None:
        if device != "cpu":
            raise NotApplicableError("is an engine of the CPU")
        super().__init__(device, threads)


def _cupy() -> Any:
    from . import cupy

    return cupy


def _mixture(weights: Any, components: Any) -> MixtureSameFamily:
    mixing = Categorical(probs=weights, validate_args=False)
    return MixtureSameFamily(mixing, components, validate_args=False)
