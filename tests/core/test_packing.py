"""Packs fill up in order, and a component's name is its content."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.components import decompose
from bigseg.core.packing import component_keys, pack
from bigseg.errors import SpecError


@given(st.lists(st.integers(1, 50)), st.integers(1, 100))
@settings(deadline=None, max_examples=100)
def test_packs_are_runs_that_fit_and_could_not_take_the_next(edges, most) -> None:
    starts = pack(np.array(edges, np.int64), most).tolist()
    assert (starts[0], starts[-1]) == (0, len(edges))
    for first, last in pairwise(starts):
        assert last == first + 1 or sum(edges[first:last]) <= most
        assert last == len(edges) or sum(edges[first : last + 1]) > most


def test_a_pack_without_edges_is_refused() -> None:
    with pytest.raises(SpecError, match="edges_per_pack is 0; it must be at least 1"):
        pack(np.array([1]), 0)


def keys(shift: int = 0, cost: float = -1.0, local: int = 0, salt: str = "") -> list[bytes]:
    """Names of two triangles, of which the second is changed, `shift` nodes further on."""
    u, v = np.array([0, 1, 0]), np.array([1, 2, 2])
    u, v = np.r_[u, u + 3] + shift, np.r_[v, v + 3] + shift
    _, problem = decompose(6 + shift, u, v, np.array([2, 2, -3, 1, 1, cost]))
    block, ids = np.divmod(problem.nodes - shift, 3)
    ids[5] += local
    return component_keys(problem, block, ids, salt).tolist()


def test_a_component_has_another_name_if_it_is_changed_and_only_then() -> None:
    first, second = keys()
    assert len(first) == 32
    assert first != second
    assert keys(shift=5) == [first, second]
    assert keys(cost=-1.5)[0] == keys(local=1)[0] == first
    assert len({second, keys(cost=-1.5)[1], keys(local=1)[1], *keys(salt="greedy")}) == 5
