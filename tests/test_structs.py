"""Which CUDA struct a family has: a header's, its own text, or one that is written."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from lucid import distributions
from lucid.backends.cupy import kernels, structs
from lucid.backends.cupy.formula import struct_text
from lucid.distributions import constraints
from lucid.distributions.family import FamilyDistribution
from tests import user_families
from tests.user_families import USERS, Beta, Größe, Logistic

BY_HAND = "template <typename T>\nstruct Family {\n  struct Factors { T a, b, c; };\n};"


def changed(base: Any, name: str = "Changed", **parts: Any) -> Any:
    """A subclass that has some parts of its own."""
    own = {k: staticmethod(v) if callable(v) else v for k, v in parts.items()}
    return type(name, (base,), own)


def is_written(struct: structs.Struct) -> bool:
    return struct.name.startswith("family_") and "p0" in struct.text


def test_lucids_own_have_their_headers() -> None:
    for name in ("Normal", "StudentT", "Gamma"):
        struct = structs.of(getattr(distributions, name))
        assert struct is structs.named(name)
        assert (struct.name, struct.text) == (name, "")


def test_a_subclass_keeps_the_header_as_long_as_it_keeps_the_formulas() -> None:
    normal = distributions.Normal
    assert structs.of(changed(normal, "Normal", __init__=None)).name == "Normal"
    assert structs.of(changed(changed(normal))).name == "Normal"
    for part in ("pair", "prepare", "row"):
        other = getattr(distributions.Laplace, part)
        if other != getattr(normal, part):
            assert is_written(structs.of(changed(normal, **{part: other})))
    everywhere = changed(normal, supports=lambda fn, value: value > 0)
    assert is_written(structs.of(everywhere))
    swapped = changed(normal, family_parameters=("scale", "loc"))
    assert is_written(structs.of(swapped))

    class First:
        row = staticmethod(lambda fn, value: (2.0 * value,))

    mixed = type("Mixed", (First, normal), {})
    assert "T(2.0) * x" in structs.of(mixed).text


@pytest.mark.parametrize("module", ["elsewhere", "lucid.distributions.normal"])
def test_a_name_makes_no_family(module: str) -> None:
    """Not even one that lucid uses, in a module that says it is lucid's."""
    named = type(
        "Normal",
        (user_families.Normal,),
        {"__module__": module, "row": staticmethod(lambda fn, value: (value + 0.5,))},
    )
    assert "T(0.5)" in structs.of(named).text


@pytest.mark.parametrize(
    "name", ["", "int", "Größe", "a b", "X>{}; evil(); //", '"\n#error', "9", "名"]
)
def test_no_name_gets_into_a_source(name: str) -> None:
    hostile = {name or " ": constraints.real}
    own = changed(Beta, name, arg_constraints=hostile | {"b ; c": constraints.real})
    own.pair = staticmethod(lambda fn, row, factors: row[0] * factors[0])
    text = structs.of(own).text
    spec = kernels.mixture(structs.of(own), "float32", 1, 1)
    assert re.fullmatch(r"lucid_mixture_[a-z0-9_]+", spec.name)
    assert text.isascii()
    assert not any(strange in text for strange in ("evil(", "#error", "b ; c"))


def test_other_text_is_another_kernel() -> None:
    """By their text alone kernels are told apart: two classes may have one name."""

    def of(number: float) -> structs.Struct:
        pair = lambda fn, row, factors: number * row[0] * factors[0]  # noqa: E731
        return structs.of(changed(Beta, "Same", pair=pair))

    one, same, other = of(0.1), of(0.1), of(0.1 + 2.0**-56)
    assert one == same
    assert "T(0.1)" in one.text
    names = {kernels.prepare(s, "float32", "float32").name for s in (one, same, other)}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1 / 3, "T(0.3333333333333333)"),
        (5e-324, "T(5e-324)"),
        (-0.0, "T(-0.0)"),
        (2**53 + 2, "T(9007199254740994.0)"),
        (np.float32(0.1), "T(0.10000000149011612)"),
        (np.inf, " infinity<T>()"),
        (-np.inf, "-infinity<T>()"),
        (np.nan, "not_a_number<T>()"),
    ],
)
def test_numbers_are_exact(number: Any, text: str) -> None:
    pair = lambda fn, row, factors: row[0] * number  # noqa: E731
    assert text in struct_text(changed(Beta, pair=pair))


