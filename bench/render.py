"""Turns bench/results/*.json into pages and plots, and says where these differ."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lucid.io.writer import NewFile

from . import plot, record, report
from .document import load, origin
from .limits import PASSED
from .report import NOT_MEASURED

BEGIN = "<!-- measured: begin (written by `python -m bench render`) -->"
END = "<!-- measured: end -->"
DEVICES = {"cpu": "CPU", "cuda": "GPU"}
# The result file of `python -m bench gpu`, which has a form of its own.
GPU = "gpu"

Documents = dict[str, dict[str, Any]]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench render", description=__doc__)
    parser.parse_args(argv)
    root = record.checkout()
    if root is None:
        raise SystemExit("bench/results is part of a checkout; there is none here")
    try:
        files = pages(root) | plots(root)
    except ValueError as error:
        raise SystemExit(f"bench render: {error}") from error
    folder = plot_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        with NewFile(path) as file:
            file.write(text.encode())
        print(f"written to {path}")
    for path in sorted(set(folder.glob("*.svg")) - files.keys()):
        path.unlink()
        print(f"removed {path}")
    return 0


def plot_folder(root: Path) -> Path:
    return root / "bench" / "results" / "plots"


def pages(root: Path) -> dict[Path, str]:
    """The text of every page that shows results, as it should be."""
    documents, gpu = _documents(root)
    readme = root / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    block = "\n".join(_block(documents, gpu))
    return {
        root / "bench" / "results" / "README.md": "\n".join(
            [*_page(documents, gpu), ""]
        ),
        readme: f"{before}{BEGIN}\n\n{block}\n{END}{after}",
    }


def plots(root: Path) -> dict[Path, str]:
    """The text of every plot, as it should be; needs matplotlib if there is any."""
    return {
        plot_folder(root) / f"{stem}-{name}.svg": text
        for stem, document in _documents(root)[0].items()
        for name, text in plot.svgs(document["results"]).items()
    }


def _documents(root: Path) -> tuple[Documents, dict[str, Any] | None]:
    """The results of `lucid bench` by their file's name, and those of `bench gpu`."""
    documents, gpu = {}, None
    for path in sorted((root / "bench" / "results").glob("*.json")):
        try:
            document = load(path, mapping=path.stem == GPU)
        except ValueError as error:
            raise ValueError(
                f"{path}: expected results of `lucid bench --json`, but {error}; "
                "measure again, or move the file out of this folder"
            ) from error
        if path.stem == GPU:
            gpu = document
        else:
            documents[path.stem] = document
    return documents, gpu


def _page(documents: Documents, gpu: dict[str, Any] | None) -> list[str]:
    """All that was measured, with the machine and the command of each."""
    lines = [
        "# Measured results",
        "",
        "Written by `python -m bench render` from the JSON files in this folder, each",
        "written by the command it names. Speeds are by the medians of the times, in",
        "millions a second of what the section says, the latency in µs a call. In bold",
        "the best peer; in brackets, how many times as fast as that lucid is. Unless a",
        "row says otherwise, the components' means are spread over 3 standard",
        "deviations, the rows are in random order and nothing is offset. A result was",
        "checked before its time counts; errors are in units of u·B, u the rounding",
        "unit and B the condition of the sum. lucid compiles with Numba on the CPU and",
        "runs on CuPy on a GPU; lucid (NumPy) is what runs on the CPU without Numba.",
        "",
    ]
    for stem, document in documents.items():
        lines += [f"## {_device(document)}: {stem}.json", "", origin(document), ""]
        if document.get("limits"):
            rates = (f"{name} {rate:.3g}" for name, rate in document["limits"].items())
            lines += [f"The device's limits, in the same run: {', '.join(rates)}."]
            lines += [f"({PASSED}.)", ""]
        lines += [*report.summary(_sections(document)), ""]
        for title, cells in _sections(document):
            unit = "" if cells[0]["unit"] == "calls" else f" ({cells[0]['unit']})"
            lines += [f"### {title}{unit}", ""]
            for name, heading in _pictures(cells):
                lines += [f"![{heading}](plots/{stem}-{name}.svg)", ""]
            lines += [*report.section(cells), ""]
    for device in DEVICES.values():
        if device not in map(_device, documents.values()):
            lines += [f"## {device}", "", f"{NOT_MEASURED.capitalize()}.", ""]
    lines += ["## GPU: tests, sanitizers and timings", ""]
    if gpu is None:
        lines += [f"{NOT_MEASURED.capitalize()}.", ""]
    else:
        lines += [*_gpu(gpu), *_timings(gpu), "", origin(gpu), ""]
    return lines[:-1]


