"""Components and values for the CUDA backend on the host, and the CPU as its oracle."""

from __future__ import annotations

from typing import Any

import numpy as np
from host_device import Spec

from lucid.backends import get
from lucid.backends.cupy import kernels, structs
from lucid.backends.protocol import Components, Weights
from lucid.distributions import MultivariateNormal, Normal, Poisson, StudentT

F16, F32, F64 = map(np.dtype, ("float16", "float32", "float64"))
KEY = (0x9E3779B97F4A7C15, 3)
CPU = get("cpu")
NORMAL = structs.named("Normal")
FAMILIES: dict[Any, int] = {Normal: 2, StudentT: 3, Poisson: 1}


def specs() -> list[Spec]:
    """The kernels that the tests may launch."""
    found: list[Spec] = [kernels.draw_index()]
    found += [
        kernels.categorical_gather("float32", value)
        for value in ("int8", "int64", "uint64", "float32", "float64")
    ]
    found += [
        kernels.categorical_log_prob("float32", "float32", n) for n in kernels.LANES
    ]
    for family, parameters in FAMILIES.items():
        struct = structs.of(family)
        found += [
            kernels.log_prob(struct, parameters, "float32"),
            kernels.per_row_mixture(struct, parameters, *["float32"] * 3),
            kernels.mixture_rows(struct, *["float32"] * 3, 2),
            kernels.prepare(struct, "float32", "float32"),
            kernels.draw(struct, "float32", "float32"),
        ]
        rows = dict.fromkeys(kernels.compiled_rows(struct, "float32", 1))
        found += [kernels.mixture(struct, "float32", 1, r) for r in rows]
        found.append(kernels.mixture_fixed(struct, "float32", 1, max(rows)))
    found += [
        kernels.prepare(NORMAL, "float16", "float32"),
        kernels.prepare(NORMAL, "float16", "float64"),
        kernels.prepare(NORMAL, "float32", "float64"),
        kernels.prepare(NORMAL, "float64", "float64"),
        kernels.mixture(NORMAL, "float32", 3, 1),
        kernels.mixture(NORMAL, "float64", 1, 1),
        kernels.mixture_fixed(NORMAL, "float32", 1, 8, 2),
        kernels.mixture_fixed(NORMAL, "float32", 3, 4),
        kernels.mixture_small(NORMAL, "float32", 5),
        *(kernels.mixture_shift(dtype) for dtype in ("float32", "float64")),
        kernels.mixture_order(NORMAL, "float32"),
        kernels.mixture_diagonal(NORMAL, "float32"),
        kernels.mixture_merge(NORMAL, "float32"),
        kernels.mixture_mode(NORMAL, "float32"),
        *(kernels.mvn_prepare(dtype) for dtype in ("float32", "float64")),
        *(
            make("float32")
            for make in (
                kernels.mvn_mixture,
                kernels.mvn_merge,
                kernels.mvn_mode,
            )
        ),
        kernels.mvn_draw("float32", "float32"),
        kernels.mvn_draw("float16", "float32"),
        kernels.draw(NORMAL, "float16", "float32"),
        kernels.categorical_log_prob("float16", "float32", 8),
        *(
            kernels.per_row_mixture(NORMAL, 2, *types)
            for types in (
                ("float32", "float16", "float16"),
                ("float32", "float32", "float64"),
                ("float64", "float32", "float16"),
            )
        ),
        *(
            kernels.mixture_rows(NORMAL, *types)
            for types in (
                ("float32", "float16", "float16", 2),
                ("float32", "float32", "float64", 2),
                ("float32", "float32", "float64", 1),
                ("float64", "float32", "float16", 2),
                *(("float32", "float32", "float32", n) for n in (1, 4, 8, 32, 256)),
            )
        ),
        *(
            make(weights)
            for make in (kernels.pick, kernels.row_tables)
            for weights in ("float16", "float32", "float64")
        ),
    ]
    return found


def parameters(random, family, shape, dtype=F32):
    """Plausible parameters of each family, of one shape."""
    real = random.normal(size=shape)
    positive = random.uniform(0.5, 2, size=shape)
    chosen = {
        Normal: (real, positive),
        StudentT: (3 + positive, real, positive),
        Poisson: (4 * positive,),
    }[family]
    return tuple(array.astype(dtype) for array in chosen)


def mixture(random, family, sets, count, event, batch=None, dtype=F32, dead=()):
    """Components with `sets` parameter sets and one zero weight for each of `dead`."""
    weights = random.uniform(0.1, 1, size=(sets, count))
    weights[:, list(dead)] = 0
    with np.errstate(divide="ignore"):
        log_weights = np.log(weights / weights.sum(axis=1, keepdims=True))
    return Components(
        family,
        parameters(random, family, (sets, count, event), dtype),
        Weights.normalised(log_weights.astype(dtype)),
        sets if batch is None else batch,
    )


def values(random, family, shape, dtype=F32):
    if family is Poisson:
        return random.integers(0, 12, size=shape).astype(dtype)
    return (2 * random.normal(size=shape)).astype(dtype)


def agree(found, expected, dtype=F32):
    assert found.dtype == dtype
    assert found.shape == expected.shape
    unit = np.finfo(dtype).eps
    np.testing.assert_allclose(found, expected, rtol=64 * unit, atol=64 * unit)


def same_mixture(backend, components, value, dtype=F32):
    """The backend's mixture log density, held to the CPU's."""
    found = backend.mixture_log_prob(components, value, dtype)
    fresh = Components(
        components.family,
        components.parameters,
        components.weights,
        components.batch,
    )
    agree(found, CPU.mixture_log_prob(fresh, value, dtype), dtype)
    return [launch.name for launch in backend._device.launches]


def multivariate(random, sets, count, event, batch):
    factor = np.tril(random.normal(size=(sets, count, event, event)) / 4)
    factor[..., range(event), range(event)] = random.uniform(0.5, 2, size=event)
    loc = random.normal(size=(1, count, event))
    weights = random.uniform(0.1, 1, size=(sets, count))
    log_weights = np.log(weights / weights.sum(axis=1, keepdims=True)).astype(F32)
    given = (loc.astype(F32), factor.astype(F32))
    weights = Weights.normalised(log_weights)
    return Components(MultivariateNormal, given, weights, batch)
