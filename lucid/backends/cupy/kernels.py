"""Every kernel lucid has, as text: a function a kind, an entry point a specialisation.

Names and numbers from closed sets are all that goes into a source, and the text of a
family's struct: see structs.py. Element types are two, and a third that is only read.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from lucid.backends.cupy.sources import inlined
from lucid.backends.cupy.specs import Elementwise, Raw, Reduction
from lucid.backends.cupy.structs import MOST_PARAMETERS, Struct

LANES = (8, 32, 256)
# Of kernels/mixture_rows.cuh: threads that share a row.
ROW_LANES = (1, 2, 4, 8, 32, 256)
# Event sizes up to this are compiled in.
_COMPILED_EVENT_SIZE = 4
_ELEMENT = {"float32": "float", "float64": "double"}
# What kernels read where an array is, without a copy in the type they compute in.
_SOURCE = {"float16": "lucid::Half", **_ELEMENT}
SOURCES = tuple(_SOURCE)
# Of kernels/fixed_stage.cuh: components summed by themselves, and how many exponentials
# of each 9 may be polynomials.
FIXED_TILE = 18
POLYNOMIALS = (0, 2)
# Components that a thread holds in registers, all of them.
MOST_SMALL = 16
# Of kernels/cells.cuh: cells in each dimension of an event, at most, and rows that a
# block sorts.
MOST_CELLS = {1: 255, 2: 31, 3: 10}
SORT_ROWS = 4096


def element(dtype: Any) -> str:
    """The C++ name of an element type."""
    return _ELEMENT[np.dtype(dtype).name]


def compiled_rows(family: Struct, dtype: str, event: int) -> tuple[int, ...]:
    """Rows a thread may hold where `event` is compiled in, most first; () where not.

    Rows share each load of a component, so more are better, until the unrolled pairs
    (rows · event · 8 components) overflow the registers and take seconds to compile.
    Where pairs are long, as with a log or in float64, loads matter less.
    """
    short = family.cheap
    if not 1 <= event <= (_COMPILED_EVENT_SIZE if short else 1):
        return ()
    if dtype == "float64":
        return (2, 1) if short else (1,)
    most = 16 // event if short else 2
    return (1 << (min(most, 8).bit_length() - 1), 1)


def _raw(kind: str, headers: tuple[str, ...], name: str, *arguments: object) -> Raw:
    """The kernel that macro LUCID_<kind> defines under `name`."""
    return Raw(name, f"{inlined(*headers)}\n{_entry(kind, name, *arguments)}")


def _of(family: Struct, kind: str, header: str, name: str, *arguments: object) -> Raw:
    """The same of a family."""
    entry = _entry(kind, name, family.name, *arguments)
    return Raw(name, f"{family.source(header)}\n{entry}")


def _entry(kind: str, *arguments: object) -> str:
    return f"LUCID_{kind}({', '.join(map(str, arguments))})\n"


def _label(what: str, family: Struct, *parts: object) -> str:
    return "_".join(map(str, ("lucid", what, family.label, *parts)))


@functools.cache
def log_prob(family: Struct, parameters: int, dtype: str) -> Elementwise:
    """The elementwise log density: value, parameters → result."""
    fields = ", ".join(f"in{i + 1}" for i in range(parameters))
    return Elementwise(
        name=_label("log_prob", family, dtype),
        inputs=", ".join(f"{dtype} in{i}" for i in range(parameters + 1)),
        outputs=f"{dtype} out0",
        operation=(
            f"out0 = lucid::log_prob(lucid::{family.name}<{element(dtype)}>"
            f"{{{fields}}}, in0)"
        ),
        preamble=family.source("elementwise.cuh"),
    )


@functools.cache
def mixture_rows(
    family: Struct, dtype: str, source: str, weights: str, lanes: int
) -> Raw:
    """Scalar parameters, and mostly weights, of each row's own, read in place."""
    types = (source, f"weighed_in_{weights}")
    name = _label("mixture_rows", family, dtype, *types, f"lanes{lanes}")
    arguments = (_SOURCE[source], _SOURCE[weights], element(dtype), lanes)
    return _of(family, "MIXTURE_ROWS", "mixture_rows.cuh", name, *arguments)


