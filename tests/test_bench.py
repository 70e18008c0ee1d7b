"""`lucid bench` runs its suites, writes whole result files, and says what is wrong."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import __main__ as entry
from bench import measure, memory, peers, record, run, suites
from bench.progress import Progress
from lucid import backends
from lucid.backends import DeviceUnavailableError
from lucid.cli import main as lucid_main
from lucid.io.errors import OutputError

HOUSE = Path(__file__).resolve().parent.parent
CELL = {
    "suite", "case", "axis", "dtype", "n", "k", "d", "spread", "order", "offset",
    "amount", "unit", "participants", "limit_percent", "limit_name",
}  # fmt: skip
PARTICIPANT = {
    "status", "note", "seconds", "process_medians", "median_seconds", "quartiles",
    "compile_seconds", "extra_mb", "error_uB",
}  # fmt: skip
DOCUMENT = {
    "benchmark", "command", "date", "commit", "machine", "versions", "device",
    "threads", "limits", "results",
}  # fmt: skip
STATUSES = {
    "ok", "wrong", "out of memory", "not installed", "not applicable", "failed",
}  # fmt: skip
# One cell, on the CPU, in an instant.
SMALL = ["--device", "cpu", "--suite", "latency", "--quick", "--dtype", "float32"]


def read(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def test_the_quick_suite_runs_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "quick.json"
    command = [sys.executable, "-m", "bench", "--quick", "--device", "cpu"]
    done = subprocess.run(
        [*command, "--peers", "scipy", "--threads", "1", "--json", str(path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(HOUSE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    document = read(path)
    cells = suites.cells(None, "cpu", quick=True)
    assert set(document) == DOCUMENT
    assert document["versions"]["numpy"] == np.__version__
    assert document["command"].startswith("python -m bench --quick --device cpu")
    assert (document["device"], document["threads"]) == ("cpu", 1)
    assert document["limits"] is None
    assert len(document["results"]) == len(cells) >= 8
    for number, cell in enumerate(document["results"]):
        assert set(cell) == CELL
        assert list(cell["participants"]) == ["lucid", "lucid-numpy", "scipy"]
        for participant in cell["participants"].values():
            assert set(participant) == PARTICIPANT
            assert participant["status"] in STATUSES
            if participant["status"] == "ok":
                assert len(participant["seconds"]) == 1
                assert participant["median_seconds"] > 0
                assert participant["compile_seconds"] >= 0
        ours = cell["participants"]["lucid-numpy"]
        assert ours["status"] == "ok", ours
        assert cell["unit"] == "draws" or ours["error_uB"] <= 4
        # Told while it runs, and in the table at the end.
        assert f"[{number + 1}/{len(cells)}, " in done.stderr
        assert str(cells[number]) in done.stdout
    assert [file.name for file in tmp_path.iterdir()] == ["quick.json"]


def test_who_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for module in ("torch", "numba"):
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delitem(sys.modules, f"bench.peers.{module}", raising=False)
    engine = peers.importlib.import_module("lucid.backends.numpy.engine")
    monkeypatch.setattr(engine, "_numba", lambda: (None, "numba is not installed"))
    path = tmp_path / "x.json"
    given = [*SMALL, "--peers", "torch,cupy", "--json", str(path)]
    assert entry.main(given) == 0
    (cell,) = read(path)["results"]
    status = {name: part["status"] for name, part in cell["participants"].items()}
    assert status == {
        "lucid": "not installed",
        "lucid-numpy": "ok",
        "torch": "not installed",
        "cupy": "not applicable",
    }
    out = capsys.readouterr().out
    assert "not installed: torch (torch is missing: pip install torch)" in out
    assert "not installed: lucid (numba is not installed: pip install " in out
    assert "not applicable: cupy (needs a GPU)" in out


def test_processes_are_pooled(tmp_path: Path) -> None:
    path = tmp_path / "pooled.json"
    given = [*SMALL, "--peers", "scipy", "--processes", "2", "--json", str(path)]
    assert entry.main(given) == 0
    (cell,) = read(path)["results"]
    for name in ("lucid-numpy", "scipy"):
        participant = cell["participants"][name]
        assert len(participant["seconds"]) == 2
        assert participant["process_medians"] == participant["seconds"]
        assert participant["median_seconds"] == np.median(participant["seconds"])


def test_the_median_of_processes_is_that_of_their_medians() -> None:
    def part(*seconds: float) -> dict[str, Any]:
        entry = measure.Entry("torch", "ok", seconds=list(seconds), error=seconds[0])
        entry.extra_bytes, entry.first_seconds = 2_000_000, 1.0
        found = {"torch": entry.document()}
        return measure.document(suites.Cell("mdn", "mdn", "float32", 10, 2), found)

    parts = [part(1.0, 2.0, 9.0), part(3.0, 4.0, 5.0), part(8.0, 8.0, 8.0)]
    pooled = measure.pooled(parts)["participants"]["torch"]
    assert pooled["process_medians"] == [2.0, 4.0, 8.0]
    assert pooled["median_seconds"] == 4.0
    assert sorted(pooled["seconds"]) == [1, 2, 3, 4, 5, 8, 8, 8, 9]
    assert pooled["quartiles"] == [3.0, 8.0]
    assert pooled["error_uB"] == 8.0
    assert pooled["extra_mb"] == 2.0
    # What went wrong in one of them is not outvoted.
    parts[1]["participants"]["torch"]["status"] = "wrong"
    assert measure.pooled(parts)["participants"]["torch"]["status"] == "wrong"


def test_a_wrong_lucid_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = peers.find("lucid-numpy", "cpu", 1)
    monkeypatch.setattr(type(right), "numpy", lambda self, result: result.numpy() + 1)
    assert entry.main([*SMALL, "--peers", "scipy"]) == 1
    assert "lucid-numpy   wrong: off by" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--peers", "torch,pytorch"], "'pytorch' is none of torch, torch-compile"),
        (["--suite", "speed"], "invalid choice: 'speed'"),
        (["--dtype", "float16"], "'float16' is none of float32, float64"),
        (["--n", "0"], "'0' is not a whole number above 0"),
        (["--k", "8,1.5"], "'1.5' is not a whole number above 0"),
        (["--threads", "two"], "'two' is not a whole number above 0"),
        (["--threads", "100000"], "'100000' is more than this machine's "),
        (["speed"], "unrecognized arguments: speed"),
    ],
)
def test_a_wrong_command_line_is_told(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        entry.main(given)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_what_cannot_end_well_does_not_begin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def started(*given: Any) -> Any:
        raise AssertionError("it began to measure")

    monkeypatch.setattr(measure, "measure", started)
    missing = tmp_path / "missing" / "x.json"
    assert entry.main([*SMALL, "--json", str(missing)]) == 5
    assert f"{missing}: No such file or directory" in capsys.readouterr().err
    assert entry.main(["kernels", "--json", str(missing)]) == 5
    said = capsys.readouterr()
    assert said.err == f"lucid bench: error: {missing}: No such file or directory\n"
    assert not said.out
    assert entry.main([*SMALL, "--json", str(tmp_path)]) == 5
    assert "is a folder; name a file" in capsys.readouterr().err
    assert entry.main([*SMALL, "--plot", str(tmp_path / "x.txt")]) == 5
    assert ".png" in capsys.readouterr().err
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    assert entry.main([*SMALL, "--json", str(fifo)]) == 5
    assert "exists and is not a regular file" in capsys.readouterr().err
    for suite, size in (("growth", "d"), ("mdn", "d"), ("latency", "n")):
        given = ["--device", "cpu", "--suite", suite, f"--{size}", "5"]
        assert entry.main(given) == 2
        said = f"no cell of this suite has {size.upper()} as --{size} asks"
        assert said in capsys.readouterr().err
    for name in ("matplotlib", "matplotlib.style", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    assert entry.main([*SMALL, "--plot", str(tmp_path / "x.png")]) == 6
    assert "a plot needs the package matplotlib" in capsys.readouterr().err


def test_inputs_that_no_memory_holds_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sizes = ["--n", str(10**8), "--k", str(10**9)]
    assert entry.main(["--device", "cpu", "--suite", "mdn", *sizes]) == 2
    said = capsys.readouterr().err
    assert "the inputs do not fit in memory; ask for less by --n, --k or --d" in said


def test_a_gpu_that_is_not_there_is_an_error_that_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(type: str, index: int = 0) -> Any:
        raise DeviceUnavailableError("no NVIDIA driver was found")

    monkeypatch.setattr(backends, "get", absent)
    assert lucid_main(["bench", "--device", "cuda"]) == 6
    said = capsys.readouterr()
    assert said.err == "lucid bench: error: no NVIDIA driver was found\n"
    assert not said.out


def test_an_interrupted_run_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def interrupted(*given: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure, "measure", interrupted)
    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    path = tmp_path / "x.json"
    given = [*SMALL, "--peers", "scipy", "--threads", "1", "--json", str(path)]
    assert entry.main(given) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert usable is None or os.sched_getaffinity(0) == usable


def test_results_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "x.png"
    given = ["--device", "cpu", "--suite", "sample", "--dtype", "float32", "--k", "2,4"]
    assert entry.main([*given, "--quick", "--peers", "scipy", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal_and_plain_lines_elsewhere() -> None:
    (cell,) = suites.cells("latency", "cpu", suites.Sizes(("float32",)))
    written = {}
    for stream in (Terminal(), io.StringIO()):
        progress = Progress(1, stream)
        progress.cell(cell)
        progress.step("torch, 1 of 5")
        progress.end()
        written[stream.isatty()] = stream.getvalue()
    title = "[1/1, 0 s] latency: single float32 N=1 K=8"
    erased = "\r\x1b[K"
    assert written == {
        True: f"{erased}{title}: torch, 1 of 5{erased}",
        False: f"{title}\n",
    }


def test_other_commands_stay_beside_the_suite(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        entry.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for name in ("compare", "gpu", "render", "--peers", "--processes"):
        assert name in text
    with pytest.raises(SystemExit):
        entry.main(["gpu", "--help"])
    assert "python -m bench gpu" in capsys.readouterr().out


def test_the_suites_hold_the_sizes_they_promise() -> None:
    score = suites.cells("score", "cpu")
    scalar = {c.k for c in score if c.case == "scalar"}
    assert scalar == {2, 4, 8, 16, 64, 256, 1024, 1025, 4096, 65_536, 1_000_000}
    diagonal = {(c.d, c.k) for c in score if c.case == "diagonal"}
    counts = (16, 64, 1024, 16_384)
    assert diagonal == {(d, k) for d in (2, 3, 4, 8, 16, 32, 64, 128) for k in counts}
    for name, values in (
        ("dtype", {"float32", "float64"}),
        ("spread", {3, 30}),
        ("order", {"random", "sorted"}),
        ("offset", {0, 10_000}),
    ):
        assert {getattr(cell, name) for cell in score} == values
    assert {c.k for c in suites.cells("sample", "cpu")} == {2, 16, 1024, 1_000_000}
    large = {(c.n, c.k) for c in suites.cells("categorical", "cuda")}
    assert {(8192, 131_072), (1_000_000, 1000)} <= large
    growth = suites.cells("growth", "cpu")
    assert len({c.n * c.k for c in growth if c.axis == "K"}) == 1
    assert len({c.k for c in growth if c.axis == "N"}) == 1
    assert {c.spread for c in growth if c.axis == "K"} == {3, 10, 30}
    whole = suites.cells("all", "cpu")
    assert len(whole) == len(set(whole))
    assert {c.suite for c in whole} == set(suites.SUITES)


def test_sizes_asked_for_replace_the_suites_own() -> None:
    sizes = suites.Sizes(("float64",), (1000, 2000), (5,), (3,))
    cells = suites.cells("score", "cpu", sizes)
    assert {(c.case, c.dtype, c.k, c.d) for c in cells} == {
        ("diagonal", "float64", 5, 3)
    }
    assert {c.n for c in cells} == {1000, 2000}
    (single,) = suites.cells("latency", "cpu", sizes)
    assert (single.n, single.k) == (1, 5)
    assert run._count("1e6") == 1_000_000
    # A tiny size is what was not asked for.
    quick = suites.cells("sample", "cpu", suites.Sizes(k=(1000,)), quick=True)
    assert {c.k for c in quick} == {1000}
    assert {c.k for c in suites.cells("sample", "cpu", quick=True)} == {2, 16, 64}


def test_a_result_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "results" / "x.json"
    path.parent.mkdir()
    with pytest.raises(TypeError, match="not JSON serializable"):
        record.write(path, "x", [], [], [object()])
    assert not path.exists()
    record.write(path, "x", ["--a"], ["numpy", "no-such-package"], [1], threads=2)
    document = read(path)
    assert document["results"] == [1]
    assert document["threads"] == 2
    assert document["versions"]["no-such-package"] is None
    assert len(list(path.parent.iterdir())) == 1
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="is not a regular file"):
        record.write(tmp_path / "folder", "x", [], [], [1])
    assert {at.name for at in tmp_path.iterdir()} == {"results", "folder"}


def test_memory_is_told_as_people_say_it() -> None:
    assert memory.size(400_000_000_000) == "372.5 GiB"
    assert memory.size(512) == "512 B"
