"""What CuPy is to build a kernel from: names and text, and no CuPy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Elementwise:
    """The parts of an ElementwiseKernel."""

    name: str
    inputs: str
    outputs: str
    operation: str
    preamble: str


@dataclass(frozen=True, slots=True)
class Reduction:
    """The parts of a ReductionKernel."""

    name: str
    inputs: str
    outputs: str
    map: str
    reduce: str
    post_map: str
    identity: str
    reduce_type: str
    preamble: str


@dataclass(frozen=True, slots=True)
class Raw:
    """One `extern "C"` kernel: its name, the text that holds it, its shared bytes."""

    name: str
    source: str
    shared: int = 0
