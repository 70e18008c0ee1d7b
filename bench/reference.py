"""Whether a result is right: against float64 for float32, wider for float64.

Errors are counted in units of u·B, u being the rounding unit of the dtype and B the
condition of the value:

    mixtures     B = |y| + Σ_k p_k (g Σ_d ½ z_kd² + |log w_k| + Σ_d |log σ_kd| + 1)
                     + log2 K,  g = 1 for numbers and 2 + log2 D for vectors
    categorical  B = |y| + |logit of the value| + Σ_k p_k (|logit_k| + 1) + log2 K

y being the log probability and p_k the components' posterior probabilities.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

from .workloads import Array, Workload

# The promise, and what is generous: beyond 6e-4·B in float32, or 1e-8·B in float64,
# a peer gives wrong answers.
LUCID_LIMIT = 4.0
PEER_LIMITS = {"float32": 1e4, "float64": 1e8}
# Pairs that are computed again for each set of inputs, and those of one block.
_CHECKED_PAIRS = 200_000
_BLOCK = 1 << 20
_FEWEST_ROWS, _MOST_ROWS = 4, 2048
_FALSE_ALARM = 1e-9
_LARGEST_SAMPLE = 1_000_000
_POINTS = 63


@dataclass(frozen=True)
class Verdict:
    """A result's largest error in units of u·B, and what is wrong with it."""

    error: float | None
    trouble: str | None = None


