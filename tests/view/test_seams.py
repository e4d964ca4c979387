"""Opinions of two blocks are drawn so that one sees where they agree and where they do not."""

import numpy as np

from bigseg.view.certificate import Certificate, certificate
from bigseg.view.seams import BOTH, FIRST, SECOND, both_opinions

GREY = np.full((7, 9), 0.5, np.float32)


def coloured(rgb: np.ndarray, colour: tuple[int, int, int]) -> set[tuple[int, int]]:
    return {tuple(place) for place in np.argwhere((rgb == colour).all(axis=-1)).tolist()}


def test_agreement_is_white_and_disagreement_has_the_colour_of_a_block() -> None:
    one, two = np.zeros((2, 7, 9), np.int64)
    one[2:5, 2:5] = 3
    two[2:5, 2:7] = 8
    rgb = both_opinions(GREY, [one, two], (3, 8), width=1)
    assert coloured(rgb, FIRST) == {(3, 4)}
    assert (3, 6) in coloured(rgb, SECOND)
    assert (2, 2) in coloured(rgb, BOTH)
    assert (3, 3) not in coloured(rgb, BOTH) | coloured(rgb, FIRST) | coloured(rgb, SECOND)


def test_nothing_ends_where_a_block_does_not_know() -> None:
    one = np.full((7, 9), -1, np.int64)
    one[:, :4] = 0
    one[2:5, 2:4] = 3  # goes on beyond what the block keeps
    rgb = both_opinions(GREY, [one, np.full_like(one, -1)], (3, 1), width=1)
    assert coloured(rgb, FIRST) == {(2, 2), (2, 3), (3, 2), (4, 2), (4, 3)}


def test_other_objects_are_faint() -> None:
    one = np.zeros((7, 9), np.int64)
    one[2:5, 2:5] = 4
    rgb = both_opinions(GREY, [one, np.zeros_like(one)], (3, 1))
    assert not coloured(rgb, FIRST)
    assert len(np.unique(rgb.reshape(-1, 3), axis=0)) == 2


JOINED = {
    "nodes": 90,
    "edges": 200,
    "conflicts": 5,
    "components": 2,
    "undecided_nodes": 12,
    "undecided_edges": 30,
}


def solved(gap: float) -> Certificate:
    rows = {
        "nodes": np.array([5, 7]),
        "edges": np.array([10, 20]),
        "energy": np.array([-10.0, -90.0 + gap]),
        "lower_bound": np.array([-10.0, -90.0]),
        "optimal": np.array([True, gap == 0]),
        "exact": np.array([False, True]),
    }
    return Certificate("kernighan-lin", JOINED, rows)


def test_a_certificate_says_what_is_proven() -> None:
    proven = certificate(solved(0))
    assert "The solution is proven optimal" in proven
    assert "7 nodes and 20 edges" in proven
    assert "kernighan-lin; 1 components by an integer program" in proven
    assert "may have a better partition" not in proven


def test_a_certificate_says_how_far_off_the_solution_can_be() -> None:
    open_ = certificate(solved(0.5))
    assert "1 of 2 components are proven optimal" in open_
    assert "at most 0.5 % above that of the best partition" in open_
    assert "<td>7 nodes, 20 edges</td>" in open_


def test_a_graph_without_contradictions_needs_no_solver() -> None:
    found = solved(0)
    none = Certificate("greedy", JOINED, {name: c[:0] for name, c in found.rows.items()})
    assert "No contradiction was left to a solver" in certificate(none)
