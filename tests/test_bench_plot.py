"""Plots of results: the same bytes anywhere, text as text, whole files only."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from bench import plot
from lucid.io.errors import MissingPackageError, OutputError
from tests.results_document import CELLS, DOCUMENT, LATENCY

HOUSE = Path(__file__).resolve().parent.parent


def test_the_same_results_give_the_same_svg(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "cpu.json"
    path.write_text(json.dumps(DOCUMENT), encoding="utf-8")
    # Whatever a user's own style, hash seed or order of the cells is.
    (tmp_path / "matplotlibrc").write_text("axes.facecolor: red\nsvg.fonttype: path\n")
    program = (
        "import sys; from pathlib import Path; from bench import document, plot; "
        f"results = document.load(Path({str(path)!r}))['results']; "
        f"sys.stdout.write(repr(plot.svgs(results[::-1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(HOUSE), "PYTHONHASHSEED": "7", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == repr(plot.svgs(CELLS))


def test_an_svg_shows_the_figures_as_text() -> None:
    pytest.importorskip("matplotlib")
    pictures = plot.svgs(CELLS)
    assert list(pictures) == ["scalar", "diagonal", "draws", "growth-k", "growth-n"]
    for text in pictures.values():
        ElementTree.fromstring(text)
        assert re.search(r">\s*lucid\s*</text>", text)
        assert not re.search(r"\d\.\d{3,}", re.sub(r">[^<]*<", "><", text))
        assert "Created with" not in text
        assert "dc:date" not in text
    assert ">torch eager</text>" in pictures["draws"]
    # Nobody's line without a time of theirs.
    assert "JAX" not in pictures["scalar"]
    assert ">diagonal mixture, K = 64, float32</text>" in pictures["diagonal"]


def test_throughput_is_in_millions_a_second() -> None:
    pytest.importorskip("matplotlib")
    # 2 and 100 million draws a second, with no room left above.
    ticks = re.findall(
        r'text-anchor: end"[^>]*>(\S+)</text>', plot.svgs(CELLS)["draws"]
    )
    assert ticks == ["1", "10", "100"]


def test_a_point_stands_where_its_time_is() -> None:
    pytest.importorskip("matplotlib")
    # The growth with N has points 1e3, 1e5 and times 1e-5, 1e-3: corners of the panel.
    (line,) = re.findall(
        r'd="M (\S+) (\S+)\nL (\S+) (\S+)\n" clip-path="[^"]*" style="fill: none; '
        r"stroke: #1f77b4",
        plot.svgs(CELLS)["growth-n"],
    )
    panel = re.findall(
        r'id="patch_2">\s*<path d="M (\S+) (\S+)\nL (\S+) \S+\nL \S+ (\S+)',
        plot.svgs(CELLS)["growth-n"],
    )
    left, bottom, right, top = panel[0]
    assert line == (left, bottom, right, top)


def test_a_plot_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for results in (CELLS, [LATENCY]):
        plot.plot(results, tmp_path / "x.png")
        assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputError, match=r"must end in \.png, \.svg, \.pdf"):
        plot.plot(CELLS, tmp_path / "x.txt")
    with pytest.raises(OutputError, match="No such file or directory"):
        plot.plot(CELLS, tmp_path / "none" / "x.png")
    assert [path.name for path in tmp_path.iterdir()] == ["x.png"]


def test_matplotlib_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("matplotlib", "matplotlib.style", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackageError, match=r"pip install '.*\[plot\]'"):
        plot.plot(CELLS, tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []
