"""Loops, arithmetic and a family's formula put together as the text of one module."""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
from importlib import import_module

LOOPS = "lucid.backends.numba.loops"
HEADER = '''"""Written by lucid for Numba to compile; it is never read back."""
import numpy as np
from lucid.backends.numba.native import VECTOR, call, inlined, wide_vectors
from lucid.backends.numba.native import move, share_max, sum_vector
'''


def compose(*parts: str) -> str:
    """One module of `parts`: names of modules in `loops`, or text by itself.

    A later part takes the place of what an earlier one calls by the same name.
    """
    texts = [part if "\n" in part else module_text(part) for part in parts]
    return "\n".join([HEADER, *texts])


@functools.cache
def module_text(name: str) -> str:
    """A module's constants and functions: no imports, docstrings and annotations."""
    tree = _parsed(inspect.getsource(import_module(f"{LOOPS}.{name}")))
    tree.body = [
        node
        for node in tree.body
        if not isinstance(node, ast.Import | ast.ImportFrom) and not _is_text(node)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
            for argument in node.args.args:
                argument.annotation = None
            if _is_text(node.body[0]):
                del node.body[0]
    return ast.unparse(tree) + "\n"


def _parsed(text: str) -> ast.Module:
    """CPython 3.11 counts the depth of all threads' parsing in one place.

    Where another thread parses, too, and a collection of garbage lets it in between, it
    takes the sum for an error of its own.
    """
    for _ in range(100):
        with contextlib.suppress(SystemError):
            return ast.parse(text)
    return ast.parse(text)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