def test_text_by_hand_comes_first_and_goes_with_its_formulas() -> None:
    own = changed(Beta, family_cuda=BY_HAND)
    for same in (own, changed(own)):
        struct = structs.of(same)
        assert BY_HAND in struct.text
        assert (struct.words, struct.cheap, struct.draws) == (3, False, False)
    again = changed(own, pair=lambda fn, row, factors: row[0] * factors[0])
    assert is_written(structs.of(again))
    with pytest.raises(ValueError, match=r"Changed: `family_cuda` must be .*README"):
        structs.of(changed(Beta, family_cuda="struct Other {};  // struct Family"))


def test_what_is_known_of_a_written_struct() -> None:
    known = {user.family.__name__: structs.of(user.family) for user in USERS}
    assert known["Normal"].quadratic
    # Factors of 0, for no component, have a pair of 0 in one and of NaN in the other.
    none = "constant > -infinity<T>() ?"
    assert none in known["Größe"].text
    assert none not in known["Beta"].text
    assert [name for name, s in known.items() if s.quadratic] == ["Normal"]
    assert {name for name, s in known.items() if s.cheap} == {"Normal", "Beta"}
    assert {name: s.words for name, s in known.items()} == {
        "HyperbolicSecant": 2,
        "Powers": 2,
        "Normal": 2,
        "Beta": 2,
        "Größe": 3,
        "Logistic": 3,
        "ByHand": 3,
    }


@pytest.mark.parametrize(
    ("part", "formula", "reason"),
    [
        ("prepare", lambda fn, u, a, b: (fn.digamma(a), b, u), "CUDA has no psi"),
        ("prepare", lambda fn, u, a, b: (a.sum(), b, u), "no attribute 'sum'"),
        ("pair", lambda fn, row, f: row[0] if row[0] > 0 else f[0], "fn.where, not"),
        ("pair", lambda fn, row, f: fn.where(row[0], f[0], 1), "no comparison"),
        ("row", lambda fn, x: (np.log(x),), "log"),
        ("row", lambda fn, x: (fn.no_such(x),), "no_such is no ufunc"),
        ("supports", lambda fn, x: fn.sum(x) > 0, "sum is no ufunc"),
        ("log_base_measure", lambda fn, x: x + "1", "str in a formula"),
    ],
)
def test_what_cannot_be_written_is_said(part: str, formula: Any, reason: str) -> None:
    own = changed(Beta, "Mine", **{part: formula})
    with pytest.raises(
        ValueError, match=f"Mine has no CUDA code: its `{part}`"
    ) as said:
        structs.of(own)
    assert reason in str(said.value)
    assert "family_cuda" in str(said.value)
    assert ".to('cpu')" in str(said.value)


def test_draws_that_cannot_be_written() -> None:
    assert structs.drawing(Logistic).draws
    rejecting = changed(Logistic, draw=distributions.Gamma.draw)
    for own in (Größe, rejecting):
        with pytest.raises(NotImplementedError, match=f"{own.__name__} has no draws"):
            structs.drawing(own)


def test_of_vectors_there_is_one_family() -> None:
    normal = distributions.MultivariateNormal
    assert structs.is_vector(normal)
    assert structs.is_vector(changed(normal, "MultivariateNormal"))
    assert not structs.is_vector(Beta)
    own = changed(normal, pair=lambda fn, row, factors: 0.0)
    with pytest.raises(ValueError, match="Changed has no CUDA code: of families of"):
        structs.is_vector(own)


@pytest.mark.parametrize("count", [0, 4])
def test_too_many_parameters(count: int) -> None:
    rules = {f"p{i}": constraints.real for i in range(count)}
    own = type("Many", (FamilyDistribution,), {"arg_constraints": rules})
    with pytest.raises(ValueError, match=f"Many has {count} parameters, .* 1 to 3"):
        structs.of(own)
