"""The hot loops' machine code, held to bounds: a slower kernel fails without a GPU.

A Hopper multiprocessor issues 128 instructions a clock and takes 16 exponentials, so up
to 8 instructions a pair the exponential binds. The bounds are those of `bench kernels`.
"""

from __future__ import annotations

import dataclasses
import json

import pytest

from bench import kernels as bench_kernels
from bench import machine_code
from bench.kernels import ARCHITECTURES, Hot, count, hot_kernels, hot_loop
from bench.machine_code import Block, Missing, tool
from lucid.backends.cupy import kernels
from lucid.backends.cupy.formula import struct_text
from lucid.backends.cupy.specs import Raw
from lucid.backends.cupy.structs import given, named
from lucid.distributions import Normal

try:
    tool("nvdisasm")
    missing = ""
except Missing as error:
    missing = str(error)
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not run: {missing}")

NORMAL = named("Normal")
every_architecture = pytest.mark.parametrize("arch", ARCHITECTURES)
HOT = {f"{hot.title}, {hot.spec.name}": hot for hot in hot_kernels()}


def busiest(spec: Raw, arch: int, instruction: str) -> Block:
    """The innermost loop, or straight part, with the most of one instruction."""
    return hot_loop(Hot("", spec, "", instruction, 1, 0), arch)


@every_architecture
@pytest.mark.parametrize("name", HOT)
def test_a_hot_loop_is_within_its_bound(name, arch):
    found = count(HOT[name], arch)
    assert found.slots <= found.most_slots
    assert found.spilled_bytes == 0
    # Nothing of a thread's own memory.
    assert found.global_loads == HOT[name].loads
    assert found.threads_per_multiprocessor >= 512
    assert not found.over


@every_architecture
@pytest.mark.parametrize("polynomials", kernels.POLYNOMIALS)
def test_a_tile_of_near_components_is_one_loop(polynomials, arch):
    spec = kernels.mixture_fixed(NORMAL, "float32", 1, 8, polynomials)
    loop, pairs = busiest(spec, arch, "MUFU.EX2"), kernels.FIXED_TILE * 8
    assert loop.count("MUFU") == pairs - polynomials * pairs // 9
    # A multiply-add for the term's root, one for its square, and one addition; then
    # six of the polynomial, and the square's integer part and rest.
    assert loop.count("FFMA|FADD|FMUL") == 3 * pairs + 16 + polynomials * pairs // 9 * 7
    assert loop.count("BRA") == 1
    # A component is one load for all rows; the tile's centre is another.
    assert loop.count("LDS") == kernels.FIXED_TILE + 1
    assert loop.count("LDS.*128") == kernels.FIXED_TILE


@every_architecture
@pytest.mark.parametrize("polynomials", kernels.POLYNOMIALS)
def test_a_pair_under_a_window_costs_no_more(polynomials, arch):
    """What tells windows apart is outside of the loop over a tile."""
    plain = kernels.mixture_fixed(NORMAL, "float32", 1, 8, polynomials)
    cells = kernels.mixture_cells(NORMAL, "float32", 1, 8, polynomials)
    loops = [busiest(spec, arch, "MUFU.EX2") for spec in (plain, cells)]
    for opcode in ("MUFU", "FFMA|FADD|FMUL", "LDS", "BRA", "LDG|LDL|STL"):
        assert loops[0].count(opcode) == loops[1].count(opcode)
    assert abs(len(loops[0].instructions) - len(loops[1].instructions)) <= 8


def test_a_struct_from_a_trace_costs_no_more_than_one_by_hand():
    """Instruction by instruction: the lazy kernel shows it, and compiles fast."""
    written = given(Normal, struct_text(Normal))
    loops = [
        busiest(kernels.mixture(struct, "float32", 1, 8), 90, "MUFU.EX2")
        for struct in (NORMAL, written)
    ]
    assert len(loops[0].instructions) == len(loops[1].instructions)
    assert loops[0].count("MUFU.EX2") == loops[1].count("MUFU.EX2") >= 8


@every_architecture
def test_a_pair_in_float64_takes_eleven_operations(arch):
    loop = busiest(kernels.mixture_fixed(NORMAL, "float64", 1, 2), arch, "DFMA")
    pairs = kernels.FIXED_TILE * 2
    assert loop.count("DFMA") == 8 * pairs
    assert loop.count("D") <= 11 * pairs + 6  # and the tile's own