class Reference:
    """The right answers of a workload, for some of its rows: the first and the last,
    and others evenly between."""

    def __init__(self, workload: Workload) -> None:
        self._workload = workload
        cell = workload.cell
        # Logits that all rows share are normalised once for all of them.
        self._work = cell.k * cell.d if cell.case != "categorical-shared" else 1
        most = min(cell.n, _MOST_ROWS, max(_FEWEST_ROWS, _CHECKED_PAIRS // self._work))
        self._rows = np.unique(np.linspace(0, cell.n - 1, most).astype(np.int64))
        self._answers: dict[int, tuple[Array, Array]] = {}

    def check(self, index: int, result: Array, limit: float | None = None) -> Verdict:
        """A result for the inputs number `index`, held to `limit` or to a peer's."""
        cell, number = self._workload.cell, index % len(self._workload.inputs)
        shape = () if cell.case == "single" else (cell.n,)
        if result.shape != shape:
            return Verdict(None, f"shape {result.shape} where {shape} was expected")
        if cell.case == "draws":
            return self._law(result)
        exact, bound = self.answers(number)
        found = result.reshape(-1)[self._rows].astype(exact.dtype)
        unit = np.finfo(cell.dtype).eps / 2
        limit = PEER_LIMITS[cell.dtype] if limit is None else limit
        error = float((np.abs(found - exact) / (unit * bound)).max())
        if not math.isfinite(error):
            return Verdict(None, "NaN or infinite where a number was expected")
        if error > limit:
            return Verdict(error, f"off by {error:.3g} u·B, more than {limit:g}")
        return Verdict(error)

    def answers(self, number: int) -> tuple[Array, Array]:
        """y and B of the rows looked at."""
        if number not in self._answers:
            workload = self._workload
            wide = np.float64 if workload.cell.dtype == "float32" else np.longdouble
            given = {**workload.shared, **workload.inputs[number]}
            per_row = not workload.shared
            count = max(1, _BLOCK // self._work)
            parts = []
            for start in range(0, self._rows.size, count):
                rows = self._rows[start : start + count]
                parts.append(_answers(given, rows, per_row, wide))
            y, bound = (np.concatenate(part) for part in zip(*parts, strict=True))
            self._answers[number] = y, bound
        return self._answers[number]

    def _law(self, draws: Array) -> Verdict:
        """Draws against the exact distribution function, by the DKW inequality."""
        if not np.isfinite(draws).all():
            return Verdict(None, "NaN or infinite draws")
        draws = draws[:: max(1, draws.size // _LARGEST_SAMPLE)]
        points, exact = self._distribution_function()
        found = np.searchsorted(np.sort(draws), points, side="right") / draws.size
        distance = float(np.abs(found - exact).max())
        limit = math.sqrt(math.log(2 / _FALSE_ALARM) / (2 * draws.size))
        if distance > limit:
            return Verdict(None, f"the law is off by {distance:.2g}, limit {limit:.2g}")
        return Verdict(None)

    def _distribution_function(self) -> tuple[Array, Array]:
        if 0 not in self._answers:
            weights, loc, scale = (
                self._workload.shared[name].astype(np.float64)
                for name in ("weights", "loc", "scale")
            )
            weights /= weights.sum()
            random = np.random.default_rng(1)
            index = random.choice(weights.size, 100 * _POINTS, p=weights)
            typical = loc[index] + scale[index] * random.standard_normal(index.size)
            points = np.sort(typical)[50::100]
            exact = [weights @ ndtr((point - loc) / scale) for point in points]
            self._answers[0] = points, np.array(exact)
        return self._answers[0]


def _answers(
    given: dict[str, Any], rows: Array, per_row: bool, wide: Any
) -> tuple[Array, Array]:
    """y and B of these rows, [R]."""
    value = given["value"].reshape(-1) if not given["value"].ndim else given["value"]
    value = value[rows]
    taken = {
        name: (array[rows] if per_row else array).astype(wide)
        for name, array in given.items()
        if name not in ("value", "count")
    }
    if "loc" not in taken:
        return _categorical(taken["logits"], value)
    if "weights" in taken:
        log_weights = np.log(taken["weights"] / taken["weights"].sum())
    else:
        log_weights = _log_softmax(taken["logits"])
    return _mixture(value.astype(wide), log_weights, taken["loc"], taken["scale"])


def _mixture(
    value: Array, log_weights: Array, loc: Array, scale: Array
) -> tuple[Array, Array]:
    """Values [R] or [R, D], weights [K] or [R, K], the rest the same with D behind."""
    event = value.ndim == 2
    if not event:
        value, loc, scale = value[:, None], loc[..., None], scale[..., None]
    size = value.shape[-1]
    half = (((value[:, None, :] - loc) / scale) ** 2 / 2).sum(axis=-1)  # [R, K]
    log_scale = np.log(scale)
    pi = 4 * np.arctan(half.dtype.type(1))  # np.pi is rounded to float64
    constant = -log_scale.sum(axis=-1) - size * np.log(2 * pi) / 2
    y, share = _log_sum_exp(log_weights + constant - half)
    grow = 2 + math.log2(size) if event else 1.0
    each = grow * half + np.abs(log_weights) + np.abs(log_scale).sum(axis=-1) + 1
    bound = np.abs(y) + (share * each).sum(axis=-1) + math.log2(half.shape[-1])
    return y, bound


def _categorical(logits: Array, value: Array) -> tuple[Array, Array]:
    """Logits [K] or [R, K], values [R]."""
    total, share = _log_sum_exp(logits)
    if logits.ndim == 1:
        picked = logits[value]
    else:
        picked = np.take_along_axis(logits, value[:, None], axis=-1)[:, 0]
    y = picked - total
    spread = (share * (np.abs(logits) + 1)).sum(axis=-1)
    return y, np.abs(y) + np.abs(picked) + spread + math.log2(logits.shape[-1])


def _log_softmax(logits: Array) -> Array:
    return logits - _log_sum_exp(logits)[0][..., None]


def _log_sum_exp(terms: Array) -> tuple[Array, Array]:
    """The logarithm of the sum of exponentials, and each one's share of it."""
    top = terms.max(axis=-1, keepdims=True)
    parts = np.exp(terms - top)
    total = parts.sum(axis=-1, keepdims=True)
    result: Array = (top + np.log(total))[..., 0]
    return result, parts / total