@functools.cache
def per_row_mixture(
    family: Struct, parameters: int, dtype: str, source: str, weights: str
) -> Reduction:
    """A mixture whose parameters are its row's own, prepared as they are read.

    values [S·B, D]; for each of the parameters, of type `source`, its data and strides
    over mixtures, components and event elements; the weights as given, of type
    `weights`, with what normalises them in float64, in the same way; whether they are
    logarithms; D, B, S·B; and a view of the shape [K, S·B] that is reduced over its
    first axis. The threads of an incomplete last block have _i ≥ S·B: they read the
    last row's, and what they get is thrown away.
    """
    kind = element(dtype)
    inputs = [f"raw {dtype} in0"]
    for i in range(1, parameters + 1):
        inputs += [f"raw {source} in{i}"]
        inputs += [f"int64 {axis}{i}" for axis in ("b", "k", "d")]
    inputs += [f"raw {weights} weight", "int64 bw", "int64 kw"]
    inputs += ["raw float64 total", "int64 bt", "raw float64 shift", "int64 bs"]
    inputs += ["int64 logarithms"]
    inputs += ["int64 event", "int64 batch", "int64 rows", f"{dtype} shape"]
    row = "(_i < rows ? _i : rows - 1)"

    def pointer(name: str, given: str) -> str:
        # CuPy has a half of its own, of the same bits.
        return f"reinterpret_cast<const {_SOURCE[given]}*>(&{name}[0])"

    arguments = [f"&in0[0] + {row} * event", "event"]
    for i in range(1, parameters + 1):
        place = f"{row} % batch * b{i} + _J * k{i}"
        arguments += [f"{pointer(f'in{i}', source)} + {place}", f"d{i}"]
    for _ in range(MOST_PARAMETERS - parameters):
        arguments += [f"static_cast<const {_SOURCE[source]}*>(nullptr)", "0"]
    weight = f"{pointer('weight', weights)}[{row} % batch * bw + _J * kw]"
    total = f"(&total[0])[{row} % batch * bt]"
    shift = f"(&shift[0])[{row} % batch * bs]"
    arguments += [
        f"lucid::log_weight<{kind}>({weight}, {total}, {shift}, logarithms != 0)"
    ]
    types = [f"of_{source}"] if source != dtype else []
    types += [f"weighed_in_{weights}"] if weights != dtype else []
    return Reduction(
        name=_label("mixture_per_row", family, dtype, *types),
        inputs=", ".join(inputs),
        outputs=f"{dtype} out0",
        map=f"lucid::component<lucid::{family.name}>({', '.join(arguments)})",
        reduce="lucid::merge(a, b)",
        post_map="out0 = a.log()",
        identity=f"lucid::LogSumExp<{kind}>()",
        reduce_type=f"lucid::LogSumExp<{kind}>",
        preamble=family.source("elementwise.cuh"),
    )


@functools.cache
def prepare(family: Struct, source: str, dtype: str) -> Raw:
    """Parameters of type `source` made into factors and constants."""
    name = _label("prepare", family, source, dtype)
    kind = element(dtype)
    spec = _of(family, "PREPARE", "prepare.cuh", name, _SOURCE[source], kind)
    size = (
        f"sizeof(lucid::{family.name}<{kind}>::Factors) == "
        f"{family.words} * sizeof({kind})"
    )
    return Raw(name, f'{spec.source}static_assert({size}, "Factors");\n')


@functools.cache
def mixture(family: Struct, dtype: str, event: int, rows: int) -> Raw:
    """Shared parameters, an event size and a number of rows a thread compiled in."""
    name = _label("mixture", family, dtype, f"d{event}", f"rows{rows}")
    return _of(family, "MIXTURE", "mixture.cuh", name, element(dtype), event, rows)


@functools.cache
def mixture_fixed(
    family: Struct, dtype: str, event: int, rows: int, polynomials: int = 0
) -> Raw:
    """The same with a shift known beforehand, and some exponentials by polynomials."""
    name = _label("mixture_fixed", family, dtype, f"d{event}", f"rows{rows}")
    name += f"_polynomials{polynomials}" if polynomials else ""
    arguments = (element(dtype), event, rows, polynomials)
    return _of(family, "MIXTURE_FIXED", "mixture_fixed.cuh", name, *arguments)


@functools.cache
def mixture_small(family: Struct, dtype: str, count: int) -> Raw:
    """One mixture of few components, their number compiled in."""
    name = _label("mixture_small", family, dtype, f"k{count}")
    return _of(
        family, "MIXTURE_SMALL", "mixture_small.cuh", name, element(dtype), count
    )


@functools.cache
def mixture_shift(dtype: str) -> Raw:
    """The shift of each mixture, from its constants."""
    name = f"lucid_mixture_shift_{dtype}"
    return _raw("MIXTURE_SHIFT", ("mixture_shift.cuh",), name, element(dtype))


@functools.cache
def mixture_order(family: Struct, dtype: str) -> Raw:
    """Components in the order of their loc."""
    name = _label("mixture_order", family, dtype)
    return _of(family, "MIXTURE_ORDER", "mixture_order.cuh", name, element(dtype))


@functools.cache
def mixture_cells(
    family: Struct, dtype: str, event: int, rows: int, polynomials: int = 0
) -> Raw:
    """Rows that were sorted by cell, over the window of each cell."""
    name = _label("mixture_cells", family, dtype, f"d{event}", f"rows{rows}")
    name += f"_polynomials{polynomials}" if polynomials else ""
    arguments = (element(dtype), event, rows, polynomials)
    return _of(family, "MIXTURE_CELLS", "mixture_cells.cuh", name, *arguments)


@functools.cache
def cell_windows(family: Struct, dtype: str, event: int) -> Raw:
    """The components that matter in each cell."""
    name = _label("cell_windows", family, dtype, f"d{event}")
    return _of(family, "CELL_WINDOWS", "cells.cuh", name, element(dtype), event)


