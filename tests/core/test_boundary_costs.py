"""Costs attract where there is no boundary, and add up over the parts of a contact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.boundary_costs import ODDS_STEPS, SAME, boundary_costs, odds_table
from bigseg.errors import BigsegError, SpecError

VALUES = st.lists(st.integers(0, 255), min_size=1, max_size=20)


def contact(values: list[int]) -> dict[str, np.ndarray]:
    return {
        "contact": np.array([len(values)]),
        "odds": np.array([odds_table()[values].sum(dtype=np.int64)]),
    }


def test_a_boundary_repels_and_its_absence_attracts_as_much() -> None:
    table = odds_table()
    assert (np.diff(table) < 0).all()
    assert table[0] == -table[255]
    assert table[0] / ODDS_STEPS == pytest.approx(np.log(99), abs=1e-3)


@settings(deadline=None)
@given(VALUES, VALUES, st.floats(0.05, 0.95))
def test_costs_add_up_over_the_parts_of_a_contact(one: list, other: list, beta: float) -> None:
    parts = boundary_costs(contact(one), beta)[0] + boundary_costs(contact(other), beta)[0]
    assert boundary_costs(contact(one + other), beta)[0] == parts


def test_the_prior_shifts_every_contact() -> None:
    assert boundary_costs(contact([127, 128]), 0.5)[0] == pytest.approx(0, abs=1e-2)
    assert boundary_costs(contact([127, 128]), 0.6)[0] == pytest.approx(2 * np.log(2 / 3), abs=1e-2)


def test_a_smaller_exponent_weakens_large_contacts() -> None:
    costs = boundary_costs(contact([0] * 16), 0.5, 0.5)
    assert costs[0] == pytest.approx(4 * np.log(99), rel=1e-3)


def test_pieces_of_one_region_are_held_together_whatever_lies_between() -> None:
    columns = {
        "contact": np.array([3, 0, 3]),
        "odds": np.array([-100, 0, -100]),
        "same": np.array([True, True, False]),
    }
    assert boundary_costs(columns)[:2].tolist() == [SAME, SAME]
    assert boundary_costs(columns)[2] < 0


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(SpecError, match=r"beta is 1; it must lie between 0 and 1"):
        boundary_costs(contact([1]), 1)
    for count, odds in ((0, 0), (-1, 0), (1, 5 * ODDS_STEPS)):
        with pytest.raises(BigsegError, match=r"edge 0 has .* that cannot be: count"):
            boundary_costs({"contact": np.array([count]), "odds": np.array([odds])})
