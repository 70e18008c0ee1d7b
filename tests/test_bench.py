"""The benchmarks run, check what they time, and write whole result files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import cpu, memory, record, render


def test_cpu_times_answers_that_it_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cpu.json"
    assert cpu.main(["--quick", "--threads", "1", "--output", str(path)]) == 0
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["versions"]["numpy"] == np.__version__
    assert document["command"] == "python -m bench cpu --threads 1 --quick"
    assert len(document["results"]) == len(cpu.SIZES) * len(cpu.DTYPES)
    for result in document["results"]:
        assert result["median_seconds"]["lucid"] > 0
        assert result["error_in_uB"]["lucid"] <= 4
    assert "K=1,024" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["cpu.json"]


def test_cpu_times_no_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(case: cpu.Case, threads: int) -> Any:
        return lambda: np.full_like(case.value, -1.0)

    monkeypatch.setattr(cpu, "lucid_log_prob", wrong)
    with pytest.raises(SystemExit, match="lucid is wrong by"):
        cpu.measure(cpu.Case.random(100, 4, "float64"), 1, 1)


def test_error_is_counted_in_units_of_the_bound() -> None:
    case = cpu.Case(*(np.array([x], np.float64) for x in (0.0, 1.0, 0.0, 1.0)))
    exact = -np.log(2 * np.pi) / 2
    condition = abs(exact) + 1
    off = np.array([exact + 3 * 2.0**-53 * condition])
    assert case.error(off) == pytest.approx(3, abs=0.6)


def test_memory_is_told_beyond_input_and_output(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    size = ["--rows", "300000", "--components", "64"]
    assert memory.main([*size, "--output", str(path)]) == 0
    (result,) = json.loads(path.read_text(encoding="utf-8"))["results"]
    assert 0 < result["extra_mb"] <= memory.LIMIT_MB
    assert result["n_by_k_mb"] == pytest.approx(76.8)


def test_a_result_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "results" / "x.json"
    with pytest.raises(TypeError, match="not JSON serializable"):
        record.write(path, "x", [], [], [object()])
    assert not path.exists()
    record.write(path, "x", ["--a"], ["numpy", "no-such-package"], [1])
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["results"] == [1]
    assert document["versions"]["no-such-package"] is None
    assert len(list(path.parent.iterdir())) == 1


def house(tmp_path: Path, results: dict[str, Any]) -> dict[str, str]:
    """The pages of a checkout with these results, by their folder's name."""
    (tmp_path / "README.md").write_text(
        f"Before.\n{render.BEGIN}\nold\n{render.END}\n."
    )
    for name, result in results.items():
        path = tmp_path / "bench" / "results" / f"{name}.json"
        record.write(path, name, [], ["numpy"], result)
    return {path.parent.name: text for path, text in render.pages(tmp_path).items()}


def test_what_was_not_measured_is_said_so(tmp_path: Path) -> None:
    pages = house(tmp_path, {})
    for text in pages.values():
        assert text.lower().count("not measured") == len(render.SECTIONS)
    readme = pages[tmp_path.name]
    assert "Before." in readme
    assert "old" not in readme


def test_measured_figures_are_shown(tmp_path: Path) -> None:
    cases = [{"case": "K=8", "seconds": 2.0, "limit": "exp", "pairs/s": 3e12}]
    verdict = {"passed": True, "clean_exit_code": 0, "planted_bug_caught": True}
    gpu = {
        "device": {
            "name": "H",
            "compute_capability": "9.0",
            "memory_gib": 140.0,
            "driver": "580",
        },
        "tests": {"passed": 7, "failed": 1, "not_run": 2},
        "sanitizer": {"memcheck": verdict, "racecheck": verdict | {"passed": False}},
        "timings": {"limits": {}, "cases": [cases[0] | {"fraction_of_limit": 0.5}]},
    }
    rows = {
        "rows": 10,
        "components": 2,
        "dtype": "float32",
        "million_pairs_per_second": {"lucid": 1200.0},
        "times_as_fast_as_torch": None,
    }
    pages = house(tmp_path, {"cpu": [rows], "gpu": gpu})
    for text in pages.values():
        assert (
            "| float32, N = 10, K = 2 | 1,200 | not measured | not measured |" in text
        )
        assert "7 passed, 1 failed, 2 not run" in text
        assert "memcheck passed, racecheck FAILED" in text
        assert "| K=8 | 3e+12 pairs/s | 50% of exp |" in text
