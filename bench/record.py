"""What a benchmark writes: its numbers, and where, when and from what they came."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lucid.io.errors import OutputError, reason
from lucid.io.writer import NewFile

# Packages that are installed under several names.
_DISTRIBUTIONS = {"cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy")}

_HOUSE = Path(__file__).resolve().parent.parent


def checkout() -> Path | None:
    """The root of the checkout that this file lies in; None in an installed package."""
    return _HOUSE if (_HOUSE / "pyproject.toml").is_file() else None


def default_path(benchmark: str) -> Path:
    """bench/results/<benchmark>.json of a checkout, else one in the current folder."""
    root = checkout()
    name = f"{benchmark}.json"
    return Path(f"lucid-{name}") if root is None else root / "bench" / "results" / name


def write(
    path: Path,
    benchmark: str,
    arguments: Sequence[str],
    packages: Sequence[str],
    results: Any,
    **more: Any,
) -> None:
    """Writes one result file, whole or not at all; `more` are fields of its own.

    Raises OutputError where it cannot be written.
    """
    document = {
        "benchmark": benchmark,
        "command": shlex.join(["python", "-m", "bench", *arguments]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": machine(),
        "versions": _versions(packages),
        **more,
        "results": results,
    }
    with NewFile(path) as file:
        file.write(f"{json.dumps(document, indent=2, ensure_ascii=False)}\n".encode())


def check_writable(path: Path) -> None:
    """OutputError before anything is measured, not after."""
    if path.is_dir():
        raise OutputError(path, "is a folder; name a file")
    if path.exists() and not path.is_file():
        raise OutputError(path, "exists and is not a regular file")
    try:
        with tempfile.TemporaryFile(dir=path.resolve().parent):
            pass
    except OSError as error:
        raise OutputError(path, reason(error), error.errno) from error


def _commit() -> str | None:
    """The commit measured, marked where files of the checkout differ from it."""
    root = checkout()
    # Pages that earlier results were rendered into are no difference.
    code = [".", ":!bench/results", ":!README.md"]
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD") if root else None
        changed = commit and _git(root, "status", "--porcelain", "--", *code)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit} and uncommitted changes" if changed else commit


def _git(root: Path | None, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """What this machine is."""
    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "memory_gib": round(_memory_bytes() / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
    }


def usable_cores() -> int:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def _versions(packages: Sequence[str]) -> dict[str, str | None]:
    """Each package's version; None for one that is absent."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in packages:
        found = (_version(other) for other in _DISTRIBUTIONS.get(name, (name,)))
        versions[name] = next(filter(None, found), None)
    return versions


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
