"""KeOps: a LogSumExp reduction over symbolic pairs, through torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pykeops
import torch
from pykeops.torch import LazyTensor

from .torch import Torch

Function = Callable[..., Any]


class KeOps(Torch):
    """Mixtures of shared parameters; what it compiles it keeps for the next run."""

    def __init__(self, device: str, threads: int) -> None:
        super().__init__(device, threads)
        pykeops.set_verbose(False)  # it would print where the table goes

    def diagonal(self, weights: Any, loc: Any, scale: Any) -> Function:
        constant = torch.log(weights / weights.sum()) - torch.log(scale).sum(-1)
        constant = constant - loc.shape[-1] / 2 * math.log(2 * math.pi)
        mean = LazyTensor(loc[None])  # [1, K, D]
        factor = LazyTensor((math.sqrt(0.5) / scale)[None])
        shift = LazyTensor(constant[None, :, None])

        def log_prob(value: Any) -> Any:
            point = LazyTensor(value[:, None, :].contiguous())  # [N, 1, D]
            square = (((point - mean) * factor) ** 2).sum(-1)
            return (shift - square).logsumexp(dim=1)[:, 0]

        return log_prob

    def scalar(self, weights: Any, loc: Any, scale: Any) -> Function:
        log_prob = self.diagonal(weights, loc[:, None], scale[:, None])
        return lambda value: log_prob(value.reshape(-1, 1)).reshape(value.shape)

    single = scalar
    # It has no reduction for these; None says so, in place of the base's methods.
    mdn = categorical = categorical_shared = draws = None  # type: ignore[assignment]
