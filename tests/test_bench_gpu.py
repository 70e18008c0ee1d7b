"""`python -m bench gpu`: what it does without a GPU, and what it makes of its parts."""

from __future__ import annotations

import json
import stat
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import lucid
from bench import __main__ as entry
from bench import cases, checks, gpu, limits, machine_code, sanitizer
from lucid import backends
from lucid.backends import CudaStatus


def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path, monkeypatch, capsys):
    absent = CudaStatus(False, "no NVIDIA driver")
    monkeypatch.setattr(backends, "cuda_status", lambda: absent)
    out = tmp_path / "gpu.json"
    assert entry.main(["gpu", "--output", str(out)]) == gpu.NO_GPU
    said = capsys.readouterr()
    assert said.err == "bench gpu: nothing was measured: no NVIDIA driver\n"
    assert not said.out
    assert not list(tmp_path.iterdir())


@pytest.fixture
def with_gpu(monkeypatch):
    """A GPU as far as the command can see, whose parts all pass."""
    monkeypatch.setattr(backends, "cuda_status", lambda: CudaStatus(True, "", ("A",)))
    monkeypatch.setattr(gpu, "device", lambda: {"name": "A", "driver": "1.2"})
    counts = {"passed": 3, "failed": 0, "not_run": 1}
    monkeypatch.setattr(gpu, "_tests", lambda deadline: counts)
    verdicts = {tool: {"passed": True} for tool in sanitizer.TOOLS}
    monkeypatch.setattr(sanitizer, "run", lambda deadline: verdicts)
    timings = {"limits": {}, "cases": []}
    monkeypatch.setattr(gpu, "_timings", lambda deadline: timings)


