"""Text compiled by Numba, once per process, its machine code kept on disk.

Numba keeps code beside the file that a function says it comes from, so each text has a
file in the cache folder, named by what it says and by what compiles it.
What runs is always the text in memory: the file is never read.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import tempfile
import threading
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np

from lucid.backends.numba import native

# No NaN, infinity or order of operations is given up: products and sums may be fused.
OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
# What only other compiled functions call takes half the time without a way in.
HELPER_OPTIONS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

_lock = threading.RLock()
_compiled: dict[tuple[str, Any], Callable[..., Any]] = {}


def _after_fork() -> None:
    """A forked child may inherit the lock held."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def compiled(text: str, name: str, signature: Any) -> Callable[..., Any]:
    """The function `name` of a module's text, compiled for one signature.

    Raises what Numba raises where the text cannot be compiled.
    """
    key = text, (name, signature)
    found = _compiled.get(key)
    if found is None:
        with _lock:
            found = _compiled.get(key)
            if found is None:
                found = _compiled[key] = _compile(text, name, signature)
    return found


def cache_folder() -> Path | None:
    """Where compiled code is kept: LUCID_CACHE_DIR, or the user's folder for caches.

    None where that cannot be written to.
    """
    given = os.environ.get("LUCID_CACHE_DIR", "")
    try:
        folder = Path(given) if given else _user_folder() / "lucid"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # no such place, or no home at all
        return None


def _user_folder() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    given = os.environ.get("XDG_CACHE_HOME", "")
    return Path(given) if os.path.isabs(given) else Path.home() / ".cache"


def _compile(text: str, name: str, signature: Any) -> Callable[..., Any]:
    path = _file(text, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path is not None:
            # A damaged file of Numba's fails in any way: without it, once more.
            for _ in range(2):
                with contextlib.suppress(Exception):
                    return _load(text, name, signature, path)
                for kept in path.parent.glob(f"__pycache__/{path.stem}*.nb*"):
                    with contextlib.suppress(OSError):
                        kept.unlink()
        return _load(text, name, signature, None)


def _load(
    text: str, name: str, signature: Any, path: Path | None
) -> Callable[..., Any]:
    # Code from disk looks for the module that it says it belongs to.
    namespace: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, str(path or f"<lucid {name}>"), "exec"), namespace)
    # Symbols of code that other processes left on disk: alike only for the same text.
    unique = f"lucid_{_digest(text)}"
    for key, value in namespace.items():
        if isinstance(value, types.FunctionType):
            value.__qualname__ = f"{unique}.{key}"
            own = {"cache": path is not None} if key == name else HELPER_OPTIONS
            namespace[key] = numba.njit(**OPTIONS, **own)(value)
    function = namespace[name]
    function.compile(signature)
    function.disable_compile()
    entry: Callable[..., Any] = function
    return entry


def _file(text: str, name: str) -> Path | None:
    """The file of this text in the cache folder, made if need be; None without one."""
    folder = cache_folder()
    if folder is None:
        return None
    path = folder / f"{name}_{_digest(text)}.py"
    with contextlib.suppress(OSError):
        if path.stat().st_size == len(text.encode()):
            return path
    try:
        handle, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.replace(temporary, path)
    except OSError:
        return None
    return path


def _digest(text: str) -> str:
    """The text and what compiles it, in a few letters."""
    return hashlib.sha256("\n".join([*_compilers(), text]).encode()).hexdigest()[:24]


@functools.cache
def _compilers() -> tuple[str, ...]:
    """Versions, and the text of the instructions that loops have beside Numba's."""
    versions = sys.version, numba.__version__, llvmlite.__version__, np.__version__
    return *versions, Path(native.__file__).read_text(encoding="utf-8")
