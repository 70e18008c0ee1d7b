"""The kernels' own text, on the host, within 4·u·B of the frozen corpus."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp

from tests.corpus import Case, load_cases
from tests.kernels import calls
from tests.kernels.host import Host
from tests.kernels.sources import TYPES

# Every thread of a block evaluates rows, asked for or not: 10⁶ components take minutes,
# and of this many each kernel takes ten seconds.
MANY = 10_000
# Rows of a shared mixture that are scored as rows of their own: so many tell enough.
MOST_ROWS = 300
CASES = [
    pytest.param(
        case,
        id=f"{case.name}-{dtype}",
        marks=[pytest.mark.slow] if case.given.components > MANY else [],
    )
    for dtype in TYPES
    for case in load_cases(dtype)
    if case.given.components <= 100_000
]


def log_weights(case: Case) -> Any:
    """Normalised in float64, rounded once: what reaches a backend."""
    weights = case.given.weights
    if weights is None:
        return None
    wide = weights.astype(np.float64)
    if case.given.weights_are == "probs":
        with np.errstate(divide="ignore"):
            wide = np.log(wide)
    wide = wide - wide.max(axis=-1, keepdims=True)
    wide = wide - logsumexp(wide, axis=-1, keepdims=True)
    return wide.astype(case.dtype)


def results(host: Host, case: Case) -> dict[str, Any]:
    """The log densities by each kernel that serves the case."""
    given, weights = case.given, log_weights(case)
    parameters, family = list(given.parameters.values()), given.family
    x = given.values if given.values.ndim == 2 else given.values[:, None]
    if given.layout == "elementwise":
        return {"elementwise": calls.log_prob(host, family, parameters, x[:, 0])}
    if given.layout == "rows":
        own = [parameter[:, :, None] for parameter in parameters]
        found = {"per row": calls.per_row(host, family, own, weights, x)}
        logs = given.weights_are != "probs"
        every = family == "Normal" and case.dtype == np.float32
        for lanes in (1, 2, 32, 256) if every else (2,):
            found[f"{lanes} lanes a row"] = calls.rows(
                host, family, parameters, given.weights, x[:, 0], lanes, logs
            )
        return found
    if family != "MultivariateNormal":
        parameters = [parameter.reshape(-1, x.shape[1]) for parameter in parameters]
    prepared = calls.prepare(host, family, parameters, weights)
    found = {}

    def add(label: str, **how: Any) -> None:
        found[label] = calls.mixture(host, family, prepared, x, **how)

    if family == "MultivariateNormal":
        add("full")
        add("full, split", splits=2)
        return found
    if given.components <= 2000:
        add("diagonal", kernel="diagonal")
        own = [np.broadcast_to(p, (len(x), *p.shape)) for p in parameters]
        rows = np.broadcast_to(weights, (len(x), len(weights)))
        found["per row"] = calls.per_row(host, family, own, rows, x)
    if x.shape[1] == 1 and given.components <= MANY and given.weights is not None:
        some, logs = x[:MOST_ROWS, 0], given.weights_are != "probs"
        shared = [parameter.T for parameter in parameters]
        scored = calls.rows(host, family, shared, given.weights[None], some, 2, logs)
        found["2 lanes a row"] = np.append(scored, case.expected[MOST_ROWS:])
    if x.shape[1] == 1:
        add("mixture, split", splits=3)
        found["fixed"] = calls.fixed(host, family, prepared, x)
        if given.components > MANY:
            return found
        add("mixture")
        count = len(prepared.constants)
        if count == 3 or (family == "Normal" and count in (1, 16)):
            found["small"] = calls.fixed(host, family, prepared, x, f"small{count}", 4)
        if family == "Normal":
            add("mixture of 8 rows", kernel="mixture8", rows=8)
            near = calls.ordered(host, family, prepared)
            for label, given in (("in order", near), ("as given", prepared)):
                for kernel, rows in (("fixed8", 8), ("fixed_ex2", 4)):
                    found[f"{kernel}, {label}"] = calls.fixed(
                        host, family, given, x, kernel, rows
                    )
    if x.shape[1] == 3 and family == "Normal":
        add("mixture of events", kernel="mixture_event3", rows=4)
        found["fixed, of events"] = calls.fixed(
            host, family, prepared, x, "fixed_event3", 4
        )
    return found


def flushed(case: Case) -> Any:
    """Rows where an input or its reciprocal is denormal.

    CuPy compiles with -ftz=true: to float32 kernels those numbers are zero.
    """
    if case.dtype == np.float64 or case.given.layout != "elementwise":
        return False
    tiny = np.finfo(case.dtype).tiny
    inputs = (case.given.values, *case.given.parameters.values())
    lost = [((x != 0) & (abs(x) < tiny)) | (abs(x) > 1 / tiny) for x in inputs]
    return np.any(lost, axis=0)


@pytest.mark.parametrize("case", CASES)
def test_within_bound(host: Host, case: Case) -> None:
    """|ŷ − y| ≤ 4·u·B, special values exact, whichever kernel serves."""
    for label, found in results(host, case).items():
        kept = np.where(flushed(case), case.expected, found)
        assert not case.failures(kept), f"{label}: " + "\n".join(
            case.failures(kept)[:5]
        )
