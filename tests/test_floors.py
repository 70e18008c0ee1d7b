"""The house stands on its floors: who imports whom, and how long a file may be."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parent.parent
MODULES = {
    ".".join(path.relative_to(HOUSE).with_suffix("").parts): path
    for path in sorted(HOUSE.glob("lucid/**/*.py"))
}
# From the ground up. A module stands on the floor of the longest beginning it has, and
# imports from that floor and below. `lucid/__init__.py` re-exports all but the cli.
FLOORS = [
    {"lucid.backends."},
    {"lucid._", "lucid.cuda.", "lucid.distributions.constraints."},
    {"lucid.distributions."},
    {"lucid.io."},
    {"lucid.__init__."},
    {"lucid.cli.", "lucid.__main__."},
    {"bench.", "lucid.bench."},
]
LONGEST_FILE = 400


def floor(module: str) -> int:
    name = "lucid.__init__." if module == "lucid" else f"{module}."
    heights = {start: height for height, floor in enumerate(FLOORS) for start in floor}
    fits = [start for start in heights if name.startswith(start)]
    assert fits, f"{module} stands on no floor: give it one in {__file__}"
    return heights[max(fits, key=len)]


def imports(module: str) -> set[str]:
    """What a module imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            up = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:  # a name of the package, or a module in it
                name = f"{base}.{alias.name}"
                known = {name, f"{name}.__init__"} & MODULES.keys()
                found.add(name if known else base)
        elif isinstance(node, ast.Call) and "import_module" in ast.dump(node.func):
            found |= {str(a.value) for a in node.args if isinstance(a, ast.Constant)}
    return found


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module: str) -> None:
    own = floor(module)
    used = {name for name in imports(module) if name.startswith(("lucid", "bench"))}
    assert {name for name in used if floor(name) > own} == set()


@pytest.mark.parametrize("module", MODULES)
def test_only_the_cupy_backend_imports_cupy(module: str) -> None:
    used = {name for name in imports(module) if name.split(".")[0] in ("cupy", "cupyx")}
    assert not used or module.startswith("lucid.backends.cupy.")


def test_no_file_is_too_long() -> None:
    suffixes = (".py", ".cuh", ".cpp", ".hpp")
    folders = [HOUSE / name for name in ("lucid", "kernels", "bench", "tests")]
    code = [p for folder in folders for p in folder.rglob("*") if p.suffix in suffixes]
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in code}
    assert {p: n for p, n in lengths.items() if n > LONGEST_FILE} == {}
    assert len(code) > 20
