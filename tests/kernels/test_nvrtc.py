"""Every kernel compiles under NVRTC as CuPy would compile it, and the hot ones well."""

from __future__ import annotations

import math
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cupy
import pytest
from device_code import CUPY_VERSION
from specialisations import (
    EVENT_SIZES,
    NORMAL,
    Spec,
    build,
    families,
    of_family,
    of_none,
    polynomials,
    programs,
)

import bench
from bench.kernels import ARCHITECTURES, hot_kernels
from bench.machine_code import Resources, compile_cubin, resources
from lucid.backends.cupy import kernels, structs
from lucid.backends.cupy.specs import Reduction
from lucid.backends.cupy.structs import named
from tests.user_families import ByHand, Größe, HyperbolicSecant

EVERYWHERE = (80, 120)
HOT = (75, 90, 100)  # where only the hot ones are compiled
# Kernels without a bound are not optimised: what the compiler refuses shows all the
# same, in a third of the time.
QUICK = ("--Ofast-compile=max",)


def hot() -> list[Spec]:
    """The kernels that large jobs spend their time in."""
    chosen = [
        kernels.log_prob(NORMAL, 2, "float32"),
        kernels.mixture_rows(NORMAL, *["float32"] * 3, 8),
        kernels.draw(NORMAL, "float32", "float32"),
        kernels.draw_index(),
        kernels.pick("float32"),
        *(kernels.mvn_mixture(dtype) for dtype in ("float32", "float64")),
        *(
            kernels.categorical_log_prob("float32", "float32", lanes)
            for lanes in kernels.LANES
        ),
        kernels.categorical_gather("float32", "int64"),
        kernels.mixture_diagonal(NORMAL, "float32"),
    ]
    for dtype in ("float32", "float64"):
        few_rows = kernels.compiled_rows(NORMAL, dtype, 1)[-1]
        chosen.append(kernels.mixture(NORMAL, dtype, 1, few_rows))
        chosen += [kernels.cell_count(dtype, 2), kernels.cell_sort(dtype, 2)]
        for event in (1, 2):
            most_rows = kernels.compiled_rows(NORMAL, dtype, event)[0]
            chosen += [
                kernels.mixture_cells(NORMAL, dtype, event, most_rows, p)
                for p in polynomials(NORMAL, dtype, event)
            ]
        for event in EVENT_SIZES:
            for rows in kernels.compiled_rows(NORMAL, dtype, event)[:1]:
                chosen.append(kernels.mixture(NORMAL, dtype, event, rows))
                chosen += [
                    kernels.mixture_fixed(NORMAL, dtype, event, rows, p)
                    for p in polynomials(NORMAL, dtype, event)
                ]
    return chosen


def compiled(
    specs: list[Spec], arch: int, options: tuple[str, ...] = ()
) -> list[Resources]:
    """Each kernel's resources. NVRTC runs without the GIL, so two at a time."""

    def log(text: str) -> str:
        return compile_cubin(text, arch, options)[1]

    with ThreadPoolExecutor(2) as pool:
        logs = pool.map(log, programs(specs))
        found = {name: use for log in logs for name, use in resources(log).items()}
    assert len(found) == len(specs)
    return [found[spec.name] for spec in specs]


def test_the_private_builders_are_those_of_the_pinned_version():
    assert cupy.__version__ == CUPY_VERSION, (
        "device_code.py calls private functions of CuPy: read them again, then pin"
    )


def assert_fit(specs: list[Spec], arch: int) -> None:
    """All compile; hot ones without a spill, reductions into CuPy's 512 threads.

    Those whose machine code is counted for this architecture are held to it there.
    """
    hot_names = {spec.name for spec in hot()}
    if arch in ARCHITECTURES:
        hot_names -= {counted.spec.name for counted in hot_kernels()}
    reductions = [spec for spec in specs if isinstance(spec, Reduction)]
    bounded = [spec for spec in specs if spec.name in hot_names]
    others = [spec for spec in specs if spec not in (*reductions, *bounded)]
    compiled(others, arch, QUICK)
    for spec, use in zip(bounded, compiled(bounded, arch), strict=True):
        assert use.spill_stores == use.spill_loads == 0, spec.name
    for spec, use in zip(reductions, compiled(reductions, arch), strict=True):
        assert 512 * use.registers <= 65536, spec.name


@pytest.mark.parametrize("arch", EVERYWHERE)
@pytest.mark.parametrize("family", families())
def test_every_kernel_of_a_family_compiles(family, arch):
    assert_fit(list(of_family(named(family), families()[family])), arch)


@pytest.mark.parametrize("arch", EVERYWHERE)
def test_every_other_kernel_compiles(arch):
    assert_fit(list(of_none()), arch)


def test_hot_kernels_are_among_those_that_compile():
    every = {spec.name for spec in [*of_family(NORMAL, 2), *of_none()]}
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


# What a formula may call: of NumPy and of scipy.special, with one argument and two.
UNARY = (
    "absolute arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil cos cosh erf erfc "
    "erfcinv erfcx erfinv exp exp2 expit expm1 floor gamma gammaln i0 i1 isfinite "
    "isinf isnan log log10 log1p log2 log_expit logit ndtr ndtri negative positive "
    "reciprocal rint sign sin sinh sqrt square tan tanh trunc"
)
BINARY = (
    "add arctan2 betaln copysign divide equal float_power fmax fmin fmod greater "
    "greater_equal hypot less less_equal logaddexp maximum minimum multiply not_equal "
    "power subtract xlog1py xlogy"
)


class Everything(Größe):
    """Calls every function there is."""

    @staticmethod
    def row(fn, value):
        one = [getattr(fn, name)(value) for name in UNARY.split()]
        two = [getattr(fn, name)(value, 0.5) for name in BINARY.split()]
        mantissa, exponent = fn.frexp(value)
        split = fn.ldexp(mantissa, exponent)
        chosen = fn.where((value < 1) & ~(value > 2) | (value == 3), math.inf, value)
        return (sum(one) + sum(two) + split + chosen + math.nan,)


@pytest.mark.parametrize("arch", EVERYWHERE)
def test_structs_of_users_compile(arch):
    """One program, which takes the least time: kernels that use all of a struct."""
    every = [structs.of(own) for own in (Everything, ByHand, HyperbolicSecant)]
    text = every[0].source("mixture_mode.cuh", "draw.cuh")
    text += "".join(struct.text for struct in every[1:])
    specs = [kernels.draw(structs.of(ByHand), "float32", "float64")]
    for struct in every:
        specs.append(kernels.prepare(struct, "float32", "float64"))
        specs.append(kernels.mixture_mode(struct, "float32"))
    entries = [re.split(r"^(?=LUCID_)", s.source, flags=re.M)[1] for s in specs]
    _, log = compile_cubin(text + "".join(entries), arch, QUICK)
    found = resources(log)
    assert set(found) == {spec.name for spec in specs}


def test_every_kernel_is_an_object_of_cupy():
    for spec in [*of_family(NORMAL, 2), *of_none()]:
        assert build(spec).name == spec.name


def test_names_tell_kernels_apart():
    specs = list(of_none())
    for family, parameters in families().items():
        specs += of_family(named(family), parameters)
    assert len({spec.name for spec in specs}) == len(specs)


def test_a_source_takes_no_text_from_outside():
    for name in ("Normal>{}; evil(); //", "../normal", "", "1Normal", "Nörmal"):
        with pytest.raises(ValueError, match="not the name of a family"):
            named(name)
    with pytest.raises(ValueError, match=r"no header: no nonesuch\.cuh in"):
        named("Nonesuch")