@every_architecture
@pytest.mark.parametrize(
    ("event", "most_per_pair"), [(1, 7.0), (2, 10.5), (3, 15.0), (4, 18.0)]
)
def test_a_pair_of_a_shared_mixture(event, most_per_pair, arch):
    rows = kernels.compiled_rows(NORMAL, "float32", event)[0]
    loop = busiest(kernels.mixture(NORMAL, "float32", event, rows), arch, "MUFU.EX2")
    pairs = loop.count("MUFU.EX2")
    assert pairs >= rows  # one exponential a pair, and whole tiles of pairs
    assert len(loop.instructions) <= most_per_pair * pairs
    # Each thread's rows share a component's load: one word of four a component at most.
    assert loop.count("LDS") * rows <= (event + 1) * pairs
    assert loop.count("LDG|LDL|STL") == 0


@every_architecture
def test_an_element_of_a_diagonal_event(arch):
    loop = busiest(kernels.mixture_diagonal(NORMAL, "float32"), arch, "FFMA")
    elements = loop.count("FFMA")  # with one subtraction and one product each
    assert elements >= 32
    assert loop.count("LDS") * 5 <= elements
    assert loop.count("LDG|LDL|STL|MUFU") == 0


# In float64 a multiply-add occupies its pipe for two instructions' time.
@every_architecture
@pytest.mark.parametrize(
    ("dtype", "multiply_add", "most"),
    [("float32", "FFMA", 1.2), ("float64", "DFMA", 1.5)],
)
def test_a_product_of_a_multivariate_normal(dtype, multiply_add, most, arch):
    loop = busiest(kernels.mvn_mixture(dtype), arch, multiply_add)
    assert loop.count(multiply_add) >= 64
    assert len(loop.instructions) <= most * loop.count(multiply_add)
    assert loop.count("LDG|LDL|STL") == 0


@every_architecture
@pytest.mark.parametrize("lanes", kernels.LANES)
def test_a_logit_of_a_categorical(lanes, arch):
    spec = kernels.categorical_log_prob("float32", "float32", lanes)
    loop = busiest(spec, arch, "MUFU.EX2")
    assert loop.count("LDG") == loop.count("LDG.*128") >= 1  # four logits a load
    # sm_100's compiler moves three registers more a load.
    most = 35 if arch == 100 else 32
    assert len(loop.instructions) <= most * loop.count("LDG")


def slower() -> Hot:
    """The lazy kernel with an exponential and two additions more a pair."""
    (hot,) = (h for h in HOT.values() if h.spec == kernels.mixture(*LAZY))
    once = "sums[r] += exp2_fast("
    assert once in hot.spec.source
    source = hot.spec.source.replace(once, "sums[r] += exp2_fast(sums[r]) + exp2_fast(")
    return dataclasses.replace(hot, spec=Raw(hot.spec.name, source))


LAZY = (NORMAL, "float32", 1, 8)


def test_the_counts_are_of_the_code_that_runs():
    found = hot_loop(slower(), 90)
    assert found.count("MUFU.EX2") > 100
    assert len(found.instructions) > 7.1 * 64


def test_a_kernel_over_its_bound_fails_the_command(monkeypatch, capsys, tmp_path):
    cheap = dataclasses.replace(HOT[next(iter(HOT))], slots=4.0)
    monkeypatch.setattr(bench_kernels, "hot_kernels", lambda: [cheap])
    path = tmp_path / "kernels.json"
    assert bench_kernels.main(["--arch", "90", "--json", str(path)]) == 1
    assert "OVER ITS BOUND" in capsys.readouterr().out
    (result,) = json.loads(path.read_text(encoding="utf-8"))["results"]
    assert result["over"]
    assert result["limit"] == "exponentials"
    # 16 exponentials a clock of 132 multiprocessors at 1.98 GHz.
    assert result["units_per_second"] == pytest.approx(4.18e12, rel=1e-2)
    assert result["threads_per_multiprocessor"] == 768


def test_what_is_missing_is_named(monkeypatch, capsys):
    def absent(name):
        raise Missing(f"{name} is not installed: install nvidia-cuda-{name}.")

    monkeypatch.setattr(machine_code, "tool", absent)
    bench_kernels.machine_code.cache_clear()
    assert bench_kernels.main(["--arch", "90"]) == bench_kernels.MISSING
    assert "install nvidia-cuda-nvdisasm" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("registers", "shared", "arch", "threads"),
    [
        (32, 0, 90, 2048),  # 65536 registers
        (80, 0, 90, 768),
        (81, 0, 90, 640),  # registers come by eights
        (32, 40 << 10, 90, 640),  # 5 blocks of 41 KiB in 228
        (32, 0, 120, 1536),
    ],
)
def test_occupancy(registers, shared, arch, threads):
    use = machine_code.Resources(registers, 0, 0, 0, shared)
    assert bench_kernels.CHIPS[arch].occupancy(use, 128) == threads
