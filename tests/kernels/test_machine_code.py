"""The hot loops' machine code, held to bounds: a slower kernel fails without a GPU.

A Hopper multiprocessor issues 128 instructions a clock and takes 16 exponentials, so up
to 8 instructions a pair the exponential binds. The straight part of a loop is counted;
what closes the loop is shared by all its pairs.
"""

from __future__ import annotations

import functools
import shutil

import pytest
from device_code import Block, blocks, compile_cubin, disassemble, tool
from specialisations import Spec, text

from lucid.backends.cupy import kernels

ARCHITECTURES = (80, 90, 120)

pytestmark = pytest.mark.skipif(
    shutil.which(tool("nvdisasm")) is None,
    reason="not run: nvdisasm is not installed (PyPI: nvidia-cuda-nvdisasm)",
)


@functools.cache
def code(spec: Spec, arch: int) -> list[Block]:
    cubin, _ = compile_cubin(text(spec), arch)
    return blocks(disassemble(cubin, spec.name))


def busiest(spec: Spec, arch: int, instruction: str) -> Block:
    """The straight part with the most of one instruction."""
    return max(code(spec, arch), key=lambda block: block.count(instruction))


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(
    ("event", "most_per_pair"), [(1, 7.0), (2, 10.5), (3, 15.0), (4, 18.0)]
)
def test_a_pair_of_a_shared_mixture(event, most_per_pair, arch):
    rows = kernels.compiled_rows("Normal", "float32", event)[0]
    loop = busiest(kernels.mixture("Normal", "float32", event, rows), arch, "MUFU.EX2")
    pairs = loop.count("MUFU.EX2")
    assert pairs >= rows  # one exponential a pair, and whole tiles of pairs
    assert len(loop.instructions) <= most_per_pair * pairs
    # Each thread's rows share a component's load: one word of four a component at most.
    assert loop.count("LDS") * rows <= (event + 1) * pairs
    assert loop.count("LDG|LDL|STL") == 0


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_component_of_scalars_is_loaded_four_words_at_a_time(arch):
    spec = kernels.mixture("Normal", "float32", 1, 8)
    loop = busiest(spec, arch, "MUFU.EX2")
    assert loop.count("LDS") == loop.count("LDS.*128")
    assert loop.count("LDS") * 10 <= loop.count("MUFU.EX2")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_an_element_of_a_diagonal_event(arch):
    loop = busiest(kernels.mixture_diagonal("Normal", "float32"), arch, "FFMA")
    elements = loop.count("FFMA")  # with one subtraction and one product each
    assert elements >= 32
    assert len(loop.instructions) <= 3.5 * elements
    assert loop.count("LDS") * 5 <= elements
    assert loop.count("LDG|LDL|STL|MUFU") == 0


# In float64 a multiply-add occupies its pipe for two instructions' time.
@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize(
    ("dtype", "multiply_add", "most"),
    [("float32", "FFMA", 1.2), ("float64", "DFMA", 1.5)],
)
def test_a_product_of_a_multivariate_normal(dtype, multiply_add, most, arch):
    loop = busiest(kernels.mvn_mixture(dtype), arch, multiply_add)
    assert loop.count(multiply_add) >= 64
    assert len(loop.instructions) <= most * loop.count(multiply_add)
    assert loop.count("LDG|LDL|STL") == 0


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("lanes", kernels.LANES)
def test_a_logit_of_a_categorical(lanes, arch):
    spec = kernels.categorical_log_prob("float32", "float32", lanes)
    loop = busiest(spec, arch, "MUFU.EX2")
    assert loop.count("LDG") == loop.count("LDG.*128") >= 1  # four logits a load
    assert len(loop.instructions) <= 8 * 4 * loop.count("LDG")


def test_the_counts_are_of_the_code_that_runs():
    """A loop that does an exponential more a pair is seen as one."""
    spec = kernels.mixture("Normal", "float32", 1, 8)
    once = "sums[r] += exp2_fast("
    assert once in spec.source
    source = spec.source.replace(once, "sums[r] += exp2_fast(sums[r]) + exp2_fast(")
    loop = busiest(type(spec)(spec.name, source), 90, "MUFU.EX2")
    assert loop.count("MUFU.EX2") > 100
    assert len(loop.instructions) > 7.0 * 64
