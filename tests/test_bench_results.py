"""Results as tables: every figure and every failure is shown; slopes of growth."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import document, growth, render
from tests.results_document import (
    CELLS,
    DOCUMENT,
    DRAWS,
    GPU,
    OFFSET,
    SCALAR,
    cell,
    failed,
    measured,
)


def house(tmp_path: Path, **documents: Any) -> Path:
    """A checkout whose results are these."""
    (tmp_path / "README.md").write_text(
        f"Before.\n{render.BEGIN}\nold\n{render.END}\nAfter.\n", encoding="utf-8"
    )
    (tmp_path / "bench" / "results").mkdir(parents=True)
    for name, text in documents.items():
        path = tmp_path / "bench" / "results" / f"{name}.json"
        path.write_text(json.dumps(text), encoding="utf-8")
    return tmp_path


def texts(tmp_path: Path, **documents: Any) -> tuple[str, str]:
    """The page of all results, and the house's own README."""
    page, readme = render.pages(house(tmp_path, **documents)).values()
    return page, readme


def row(text: str, begins: str) -> list[str]:
    """The cells of the first row of a table that begins so."""
    found = next(line for line in text.splitlines() if line.startswith(f"| {begins}"))
    return [part.strip() for part in re.split(r"(?<!\\)\|", found)[2:-1]]


def test_what_was_not_measured_is_said_so(tmp_path: Path) -> None:
    page, readme = texts(tmp_path)
    assert page.lower().count("not measured") == 3
    assert readme.lower().count("not measured") == 3
    assert readme.startswith("Before.\n")
    assert readme.endswith("After.\n")
    assert "old" not in readme


def test_speeds_are_told_beside_the_best_peer(tmp_path: Path) -> None:
    page, _ = texts(tmp_path, cpu=DOCUMENT)
    assert row(page, "float32, N = 1,000,000, K = 8 |") == [
        "400 (2.00×)",
        "160 (0.8×)",
        "100",
        "**200**",
    ]
    assert row(page, "float32, N = 1,000, K = 64, D = 16") == ["64.0"]
    assert row(page, "float32, N = 1,000,000, K = 16") == ["100 (50.0×)", "**2.00**"]
    # A latency is a time: less is better, and the ratio says so.
    assert row(page, "float32, N = 1, K = 8") == ["20.0 (7.50×)", "**150**"]
    assert "Not installed: JAX." in page
    for name in ("python 3.11.7", "jax absent", "2024-12-01", "commit 0123456789ab"):
        assert name in page
    assert "C, 2 cores, 8.0 GiB, Linux x86_64; 2 threads" in page
    assert "`python -m bench --suite all`" in page


def test_pages_need_no_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.style", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    page, _ = texts(tmp_path, cpu=DOCUMENT)
    assert "![draws of a mixture](plots/cpu-draws.svg)" in page


def test_what_went_wrong_is_shown_in_words(tmp_path: Path) -> None:
    page, _ = texts(tmp_path, cpu=DOCUMENT)
    assert row(page, "float32, N = 2,000,000, K = 8, offset 10,000") == [
        "1,600",
        "out of memory (asked for 40.0 GB)",
        "failed",
        "wrong (8.6e+07 u·B)",
    ]
    assert "torch eager, float32, N = 2,000,000, K = 8, offset 10,000: " in page
    assert "failed: a \\| b c\n" in page


def test_errors_and_memory_have_their_own_tables(tmp_path: Path) -> None:
    page, _ = texts(tmp_path, cpu=DOCUMENT)
    start = "float32, N = 1,000,000, K = 8 |"
    _, errors = page.split("<summary>Largest error", 1)
    assert row(errors, start) == ["1.50", "2.00", "1.75", ""]
    _, memory = page.split("<summary>Peak memory", 1)
    assert row(memory, start) == ["3.25", "4.00", "320", "96.0"]
    _, first = page.split("<summary>First call", 1)
    assert row(first, start) == ["2.50", "0", "0", "0"]
    _, spread = page.split("<summary>Spread", 1)
    assert row(spread, start) == ["2%"] * 4
    assert page.count("<details>") == page.count("</details>") > 4


def test_the_summary_tells_the_least_ratio_and_the_largest_error(
    tmp_path: Path,
) -> None:
    draws = [
        DRAWS | {"k": k, "participants": DRAWS["participants"] | {"torch": measured(t)}}
        for k, t in ((64, 0.04), (256, 0.1))
    ]
    page, _ = texts(tmp_path, cpu=DOCUMENT | {"results": [*CELLS, *draws]})
    assert row(page, "Scoring, scalar components") == [
        "2",
        "2.00, 2.00",  # at an offset there is no peer with a right result
        "0.8, 0.8, 1 out of memory",
        "2.00 u·B",
        "4.00 MB",
    ]
    assert row(page, "Sampling")[1:3] == ["4.00, 10.0", "not measured"]


def test_the_house_shows_headlines_of_each_device(tmp_path: Path) -> None:
    on_gpu = SCALAR | {
        "limit_percent": 81.6,
        "limit_name": "exp",
        "participants": {"lucid": measured(1e-6)},
    }
    cuda = DOCUMENT | {"device": "cuda", "results": [on_gpu]}
    page, readme = texts(tmp_path, cpu=DOCUMENT, cuda=cuda)
    cpu, gpu = readme.split("\nGPU: ")
    start = "scalar, float32, N = 1,000,000, K = 8 (pairs)"
    assert row(cpu, start) == [
        "400 (2.00×)",
        "160 (0.8×)",
        "100",
        "not measured",
        "not installed",
        "**200**",
    ]
    assert row(cpu, "scalar, float32, K = 1,024") == ["not measured"] * 6
    assert row(cpu, "one value")[0] == "20.0 (7.50×)"
    assert row(gpu, start) == ["8,000,000", *["not measured"] * 5]
    assert row(page.split("## GPU: cuda.json")[1], "float32, N = 1,000,000")[1] == (
        "82% of exp"
    )
    assert "offset" not in cpu


