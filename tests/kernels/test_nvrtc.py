"""Every kernel compiles under NVRTC as CuPy would compile it, and the hot ones well."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cupy
import pytest
from device_code import CUPY_VERSION
from specialisations import (
    EVENT_SIZES,
    Spec,
    build,
    families,
    of_family,
    of_none,
    polynomials,
    programs,
)

import bench
from bench.machine_code import Resources, compile_cubin, resources
from lucid.backends.cupy import kernels
from lucid.backends.cupy.specs import Reduction

EVERYWHERE = (80, 120)
HOT = (75, 86, 89, 90, 100)  # where only the hot ones are compiled


def hot() -> list[Spec]:
    """The kernels that large jobs spend their time in."""
    chosen = [
        kernels.log_prob("Normal", 2, "float32"),
        kernels.per_row_mixture("Normal", 2, "float32", "float32", "float32"),
        kernels.draw("Normal", "float32", "float32"),
        kernels.draw_index(),
        kernels.pick("float32"),
        *(kernels.mvn_mixture(dtype) for dtype in ("float32", "float64")),
        *(
            kernels.categorical_log_prob("float32", "float32", lanes)
            for lanes in kernels.LANES
        ),
        kernels.categorical_gather("float32"),
        kernels.mixture_diagonal("Normal", "float32"),
    ]
    for dtype in ("float32", "float64"):
        few_rows = kernels.compiled_rows("Normal", dtype, 1)[-1]
        chosen.append(kernels.mixture("Normal", dtype, 1, few_rows))
        chosen += [kernels.cell_count(dtype), kernels.cell_sort(dtype)]
        chosen += [
            kernels.mixture_cells("Normal", dtype, rows, p)
            for rows in kernels.compiled_rows("Normal", dtype, 1)
            for p in polynomials("Normal", dtype, 1)
        ]
        for event in EVENT_SIZES:
            for rows in kernels.compiled_rows("Normal", dtype, event)[:1]:
                chosen.append(kernels.mixture("Normal", dtype, event, rows))
                chosen += [
                    kernels.mixture_fixed("Normal", dtype, event, rows, p)
                    for p in polynomials("Normal", dtype, event)
                ]
    return chosen


def compiled(specs: list[Spec], arch: int) -> list[Resources]:
    """Each kernel's resources. NVRTC runs without the GIL, so two at a time."""
    with ThreadPoolExecutor(2) as pool:
        logs = pool.map(lambda text: compile_cubin(text, arch)[1], programs(specs))
        found = {name: use for log in logs for name, use in resources(log).items()}
    assert len(found) == len(specs)
    return [found[spec.name] for spec in specs]


def test_the_private_builders_are_those_of_the_pinned_version():
    assert cupy.__version__ == CUPY_VERSION, (
        "device_code.py calls private functions of CuPy: read them again, then pin"
    )


def assert_fit(specs: list[Spec], arch: int) -> None:
    """All compile; hot ones without a spill, reductions into CuPy's 512 threads."""
    hot_names = {spec.name for spec in hot()}
    for spec, use in zip(specs, compiled(specs, arch), strict=True):
        if spec.name in hot_names:
            assert use.spill_stores == use.spill_loads == 0, spec.name
        if isinstance(spec, Reduction):
            assert 512 * use.registers <= 65536, spec.name


@pytest.mark.parametrize("arch", EVERYWHERE)
@pytest.mark.parametrize("family", families())
def test_every_kernel_of_a_family_compiles(family, arch):
    assert_fit(list(of_family(family, families()[family])), arch)


@pytest.mark.parametrize("arch", EVERYWHERE)
def test_every_other_kernel_compiles(arch):
    assert_fit(list(of_none()), arch)


def test_hot_kernels_are_among_those_that_compile():
    every = {spec.name for spec in [*of_family("Normal", 2), *of_none()]}
    assert {spec.name for spec in hot()} <= every


@pytest.mark.parametrize("arch", HOT)
def test_hot_kernels_do_not_spill(arch):
    assert_fit(hot(), arch)


@pytest.mark.parametrize("name", ["limits.cuh", "planted.cuh"])
def test_the_kernels_of_the_benchmark_compile(name):
    text = (Path(bench.__file__).parent / name).read_text(encoding="utf-8")
    entries = set(re.findall(r"__global__ void (\w+)", text))
    _, log = compile_cubin(text.replace("#pragma once", ""), 90)
    assert set(resources(log)) == entries
    assert entries


def test_every_kernel_is_an_object_of_cupy():
    for spec in [*of_family("Normal", 2), *of_none()]:
        assert build(spec).name == spec.name


def test_names_tell_kernels_apart():
    specs = [spec for family, n in families().items() for spec in of_family(family, n)]
    specs += of_none()
    assert len({spec.name for spec in specs}) == len(specs)


def test_a_source_takes_no_text_from_outside():
    for name in ("Normal>{}; evil(); //", "../normal", "", "1Normal", "Nörmal"):
        with pytest.raises(ValueError, match="not the name of a family"):
            kernels.header(name)
    with pytest.raises(ValueError, match="no CUDA code"):
        kernels.header("Nonesuch")
