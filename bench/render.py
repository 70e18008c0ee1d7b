"""Turns bench/results/*.json into tables: its README.md and a block of the house's."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from . import record

BEGIN = "<!-- measured: begin (written by `python -m bench render`) -->"
END = "<!-- measured: end -->"
NOT_MEASURED = "not measured"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench render", description=__doc__)
    parser.parse_args(argv)
    root = record.checkout()
    if root is None:
        raise SystemExit("bench/results is part of a checkout; there is none here")
    for path, text in pages(root).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"written to {path}")
    return 0


def pages(root: Path) -> dict[Path, str]:
    """The text of every page that shows results, as it should be."""
    results = root / "bench" / "results"
    documents = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(results.glob("*.json"))
    }
    page = "\n".join([*_page(documents), ""])
    readme = root / "README.md"
    before, _, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    block = "\n".join(_summary(documents))
    return {
        results / "README.md": page,
        readme: f"{before}{BEGIN}\n\n{block}\n{END}{after}",
    }


def _page(documents: dict[str, Any]) -> list[str]:
    """All that was measured, with the machine and the command of each."""
    lines = [
        "# Measured results",
        "",
        "Written by `python -m bench render` from the JSON files in this folder, each",
        "written by the command it names.",
        "",
    ]
    for title, name, table in SECTIONS:
        lines += [f"## {title}", ""]
        if name in documents:
            lines += [*table(documents[name]), "", _origin(documents[name]), ""]
        else:
            lines += [f"{NOT_MEASURED.capitalize()}.", ""]
    return lines[:-1]


def _summary(documents: dict[str, Any]) -> list[str]:
    """The same tables without their origins, for the house's README."""
    lines = []
    for title, name, table in SECTIONS:
        if name in documents:
            lines += [f"{title}.", "", *table(documents[name]), ""]
        else:
            lines += [f"{title}: {NOT_MEASURED}.", ""]
    return lines


def _cpu(document: dict[str, Any]) -> list[str]:
    lines = [
        "| log_prob, normal components | lucid | torch eager | lucid is |",
        "| --- | ---: | ---: | ---: |",
    ]
    for result in document["results"]:
        rate = result["million_pairs_per_second"]
        ratio = result["times_as_fast_as_torch"]
        compared = (
            f"{rate['torch']:,.0f} | {ratio:.1f} times as fast"
            if ratio is not None
            else f"{NOT_MEASURED} | {NOT_MEASURED}"
        )
        lines.append(
            f"| {result['dtype']}, N = {result['rows']:,}, K = {result['components']:,}"
            f" | {rate['lucid']:,.0f} | {compared} |"
        )
    return lines


def _memory(document: dict[str, Any]) -> list[str]:
    lines = [
        "| log_prob, normal components | beyond input, output | an N×K array | time |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {result['dtype']}, N = {result['rows']:,}, K = {result['components']:,} | "
        f"{result['extra_mb']:.1f} MB | {result['n_by_k_mb']:,.0f} MB | "
        f"{result['seconds']:.1f} s |"
        for result in document["results"]
    ]
    return lines


def _gpu(document: dict[str, Any]) -> list[str]:
    results = document["results"]
    device, tests, tools = results["device"], results["tests"], results["sanitizer"]
    lines = [
        f"{device['name']} (compute capability {device['compute_capability']}, "
        f"{device['memory_gib']} GiB, driver {device['driver']}).",
        "",
        f"- tests: {_left_out(tests) or _counts(tests)}",
    ]
    verdicts = [
        f"{name} {'passed' if verdict['passed'] else 'FAILED'}"
        for name, verdict in tools.items()
        if isinstance(verdict, dict)
    ]
    lines += [f"- compute-sanitizer: {_left_out(tools) or ', '.join(verdicts)}"]
    timings = results["timings"]
    if _left_out(timings):
        return [*lines, f"- timings: {_left_out(timings)}"]
    lines += [
        "",
        "| timing | rate | of the limit that binds |",
        "| --- | ---: | ---: |",
    ]
    fixed = {"case", "seconds", "limit", "fraction_of_limit"}
    for row in timings["cases"]:
        (unit,) = row.keys() - fixed
        lines.append(
            f"| {row['case']} | {row[unit]:.3g} {unit} | "
            f"{row['fraction_of_limit']:.0%} of {row['limit']} |"
        )
    return lines


def _left_out(part: dict[str, Any]) -> str:
    reason = part.get(NOT_MEASURED)
    return f"{NOT_MEASURED}: {reason}" if reason else ""


def _counts(tests: dict[str, Any]) -> str:
    return (
        f"{tests['passed']} passed, {tests['failed']} failed, "
        f"{tests['not_run']} not run"
    )


def _origin(document: dict[str, Any]) -> str:
    machine, versions = document["machine"], document["versions"]
    packages = ", ".join(
        f"{package} {version or 'absent'}" for package, version in versions.items()
    )
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}; {packages}; {document['date'][:10]}, commit "
        f"{document['commit'] or 'unknown'}: `{document['command']}`"
    )


SECTIONS = (
    ("CPU, million (value, component) pairs per second, medians of five", "cpu", _cpu),
    ("CPU, peak memory", "memory", _memory),
    ("GPU", "gpu", _gpu),
)
