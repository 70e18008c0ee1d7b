"""Log densities, mixtures and bounds in mpmath, from exact binary inputs.

Every density is its textbook formula at 60 digits (100 where log Γ of huge arguments
cancels), not the form the library computes by; only the sizes that make up the bound
follow `tests.bounds`, whose text defines them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import mpmath
import numpy as np

from tests.corpus.inputs import Array, Inputs

mp: Any = mpmath.mp
DIGITS = 60
# Terms this many nats under the largest are left out of a sum of many components:
# ten million of them change it by less than 1e-44 of itself.
NEGLIGIBLE = 120.0
# So many components are prepared once for all rows; a million would fill the memory.
KEPT = 100_000


class Term(NamedTuple):
    """One log density with the sizes that bound its error."""

    log: Any
    pair: Any
    constant: Any
    in_range: bool


class Expected(NamedTuple):
    """One row: the value, its bound B, and whether the bound is promised there."""

    log_prob: Any
    bound: float
    strict: bool


Density = Callable[[Any], Term]
OUTSIDE = Term(-mpmath.inf, 0, 0, True)


class Reference:
    """The densities for one dtype, whose normal range decides what is promised."""

    def __init__(self, dtype: Any) -> None:
        info = np.finfo(dtype)
        self.tiny, self.huge = mp.mpf(float(info.tiny)), mp.mpf(float(info.max))

    def normal_range(self, *numbers: Any) -> bool:
        """Whether each number is 0 or a normal number of the dtype."""
        return all(n == 0 or self.tiny <= abs(n) <= self.huge for n in numbers)

    def Normal(self, loc: Any, scale: Any) -> Density:
        log_scale, inverse = mp.log(scale), 1 / scale
        constant = -log_scale - mp.log(2 * mp.pi) / 2
        size, known = abs(log_scale), self.normal_range(inverse)

        def at(x: Any) -> Term:
            difference = x - loc
            square = (difference * inverse) ** 2
            kept = known and self.normal_range(difference, square)
            return Term(constant - square / 2, square / 2, size, kept)

        return at

    def Laplace(self, loc: Any, scale: Any) -> Density:
        log_scale = mp.log(scale)

        def at(x: Any) -> Term:
            ratio = abs(x - loc) / scale
            kept = self.normal_range(x - loc, 1 / scale, ratio)
            return Term(-ratio - mp.log(2 * scale), ratio, abs(log_scale), kept)

        return at

    def StudentT(self, df: Any, loc: Any, scale: Any) -> Density:
        with mp.workdps(100):
            normaliser = mp.loggamma((df + 1) / 2) - mp.loggamma(df / 2)
            normaliser -= mp.log(df * mp.pi) / 2
        log_scale = mp.log(scale)
        size = abs(normaliser) + abs(log_scale)

        def at(x: Any) -> Term:
            square = ((x - loc) / scale) ** 2 / df
            pair = (df + 1) / 2 * mp.log1p(square)
            kept = self.normal_range(x - loc, 1 / scale, square)
            return Term(normaliser - log_scale - pair, pair, size, kept)

        return at

    def Gamma(self, concentration: Any, rate: Any) -> Density:
        a = concentration
        with mp.workdps(100):
            log_gamma = mp.loggamma(a)
            stirling = log_gamma + mp.log(a) - (a + 0.5) * mp.log(a) + a
            stirling -= mp.log(2 * mp.pi) / 2
            scaled = a * mp.log(rate) - log_gamma

        def at(x: Any) -> Term:
            if x < 0:
                return OUTSIDE
            if x == 0:
                edge = mp.log(rate) if a == 1 else mp.sign(1 - a) * mp.inf
                return Term(edge, 0, 0, True)
            with mp.workdps(100):
                b = rate * x
                log = scaled + (a - 1) * mp.log(x) - b
                deviance = a * mp.log(a / b) + b - a
            constant = abs(stirling) + abs(mp.log(a)) / 2 + abs(mp.log(x))
            return Term(log, deviance, constant, self.normal_range(b, x))

        return at

    def Poisson(self, rate: Any) -> Density:
        def at(k: Any) -> Term:
            if k < 0 or k != mp.floor(k):
                return OUTSIDE
            if rate == 0 or k == 0:
                return Term(-rate if k == 0 else -mp.inf, rate, 0, True)
            with mp.workdps(100):
                log = k * mp.log(rate) - rate - mp.loggamma(k + 1)
                deviance = k * mp.log(k / rate) + rate - k
                stirling = mp.loggamma(k + 1) - (k + 0.5) * mp.log(k) + k
                stirling -= mp.log(2 * mp.pi) / 2
            constant = stirling + mp.log(2 * mp.pi * k) / 2
            return Term(log, deviance, constant, self.normal_range(rate))

        return at

    def Bernoulli(self, logits: Any) -> Density:
        def at(x: Any) -> Term:
            if x not in (0, 1):
                return OUTSIDE
            with mp.workdps(100):
                log = -mp.log1p(mp.exp(-logits if x == 1 else logits))
            return Term(log, -log, 0, True)

        return at

    def Uniform(self, low: Any, high: Any) -> Density:
        log_width = mp.log(high - low)
        kept = self.normal_range(high - low, 1 / (high - low))

        def at(x: Any) -> Term:
            if not low <= x <= high:
                return OUTSIDE
            return Term(-log_width, 0, abs(log_width), kept)

        return at

    def MultivariateNormal(self, loc: Any, scale_tril: Any) -> Density:
        size = len(loc)
        inverse = _lower_inverse(scale_tril)
        logs = [mp.log(scale_tril[i][i]) for i in range(size)]
        constant = -mp.fsum(logs) - size * mp.log(2 * mp.pi) / 2
        size_of_logs = mp.fsum(logs, absolute=True)

        def at(x: Any) -> Term:
            d = [a - b for a, b in zip(x, loc, strict=True)]
            z = [mp.fdot(zip(row, d, strict=False)) for row in inverse]
            reach = [
                mp.fsum(abs(w * part) for w, part in zip(row, d, strict=False))
                for row in inverse
            ]
            square = mp.fsum(z, squared=True)
            pair = mp.fsum(reach, squared=True) / 2
            kept = self.normal_range(*d, *z)
            return Term(constant - square / 2, pair, size_of_logs, kept)

        return at

    def density(self, family: str, parameters: Iterable[Any]) -> Density:
        """The density of one component; over D elements where they have a D."""
        make: Callable[..., Density] = getattr(self, family)
        given = [exact(parameter) for parameter in parameters]
        if family == "MultivariateNormal" or not isinstance(given[0], list):
            return make(*given)
        elements = [make(*element) for element in zip(*given, strict=True)]

        def at(x: Any) -> Term:
            terms = [element(part) for element, part in zip(elements, x, strict=True)]
            if any(term.log == -mp.inf for term in terms):
                return OUTSIDE
            logs, pairs, constants, kept = zip(*terms, strict=True)
            sizes = mp.fsum(pairs), mp.fsum(constants)
            return Term(mp.fsum(logs), *sizes, all(kept))

        return at

    def row(
        self,
        terms: list[Term],
        log_weights: list[Any],
        count: int,
        dimension: int | None,
    ) -> Expected:
        """log Σ_k w_k p_k and its bound, from the K terms of one row."""
        logs = [w + t.log for w, t in zip(log_weights, terms, strict=True)]
        top = max(logs, default=-mp.inf)
        if mp.isinf(top):
            return Expected(top, 0.0, True)
        shares = [mp.exp(log - top) for log in logs]
        total = mp.fsum(shares)
        y = top + mp.log(total)
        # 1 for a scalar event; over D elements B gains 1 + log2 D.
        grow = 1 if dimension is None else 2 + mp.log(dimension, 2)
        bound, kept = abs(y) + mp.log(count, 2), self.normal_range(y / mp.log(2))
        for share, term, weight in zip(shares, terms, log_weights, strict=True):
            if share:
                size = grow * term.pair + term.constant + abs(weight) + 1
                bound += share / total * size
                kept = kept and (term.in_range or share < total * mp.mpf(2) ** -120)
        return Expected(y, float(bound), bool(kept))

    def rows(self, inputs: Inputs, chosen: Iterable[int]) -> list[Expected]:
        """The expected results of some rows of a case."""
        with mp.workdps(DIGITS):
            return list(self._rows(inputs, chosen))

    def _rows(self, inputs: Inputs, chosen: Iterable[int]) -> Iterable[Expected]:
        parameters = list(inputs.parameters.values())
        cache: dict[int, tuple[Density, Any]] = {}
        total = None
        for row in chosen:
            value = inputs.values[row]
            if np.isnan(value).any():
                yield Expected(mp.nan, 0.0, True)
            elif np.isinf(value).any():
                yield Expected(-mp.inf, 0.0, True)
            elif inputs.weights is None:
                density = self.density(inputs.family, (p[row] for p in parameters))
                term = density(exact(value))
                yield self.row([term], [mp.zero], 1, inputs.dimension)
            else:
                given, here = inputs.weights, parameters
                if inputs.layout == "rows":
                    given, here = given[row], [p[row] for p in parameters]
                    cache, total = {}, None
                if total is None:
                    total = _log_total(given, inputs.weights_are)
                terms, log_weights = [], []
                for k in _live(inputs, given, here, value):
                    if k not in cache:
                        weight = _log_weight(given[k], inputs.weights_are) - total
                        density = self.density(inputs.family, (p[k] for p in here))
                        if len(cache) < KEPT:
                            cache[k] = density, weight
                    else:
                        density, weight = cache[k]
                    terms.append(density(exact(value)))
                    log_weights.append(weight)
                yield self.row(terms, log_weights, len(given), inputs.dimension)


def exact(value: Any) -> Any:
    """A float, or nested lists of floats, as exact mpmath numbers."""
    if np.ndim(value):
        return [exact(part) for part in value]
    return mp.mpf(float(value))


def _log_weight(weight: Any, weights_are: str) -> Any:
    return exact(weight) if weights_are == "logits" else mp.log(exact(weight))


def _log_total(weights: Array, weights_are: str) -> Any:
    if weights_are == "probs":
        return mp.log(mp.fsum(exact(weights)))
    top = exact(weights.max())
    return top + mp.log(mp.fsum(mp.exp(w - top) for w in exact(weights)))


def _live(
    inputs: Inputs, weights: Array, parameters: list[Array], value: Array
) -> Iterable[int]:
    """The components that a row needs: of non-zero weight, and not negligible."""
    alive = weights > (0 if inputs.weights_are == "probs" else -np.inf)
    if inputs.family == "Normal" and inputs.dimension is None and weights.size > 2000:
        loc, scale = (p.astype(np.float64) for p in parameters)
        log = np.log(weights) - np.log(scale) - ((value - loc) / scale) ** 2 / 2
        alive &= log >= log.max() - NEGLIGIBLE
    return (int(k) for k in np.flatnonzero(alive))


def _lower_inverse(factor: list[list[Any]]) -> list[list[Any]]:
    """L⁻¹ of a lower triangular L, each row up to its diagonal."""
    rows: list[list[Any]] = []
    for i, row in enumerate(factor):
        done = [
            -mp.fsum(row[m] * rows[m][j] for m in range(j, i)) / row[i]
            for j in range(i)
        ]
        rows.append([*done, 1 / row[i]])
    return rows
