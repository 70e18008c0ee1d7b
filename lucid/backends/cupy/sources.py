"""The kernels' text: found once, with every header put in place of its include.

CuPy keys its cache of compiled kernels by the text it is handed, so a header that is
only named there could change unseen.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"\n]+)"[^\n]*$', re.MULTILINE)
_ONCE = re.compile(r"^[ \t]*#[ \t]*pragma[ \t]+once[^\n]*\n?", re.MULTILINE)
# The file that tells the folder: a name like `kernels` alone may be someone else's.
_LANDMARK = "logsumexp.cuh"


@functools.cache
def folder() -> Path:
    """The folder of the kernels: inside the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[2]
    candidates = (package / "kernels", package.parent / "kernels")
    for candidate in candidates:
        if (candidate / _LANDMARK).is_file():
            return candidate.resolve()
    raise FileNotFoundError(
        f"lucid's CUDA sources are missing: no {_LANDMARK} in "
        f"{' or '.join(map(str, candidates))}. Reinstall lucid-distributions, or "
        "run from a complete checkout."
    )


@functools.cache
def inlined(*headers: str) -> str:
    """The text of `headers` (paths below the folder), each file in it once."""
    seen: set[Path] = set()
    return "\n".join(_expand(folder() / header, seen) for header in headers)


def _expand(path: Path, seen: set[Path]) -> str:
    path = path.resolve()
    if path in seen:
        return ""
    seen.add(path)
    if not path.is_relative_to(folder()):
        raise ValueError(f"{path} lies outside {folder()}")
    text = _ONCE.sub("", path.read_text(encoding="utf-8"))

    def expand(match: re.Match[str]) -> str:
        beside = path.parent / match[1]
        return _expand(beside if beside.is_file() else folder() / match[1], seen)

    return _INCLUDE.sub(expand, text)
