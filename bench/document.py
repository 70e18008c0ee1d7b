"""A document of results: read, checked, and its cells named and compared."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .peers import LUCID

Cell = dict[str, Any]

# What tells one cell from another; all else in it was measured.
IDENTITY = (
    "suite", "case", "axis", "dtype", "n", "k", "d", "spread", "order", "offset",
)  # fmt: skip
# In the order of the tables' columns.
NAMES = {
    "lucid": "lucid",
    "lucid-numpy": "lucid (NumPy)",
    "torch": "torch eager",
    "torch-compile": "torch.compile",
    "jax": "JAX",
    "sklearn": "scikit-learn",
    "scipy": "SciPy",
    "numpyro": "NumPyro",
    "keops": "KeOps",
    "cupy": "CuPy",
}
# Statuses of one that took no part.
ABSENT = ("not installed", "not applicable")
_USUAL_SPREAD = 3
# Whatever tells where a document comes from.
_ORIGIN = ("command", "date", "commit")
_MACHINE = ("cpu", "cores", "memory_gib", "system")


def load(path: Path, mapping: bool = False) -> dict[str, Any]:
    """The document at `path`; ValueError says what came instead of one.

    Its results are a list of cells, or with `mapping` the parts of `bench gpu`.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(error.strerror or type(error).__name__) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error})") from error
    kind, what = (dict, "mapping") if mapping else (list, "list")
    if not isinstance(document, dict) or not isinstance(document.get("results"), kind):
        raise ValueError(f"it is JSON without a {what} named 'results'")
    for name in ("machine", "versions"):
        if not isinstance(document.get(name), dict):
            raise ValueError(f"it has no {name!r}")
    for part, names in ((document, _ORIGIN), (document["machine"], _MACHINE)):
        for name in names:
            if name not in part:
                raise ValueError(f"it has no {name!r}")
    if mapping:
        return document
    if str(document.get("device")).partition(":")[0] not in ("cpu", "cuda"):
        raise ValueError("its 'device' is neither cpu nor cuda")
    for number, cell in enumerate(document["results"]):
        try:
            _check(cell)
        except (
            *(AttributeError, KeyError, OverflowError, TypeError, ValueError),
        ) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"results[{number}] is not a measured cell: {what}") from (
                error
            )
    return document


def _check(cell: Cell) -> None:
    hash(identity(cell))
    label(cell)
    float(cell["amount"])
    cell["unit"]
    for name, measured in cell["participants"].items():
        if measured["status"] == "ok":
            low, high = measured["quartiles"]
            # Of several processes, the median is not one of the pooled times.
            if not (0 < low <= high and measured["median_seconds"] > 0):
                raise ValueError(f"the times of {name} are not positive, in order")


def identity(cell: Cell) -> tuple[Any, ...]:
    """The same for the same cell of two documents."""
    return tuple(cell[name] for name in IDENTITY)


def label(cell: Cell) -> str:
    """A cell's sizes, and whatever is not usual about it."""
    parts = [f"N = {cell['n']:,}"] if cell["n"] is not None else []
    parts += [f"K = {cell['k']:,}"] if cell["k"] is not None else []
    parts += [f"D = {cell['d']:,}"] if cell["d"] not in (None, 1) else []
    parts += [f"spread {cell['spread']:g}"] if is_spread_out(cell) else []
    parts += [cell["order"]] if cell["order"] not in (None, "random") else []
    parts += [f"offset {cell['offset']:,}"] if cell["offset"] else []
    return ", ".join(parts)


def is_usual(cell: Cell) -> bool:
    """Means 3 standard deviations apart or so, rows in random order, no offset."""
    usual_order = cell["order"] in (None, "random")
    return not is_spread_out(cell) and usual_order and not cell["offset"]


def is_spread_out(cell: Cell) -> bool:
    return cell["spread"] not in (None, 0, _USUAL_SPREAD)


def participants(cells: Iterable[Cell]) -> list[str]:
    """Who is in any of the cells, in the order of NAMES."""
    found = dict.fromkeys(name for cell in cells for name in cell["participants"])
    return [*(n for n in NAMES if n in found), *(n for n in found if n not in NAMES)]


def seconds(cell: Cell, name: str) -> float | None:
    """The median time of a participant whose result was right; else None."""
    measured = cell["participants"].get(name, {})
    return float(measured["median_seconds"]) if measured.get("status") == "ok" else None


def best_peer(cell: Cell) -> str | None:
    """Who of the others was fastest; None where none was measured."""
    times = {
        name: seconds(cell, name) or math.inf
        for name in cell["participants"]
        if name not in LUCID
    }
    best = min(times, key=times.__getitem__, default=None)
    return best if best is not None and math.isfinite(times[best]) else None


def ratio(cell: Cell, name: str) -> float | None:
    """How many times as fast as the best peer a participant is."""
    peer, own = best_peer(cell), seconds(cell, name)
    if peer is None or own is None:
        return None
    return (seconds(cell, peer) or math.nan) / own


def figure(number: float) -> str:
    """Three digits, or all of those before the point where these are few."""
    for least, form in ((1e7, ".3g"), (100, ",.0f"), (10, ".1f"), (1, ".2f")):
        if abs(number) >= least:
            return format(number, form)
    return format(number, ".3g")


def origin(document: dict[str, Any]) -> str:
    """Machine, versions, date, commit and command of a document."""
    machine, versions = document["machine"], document["versions"]
    packages = ", ".join(
        f"{package} {version or 'absent'}" for package, version in versions.items()
    )
    threads = document.get("threads")
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}; "
        + (f"{threads} threads; " if threads else "")
        + f"{packages}; {document['date'][:10]}, commit "
        f"{document['commit'] or 'unknown'}: `{document['command']}`"
    )
