"""Links become tracks, divisions and lineages, with ids that follow the data alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.tracking.challenge import challenge_tracks
from bigseg.core.tracking.descent import detection_table, track_table
from bigseg.core.tracking.graph import of_lineages, of_rows
from bigseg.core.tracking.lineage import LineageError, lineages
from tests.core.tracking import worlds

FRAME = np.array([0, 0, 1, 2, 2, 4, 4])
LABEL = np.array([1, 2, 1, 1, 7, 3, 4])
# 0 → 2 divides into 3 and 4; 3 → 5 over a missed frame; 1 ends at once, 6 comes from nowhere.
LINKS = np.array([[3, 5], [0, 2], [2, 4], [2, 3]])


def test_a_track_ends_where_its_object_divides_and_goes_on_over_gaps() -> None:
    found = lineages(FRAME, LABEL, LINKS)
    assert found.track.tolist() == [1, 2, 1, 3, 4, 3, 5]
    assert found.begin.tolist() == [0, 0, 2, 2, 4]
    assert found.end.tolist() == [1, 0, 4, 2, 4]
    assert found.length.tolist() == [2, 1, 2, 1, 1]
    assert found.parent.tolist() == [0, 0, 1, 1, 0]
    assert found.daughters.tolist() == [2, 0, 0, 0, 0]
    assert found.generation.tolist() == [0, 0, 1, 1, 0]
    assert found.lineage.tolist() == [1, 2, 1, 1, 3]


def test_merging_has_two_parents_and_must_be_asked_for() -> None:
    frame, label = np.array([0, 0, 1, 2]), np.array([1, 2, 1, 1])
    links = np.array([[0, 2], [1, 2], [2, 3]])
    with pytest.raises(LineageError, match=r"frame 1 label 1 has 2 sources, but merging was not"):
        lineages(frame, label, links)
    found = lineages(frame, label, links, merging=True)
    assert found.track.tolist() == [1, 2, 3, 3]
    assert found.joints.tolist() == [[1, 3], [2, 3]]
    assert found.parent.tolist() == [0, 0, 1]
    assert found.lineage.tolist() == [1, 1, 1]
    with pytest.raises(LineageError, match=r"Tracks 1 and 2 merge into 3, .* write GEFF instead"):
        challenge_tracks(found)


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ([[0, 9]], "from detection 0 to 9, but there are only detections 0 to 6"),
        ([[-1, 2]], "from detection -1 to 2"),
        ([[2, 0]], r"from frame 1 label 1 to frame 0 label 1; links go forward .* exchange"),
        ([[3, 4]], "from frame 2 label 1 to frame 2 label 7; links go forward"),
        ([[0, 2], [2, 3], [3, 0]], "form a cycle through frame 0 label 1 and frame 2 label 1"),
        ([[0, 2], [0, 2]], "link from frame 0 label 1 to frame 1 label 1 is there more than once"),
        ([[2, 3], [2, 4], [2, 5]], "frame 1 label 1 has 3 daughters, but an object divides in two"),
        ([[0, 2], [1, 2]], "frame 1 label 1 has 2 sources"),
    ],
)
def test_links_that_no_lineage_has_are_refused(links: list[list[int]], message: str) -> None:
    with pytest.raises(LineageError, match=message):
        lineages(FRAME, LABEL, np.array(links))


def test_detections_must_be_sorted_and_unique() -> None:
    with pytest.raises(LineageError, match="Two detections are frame 0 label 2; every object"):
        lineages(np.array([0, 0]), np.array([2, 2]), np.zeros((0, 2), int))
    with pytest.raises(LineageError, match="frame 0 label 1 comes after frame 1 label 1"):
        lineages(np.array([1, 0]), np.array([1, 1]), np.zeros((0, 2), int))


def test_nothing_at_all_is_a_lineage_too() -> None:
    none = np.zeros(0, np.int64)
    found = lineages(none, none, np.zeros((0, 2), int))
    assert len(found) == 0
    assert challenge_tracks(found)[1].shape == (0, 4)
    assert len(track_table(found, np.zeros((0, 3)))["track"]) == 0


def test_tables_have_physical_units_and_times() -> None:
    position = np.zeros((7, 3))
    position[2] = [0, 3, 4]
    position[5] = [0, 0, 8]
    found = lineages(FRAME, LABEL, LINKS)
    detections = detection_table(found, LABEL, position, interval=0.5)
    assert detections["displacement"][2] == 5
    assert detections["speed"][2] == 10
    assert detections["speed"][5] == 8  # over two frames
    assert np.isnan(detections["speed"][[0, 1, 3, 4, 6]]).all()
    tracks = track_table(found, position, interval=0.5)
    assert tracks["division"].tolist() == [1, -1, -1, -1, -1]
    assert tracks["missed"].tolist() == [0, 0, 1, 0, 0]
    assert tracks["net"].tolist() == [5, 0, 8, 0, 0]
    assert np.isnan(tracks["cycle"]).all()


def test_a_cycle_lasts_from_birth_to_division() -> None:
    frame, label = np.array([0, 1, 1, 2, 3, 3]), np.array([1, 1, 2, 1, 1, 2])
    links = np.array([[0, 1], [0, 2], [1, 3], [3, 4], [3, 5]])
    tracks = track_table(lineages(frame, label, links), np.zeros((6, 3)), interval=10)
    assert tracks["cycle"][1] == 10
    assert np.isnan(np.delete(tracks["cycle"], 1)).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6))
def test_order_of_links_changes_nothing_and_ids_follow_time(seed: int) -> None:
    true = worlds.truth(seed)
    world = worlds.tracked(true, seed + 1)
    links = np.random.default_rng(seed).permutation(world.found.links)
    again = lineages(world.frame, world.slot, links)
    assert (again.track == world.found.track).all()
    assert (again.links == world.found.links).all()
    assert (np.diff(again.begin) >= 0).all()
    born = again.parent > 0
    assert (again.parent[born] < np.flatnonzero(born) + 1).all()
    assert again.length.sum() == len(world.frame)
    assert (again.lineage[again.joints[:, 0] - 1] == again.lineage[again.joints[:, 1] - 1]).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6))
def test_lines_of_the_challenge_keep_every_link(seed: int) -> None:
    world = worlds.tracked(worlds.truth(seed), seed + 1)
    label, rows = world.challenge()
    order = np.lexsort((label, world.frame))
    graph = of_rows(world.frame[order], label[order], rows)
    pairs = order[graph.links]
    assert sorted(map(tuple, pairs.tolist())) == sorted(map(tuple, world.found.links.tolist()))
    gaps = world.frame[pairs[:, 1]] - world.frame[pairs[:, 0]] > 1
    assert graph.parental[gaps].all()
    assert of_lineages(world.found).parental.sum() == len(world.found.joints)