@pytest.mark.usefixtures("with_gpu")
def test_one_file_holds_all(tmp_path):
    out = tmp_path / "gpu.json"
    assert gpu.main(["--output", str(out)]) == 0
    document = json.loads(out.read_text(encoding="utf-8"))
    assert {"machine", "versions", "date", "commit", "command"} <= set(document)
    assert document["results"]["device"] == {"name": "A", "driver": "1.2"}
    assert document["results"]["tests"]["not_run"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["gpu.json"]


@pytest.mark.usefixtures("with_gpu")
def test_what_was_left_out_is_not_measured(tmp_path):
    out = tmp_path / "gpu.json"
    assert gpu.main(["--output", str(out), "--only", "tests"]) == 0
    document = json.loads(out.read_text(encoding="utf-8"))
    assert document["results"]["timings"] == {"not measured": "left out"}
    assert document["command"].endswith("gpu --only tests")


@pytest.mark.usefixtures("with_gpu")
@pytest.mark.parametrize("part", ["tests", "sanitizer"])
def test_a_failure_shows_in_the_exit_code(tmp_path, monkeypatch, part):
    if part == "tests":
        monkeypatch.setattr(gpu, "_tests", lambda deadline: {"failed": 1})
    else:
        verdicts = {"memcheck": {"passed": False}}
        monkeypatch.setattr(sanitizer, "run", lambda deadline: verdicts)
    assert gpu.main(["--output", str(tmp_path / "gpu.json")]) == 1


def test_a_skipped_test_is_not_a_passed_one(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite tests="4" failures="1" errors="1" skipped="1">'
        '<testcase classname="a" name="good"/>'
        '<testcase classname="a" name="bad"><failure/></testcase>'
        '<testcase classname="a" name="broken"><error/></testcase>'
        '<testcase classname="a" name="none"><skipped/></testcase>'
        "</testsuite></testsuites>",
        encoding="utf-8",
    )
    assert gpu.summarise(report) == {
        "passed": 1,
        "failed": 2,
        "not_run": 1,
        "failures": ["a::bad", "a::broken"],
        "skips": ["a::none"],
    }


@pytest.mark.parametrize(
    ("clean", "planted", "passed"), [(0, 86, True), (0, 0, False), (86, 86, False)]
)
def test_a_tool_that_misses_its_bug_proves_nothing(
    tmp_path, monkeypatch, clean, planted, passed
):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(
        "#!/bin/sh\nfor last; do :; done\n"
        f'[ "$last" = kernels ] && exit {clean}\nexit {planted}\n',
        encoding="utf-8",
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    verdicts = sanitizer.run(time.monotonic() + 60)
    assert set(verdicts) == set(sanitizer.TOOLS)
    assert {verdict["passed"] for verdict in verdicts.values()} == {passed}


def test_no_sanitizer_is_not_a_pass(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sanitizer, "TOOLKITS", ())
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    assert set(sanitizer.run(time.monotonic())) == {"not measured"}
    assert "found neither on the PATH nor in a CUDA toolkit" in capsys.readouterr().out


def test_a_sanitizer_is_found_in_a_toolkit(tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "compute-sanitizer"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\n", encoding="utf-8")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert sanitizer.find() == str(tool)
    # Or among Python's packages, as pip installs it.
    wheel = tmp_path / "site" / "nvidia" / "cu13" / "bin"
    wheel.mkdir(parents=True)
    (wheel / "compute-sanitizer").symlink_to(tool)
    monkeypatch.delenv("CUDA_HOME")
    monkeypatch.setattr(sanitizer, "TOOLKITS", ())
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert sanitizer.find() == str(wheel / "compute-sanitizer")


def test_a_tool_that_takes_too_long_takes_no_time_of_the_others(tmp_path, monkeypatch):
    tool = tmp_path / "compute-sanitizer"
    tool.write_text(
        '#!/bin/sh\n[ "$2" = racecheck ] && exec sleep 60\n'
        "for last; do :; done\n"
        '[ "$last" = kernels ] && exit 0\nexit 86\n',
        encoding="utf-8",
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    verdicts = sanitizer.run(time.monotonic() + 4)
    # No pass, and no failure.
    assert verdicts.pop("racecheck") == {"not measured": "its time was up"}
    assert [verdict["passed"] for verdict in verdicts.values()] == [True] * 3


def test_a_caught_bug_is_not_a_failed_program(monkeypatch):
    """The tools give the exit code asked for where the program itself succeeds."""

    class CUDARuntimeError(RuntimeError):
        pass

    def synchronize():
        raise CUDARuntimeError

    fake = ModuleType("cupy")
    vars(fake).update(
        cuda=SimpleNamespace(
            Device=lambda: SimpleNamespace(synchronize=synchronize),
            runtime=SimpleNamespace(CUDARuntimeError=CUDARuntimeError),
            set_allocator=lambda allocator: None,
        ),
        RawKernel=lambda code, name: lambda *arguments: None,
        **{name: getattr(np, name) for name in ("empty", "zeros", "int32")},
    )
    monkeypatch.setitem(sys.modules, "cupy", fake)
    monkeypatch.setattr(cases, "cases", lambda small: iter(()))
    monkeypatch.setattr(backends, "get", lambda type, index: None)
    monkeypatch.setattr(checks, "calls", lambda backend: iter(()))
    assert sanitizer.main(["memcheck"]) == 0
    with pytest.raises(CUDARuntimeError):
        sanitizer.main(["kernels"])


def listing(name, kernel):
    """The machine code of one of this folder's kernels for Hopper."""
    text = (Path(gpu.__file__).parent / name).read_text(encoding="utf-8")
    try:
        machine_code.tool("nvdisasm")
        cubin, _ = machine_code.compile_cubin(text.replace("#pragma once", ""), 90)
    except machine_code.Missing as error:
        pytest.skip(f"not run: {error}")
    return machine_code.disassemble(cubin, kernel)


def test_who_misses_the_planted_barrier_has_not_exited():
    lines = listing("planted.cuh", "planted_synccheck")
    before, _, _ = "\n".join(lines).partition("BAR.SYNC")
    assert before != "\n".join(lines)
    assert "EXIT" not in before


@pytest.mark.parametrize(
    ("kernel", "opcode", "others"), [("exp2", "MUFU.EX2", 1.1), ("fma32", "FFMA", 0.05)]
)
def test_a_limit_is_that_of_its_unit_alone(kernel, opcode, others):
    """What else is issued takes less of the time: 8 can be beside an exponential."""
    lines = listing("limits.cuh", f"lucid_bench_{kernel}")
    loop = max(machine_code.loops(lines), key=lambda loop: loop.count(opcode))
    own = loop.count(opcode)
    assert len(loop.instructions) - own <= others * own


@pytest.mark.usefixtures("with_gpu")
def test_what_was_measured_stays_when_the_run_ends(tmp_path, monkeypatch):
    def taken_away(deadline):
        raise KeyboardInterrupt

    monkeypatch.setattr(sanitizer, "run", taken_away)
    out = tmp_path / "gpu.json"
    with pytest.raises(KeyboardInterrupt):
        gpu.main(["--output", str(out)])
    results = json.loads(out.read_text(encoding="utf-8"))["results"]
    assert results["tests"]["passed"] == 3
    assert results["sanitizer"] == {"not measured": "the run ended before"}


@pytest.mark.usefixtures("with_gpu")
def test_a_part_that_ends_in_an_error_is_not_the_end(tmp_path, monkeypatch):
    def broken(deadline):
        raise RuntimeError("no\nmemory")

    monkeypatch.setattr(gpu, "_timings", broken)
    out = tmp_path / "gpu.json"
    assert gpu.main(["--output", str(out)]) == 1
    results = json.loads(out.read_text(encoding="utf-8"))["results"]
    why = {"not measured": "it ended in RuntimeError: no memory"}
    assert results["timings"] == why
    assert results["tests"]["passed"] == 3
    assert results["sanitizer"]["memcheck"] == {"passed": True}


@pytest.mark.usefixtures("with_gpu")
def test_no_part_takes_the_time_of_the_others(tmp_path, monkeypatch):
    left = {}
    for module, name in ((gpu, "_tests"), (gpu, "_timings"), (sanitizer, "run")):

        def part(deadline, name=name):
            left[name] = deadline - time.monotonic()
            return {}

        monkeypatch.setattr(module, name, part)
    out = str(tmp_path / "gpu.json")
    assert gpu.main(["--output", out, "--seconds", "90"]) == 0
    assert left == pytest.approx({"_tests": 36, "_timings": 54, "run": 90}, abs=5)
    assert gpu.main(["--output", out, "--seconds", "90", "--only", "sanitizer"]) == 0
    assert left["run"] == pytest.approx(90, abs=5)


@pytest.mark.usefixtures("with_gpu")
def test_what_cannot_be_written_does_not_begin(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "_tests", lambda deadline: pytest.fail("it began"))
    out = tmp_path / "missing" / "gpu.json"
    assert entry.main(["gpu", "--output", str(out)]) == 5
    said = f"lucid bench: error: {out}: No such file or directory\n"
    assert capsys.readouterr().err == said


def test_tests_count_as_far_as_they_came(tmp_path, monkeypatch):
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n")
    (tmp_path / "test_them.py").write_text(
        "import time, pytest\n"
        "pytestmark = pytest.mark.gpu\n"
        "def test_good(): pass\n"
        "def test_bad(): assert False\n"
        "def test_slow(): time.sleep(60)\n"
    )
    monkeypatch.setattr(gpu.record, "checkout", lambda: tmp_path)
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None)
    began = time.monotonic()
    found = gpu._tests(began + 4)
    assert time.monotonic() - began < 30
    assert (found["passed"], found["failed"]) == (1, 1)
    assert found["cut_short"] == "the tests took longer than 4 s"


def test_a_case_that_fails_is_not_the_end(monkeypatch):
    def broken():
        raise MemoryError("no\nroom")

    bad = cases.Case("bad", broken, 1.0, "rows_per_second", {"a": 1.0})
    good = cases.Case("good", lambda: None, 1.0, "rows_per_second", {"a": 1.0})
    monkeypatch.setattr(limits, "measure", lambda: {"a": 1.0})
    monkeypatch.setattr(limits, "seconds", lambda call: call() or 2.0)
    makers = [broken, lambda: bad, lambda: good]
    monkeypatch.setattr(cases, "cases", lambda: iter(makers))
    rows = gpu._timings(time.monotonic() + 60)["cases"]
    assert [row["case"] for row in rows] == ["number 1", "bad", "good"]
    assert [row.get("error") for row in rows] == [*["MemoryError: no room"] * 2, None]
    results = {"tests": {}, "sanitizer": {}, "timings": {"cases": rows}}
    assert gpu._failed(results)
    assert not gpu._failed(results | {"timings": {"cases": rows[2:]}})


def test_no_part_outlasts_its_time(monkeypatch):
    assert set(gpu._tests(time.monotonic())) == {"not measured"}
    one = cases.Case("one", lambda: None, 1.0, "rows_per_second", {"a": 1.0})
    monkeypatch.setattr(limits, "measure", lambda: {"a": 1.0})
    monkeypatch.setattr(cases, "cases", lambda: iter([lambda: one]))
    late = gpu._timings(time.monotonic() - 1)
    assert late == {"limits": {"a": 1.0}, "cases": [], "cut_short": True}


def test_every_case_can_be_called(monkeypatch):
    """On the CPU, which has the same operations: shapes, dtypes and parameters fit."""
    lucid.set_cpu_engine("numpy")  # which has nothing to compile for each case
    cpu = backends.get("cpu")
    monkeypatch.setattr(backends, "get", lambda type, index: cpu)
    names = set()
    for make in cases.cases(small=True):
        case = make()
        case.call()
        assert case.amount > 0
        assert all(amount > 0 for amount in case.needs.values())
        names.add(case.name)
    assert len(names) > 20


def test_a_time_is_held_to_the_limit_that_binds(monkeypatch):
    rates = {"exp2_per_second": 1e3, "bytes_per_second": 1e6}
    needs = {"exp2_per_second": 500.0, "bytes_per_second": 1.0}
    case = cases.Case("one", lambda: None, 100.0, "rows_per_second", needs)
    monkeypatch.setattr(limits, "measure", lambda: rates)
    monkeypatch.setattr(limits, "seconds", lambda call: 2.0)
    monkeypatch.setattr(cases, "cases", lambda: iter([lambda: case]))
    (row,) = gpu._timings(time.monotonic() + 60)["cases"]
    assert row["rows_per_second"] == 50.0
    assert row["limit"] == "exp2_per_second"
    assert row["fraction_of_limit"] == 0.25