def _block(documents: Documents, gpu: dict[str, Any] | None) -> list[str]:
    """The headlines, for the house's README."""
    lines = []
    for device in DEVICES.values():
        found = [d for d in documents.values() if _device(d) == device]
        if not found:
            lines += [f"{device}, beside its peers: {NOT_MEASURED}.", ""]
            continue
        cells = [cell for document in found for cell in document["results"]]
        where = dict.fromkeys(map(_short_origin, found))
        lines += [
            f"{device}: {'; '.join(where)}. Millions a second, or for one value µs a",
            "call. In brackets: how many times as fast as the best of all peers.",
            "",
            *report.headlines(cells),
            "",
        ]
    if gpu is None:
        lines += [f"GPU, tests and sanitizers: {NOT_MEASURED}.", ""]
    else:
        lines += [*_gpu(gpu), ""]
    return lines


def _sections(document: dict[str, Any]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for title, suite, case in report.SECTIONS:
        cells = report.cells_of(document["results"], suite, case)
        if cells:
            yield title, cells


def _pictures(cells: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for panel in plot.PANELS:
        if plot.chosen(panel, cells):
            yield panel.name, panel.title


def _device(document: dict[str, Any]) -> str:
    return DEVICES[str(document["device"]).partition(":")[0]]


def _short_origin(document: dict[str, Any]) -> str:
    """Machine and date; commit and command stand with the tables."""
    machine = document["machine"]
    device = machine.get("gpu", {}).get("name") or machine["cpu"]
    return f"{device}, {document['threads']} threads, {document['date'][:10]}"


def _gpu(document: dict[str, Any]) -> list[str]:
    """What `bench gpu` found, without its timings."""
    results = document["results"]
    device, tests, tools = results["device"], results["tests"], results["sanitizer"]
    verdicts = [
        f"{name} {_left_out(verdict) or ('passed' if verdict['passed'] else 'FAILED')}"
        for name, verdict in tools.items()
        if isinstance(verdict, dict)
    ]
    return [
        f"{device['name']} (compute capability {device['compute_capability']}, "
        f"{device['memory_gib']} GiB, driver {device['driver']}).",
        "",
        f"- tests: {_left_out(tests) or _counts(tests)}",
        f"- compute-sanitizer: {_left_out(tools) or ', '.join(verdicts)}",
    ]


def _timings(document: dict[str, Any]) -> list[str]:
    timings = document["results"]["timings"]
    if _left_out(timings):
        return [f"- timings: {_left_out(timings)}"]
    lines = [
        "",
        "| timing | rate | of the limit that binds |",
        "| --- | ---: | ---: |",
    ]
    fixed = {"case", "seconds", "limit", "fraction_of_limit"}
    for row in timings["cases"]:
        if "error" in row:
            lines.append(f"| {row['case']} | {report.on_a_line(row['error'])} | |")
            continue
        (unit,) = row.keys() - fixed
        lines.append(
            f"| {row['case']} | {row[unit]:.3g} {unit} | "
            f"{row['fraction_of_limit']:.0%} of {row['limit']} |"
        )
    if timings.get("cut_short"):
        lines += ["", "The time did not suffice for the other timings."]
    return lines


def _left_out(part: dict[str, Any]) -> str:
    reason = part.get(NOT_MEASURED)
    return f"{NOT_MEASURED}: {reason}" if reason else ""


def _counts(tests: dict[str, Any]) -> str:
    return (
        f"{tests['passed']} passed, {tests['failed']} failed, "
        f"{tests['not_run']} not run"
        + (f"; {tests['cut_short']}" if "cut_short" in tests else "")
    )
