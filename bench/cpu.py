"""A mixture's log_prob on the CPU: lucid beside torch.distributions, in one process."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import record

SIZES = ((1_000_000, 8), (200_000, 64), (20_000, 1024))
DTYPES = ("float32", "float64")
REPEATS = 5
# Pairs of value and component that the extended-precision reference looks at.
_CHECKED_PAIRS = 2_000_000
# A peer's error may be larger than lucid promises, but a wrong answer is not timed.
_PROMISE = {"lucid": 4.0, "torch": 100.0}

Array = NDArray[Any]


@dataclass(frozen=True)
class Case:
    """N values and a mixture of K normal components, in one dtype."""

    value: Array
    weights: Array
    loc: Array
    scale: Array

    @classmethod
    def random(cls, rows: int, components: int, dtype: str) -> Case:
        generator = np.random.default_rng(20_241_201)
        parts = (
            4.0 * generator.standard_normal(rows),
            generator.uniform(0.1, 1.0, components) / components,
            3.0 * generator.standard_normal(components),
            generator.uniform(0.5, 2.0, components),
        )
        return cls(*(part.astype(dtype) for part in parts))

    @property
    def pairs(self) -> int:
        return self.value.size * self.loc.size

    def error(self, result: Array) -> float:
        """Largest error in units of u·B, u the rounding unit and B the condition:

        B = |y| + Σ_k p_k (½ z_k² + |log w_k| + |log σ_k| + 1) + log2 K
        """
        step = max(1, self.pairs // _CHECKED_PAIRS)
        weights, loc, scale = (
            part.astype(np.longdouble) for part in (self.weights, self.loc, self.scale)
        )
        weights = weights / weights.sum()
        half_square = (
            (self.value[::step, None].astype(np.longdouble) - loc) / scale
        ) ** 2 / 2
        term = np.log(weights) - np.log(scale) - np.log(2 * np.pi) / 2 - half_square
        top = term.max(axis=1, keepdims=True)
        share = np.exp(term - top)
        total = share.sum(axis=1, keepdims=True)
        exact = (top + np.log(total))[:, 0]
        magnitude = half_square + np.abs(np.log(weights)) + np.abs(np.log(scale)) + 1
        condition = np.abs(exact) + (share / total * magnitude).sum(axis=1)
        condition += np.log2(loc.size)
        unit = np.finfo(self.value.dtype).eps / 2
        difference = np.abs(result[::step].astype(np.longdouble) - exact)
        return float((difference / (unit * condition)).max())


def lucid_log_prob(case: Case, threads: int) -> Callable[[], Array]:
    import lucid
    from lucid.distributions import Categorical, MixtureSameFamily, Normal

    lucid.set_num_threads(threads)
    weights, loc, scale = (
        lucid.asarray(part, device="cpu")
        for part in (case.weights, case.loc, case.scale)
    )
    distribution = MixtureSameFamily(
        Categorical(probs=weights, validate_args=False),
        Normal(loc, scale, validate_args=False),
        validate_args=False,
    )
    value = lucid.asarray(case.value, device="cpu")
    return lambda: distribution.log_prob(value).numpy()


def torch_log_prob(case: Case, threads: int) -> Callable[[], Array] | None:
    """The same through torch; None where torch is not installed."""
    try:
        import torch
        from torch.distributions import Categorical, MixtureSameFamily, Normal
    except ModuleNotFoundError:
        return None
    torch.set_num_threads(threads)
    weights, loc, scale, value = (
        torch.from_numpy(part)
        for part in (case.weights, case.loc, case.scale, case.value)
    )
    # Its validation looks at every value and would only slow it down.
    distribution = MixtureSameFamily(
        Categorical(probs=weights, validate_args=False),
        Normal(loc, scale, validate_args=False),
        validate_args=False,
    )

    def log_prob() -> Array:
        with torch.inference_mode():
            result: Array = distribution.log_prob(value).numpy()
        return result

    return log_prob


def measure(case: Case, threads: int, repeats: int) -> dict[str, Any]:
    """Seconds of each, taken in turns, after one run whose answers are checked."""
    calls = {"lucid": lucid_log_prob(case, threads)}
    peer = torch_log_prob(case, threads)
    if peer is not None:
        calls["torch"] = peer
    errors = {name: case.error(call()) for name, call in calls.items()}
    for name, error in errors.items():
        if not error <= _PROMISE[name]:
            raise SystemExit(
                f"{name} is wrong by {error:.3g} u·B, so its time means nothing"
            )
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            time.sleep(0.05)  # lets the other one's idle threads stop spinning
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "rows": case.value.size,
        "components": case.loc.size,
        "dtype": case.value.dtype.name,
        "seconds": seconds,
        "median_seconds": medians,
        "million_pairs_per_second": {
            name: case.pairs / median / 1e6 for name, median in medians.items()
        },
        "error_in_uB": errors,
        "times_as_fast_as_torch": (
            medians["torch"] / medians["lucid"] if peer is not None else None
        ),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench cpu", description=__doc__)
    parser.add_argument("--threads", type=int, default=record.usable_cores())
    parser.add_argument("--output", type=Path, help="the result file (JSON)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a hundredth of the rows, once: shows that it runs, measures nothing; "
        "written only where --output says",
    )
    arguments = parser.parse_args(argv)
    repeats = 1 if arguments.quick else REPEATS
    results = []
    print("log_prob of N values under K normal components; million pairs per second")
    for dtype in DTYPES:
        for rows, components in SIZES:
            rows = rows // 100 if arguments.quick else rows
            case = Case.random(rows, components, dtype)
            result = measure(case, arguments.threads, repeats)
            results.append(result)
            print(_line(result), flush=True)
    path = arguments.output
    if path is None and not arguments.quick:
        path = record.default_path("cpu")
    if path is not None:
        given = ["--threads", str(arguments.threads)]
        given += ["--quick"] if arguments.quick else []
        record.write(path, "cpu", given, ["numpy", "scipy", "torch"], results)
        print(f"written to {path}")
    return 0


def _line(result: dict[str, Any]) -> str:
    rates = result["million_pairs_per_second"]
    ratio = result["times_as_fast_as_torch"]
    peer = (
        "torch absent"
        if ratio is None
        else f"torch {rates['torch']:7.1f}  {ratio:5.1f} times as fast"
    )
    return (
        f"{result['dtype']}  N={result['rows']:>9,} K={result['components']:>5,}  "
        f"lucid {rates['lucid']:7.1f}  {peer}"
    )
