"""torch.distributions: eager, and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from ..workloads import Array, Workload
from . import NotApplicableError, Peer

Function = Callable[..., Any]


class Torch(Peer):
    """Eager, in inference mode, without validation, which looks at every value."""

    def __init__(self, device: str, threads: int) -> None:
        super().__init__(device, threads)
        if device == "cuda" and not torch.cuda.is_available():
            raise NotApplicableError("this build of torch has no GPU")
        torch.set_num_threads(threads)

    def build(self, workload: Workload) -> list[Function]:
        return [_in_inference_mode(call) for call in super().build(workload)]

    def compiled(self, function: Function) -> Function:
        """What is timed in place of a function."""
        return function

    def scalar(self, weights: Any, loc: Any, scale: Any) -> Function:
        return self.compiled(_mixture(weights, Normal(loc, scale, False)).log_prob)

    single = scalar

    def diagonal(self, weights: Any, loc: Any, scale: Any) -> Function:
        components = Independent(Normal(loc, scale, False), 1, False)
        return self.compiled(_mixture(weights, components).log_prob)

    def mdn(self) -> Function:
        def log_prob(logits: Any, loc: Any, scale: Any, value: Any) -> Any:
            mixing = Categorical(logits=logits, validate_args=False)
            mixture = MixtureSameFamily(mixing, Normal(loc, scale, False), False)
            return mixture.log_prob(value)

        return self.compiled(log_prob)

    def categorical(self) -> Function:
        def log_prob(logits: Any, value: Any) -> Any:
            return Categorical(logits=logits, validate_args=False).log_prob(value)

        return self.compiled(log_prob)

    def categorical_shared(self, logits: Any) -> Function:
        return self.compiled(Categorical(logits=logits, validate_args=False).log_prob)

    def draws(self, weights: Any, loc: Any, scale: Any, count: int) -> Function:
        mixture = _mixture(weights, Normal(loc, scale, False))
        draw = self.compiled(lambda: mixture.sample((count,)))
        return lambda seed: draw()  # a seed would be compiled in

    def array(self, array: Array) -> Any:
        return torch.from_numpy(array).to(self.device)

    def numpy(self, result: Any) -> Array:
        array: Array = result.cpu().numpy()
        return array

    def wait(self, result: Any) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()

    @property
    def has_events(self) -> bool:
        return self.device == "cuda"

    def extra_bytes(self, call: Function) -> tuple[int | None, Any]:
        if self.device == "cpu":
            return super().extra_bytes(call)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = call()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before, result

    def release(self) -> None:
        if self.device == "cuda":
            torch.cuda.empty_cache()


class TorchCompile(Torch):
    """The same through torch.compile, for the shapes that it is called with."""

    def build(self, workload: Workload) -> list[Function]:
        # Each cell compiles anew: what it kept of other shapes would make it guess.
        torch.compiler.reset()
        return super().build(workload)

    def compiled(self, function: Function) -> Function:
        compiled: Function = torch.compile(function, dynamic=False)
        return compiled


def _mixture(weights: Any, components: Any) -> Any:
    mixing = Categorical(probs=weights, validate_args=False)
    return MixtureSameFamily(mixing, components, False)


def _in_inference_mode(call: Function) -> Function:
    def run() -> Any:
        with torch.inference_mode():
            return call()

    return run
