"""Every kernel lucid can ask CuPy for, with the text CuPy would compile."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import device_code

from lucid.backends.cupy import kernels, sources
from lucid.backends.cupy.device import CudaDevice
from lucid.backends.cupy.specs import Elementwise, Raw, Reduction
from lucid.backends.cupy.structs import Struct, named

Spec = Elementwise | Reduction | Raw
DTYPES = ("float32", "float64")
EVENT_SIZES = range(1, 10)
# What a category is asked for by.
VALUES = ("int8", "uint8", "int32", "int64", "uint64", "float32", "float64")
NORMAL = named("Normal")


def families() -> dict[str, int]:
    """The scalar families that have CUDA code, by class name: number of parameters."""
    found = {}
    for path in sorted((sources.folder() / "families").glob("*.cuh")):
        text = path.read_text(encoding="utf-8")
        match = re.search(r"struct (\w+) \{\n\s*T ([^;]+);", text)
        if match:
            found[match[1]] = match[2].count(",") + 1
    return found


def sources_of(dtype: str) -> tuple[str, ...]:
    """The types that what is computed in `dtype` is read as: no wider ones."""
    return kernels.SOURCES[: kernels.SOURCES.index(dtype) + 1]


def polynomials(family: Struct, dtype: str, event: int) -> tuple[int, ...]:
    """Of how many exponentials by polynomials a kernel is asked for."""
    if dtype == "float32" and event == 1 and family.cheap:
        return kernels.POLYNOMIALS
    return kernels.POLYNOMIALS[:1]


def of_family(family: Struct, parameters: int) -> Iterator[Spec]:
    """The kernels of one scalar family."""
    for dtype in DTYPES:
        yield kernels.log_prob(family, parameters, dtype)
        for source in sources_of(dtype):
            yield kernels.per_row_mixture(family, parameters, dtype, source, dtype)
            yield kernels.mixture_rows(family, dtype, source, dtype, 4)
        if family.draws:
            yield kernels.draw(family, dtype, dtype)
        yield from (kernels.prepare(family, p, dtype) for p in kernels.SOURCES)
        for event in EVENT_SIZES:
            rows = dict.fromkeys(kernels.compiled_rows(family, dtype, event))
            for r in rows:
                yield kernels.mixture(family, dtype, event, r)
                yield from (
                    kernels.mixture_fixed(family, dtype, event, r, p)
                    for p in polynomials(family, dtype, event)
                )
        if family.cheap:
            for count in (1, 2, 7, kernels.MOST_SMALL):
                yield kernels.mixture_small(family, dtype, count)
        if family.quadratic:
            yield kernels.mixture_order(family, dtype)
            for event in kernels.MOST_CELLS:
                yield kernels.cell_windows(family, dtype, event)
                for r in dict.fromkeys(kernels.compiled_rows(family, dtype, event)):
                    yield from (
                        kernels.mixture_cells(family, dtype, event, r, p)
                        for p in polynomials(family, dtype, event)
                    )
        yield kernels.mixture_diagonal(family, dtype)
        yield kernels.mixture_merge(family, dtype)
        yield kernels.mixture_mode(family, dtype)
    if family.draws:
        yield kernels.draw(family, "float16", "float32")


def of_none() -> Iterator[Spec]:
    """The kernels of vector families and of none."""
    for source in kernels.SOURCES:
        yield kernels.mvn_prepare(source)
        yield kernels.pick(source)
        yield kernels.row_tables(source)
    for dtype in DTYPES:
        yield kernels.mvn_mixture(dtype)
        yield kernels.mvn_merge(dtype)
        yield kernels.mixture_shift(dtype)
        for event in kernels.MOST_CELLS:
            yield kernels.cell_count(dtype, event)
            yield kernels.cell_sort(dtype, event)
        yield kernels.mvn_mode(dtype)
        yield from (kernels.categorical_gather(dtype, value) for value in VALUES)
        yield kernels.mvn_draw(dtype, dtype)
        for source in sources_of(dtype):
            for lanes in kernels.LANES:
                yield kernels.categorical_log_prob(source, dtype, lanes)
            # What a weight is read as has to do with no family: one stands for all.
            weighed = (s for s in kernels.SOURCES if s != dtype)
            for w in weighed:
                yield kernels.per_row_mixture(NORMAL, 2, dtype, source, w)
                yield kernels.mixture_rows(NORMAL, dtype, source, w, 4)
    for lanes in kernels.ROW_LANES:
        if lanes != 4:
            yield kernels.mixture_rows(NORMAL, *["float32"] * 3, lanes)
    yield kernels.mvn_draw("float16", "float32")
    yield kernels.draw_index()


def text(spec: Spec) -> str:
    """The source that reaches NVRTC, as CuPy's own builders write it."""
    if isinstance(spec, Raw):
        return spec.source
    kernel = build(spec)
    if isinstance(spec, Elementwise):
        return device_code.elementwise_text(kernel, scalars=["count"])
    numbers = re.findall(r"(?<!raw )int64 (\w+)", spec.inputs)
    return device_code.reduction_text(kernel, ndim=1, scalars=numbers)


def programs(specs: list[Spec]) -> list[str]:
    """The sources of many kernels; those with the same headers are one program."""
    groups: dict[str, str] = {}
    for spec in specs:
        if isinstance(spec, Raw):
            headers, entry = re.split(r"^(?=LUCID_)", spec.source, flags=re.MULTILINE)
        else:
            headers, entry = text(spec), ""
        groups[headers] = groups.get(headers, "") + entry
    return [headers + entries for headers, entries in groups.items()]


def build(spec: Spec) -> Any:
    """The CuPy object that a device builds from a spec: no driver is needed for it."""
    import cupy

    device = CudaDevice(0, cupy)
    if isinstance(spec, Elementwise):
        return device._build_elementwise(spec)
    if isinstance(spec, Reduction):
        return device._build_reduction(spec)
    return device._build_raw(spec)
