"""The CUDA struct of each family: a header's, the user's own, or one that is written.

Kernels ask a struct for all they need of a family: its name in sources and in their own
names, and the text that defines it, by which they are cached.
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
from dataclasses import dataclass
from typing import Any

from lucid.backends.cupy.formula import struct_text
from lucid.backends.cupy.sources import folder, inlined
from lucid.backends.protocol import Family

MOST_PARAMETERS = 3
_NAME = re.compile(r"^[A-Za-z_]\w*$", re.ASCII)
# What a struct is made of. A subclass that has others is another family.
_FORMULAS = ("prepare", "pair", "row", "supports", "log_base_measure", "draw")
_FAMILIES = "lucid.distributions."


@dataclass(frozen=True, slots=True)
class Struct:
    """A family's CUDA struct, and what is known of it without a compiler.

    name       within namespace lucid
    label      of it, in the names of kernels
    headers    that come before `text`, by their paths below the kernels' folder
    text       what defines it, unless a header does
    words      how many values a component's factors take; `kernels.prepare` asserts it
    cheap      whether a pair takes a few instructions, and its factors two words
    quadratic  whether a pair is constant − ((x − loc)·inverse_scale)²
    draws      whether it has a `draw`
    """

    name: str
    label: str
    headers: tuple[str, ...]
    text: str
    words: int
    cheap: bool
    quadratic: bool
    draws: bool

    def source(self, *headers: str) -> str:
        """The text of all it needs, of the headers of a kernel, and its own."""
        return f"{inlined(*self.headers, *headers)}\n{self.text}"


@functools.cache
def of(family: type[Family]) -> Struct:
    """The struct of a family: the one that its formulas came with, else their trace.

    Raises ValueError where there is none, with the formula that cannot be traced.
    """
    count = len(family.family_parameters)
    if not 1 <= count <= MOST_PARAMETERS:
        raise ValueError(
            f"{family.__name__} has {count} parameters, but a GPU's kernels take "
            f"1 to {MOST_PARAMETERS}: move the distribution to the CPU with .to('cpu')."
        )
    for base in family.__mro__:
        if not _has_the_formulas_of(base, family):
            continue
        text = vars(base).get("family_cuda")
        if text is not None:
            return given(family, text)
        if _is_own(base) and _path(base.__name__).is_file():
            return named(base.__name__)
    return given(family, struct_text(family))


@functools.cache
def is_vector(family: type[Family]) -> bool:
    """Whether a family is the one of vectors that has kernels, a multivariate normal.

    Raises ValueError for any other family of vectors.
    """
    if family.family_event_ndim == 0:
        return False
    for base in family.__mro__:
        normal = base.__name__ == "MultivariateNormal" and _is_own(base)
        if normal and _has_the_formulas_of(base, family):
            return True
    raise ValueError(
        f"{family.__name__} has no CUDA code: of families of vectors, a GPU's kernels "
        "take the multivariate normal alone. Move the distribution to the CPU with "
        ".to('cpu')."
    )


def drawing(family: type[Family]) -> Struct:
    """The same, of a family that is to be drawn from.

    Raises NotImplementedError where the struct has no `draw`.
    """
    struct = of(family)
    if not struct.draws:
        raise NotImplementedError(
            f"{family.__name__} has no draws on a GPU. Its `draw` is made into CUDA if "
            "it takes words of attempt 0 alone, by functions of bits.fn. Else give the "
            "CUDA struct yourself as `family_cuda`, or draw on the CPU: .to('cpu')."
        )
    return struct


@functools.cache
def named(family: str) -> Struct:
    """That of the header `families/student_t.cuh`, by its name `StudentT`."""
    if not _NAME.match(family):
        raise ValueError(f"{family!r} is not the name of a family")
    path = _path(family)
    if not path.is_file():
        raise ValueError(f"{family} has no header: no {path.name} in {path.parent}")
    text = path.read_text(encoding="utf-8")
    return _struct(family, _snake(family), (f"families/{path.name}",), "", text)


def given(family: type[Family], text: str) -> Struct:
    """A struct `Family` in a namespace of its own, whatever else has its name."""
    without_comments = re.sub(r"//.*", "", text)
    if not re.search(r"\bstruct\s+Family\b", without_comments):
        raise ValueError(
            f"{family.__name__}: `family_cuda` must be CUDA that defines "
            "`template <typename T> struct Family`; see kernels/README.md."
        )
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    # A class may have any name at all, which must not get into a source.
    readable = re.sub(r"[^a-z0-9]+", "_", _snake(family.__name__)).strip("_")[:40]
    label = f"{readable or 'family'}_{digest}"
    space = f"family_{label}"
    defined = f"namespace lucid::{space} {{\n{text}\n}}  // namespace lucid::{space}\n"
    headers = ("samplers.cuh", "formulas.cuh")
    return _struct(f"{space}::Family", label, headers, defined, text)


def _struct(
    name: str, label: str, headers: tuple[str, ...], text: str, definition: str
) -> Struct:
    """With what `definition` says of it, the text of the struct."""
    code = re.sub(r"//.*", "", definition)
    body = re.search(r"\bFactors\s*\{(.*?)\}", code, re.DOTALL)
    if body is None:
        raise ValueError(f"the CUDA struct of {label} has no struct `Factors`")
    words = sum(line.count(",") + 1 for line in body[1].split(";") if line.strip())
    return Struct(
        name,
        label,
        headers,
        text,
        words,
        "bool cheap_pair = true;" in code,
        "bool quadratic = true;" in code,
        re.search(r"\bT draw\(", code) is not None,
    )


def _has_the_formulas_of(base: Any, family: type[Family]) -> bool:
    names = getattr(base, "family_parameters", None)
    return names == family.family_parameters and all(
        getattr(base, name, None) == getattr(family, name, None) for name in _FORMULAS
    )


def _is_own(base: type) -> bool:
    """Whether a class is one of lucid's, and not only called so."""
    module = sys.modules.get(base.__module__)
    is_there = getattr(module, base.__name__, None) is base
    return base.__module__.startswith(_FAMILIES) and is_there


def _path(family: str) -> Any:
    return folder() / "families" / f"{_snake(family)}.cuh"


def _snake(family: str) -> str:
    """`student_t` of `StudentT`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", family).lower()
