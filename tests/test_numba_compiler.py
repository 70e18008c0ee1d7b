"""Compiled text: kept on disk, and right whatever became of the disk."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

numba = pytest.importorskip("numba")

from lucid.backends.numba import compiler, source  # noqa: E402

TEXT = """
def half(x):
    return x / 2.0

def steps(x):
    count = 0
    while x > 1.0:
        x = half(x)
        count += 1
    return count
"""
SIGNATURE = numba.types.int64(numba.types.float64)
# In a process of its own; `compile_extra` is what every compilation goes through.
SCRIPT = """
import sys
from numba import types
from numba.core import compiler as numbas
from lucid.backends.numba.compiler import compiled
calls, real = [], numbas.compile_extra
def counted(*args, **kwargs):
    calls.append(args)
    return real(*args, **kwargs)
numbas.compile_extra = counted
for text in sys.argv[1:]:
    steps = compiled(text, "steps", types.int64(types.float64))
    print(steps(1024.0))
print(len(calls))
"""
# Texts alike in every name, called through their addresses as families are.
FAMILIES = """
import sys
import numpy as np
from numba import types
from lucid.backends.numba.compiler import compiled
from lucid.backends.numba.native import address_of
from lucid.backends.numba.source import HEADER
array = types.float64[::1]
fill = "def fill(x):\\n    x[0] = {}.0\\n"
texts = [fill.format(number) for number in sys.argv[1:]]
fills = [compiled(text, "fill", types.void(array)) for text in texts]
ask = "def ask(address, x):\\n    call(address, x)\\n"
ask = compiled(HEADER + ask, "ask", types.void(types.int64, array))
x = np.zeros(1)
for function in fills:
    ask(address_of(function), x)
    print(int(x[0]))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and nothing compiled yet in this process."""
    monkeypatch.setenv("LUCID_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(compiler, "_compiled", {})
    return tmp_path / "cache"


def start(folder: Path, *texts: str, script: str = SCRIPT) -> subprocess.Popen[str]:
    environment = os.environ | {"LUCID_CACHE_DIR": str(folder)}
    command = [sys.executable, "-W", "error", "-c", script, *(texts or [TEXT])]
    root = Path(__file__).parent.parent
    return subprocess.Popen(
        command, env=environment, cwd=root, stdout=subprocess.PIPE, text=True
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, ...]:
    """The results, and how many functions were compiled for them."""
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return tuple(map(int, out.split()))


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("__pycache__/*.nb*"))


def steps() -> Any:
    return compiler.compiled(TEXT, "steps", SIGNATURE)


def test_the_next_process_compiles_nothing(folder: Path) -> None:
    first = outcome(start(folder))
    assert first[0] == 10
    assert first[1] > 0
    assert outcome(start(folder)) == (10, 0)


def test_the_same_process_asks_once(folder: Path) -> None:
    found: list[Any] = []
    callers = [threading.Thread(target=lambda: found.append(steps())) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found) == 4
    assert all(function is found[0] for function in found)
    assert found[0](8.0) == 3


def test_processes_that_compile_at_the_same_time(folder: Path) -> None:
    processes = [start(folder) for _ in range(3)]
    assert [outcome(process)[0] for process in processes] == [10, 10, 10]
    assert outcome(start(folder)) == (10, 0)
    assert not [*folder.glob("*.tmp")]


@pytest.mark.parametrize("damage", [b"", b"not a pickle", None])
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_damaged_files(damage: bytes | None, suffix: str, folder: Path) -> None:
    """They are compiled anew, and replaced."""
    assert steps()(1024.0) == 10
    (file,) = (path for path in kept(folder) if path.suffix == suffix)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    compiler._compiled.clear()
    assert steps()(1024.0) == 10
    assert outcome(start(folder)) == (10, 0)


def test_what_the_text_file_says_is_never_run(folder: Path) -> None:
    assert steps()(1024.0) == 10
    (file,) = folder.glob("*.py")
    for path in kept(folder):
        path.unlink()
    size = file.stat().st_size
    file.write_text("raise SystemExit('run')\n".ljust(size), encoding="utf-8")
    compiler._compiled.clear()
    assert steps()(1024.0) == 10


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(compiler, "_compiled", {})
    monkeypatch.setenv("LUCID_CACHE_DIR", str(tmp_path / "file"))
    assert compiler.cache_folder() is None
    assert steps()(1024.0) == 10


def test_a_home_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUCID_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    monkeypatch.setattr(Path, "home", lambda: Path(__file__) / "home")
    assert compiler.cache_folder() is None


def test_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUCID_CACHE_DIR", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert compiler.cache_folder() == tmp_path / "lucid"
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert compiler.cache_folder() == tmp_path / "home" / ".cache" / "lucid"
    monkeypatch.setattr(sys, "platform", "darwin")
    expected = tmp_path / "home" / "Library" / "Caches" / "lucid"
    assert compiler.cache_folder() == expected


def test_texts_that_differ_have_code_of_their_own(folder: Path) -> None:
    """Alike in every name: one compiled here, one by a process before."""
    other = TEXT.replace("return count", "return -count")
    assert outcome(start(folder, TEXT))[0] == 10
    assert outcome(start(folder, other, TEXT))[:2] == (-10, 10)
    assert outcome(start(folder, TEXT, other)) == (10, -10, 0)


def test_code_of_two_processes_is_told_apart_in_a_third(folder: Path) -> None:
    """Each numbers its symbols from the start: nothing else in a name differs."""
    for number in ("3", "5"):
        process = start(folder, number, script=FAMILIES)
        assert outcome(process) == (int(number),)
    assert outcome(start(folder, "3", "5", script=FAMILIES)) == (3, 5)
    assert outcome(start(folder, "5", "3", script=FAMILIES)) == (5, 3)


def test_text_that_does_not_compile_raises(folder: Path) -> None:
    with pytest.raises(numba.core.errors.NumbaError):
        compiler.compiled("def bad(x):\n    return x.y\n", "bad", SIGNATURE)


def test_threads_that_parse_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython 3.11 may raise SystemError then, which another try does not."""
    failures = [SystemError("AST constructor recursion depth mismatch")] * 3
    parse = ast.parse

    def unlucky(text: str) -> ast.Module:
        if failures:
            raise failures.pop()
        return parse(text)

    expected = source.module_text("powers")
    monkeypatch.setattr(ast, "parse", unlucky)
    assert source.module_text.__wrapped__("powers") == expected
    assert not failures
