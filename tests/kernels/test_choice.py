"""Which kernel is chosen for which mixture: the rules of choice.py."""

from __future__ import annotations

from typing import Any

import pytest

from lucid.backends.cupy.choice import Choice, choose, force


def chosen(**given: Any) -> Choice:
    """The choice for a large mixture of normals on an H200, but for what is given."""
    large: dict[str, Any] = {
        "family": "Normal",
        "dtype": "float32",
        "samples": 1_000_000,
        "batch": 1,
        "count": 1024,
        "event": 1,
        "multiprocessors": 132,
        "capability": (9, 0),
    }
    return choose(**(large | given))


def test_a_large_mixture_has_a_fixed_shift():
    assert chosen() == Choice("fixed", rows=8, polynomials=2, ordered=True)


@pytest.mark.parametrize(
    ("capability", "polynomials"),
    [((7, 5), 0), ((8, 0), 0), ((8, 6), 2), ((10, 0), 2), ((10, 3), 0), ((12, 0), 2)],
)
def test_polynomials_where_the_exponential_unit_binds(capability, polynomials):
    assert chosen(capability=capability).polynomials == polynomials
    assert chosen(capability=capability).kernel == "fixed"


@pytest.mark.parametrize(
    "given", [{"dtype": "float64"}, {"event": 2}, {"family": "StudentT"}]
)
def test_no_polynomials_where_it_does_not(given):
    assert chosen(**given).polynomials == 0


def test_only_scalars_with_a_loc_are_put_in_order():
    assert chosen(dtype="float64").ordered
    assert not chosen(family="Laplace").ordered
    assert not chosen(event=2).ordered
    assert not chosen(count=18).ordered
    assert not chosen(count=100_000).ordered


def test_few_components_stay_in_registers():
    assert chosen(count=16, samples=10**8) == Choice("small", rows=4)
    assert chosen(count=17, samples=10**8).kernel == "fixed"
    assert chosen(count=16, samples=10**7, batch=10).kernel == "fixed"
    assert chosen(count=16, samples=10**8, event=2).kernel == "fixed"
    assert chosen(count=16, samples=10**8, family="Gamma").kernel == "fixed"


def test_what_is_not_worth_a_launch_of_its_own():
    assert chosen(samples=10_000).kernel == "lazy"
    assert chosen(samples=100, batch=100_000).kernel == "lazy"


def test_few_rows_split_their_components():
    few = chosen(samples=64, count=1_000_000)
    assert few == Choice("lazy", rows=1, splits=528)
    assert chosen(samples=64, event=16, count=1_000_000).splits == 528


def test_fewer_rows_a_thread_before_the_device_is_idle():
    assert chosen(samples=128 * 8 * 264).rows == 8
    assert chosen(samples=128 * 8 * 263).rows == 1


def test_long_events_are_staged():
    assert chosen(event=5) == Choice("diagonal")
    assert chosen(event=5).threads == 256


def test_a_choice_can_be_forced():
    with force(kernel="lazy", rows=1):
        assert chosen().kernel == "lazy"
        assert chosen().rows == 1
    assert chosen().kernel == "fixed"
