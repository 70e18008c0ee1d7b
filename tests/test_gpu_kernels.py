"""On a GPU: each kernel that large mixtures are given to, against the CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bench import checks
from bench.cases import OTHERS, Normal
from lucid import backends
from lucid.backends.cupy import structs
from lucid.backends.cupy.choice import Choice, force
from tests.test_gpu import agree, mixture, on, values
from tests.test_gpu import gpu as gpu
from tests.test_gpu import random as random

pytestmark = pytest.mark.gpu

ROWS, COUNT, FEW = 5000, 300, 5


def kernels() -> Iterator[Any]:
    """Families, dtypes, event sizes, and every choice there is for them."""
    for family in (Normal, *OTHERS):
        for dtype in ("float32", "float64"):
            for event in (1, 2, 3):
                for chosen in checks.choices(structs.of(family), dtype, event):
                    name = f"{family.__name__}-{dtype}-{event}-{chosen.kernel}"
                    name += f"-{chosen.polynomials}" + "-ordered" * chosen.ordered
                    yield pytest.param(family, dtype, event, chosen, id=name)


@pytest.mark.parametrize(("family", "dtype", "event", "chosen"), list(kernels()))
def test_a_kernel_for_large_mixtures_is_right(
    gpu: Any, random: Any, family: Any, dtype: str, event: int, chosen: Choice
) -> None:
    count = FEW if chosen.kernel == "small" else COUNT
    components = mixture(random, family, 1, count, event, dtype)
    if family is Normal:
        components.parameters[0][...] *= 10  # so that most components are far away
    value = values(random, family, (ROWS, 1, event), dtype)
    value[::2] *= 10
    if family is Normal:
        value[5::50] = 1e4  # far from all: done again by another way
    value[7::100, 0, -1], value[8::100, 0, 0] = np.nan, np.inf
    kind = np.dtype(dtype)
    expected = backends.get("cpu").mixture_log_prob(components, value, kind)
    here = on(gpu, components)
    with force(**dataclasses.asdict(chosen)):
        found = gpu.mixture_log_prob(here, gpu.asarray(value), kind)
        backwards = gpu.mixture_log_prob(here, gpu.asarray(value[::-1].copy()), kind)
    agree(gpu, found, expected, dtype)
    backwards = gpu.to_numpy(backwards)[::-1]
    agree(gpu, gpu.asarray(backwards.copy()), expected, dtype)
    # A lazy rescale looks at the rows of a thread together; elsewhere a row's bits do
    # not depend on where it stands.
    if chosen.kernel != "lazy":
        np.testing.assert_array_equal(backwards, gpu.to_numpy(found))