def test_headlines_are_of_the_cells_with_the_most_peers(tmp_path: Path) -> None:
    """Whatever the files are called: the same cell may be beside others elsewhere."""
    few = SCALAR | {"participants": {"lucid": measured(0.01), "sklearn": measured(1)}}
    alone = DOCUMENT | {"results": [few]}
    for names in (("a", "b"), ("b", "a")):
        (tmp_path / names[0]).mkdir()
        given = dict(zip(names, (alone, DOCUMENT), strict=True))
        _, readme = texts(tmp_path / names[0], **given)
        found = row(readme, "scalar, float32, N = 1,000,000, K = 8 (pairs)")
        assert found[0] == "400 (2.00×)"


def test_results_of_bench_gpu_are_shown(tmp_path: Path) -> None:
    page, readme = texts(tmp_path, gpu=DOCUMENT | {"results": GPU})
    for text in (page, readme):
        assert "7 passed, 1 failed, 2 not run" in text
        assert "memcheck passed, racecheck FAILED" in text
    assert "| K=8 | 3e+12 pairs/s | 50% of exp |" in page


def test_what_bench_gpu_had_no_time_for_is_shown(tmp_path: Path) -> None:
    late = {"not measured": "its time was up"}
    parts = GPU | {
        "tests": GPU["tests"] | {"cut_short": "the tests took longer than 240 s"},
        "sanitizer": GPU["sanitizer"] | {"initcheck": late},
        "timings": {
            "limits": {},
            "cases": [{"case": "K=9", "error": "E: a | b"}],
            "cut_short": True,
        },
    }
    page, readme = texts(tmp_path, gpu=DOCUMENT | {"results": parts})
    for text in (page, readme):
        assert "2 not run; the tests took longer than 240 s" in text
        assert "racecheck FAILED, initcheck not measured: its time was up" in text
    assert "| K=9 | E: a \\| b | |" in page
    assert "The time did not suffice for the other timings." in page


def test_render_says_which_file_is_no_result(tmp_path: Path) -> None:
    older = DOCUMENT | {"results": [{"rows": 3}]}
    with pytest.raises(
        ValueError, match=r"old\.json: expected results of .*no 'suite'"
    ):
        render.pages(house(tmp_path, old=older))


def test_exact_growth_has_exact_slopes() -> None:
    by_k, by_n = growth.slopes(CELLS)
    assert (by_k.axis, by_k.points, by_n.axis, by_n.points) == ("K", 3, "N", 2)
    assert by_k.slope == pytest.approx(0.25, abs=1e-12)
    assert by_k.error == pytest.approx(0.0, abs=1e-12)
    assert by_n.slope == pytest.approx(1.0, abs=1e-12)
    assert by_n.error is None  # two points leave nothing to estimate it from
    (line,) = (t for t in growth.table(CELLS) if "lucid" in t)
    assert line == "| scalar, float32 | lucid | 0.250 ± 0.000 | 1.000 |"
    apart = [cell | {"spread": 30} for cell in CELLS if cell["suite"] == "growth"]
    lines = [t for t in growth.table([*CELLS, *apart]) if "lucid" in t]
    assert lines == [line, line.replace("float32", "float32, spread 30")]


def test_slopes_are_those_of_least_squares() -> None:
    sizes, times = [8, 32, 512, 4096, 65_536], [0.3, 0.9, 1.4, 8.0, 21.0]
    cells = [
        cell("growth", "scalar", 1, k, axis="K", participants={"jax": measured(t)})
        for k, t in zip(sizes, times, strict=True)
    ]
    cells[2]["participants"]["torch"] = measured(1.0)  # alone: no slope
    cells[3]["participants"]["jax"] = failed("out of memory")
    kept = [0, 1, 2, 4]
    x, y = (np.log(np.array(given)[kept]) for given in (sizes, times))
    expected, covariance = np.polyfit(x, y, 1, cov=True)
    (slope,) = growth.slopes(cells)
    assert (slope.participant, slope.points) == ("jax", 4)
    assert slope.slope == pytest.approx(expected[0], rel=1e-12)
    assert slope.error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-9)


def test_render_writes_pages_and_plots_and_removes_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    root = house(tmp_path, cpu=DOCUMENT)
    folder = render.plot_folder(root)
    folder.mkdir()
    (folder / "older-scalar.svg").touch()
    monkeypatch.setattr(render.record, "checkout", lambda: root)
    assert render.main([]) == 0
    for path, text in (render.pages(root) | render.plots(root)).items():
        assert path.read_text(encoding="utf-8") == text
    assert len(render.plots(root)) == 5
    assert set(folder.iterdir()) == render.plots(root).keys()
    assert "old\n" not in (root / "README.md").read_text(encoding="utf-8")


def test_ratios_are_of_the_best_right_peer() -> None:
    assert document.best_peer(SCALAR) == "sklearn"
    assert document.ratio(SCALAR, "lucid") == pytest.approx(2.0)
    assert document.best_peer(OFFSET) is None
    assert document.ratio(OFFSET, "lucid") is None
    assert document.ratio(SCALAR, "jax") is None