@functools.cache
def cell_count(dtype: str, event: int) -> Raw:
    """The rows of each cell counted."""
    name = f"lucid_cell_count_{dtype}_d{event}"
    return _raw("CELL_COUNT", ("cells.cuh",), name, element(dtype), event)


@functools.cache
def cell_sort(dtype: str, event: int) -> Raw:
    """The numbers of the rows, cell by cell."""
    name = f"lucid_cell_sort_{dtype}_d{event}"
    return _raw("CELL_SORT", ("cells.cuh",), name, element(dtype), event)


@functools.cache
def mixture_diagonal(family: Struct, dtype: str) -> Raw:
    """Shared parameters, any event size."""
    name = _label("mixture_diagonal", family, dtype)
    return _of(family, "MIXTURE_DIAGONAL", "mixture_diagonal.cuh", name, element(dtype))


@functools.cache
def mixture_merge(family: Struct, dtype: str) -> Raw:
    """The partial sums of components split over blocks made one."""
    name = _label("mixture_merge", family, dtype)
    return _of(family, "MIXTURE_MERGE", "mixture_finish.cuh", name, element(dtype))


@functools.cache
def mixture_mode(family: Struct, dtype: str) -> Raw:
    """The most probable component and its log probability."""
    name = _label("mixture_mode", family, dtype)
    return _of(family, "MIXTURE_MODE", "mixture_mode.cuh", name, element(dtype))


_MVN = ("mixture_multivariate_normal.cuh",)


@functools.cache
def mvn_prepare(source: str) -> Raw:
    """Triangular factors inverted, in float64."""
    name = f"lucid_prepare_multivariate_normal_{source}"
    headers = ("prepare.cuh",)
    return _raw("PREPARE_MULTIVARIATE_NORMAL", headers, name, _SOURCE[source])


@functools.cache
def mvn_mixture(dtype: str) -> Raw:
    """A mixture of multivariate normals with shared parameters."""
    name = f"lucid_mixture_multivariate_normal_{dtype}"
    return _raw("MIXTURE_MULTIVARIATE_NORMAL", _MVN, name, element(dtype))


@functools.cache
def mvn_merge(dtype: str) -> Raw:
    """Its partial sums made one."""
    name = f"lucid_merge_partials_{dtype}"
    return _raw("MERGE_PARTIALS", _MVN, name, element(dtype))


@functools.cache
def mvn_mode(dtype: str) -> Raw:
    """Its most probable component."""
    name = f"lucid_mode_multivariate_normal_{dtype}"
    return _raw("MODE_MULTIVARIATE_NORMAL", _MVN, name, element(dtype))


@functools.cache
def categorical_log_prob(source: str, dtype: str, lanes: int) -> Raw:
    """log softmax of a row and its gather in one pass, `lanes` threads a row."""
    name = f"lucid_categorical_log_prob_{source}_{dtype}_lanes{lanes}"
    kinds = _SOURCE[source], element(dtype)
    return _raw("CATEGORICAL_LOG_PROB", ("categorical.cuh",), name, *kinds, lanes)


@functools.cache
def categorical_gather(dtype: str, value: str) -> Elementwise:
    """A table's entries of categories: table [K + 2], values of type `value`, K."""
    return Elementwise(
        name=f"lucid_categorical_gather_{dtype}_{value}",
        inputs=f"raw {dtype} table, {value} in0, int64 count",
        outputs=f"{dtype} out0",
        operation="out0 = lucid::categorical_gather(&table[0], in0, count)",
        preamble=inlined("categorical.cuh"),
    )


@functools.cache
def draw_index() -> Raw:
    """Categories out of index tables."""
    return _raw("DRAW_INDEX", ("index_table.cuh",), "lucid_draw_index")


@functools.cache
def pick(weights: str) -> Raw:
    """Categories out of weights that are a row's own."""
    name = f"lucid_pick_{weights}"
    return _raw("PICK", ("row_weights.cuh",), name, _SOURCE[weights])


@functools.cache
def row_tables(weights: str) -> Raw:
    """Index tables of the same."""
    name = f"lucid_row_tables_{weights}"
    return _raw("ROW_TABLES", ("row_weights.cuh",), name, _SOURCE[weights])


@functools.cache
def draw(family: Struct, source: str, dtype: str) -> Raw:
    """An index, that component's parameters, and one draw from it."""
    name = _label("draw", family, source, dtype)
    return _of(family, "DRAW", "draw.cuh", name, _SOURCE[source], element(dtype))


@functools.cache
def mvn_draw(source: str, dtype: str) -> Raw:
    """The same for multivariate normals."""
    name = f"lucid_draw_multivariate_normal_{source}_{dtype}"
    headers = ("samplers.cuh", "draw.cuh")
    kinds = _SOURCE[source], element(dtype)
    return _raw("DRAW_MULTIVARIATE_NORMAL", headers, name, *kinds)
