"""A small document of results, written by hand, for the tests of what reads one."""

from __future__ import annotations

from typing import Any


def measured(median: float, status: str = "ok", **more: Any) -> dict[str, Any]:
    """A participant's entry; its quartiles are 1 % to each side of the median."""
    return {
        "status": status,
        "note": "",
        "seconds": [median],
        "process_medians": [median],
        "median_seconds": median,
        "quartiles": [0.99 * median, 1.01 * median],
        "compile_seconds": 0.0,
        "extra_mb": None,
        "error_uB": None,
    } | more


def failed(status: str, note: str = "", **more: Any) -> dict[str, Any]:
    times = {"seconds": [], "median_seconds": None, "quartiles": None}
    return measured(1.0, status, note=note) | times | more


def cell(suite: str, case: str, n: int, k: int, **more: Any) -> dict[str, Any]:
    """A cell of N·K pairs, unless `more` says otherwise."""
    return {
        "suite": suite,
        "case": case,
        "axis": None,
        "dtype": "float32",
        "n": n,
        "k": k,
        "d": 1,
        "spread": 3,
        "order": "random",
        "offset": 0,
        "amount": n * k,
        "unit": "pairs",
        "participants": {},
        "limit_percent": None,
        "limit_name": None,
    } | more


# 8 million pairs: lucid 400 M/s, twice scikit-learn's 200 and four times torch's 100.
SCALAR = cell(
    "score",
    "scalar",
    1_000_000,
    8,
    participants={
        "lucid": measured(0.02, extra_mb=3.25, error_uB=1.5, compile_seconds=2.5),
        "lucid-numpy": measured(0.05, extra_mb=4.0, error_uB=2.0),
        "torch": measured(0.08, extra_mb=320.0, error_uB=1.75),
        "sklearn": measured(0.04, extra_mb=96.0),
        "jax": failed("not installed", "pip install jax"),
    },
)
# Twice as many, and of two peers the one has no time, the other a wrong result's.
OFFSET = SCALAR | {
    "offset": 10_000,
    "n": 2_000_000,
    "amount": 16_000_000,
    "participants": {
        "lucid": measured(0.01),
        "lucid-numpy": failed("out of memory", "asked for 40.0 GB"),
        "torch": failed("failed", "a | b\nc"),
        "sklearn": measured(0.001, "wrong", error_uB=8.6e7),
        "jax": failed("not installed", "pip install jax"),
    },
}
DIAGONAL = cell(
    "score", "diagonal", 1000, 64, d=16, participants={"lucid": measured(0.001)}
)
DRAWS = cell(
    "sample", "draws", 1_000_000, 16, amount=1_000_000, unit="draws",
    participants={"lucid": measured(0.01), "torch": measured(0.5)},
)  # fmt: skip
LATENCY = cell(
    "latency", "single", 1, 8, amount=1, unit="calls",
    participants={"lucid": measured(20e-6), "torch": measured(150e-6)},
)  # fmt: skip
# Time 1 ms · K^0.25 at N·K = 4096; against N, time 10 ns · N.
GROWTH = [
    cell(
        "growth", "scalar", 4096 // k, k, axis="K",
        participants={"lucid": measured(1e-3 * k**0.25)},
    )
    for k in (16, 64, 256)
] + [
    cell("growth", "scalar", n, 64, axis="N", participants={"lucid": measured(n / 1e8)})
    for n in (1000, 100_000)
]  # fmt: skip
CELLS = [SCALAR, OFFSET, DIAGONAL, DRAWS, LATENCY, *GROWTH]
DOCUMENT = {
    "benchmark": "all",
    "command": "python -m bench --suite all",
    "date": "2024-12-01T10:00:00+00:00",
    "commit": "0123456789ab",
    "machine": {"cpu": "C", "cores": 2, "memory_gib": 8.0, "system": "Linux x86_64"},
    "versions": {"python": "3.11.7", "numpy": "2.4.6", "jax": None},
    "device": "cpu",
    "threads": 2,
    "limits": None,
    "results": CELLS,
}
VERDICT = {"passed": True, "clean_exit_code": 0, "planted_bug_caught": True}
GPU = {
    "device": {
        "name": "H",
        "compute_capability": "9.0",
        "memory_gib": 140.0,
        "driver": "580",
    },
    "tests": {"passed": 7, "failed": 1, "not_run": 2},
    "sanitizer": {"memcheck": VERDICT, "racecheck": VERDICT | {"passed": False}},
    "timings": {
        "limits": {},
        "cases": [
            {
                "case": "K=8",
                "seconds": 2.0,
                "limit": "exp",
                "pairs/s": 3e12,
                "fraction_of_limit": 0.5,
            }
        ],
    },
}
