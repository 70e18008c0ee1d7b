"""`python -m bench gpu`: what it does without a GPU, and what it makes of its parts."""

from __future__ import annotations

import json
import stat
import time

import pytest

import lucid
from bench import __main__ as entry
from bench import cases, gpu, limits, sanitizer
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
        "<testsuites><testsuite>"
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
    # One that takes too long is no pass, and no failure.
    tool.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert set(sanitizer.run(time.monotonic() + 0.2)) == {"not measured"}


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


def test_no_part_outlasts_its_time(monkeypatch):
    assert set(gpu._tests(time.monotonic())) == {"not measured"}
    one = cases.Case("one", lambda: None, 1.0, "rows_per_second", {"a": 1.0})
    monkeypatch.setattr(limits, "measure", lambda: {"a": 1.0})
    monkeypatch.setattr(cases, "cases", lambda: iter([one]))
    late = gpu._timings(time.monotonic() - 1)
    assert late == {"limits": {"a": 1.0}, "cases": [], "cut_short": True}


def test_every_case_can_be_called(monkeypatch):
    """On the CPU, which has the same operations: shapes, dtypes and parameters fit."""
    lucid.set_cpu_engine("numpy")  # which has nothing to compile for each case
    cpu = backends.get("cpu")
    monkeypatch.setattr(backends, "get", lambda type, index: cpu)
    names = set()
    for case in cases.cases(small=True):
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
    monkeypatch.setattr(cases, "cases", lambda: iter([case]))
    (row,) = gpu._timings(time.monotonic() + 60)["cases"]
    assert row["rows_per_second"] == 50.0
    assert row["limit"] == "exp2_per_second"
    assert row["fraction_of_limit"] == 0.25
