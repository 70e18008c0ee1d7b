"""Make the frozen files: `python -m tests.corpus.generate [float32|float64] [case …]`.

Given case names, only those are computed anew and the other lines are kept.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterable

import mpmath

from tests.corpus import FOLDER, RECIPES, frozen, inputs, parse
from tests.corpus.inputs import Inputs
from tests.corpus.reference import Expected, Reference

HEADER = """\
# Log densities by mpmath at 60 digits, from inputs taken as exact binary values.
# Made by `python -m tests.corpus.generate`; the inputs are in its recipes.
# @ case digest-of-inputs, then one line a value: log density, bound B, promise.
"""
DTYPES = ("float32", "float64")
SUMS = FOLDER / "SHA256SUMS"


def line(expected: Expected) -> str:
    """A row as it is frozen: 34 digits hold a pair of float64."""
    y = expected.log_prob
    # mpmath writes infinities as +inf.
    text = mpmath.nstr(y, 34, strip_zeros=True).lstrip("+")
    promise = "strict" if expected.strict else "infinity-allowed"
    return f"{text} {expected.bound:.9g} {promise}"


def rows(given: Inputs, dtype: str, chosen: Iterable[int]) -> list[str]:
    """The frozen lines of some rows."""
    return [line(expected) for expected in Reference(dtype).rows(given, chosen)]


def checksums() -> str:
    """The text of SHA256SUMS for the frozen files as they are."""
    digests = {
        frozen(dtype).name: hashlib.sha256(frozen(dtype).read_bytes()).hexdigest()
        for dtype in DTYPES
    }
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())


def generate(dtype: str, names: set[str]) -> None:
    """Compute the named cases (all, if none is named) and write the dtype's file."""
    path = frozen(dtype)
    kept = parse(path.read_text(encoding="utf-8")) if path.exists() and names else {}
    parts = [HEADER]
    for name in RECIPES:
        if name in kept and name not in names:
            digest, lines = kept[name]
        elif names and name not in names:
            continue
        else:
            started, given = time.monotonic(), inputs(name, dtype)
            digest = given.digest()
            lines = rows(given, dtype, range(len(given.values)))
            print(f"{dtype} {name}: {time.monotonic() - started:.1f} s", flush=True)
        parts.append("\n".join([f"@ {name} {digest}", *lines]) + "\n")
    path.write_text("".join(parts), encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Write the frozen files and their checksums."""
    unknown = set(arguments) - set(RECIPES) - set(DTYPES)
    if unknown:
        raise SystemExit(f"no such case: {', '.join(sorted(unknown))}")
    for dtype in [d for d in DTYPES if d in arguments] or DTYPES:
        generate(dtype, set(arguments) - set(DTYPES))
    SUMS.write_text(checksums(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
