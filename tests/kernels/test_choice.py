"""Which kernel is chosen for which mixture: the rules of choice.py."""

from __future__ import annotations

from typing import Any

import pytest

from lucid.backends.cupy.choice import (
    Choice,
    RowChoice,
    cells_of,
    choose,
    choose_rows,
    force,
    may_have_cells,
)
from lucid.backends.cupy.structs import named


def chosen(**given: Any) -> Choice:
    """The choice for a large mixture of normals on an H200, but for what is given."""
    large: dict[str, Any] = {
        "dtype": "float32",
        "samples": 1_000_000,
        "batch": 1,
        "count": 1024,
        "event": 1,
        "multiprocessors": 132,
        "capability": (9, 0),
    }
    family = named(given.pop("family", "Normal"))
    return choose(family, **(large | given))


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


@pytest.mark.parametrize(
    ("count", "lanes"),
    [
        (1, 1),
        (8, 1),
        (9, 2),
        (16, 2),
        (32, 4),
        (33, 8),
        (256, 8),
        (257, 32),
        (5000, 256),
    ],
)
def test_threads_of_a_row(count, lanes):
    assert choose_rows(10**7, count, 1, 1, 1, 132) == RowChoice("rows", lanes)


def test_few_rows_have_more_threads_each():
    assert choose_rows(1000, 256, 1, 1, 1, 132) == RowChoice("rows", 32)
    assert choose_rows(10, 4000, 1, 1, 1, 132) == RowChoice("rows", 256)
    assert choose_rows(10, 6, 1, 1, 1, 132) == RowChoice("rows", 2)
    assert choose_rows(10, 3, 1, 1, 1, 132) == RowChoice("rows", 1)


@pytest.mark.parametrize(
    ("event", "least", "most"), [(2, 1, 1), (1, -1, 1), (1, 0, 2**31 // 5 + 1)]
)
def test_rows_that_are_reduced(event, least, most):
    assert choose_rows(10**7, 6, event, least, most, 132) == RowChoice("reduction")


def test_the_kernel_for_rows_can_be_forced():
    with force(kernel="reduction"):
        assert choose_rows(100, 6, 1, 1, 1, 132) == RowChoice("reduction")
    with force(lanes=32):
        assert choose_rows(100, 6, 1, 1, 1, 132) == RowChoice("rows", 32)


def test_narrow_windows_are_used():
    large = {"samples": 4_000_000, "count": 4096}
    assert chosen(**large, width=0.6) == Choice("cells", rows=8, polynomials=2)
    assert chosen(**large, width=0.61).kernel == "fixed"
    assert chosen(**large, width=0.3, dtype="float64") == Choice("cells", rows=2)
    assert chosen(**large, width=0.3, event=2) == Choice("cells", rows=8)
    assert chosen(**large, width=0.3, event=3) == Choice("cells", rows=4)


@pytest.mark.parametrize(
    "given",
    [{"count": 1023}, {"count": 2**20 + 1}, {"event": 4}, {"family": "Laplace"}],
)
def test_windows_that_are_not_asked_for(given):
    assert chosen(**{"count": 4096, **given}, width=0.1).kernel != "cells"


def test_blocks_of_one_cell_are_filled():
    """Half a block of each cell stays empty: smaller ones where rows are few."""
    assert cells_of(4096, 1) == 255
    filled = 2 * 255 * 128
    assert chosen(samples=8 * filled, count=65536, width=0.1).rows == 8
    few = chosen(samples=8 * filled - 1, count=65536, width=0.1)
    assert few == Choice("cells", rows=1, polynomials=2)
    assert chosen(samples=filled - 1, count=65536, width=0.1).kernel != "cells"


def test_windows_hold_little_memory():
    for event in (1, 2, 3):
        for count in (1024, 2**17, 2**20):
            assert cells_of(count, event) ** event * count <= 2**25
    assert [cells_of(1024, event) for event in (1, 2, 3)] == [255, 31, 10]
    assert [cells_of(2**20, event) for event in (1, 2, 3)] == [32, 5, 3]


def test_what_is_forced_is_not_asked_for():
    size = (named("Normal"), "float32", 4_000_000, 1, 4096, 1)
    assert may_have_cells(*size)
    with force(kernel="fixed"):
        assert not may_have_cells(*size)
