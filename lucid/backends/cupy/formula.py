"""A family's CUDA struct, written from the trace of its Python formulas.

What it has is what kernels/README.md asks of a struct, so any kernel takes it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lucid.backends.protocol import BITS, Family
from lucid.backends.tracing import (
    FormulaError,
    Language,
    Node,
    OneSideTracer,
    TracedBits,
    add,
    is_short,
    name_of,
    select,
    traced,
)

# What stands for a function of NumPy or scipy.special. `formula::` is formulas.cuh.
_TEXT = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "positive": "{}",
    "reciprocal": "1 / {}",
    "square": "{0} * {0}",
    "less": "{} < {}",
    "less_equal": "{} <= {}",
    "greater": "{} > {}",
    "greater_equal": "{} >= {}",
    "equal": "{} == {}",
    "not_equal": "{} != {}",
    "logical_and": "{} && {}",
    "logical_or": "{} || {}",
    "logical_not": "!{}",
    "isnan": "is_nan({})",
    "isinf": "fabs({0}) > largest({0})",
    "isfinite": "fabs({0}) <= largest({0})",
    "where": "{0} ? {1} : {2}",
    "ldexp": "ldexp({}, int({}))",
    **{
        name: f"formula::{name}({{}})"
        for name in ("exponent", "mantissa", "sign", "expit", "logit")
    },
    **{
        name: f"formula::{name}({{}}, {{}})"
        for name in ("maximum", "minimum", "logaddexp", "xlogy", "xlog1py", "betaln")
    },
    "log_expit": "log_sigmoid({})",
    **{
        name: f"{own}({{}})"
        for name, own in {
            "absolute": "fabs",
            "arccos": "acos",
            "arccosh": "acosh",
            "arcsin": "asin",
            "arcsinh": "asinh",
            "arctan": "atan",
            "arctanh": "atanh",
            "gamma": "tgamma",
            "gammaln": "lgamma",
            "i0": "cyl_bessel_i0",
            "i1": "cyl_bessel_i1",
            "ndtr": "normcdf",
            "ndtri": "normcdfinv",
        }.items()
    },
    "arctan2": "atan2({}, {})",
    "float_power": "pow({}, {})",
    "power": "pow({}, {})",
}
# These have CUDA's name.
_UNARY = (
    "cbrt ceil cos cosh erf erfc erfcinv erfcx erfinv exp exp2 expm1 fabs floor log "
    "log10 log1p log2 rint sin sinh sqrt tan tanh trunc"
)
_TEXT |= {name: f"{name}({{}})" for name in _UNARY.split()}
_TEXT |= {
    name: f"{name}({{}}, {{}})"
    for name in ("copysign", "fmax", "fmin", "fmod", "hypot")
}
# An instruction or two each, and finite of finite numbers.
_CHEAP = {
    np.add, np.subtract, np.multiply, np.negative, np.absolute, np.square,
    np.maximum, np.minimum, np.less, np.less_equal, np.greater, np.greater_equal,
    np.equal, np.not_equal, np.logical_and, np.logical_or, np.logical_not, select,
}  # fmt: skip
# Operators of a pair that is cheap, and words of its factors.
_FEW_OPERATORS, _FEW_WORDS = 8, 2
# What kernels count densities in: halves of a nat one by one, bits where they sum.
_UNITS = {"in_half_nats": 2.0, "in_bits": BITS}
_REMEDY = (
    "Write it with operators, fn.where and functions of NumPy and scipy.special that "
    "CUDA has, give the CUDA struct yourself as `family_cuda`, or move the "
    "distribution to the CPU with .to('cpu')."
)
# Kernels of quadratic families know these by name; other families' are numbered.
_QUADRATIC = (("x",), ("loc", "inverse_scale"))


class _Cuda(Language):
    """Scalars of one type, in C++."""

    operations = _TEXT

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def real(self, text: str) -> str:
        return f"{self._kind}({text})"

    def special(self, value: float) -> str:
        if value != value:
            return f"not_a_number<{self._kind}>()"
        return f"{'-' * (value < 0)}infinity<{self._kind}>()"

    def assignment(self, name: str, text: str, boolean: bool) -> str:
        return f"const {'bool' if boolean else self._kind} {name} = {text};"

    def call(self, node: Node, args: list[str]) -> str:
        raise FormulaError(f"CUDA has no {name_of(node)}")


def struct_text(family: type[Family]) -> str:
    """`struct Family` of a family that has none: see kernels/README.md.

    Raises ValueError where a formula cannot be written, with its name. A `draw` that
    cannot be is left out.
    """
    with _writing(family, "row"):
        row = traced(family.row, OneSideTracer(), _leaf("x"))
        terms = _names("x", len(row))
        row_text = _function("static", "Row row(T x)", "{{{}}}", _Cuda("T"), *row)
    with _writing(family, "prepare"):
        leaves = map(_leaf, _parameters(family))
        made = traced(family.prepare, OneSideTracer(), BITS, *leaves)
        factors = _names("f", len(made) - 1)
        if family.family_quadratic:
            terms, factors = _QUADRATIC
        prepare_text = _prepare(family, factors)
    with _writing(family, "pair"):
        pair_text, cheap = _pair(family, terms, factors)
    with _writing(family, "supports"):
        supports_text = _supports(family)
    with _writing(family, "log_base_measure"):
        measure_text = _log_base_measure(family)
    lines = [
        f"T {', '.join(_parameters(family))};",
        "",
        f"static constexpr bool cheap_pair = {str(cheap).lower()};",
        *(
            ["static constexpr bool quadratic = true;"]
            if family.family_quadratic
            else []
        ),
        # Two words, or four, are one load. No struct is without members: it would have
        # a size all the same.
        *_members(_aligned("Factors", len(factors)), "T", factors or ("none",)),
        *_members("Row", "T", terms),
        "",
        *prepare_text,
        "",
        *supports_text,
        *row_text,
        *measure_text,
        *pair_text,
    ]
    with contextlib.suppress(FormulaError):
        lines += ["", *_draw(family)]
    body = "\n".join(f"  {line}" if line else "" for line in lines)
    return f"template <typename T>\nstruct Family {{\n{body}\n}};\n"


@contextlib.contextmanager
def _writing(family: type[Family], part: str) -> Iterator[None]:
    try:
        yield
    except FormulaError as error:
        raise ValueError(
            f"{family.__name__} has no CUDA code: its `{part}` cannot be written in "
            f"CUDA ({error}). {_REMEDY}"
        ) from error


def _parameters(family: type[Family]) -> tuple[str, ...]:
    """The members that hold them: no name from outside gets into the text."""
    return _names("p", len(family.family_parameters))


def _names(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter}{i}" for i in range(count))


def _prepare(family: type[Family], factors: Sequence[str]) -> list[str]:
    """`prepare` and `constant`: in double and rounded once, where they may cancel."""
    names = _parameters(family)
    short = is_short(family, len(names), BITS)
    kind, rounded = ("T", "made.{}") if short else ("double", "narrow<T>(made.{})")
    leaves = [_leaf(name if short else f"double({name})") for name in names]
    lines = _members("Prepared", kind, (*factors, "constant"))
    for name, unit in _UNITS.items():
        made = traced(family.prepare, OneSideTracer(), unit, *leaves)
        lines += _function("", f"Prepared {name}() const", "{{{}}}", _Cuda(kind), *made)
    stored = ", ".join(rounded.format(name) for name in factors) or "0"
    return [
        *lines,
        "__device__ Prepared prepared(T unit) const {",
        "  return unit == 2 ? in_half_nats() : in_bits();",
        "}",
        "__device__ Factors prepare(T unit) const {",
        "  const Prepared made = prepared(unit);",
        f"  return {{{stored}}};",
        "}",
        "__device__ T constant(T unit) const {",
        "  const Prepared made = prepared(unit);",
        f"  return {rounded.format('constant')};",
        "}",
    ]


def _supports(family: type[Family]) -> list[str]:
    found = traced(family.supports, OneSideTracer(), _leaf("x"))
    if found is None:
        return ["static __device__ bool supports(T) { return true; }"]
    return _function("static", "bool supports(T x)", "{} != 0", _Cuda("T"), found)


def _log_base_measure(family: type[Family]) -> list[str]:
    """In double, as on the CPU: it comes once a value."""
    found = traced(family.log_base_measure, OneSideTracer(), _leaf("double(x)"))
    if found is None:
        return ["static __device__ T log_base_measure(T) { return 0; }"]
    signature = "T log_base_measure(T x)"
    return _function("static", signature, "static_cast<T>({})", _Cuda("double"), found)


def _pair(
    family: type[Family], terms: Sequence[str], factors: Sequence[str]
) -> tuple[list[str], bool]:
    """`pair`, and whether it is cheap."""
    pair = traced(
        family.pair,
        OneSideTracer(),
        tuple(_leaf(f"row.{name}") for name in terms),
        tuple(_leaf(f"f.{name}") for name in factors),
    )
    functions = _functions(pair)
    finite = all(function in _CHEAP for function in functions)
    # Factors of 0 stand for no component, whose constant is −∞. Where they may make the
    # pair infinite or NaN, the sum would be, and every row be done again.
    result = "{}" if finite else "constant > -infinity<T>() ? {} : constant"
    signature = "T pair(const Row& row, const Factors& f, T constant)"
    cheap = finite and len(functions) <= _FEW_OPERATORS and len(factors) <= _FEW_WORDS
    total = add(pair, _leaf("constant"))
    return _function("static", signature, result, _Cuda("T"), total), cheap


def _draw(family: type[Family]) -> list[str]:
    """`draw`, in double and rounded once."""

    def shifted(word: int, bits: int) -> str:
        return f"double(bits.direct[{word}] >> {bits})"

    leaves = [_leaf(f"double({name})") for name in _parameters(family)]
    bits: Any = TracedBits(OneSideTracer(), shifted)
    value = traced(lambda: family.draw(bits, *leaves))
    above_zero = family.draws_above_zero
    result = "rounded_above_zero<T>({})" if above_zero else "static_cast<T>({})"
    signature = "T draw(const Bits& bits) const"
    return _function("", signature, result, _Cuda("double"), value)


def _leaf(text: str) -> Node:
    return Node(None, (text,))


def _functions(root: Any) -> list[Any]:
    """The function of every operator of a trace."""
    found: dict[Node, Any] = {}

    def visit(node: Any) -> None:
        if isinstance(node, Node) and node.function is not None and node not in found:
            found[node] = node.function
            for arg in node.args:
                visit(arg)

    visit(root)
    return list(found.values())


def _aligned(name: str, words: int) -> str:
    return f"alignas({words} * sizeof(T)) {name}" if words in (2, 4) else name


def _members(name: str, kind: str, members: Sequence[str]) -> list[str]:
    held = [f"  {kind} {', '.join(members)};"] if members else []
    return [f"struct {name} {{", *held, "};"]


def _function(
    kind: str, signature: str, result: str, language: Language, *roots: Any
) -> list[str]:
    """A member function that returns `result` of the roots, {} their names."""
    lines, names = language.statements(*roots)
    body = [*lines, f"return {result.format(', '.join(names))};"]

    def argument(match: re.Match[str]) -> str:
        """Without its name where it is of no use, which compilers warn of."""
        used = any(re.search(rf"\b{match[1]}\b", line) for line in body)
        return match[0] if used else match[2]

    declared = re.sub(r" (\w+)([,)])", argument, signature)
    start = f"{kind} __device__ {declared} {{".lstrip()
    return [start, *(f"  {line}" for line in body), "}"]
