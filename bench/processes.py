"""The whole run in several new processes, whose times are pooled."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import child, measure

# What this process does itself with the pooled results.
_OWN = ("--processes", "--json", "--plot")
_MEASURED = (0, 1)  # exit codes after which there are results


def run(given: Sequence[str], count: int) -> dict[str, Any]:
    """The result file's fields, pooled over `count` runs of the same command."""
    arguments, documents = _shared(given), []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, count + 1):
            print(f"process {number} of {count}", file=sys.stderr, flush=True)
            path = Path(folder) / f"{number}.json"
            _run_one([*arguments, "--json", str(path)])
            documents.append(json.loads(path.read_text(encoding="utf-8")))
    first = documents[0]
    cells = zip(*(document["results"] for document in documents), strict=True)
    results = [measure.pooled(cell) for cell in cells]
    for cell in results:
        measure.hold_to_limits(cell, first["limits"])
    kept = {name: first[name] for name in ("machine", "device", "threads", "limits")}
    return {**kept, "results": results}


def _run_one(arguments: list[str]) -> None:
    command = [sys.executable, "-m", str(__package__), *arguments]
    environment = child.environment()
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL)
    if done.returncode not in _MEASURED:
        raise SystemExit(done.returncode)


def _shared(given: Sequence[str]) -> list[str]:
    """The arguments without those that are this process's own."""
    kept, words = [], iter(given)
    for word in words:
        if word in _OWN:
            next(words)
        elif word.partition("=")[0] not in _OWN:
            kept.append(word)
    return kept
