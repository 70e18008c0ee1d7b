"""`import lucid`: quick, alone, and whole."""

from __future__ import annotations

import ast
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import lucid

HOUSE = Path(__file__).resolve().parent.parent
FACE = Path(lucid.__file__).read_text(encoding="utf-8")
LATER = {"scipy", "cupy", "cupyx", "nvtx", "tqdm", "array_api_compat", "matplotlib"}
MOST_MILLISECONDS = 50


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=HOUSE,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
    )
    assert done.returncode == 0, done.stderr
    return done


def loaded(code: str) -> set[str]:
    """The packages that a fresh interpreter has loaded after that code."""
    return set(json.loads(python("-c", LOADED.format(code=code)).stdout))


LOADED = (
    "{code}; import json, sys;"
    "print(json.dumps([*{{name.split('.')[0] for name in sys.modules}}]))"
)


@pytest.mark.parametrize(
    "code",
    [
        "import lucid",
        "import lucid; lucid.exp(lucid.tensor([1.0], device='cpu'))",
        "import lucid; lucid.cuda.__doc__; dir(lucid); lucid.linalg.det",
    ],
)
def test_import_is_alone(code: str) -> None:
    assert loaded(code) & LATER == set()


def test_import_is_quick() -> None:
    """In processor time over `import numpy`, the same on a busy machine."""
    code = (
        "import time, numpy; start = time.process_time(); import lucid;"
        "print(1000 * (time.process_time() - start))"
    )
    spent = [float(python("-c", code).stdout) for _ in range(10)]
    assert statistics.median(spent) <= MOST_MILLISECONDS


def test_every_public_name_is_there() -> None:
    """What type checkers are told of is there, loaded at once or on first use."""
    names = re.findall(r"^ *(?:from \S+ import )?\S+ as (\w+),?$", FACE, re.MULTILINE)
    assert len(names) > 170
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(lucid, name) is not NotImplemented
        assert name in dir(lucid)


def test_later_names_come_from_where_type_checkers_are_told() -> None:
    told = {}
    for node in ast.walk(ast.parse(FACE)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for line in node.body:
                assert isinstance(line, ast.ImportFrom)
                told |= {alias.name: line.module for alias in line.names}
    assert told.pop("distributions") == "lucid"
    homes = {**lucid._HOMES}
    assert homes.pop("distributions") == "lucid.distributions"
    assert homes == told


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="'lucid' has no attribute 'tensors'"):
        _ = lucid.tensors
    assert not hasattr(lucid, "kernels")


def test_is_typed() -> None:
    assert Path(lucid.__file__).with_name("py.typed").exists()
