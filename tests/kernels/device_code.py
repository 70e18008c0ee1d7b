"""The text that CuPy compiles for its own kinds of kernels, without a driver.

Its builders are private: the version this was written against is pinned here, and the
tests say so when another is installed.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

CUPY_VERSION = "14.2.0"

_HEADERS = "".join(
    f"#include <cupy/{name}>\n"
    for name in ("complex.cuh", "carray.cuh", "atomics.cuh", "math_constants.h")
)
_ARRAY, _INDEXER, _SCALAR = 1, 2, 3  # CuPy's kinds of argument


def elementwise_text(kernel: Any, ndim: int = 1, scalars: Collection[str] = ()) -> str:
    """The source CuPy compiles for an ElementwiseKernel on arrays of `ndim` axes."""
    from cupy._core import _kernel

    text: str = _kernel._get_elementwise_kernel_code(
        _arguments(kernel.params, ndim, scalars),
        _kernel._TypeMap(()),
        kernel.params,
        kernel.operation,
        kernel.name,
        kernel.preamble,
        **kernel.kwargs,
    )
    return _HEADERS + text


def reduction_text(
    kernel: Any, ndim: int = 2, scalars: Collection[str] = (), index: str = "int64"
) -> str:
    """The source CuPy compiles for a ReductionKernel over inputs of `ndim` axes."""
    from cupy._core import _kernel, _reduction

    text: str = _reduction._ReductionKernel_get_cached_function_code(
        kernel.nin,
        kernel.nout,
        kernel._params,
        _arguments(kernel._params, ndim, {*scalars, "_block_stride"}),
        _kernel._TypeMap((("IndexT", index),)),
        kernel.name,
        512,  # CuPy's block
        kernel.reduce_type,
        kernel.identity,
        kernel.map_expr,
        kernel.reduce_expr,
        kernel.post_map_expr,
        kernel.preamble,
        kernel.options,
    )
    return _HEADERS + text


def _arguments(params: Any, ndim: int, scalars: Collection[str]) -> tuple[Any, ...]:
    import cupy
    from cupy._core._kernel import _ArgInfo

    def kind(parameter: Any) -> int:
        if parameter.dtype is None:
            return _INDEXER
        return _SCALAR if parameter.name in scalars else _ARRAY

    return tuple(
        _ArgInfo(kind(p), cupy.ndarray, p.dtype, 1 if p.raw else ndim, False, False)
        for p in params
    )
