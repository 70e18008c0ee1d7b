"""The error bound B that log_prob is held to, and a float64 reference to hold it with.

The promise is |ŷ − y| ≤ 4·u·B(x), u = 2⁻²⁴ or 2⁻⁵³, with p_k the responsibilities:

    B = |y| + Σ_k p_k (T_k + |log w_k| + 1) + log2 K        T_k = pair_k + constant_k

T_k adds the absolute values of the terms of log p(x | θ_k), written without avoidable
cancellation, by what they depend on: `pair` on value and component together, `constant`
on one of them alone (what comes once a component or once a value).

    Normal              pair ½z²                       constant |log σ|
    Laplace             pair |z|                       constant |log σ|
    StudentT            pair ½(ν+1)·log1p(z²/ν)        constant |c(ν)| + |log σ|,
                        c = log Γ((ν+1)/2) − log Γ(ν/2) − ½ log πν as one number: its
                        parts cancel, and need not (asymptotic forms)
    Gamma               pair bd0(α, βx)                constant |δ(α)| + ½|log α|
                                                                + |log x|
    Poisson             pair bd0(k, λ)                 constant δ(k) + ½ log 2πk
    Bernoulli           pair |log p(x)|                constant 0
    Uniform             pair 0                         constant |log(high − low)|
    MultivariateNormal  pair ½Σ(|L⁻¹||x − μ|)²         constant Σ|log L_dd|

with z = (x − μ)/σ, bd0(a, b) = a log(a/b) + b − a (Loader 2000) and δ the error of
Stirling's formula. So B leaves no room for rounding the product βx before α is taken
from it, which would cost |α − βx|: x − α/β with α/β in two parts loses nothing.

Over a D-dimensional event pair and constant are sums over D, and B gains
(1 + log2 D)·Σ_k p_k pair_k. Components with p_k = 0 are dropped; without weights K = 1
and log w = 0.

Everything here is float64, good to about 1e-15·B: an oracle for float32 results and for
B itself. Float64 results are held against the frozen corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import gamma, gammaln, logsumexp

Array = NDArray[np.float64]


class Terms(NamedTuple):
    """log p(x | θ) and its sizes, one array shape."""

    log: Array
    pair: Array
    constant: Array


class Bounded(NamedTuple):
    """Log densities and their bounds, each [S]."""

    log_prob: Array
    bound: Array


def bd0(a: Array, b: Array) -> Array:
    """a log(a/b) + b − a, without cancellation where a is near b."""
    v = (a - b) / (a + b)
    square = np.minimum(v * v, 0.04)
    tail = np.zeros_like(square)
    for odd in range(31, 1, -2):  # atanh v − v = v³(1/3 + v²/5 + …)
        tail = tail * square + 1.0 / odd
    near = (a - b) * v + 2.0 * a * v**3 * tail
    return np.where(np.abs(v) < 0.2, near, a * np.log(a / b) + (b - a))


def stirling_error(n: Array) -> Array:
    """δ(n) = log n! − log(√(2πn) (n/e)ⁿ)."""
    big = np.maximum(n, 16.0)
    inverse = 1.0 / (big * big)
    series = 1 / 1260 + inverse * (-1 / 1680 + inverse * (1 / 1188 - inverse / 528))
    series = (1 / 12 + inverse * (-1 / 360 + inverse * series)) / big
    small = np.minimum(n, 16.0)
    direct = gammaln(small + 1.0) - (small + 0.5) * np.log(small) + small
    return np.where(n >= 16.0, series, direct - 0.5 * np.log(2 * np.pi))


def _location_scale(x: Array, loc: Array, scale: Array) -> tuple[Array, Array]:
    return (x - loc) / scale, np.log(scale)


def _normal(x: Array, loc: Array, scale: Array) -> Terms:
    z, log_scale = _location_scale(x, loc, scale)
    half = 0.5 * z * z
    return Terms(-half - log_scale - 0.5 * np.log(2 * np.pi), half, np.abs(log_scale))


def _laplace(x: Array, loc: Array, scale: Array) -> Terms:
    z, log_scale = _location_scale(x, loc, scale)
    return Terms(-np.abs(z) - log_scale - np.log(2.0), np.abs(z), np.abs(log_scale))


def _student_t(x: Array, df: Array, loc: Array, scale: Array) -> Terms:
    z, log_scale = _location_scale(x, loc, scale)
    half = np.maximum(df, 100.0) / 2
    square = 1.0 / (half * half)
    series = 1 / 8 - square * (1 / 192 - square * (1 / 640 - square * 17 / 14336))
    small = np.minimum(df, 100.0)
    direct = np.log(gamma((small + 1) / 2) / gamma(small / 2) / np.sqrt(small * np.pi))
    c = np.where(df > 100.0, -0.5 * np.log(2 * np.pi) - series / half, direct)
    pair = 0.5 * (df + 1.0) * np.log1p(z * z / df)
    return Terms(c - log_scale - pair, pair, np.abs(c) + np.abs(log_scale))


def _gamma(x: Array, concentration: Array, rate: Array) -> Terms:
    a, b = concentration, rate * x
    deviance, stirling, log_x = bd0(a, b), stirling_error(a), np.log(x)
    log = 0.5 * np.log(a / (2 * np.pi)) - deviance - stirling - log_x
    edge = np.where(a == 1, np.log(rate), np.where(a < 1, np.inf, -np.inf))
    constant = np.abs(stirling) + 0.5 * np.abs(np.log(a)) + np.abs(log_x)
    zero, outside = x == 0, x < 0
    return Terms(
        np.where(outside, -np.inf, np.where(zero, edge, log)),
        np.where(zero | outside, 0.0, deviance),
        np.where(zero | outside, 0.0, constant),
    )


def _poisson(k: Array, rate: Array) -> Terms:
    deviance = bd0(k, rate)
    constant = stirling_error(k) + 0.5 * np.log(2 * np.pi * k)
    log = np.where(k == 0, -rate, np.where(rate == 0, -np.inf, -deviance - constant))
    outside = (k < 0) | (k != np.floor(k))
    pair = np.where(k == 0, rate, deviance)
    return Terms(np.where(outside, -np.inf, log), pair, np.where(k == 0, 0.0, constant))


def _bernoulli(x: Array, logits: Array) -> Terms:
    log = -np.logaddexp(0.0, np.where(x == 1, -logits, logits))
    log = np.where((x == 0) | (x == 1), log, -np.inf)
    return Terms(log, np.abs(log), np.zeros_like(log))


def _uniform(x: Array, low: Array, high: Array) -> Terms:
    width = np.broadcast_to(np.log(high - low), np.broadcast_shapes(x.shape, low.shape))
    log = np.where((x >= low) & (x <= high), -width, -np.inf)
    return Terms(log, np.zeros_like(log), np.abs(width))


_SCALAR: dict[str, Callable[..., Terms]] = {
    "Normal": _normal,
    "Laplace": _laplace,
    "StudentT": _student_t,
    "Gamma": _gamma,
    "Poisson": _poisson,
    "Bernoulli": _bernoulli,
    "Uniform": _uniform,
}


def _multivariate_normal(x: Array, loc: Array, scale_tril: Array) -> Terms:
    """Values [S, 1, D] under components [K, D], [K, D, D]: terms [S, K]."""
    size = loc.shape[-1]
    inverse = np.stack(
        [solve_triangular(factor, np.eye(size), lower=True) for factor in scale_tril]
    )
    d = x - loc  # [S, K, D]
    z = np.einsum("kij,skj->ski", inverse, d)
    reach = np.einsum("kij,skj->ski", np.abs(inverse), np.abs(d))
    logs = np.log(np.diagonal(scale_tril, axis1=-2, axis2=-1))
    log = -0.5 * (z * z).sum(-1) - logs.sum(-1) - 0.5 * size * np.log(2 * np.pi)
    pair = 0.5 * (reach * reach).sum(-1)
    constant = np.broadcast_to(np.abs(logs).sum(-1), log.shape)
    return Terms(log, pair, constant)


def terms(family: str, parameters: Mapping[str, Any], value: Any) -> Terms:
    """log p(x | θ) and its sizes, broadcast; not for x = ±∞ or NaN."""
    given = [np.asarray(p, dtype=np.float64) for p in parameters.values()]
    x = np.asarray(value, dtype=np.float64)
    with np.errstate(all="ignore"):
        if family == "MultivariateNormal":
            return _multivariate_normal(x, *given)
        return _SCALAR[family](x, *given)


def bounded(
    family: str,
    parameters: Mapping[str, Any],
    value: Any,
    log_weights: Any = None,
    event: bool = False,
) -> Bounded:
    """y and B of S values.

    value [S], or [S, D] with event=True. Without weights, parameters broadcast with
    value; with log_weights ([K] or [S, K], any log scale) they are [K] or [K, D] (a
    vector family's own shape behind [K]), or [S, K], [S, K, D] for each row's own.
    """
    x = np.asarray(value, dtype=np.float64)
    found = terms(family, parameters, x if log_weights is None else x[:, None])
    dimension = x.shape[-1] if event else 1
    if event and family != "MultivariateNormal":
        found = Terms(*(part.sum(-1) for part in found))
    if log_weights is None:
        found = Terms(*(np.expand_dims(part, -1) for part in found))
        log_weights = np.zeros(1)
    w = np.asarray(log_weights, dtype=np.float64)
    rows: Any = x if event else x[:, None]
    bad, far = np.isnan(rows).any(-1), np.isinf(rows).any(-1)
    with np.errstate(all="ignore"):
        w = w - w.max(axis=-1, keepdims=True)
        w = w - logsumexp(w, axis=-1, keepdims=True)
        joint = np.where(np.isneginf(w), -np.inf, w + found.log)  # [S, K]
        joint = np.where(far[..., None], -np.inf, joint)
        y = logsumexp(joint, axis=-1)
        share = np.exp(joint - y[..., None])
        grow = 2 + np.log2(dimension) if event else 1.0
        size = grow * found.pair + found.constant + np.abs(w) + 1
        spread = np.where(share > 0, share * size, 0.0).sum(-1)
        bound = np.abs(y) + spread + np.log2(joint.shape[-1])
    y = np.where(bad, np.nan, y)
    return Bounded(y, np.where(np.isfinite(y), bound, 0.0))
