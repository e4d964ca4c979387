"""Objects that become one are found, and nothing else is made of those that do not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.tracking import fusions, program
from bigseg.core.tracking.candidates import Candidates, none
from bigseg.core.tracking.costs import Nodes
from bigseg.core.tracking.detections import Detections, gather
from bigseg.core.tracking.lineage import lineages
from bigseg.core.tracking.link import Linked, Settings, link
from bigseg.errors import SpecError
from tests.core.tracking.moving import world

MERGING = Settings(merging=True, divisions=False)


def backwards(seed: int, **how: float) -> tuple[Detections, set[tuple[int, int]]]:
    """A world of divisions, seen backwards in time: of merges."""
    d, links = world(seed, **how)
    frame = d.frames - 1 - d.frame
    order = np.lexsort((d.label, frame))
    place = np.argsort(order)
    seen = gather(frame, d.label, d.position)
    return seen, {(int(place[b]), int(place[a])) for a, b in links}


def pairs(found: Linked) -> set[tuple[int, int]]:
    return set(zip(found.links.source.tolist(), found.links.target.tolist(), strict=True))


def merges(links: set[tuple[int, int]]) -> int:
    into = [b for _, b in links]
    return len(into) - len(set(into))


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=6)
def test_merges_come_back_and_make_lineages(seed: int) -> None:
    d, truth = backwards(seed, divide=0.05)
    found = link(d, MERGING)
    assert pairs(found) == truth
    ends = np.stack([found.links.source, found.links.target], axis=1)
    tree = lineages(d.frame, d.label, ends, merging=True)
    child, parents = np.unique(tree.joints[:, 1], return_counts=True)
    assert (parents == 2).sum() == merges(truth)
    assert (tree.joints[:, 0] < tree.joints[:, 1]).all()
    assert (tree.parent[child - 1] > 0).all()
    assert all(len(set(tree.lineage[pair - 1])) == 1 for pair in tree.joints)


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=4)
def test_parts_find_the_merges_of_the_whole(seed: int) -> None:
    d, truth = backwards(seed, frames=12, divide=0.05)
    parts = link(d, Settings(merging=True, core_frames=3, core_objects=25))
    assert len(parts.parts) > 8
    assert pairs(parts) == truth


def test_without_merging_every_object_has_one_source() -> None:
    d, truth = backwards(5, divide=0.1)
    assert merges(truth) > 3
    found = link(d)
    assert np.unique(found.links.target).size == len(found.links.target)
    assert found.model.merges == 0


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=4)
def test_where_nothing_merges_nothing_is_merged(seed: int) -> None:
    d, truth = world(seed, divide=0.05)
    assert pairs(link(d, Settings(merging=True))) == truth


def test_their_share_is_learned_and_both_numbers_of_a_mixed_world() -> None:
    d, truth = backwards(3, side=8, frames=12, divide=0.05)
    found = link(d, Settings(merging=True))
    assert found.model.merges == pytest.approx(merges(truth) / len(d), rel=0.5)
    assert found.model.divides < found.model.merges / 5


def test_a_merge_is_chosen_if_it_gains_more_than_two_moves_could() -> None:
    nothing = np.zeros(3)
    n = Nodes(nothing, nothing, nothing, None)
    empty = none()
    move = Candidates(
        np.array([0, 1]), np.array([2, 2]), np.array([-3.0, -2.0]), *(
            empty.mother, empty.daughters, empty.born)
    )  # fmt: skip
    for gain, merged in ((-4.0, True), (-2.5, False)):
        two = fusions.Fusions(np.array([[0, 1]]), np.array([2]), np.array([gain]))
        chosen = program.solve(move, n, None, 60.0, two)
        assert chosen.fusions.tolist() == [merged]
        assert chosen.links.tolist() == [not merged, False]
        assert chosen.value == min(gain, -3.0)
        assert len(fusions.useful(two, move, 3)) == merged


def test_fast_mode_says_that_it_does_not_merge() -> None:
    with pytest.raises(SpecError, match="only merge in global mode"):
        Settings(mode="fast", merging=True)
