"""Corrections: what they take out of the program."""

from __future__ import annotations

import numpy as np

from bigseg.core.tracking import link
from bigseg.core.tracking.blocks import Core
from bigseg.core.tracking.detections import gather
from bigseg.core.tracking.edits import Edits, bans, cleared, no_edits, rows_of
from bigseg.core.tracking.link import Settings

WHOLE = Core(0, 9, (-np.inf,) * 3, (np.inf,) * 3)


def walkers(frames: int = 10, count: int = 12):
    """Objects in a row, 20 apart, that move by about 1 per frame."""
    rng = np.random.default_rng(0)
    place = np.stack([20.0 * np.arange(count), np.zeros(count)], axis=1)
    steps = rng.normal(0, 1, (frames, count, 2)).cumsum(axis=0)
    frame, label = np.indices((frames, count)).reshape(2, -1)
    return gather(frame, label + 1, (place + steps).reshape(-1, 2))


def edits(**lists: list[list[int]]) -> Edits:
    none = no_edits()
    made = {name: np.array(rows, np.int64) for name, rows in lists.items()}
    return Edits(
        made.get("links", none.links),
        made.get("unlinks", none.unlinks),
        made.get("deleted", none.deleted),
    )


def linked(d, corrections, mode="global"):
    """Links by frame and label of both ends, less those that were given."""
    settings = Settings(mode=mode)
    model = link.learn(d, settings)
    d = cleared(d, corrections)
    part = link.link_part(d, WHOLE, model, settings, (0, 9), bans(d, corrections))
    a, b = part.links.source, part.links.target
    columns = (d.frame[a], d.label[a], d.frame[b], d.label[b])
    return {tuple(map(int, row)) for row in zip(*columns, strict=True)}


def test_without_corrections_nothing_changes():
    d = walkers()
    assert len(linked(d, no_edits())) == 9 * 12


def test_what_a_given_link_takes_is_left_alone():
    for mode in ("global", "fast"):
        d = walkers()
        before = linked(d, no_edits(), mode)
        after = linked(d, edits(links=[[3, 2, 4, 5]]), mode)
        assert (3, 2, 4, 2) in before - after
        assert (3, 5, 4, 5) in before - after
        assert before - after == {(3, 2, 4, 2), (3, 5, 4, 5)}


def test_what_is_unlinked_is_not_linked():
    for mode in ("global", "fast"):
        found = linked(walkers(), edits(unlinks=[[3, 2, 4, 2]]), mode)
        assert (3, 2, 4, 2) not in found
        assert (3, 1, 4, 1) in found


def test_what_is_deleted_is_gone():
    found = linked(walkers(), edits(deleted=[[4, 2]]))
    assert not {row for row in found if (4, 2) in (row[:2], row[2:])}
    assert (3, 2, 5, 2) in found  # as if it had been missed


def test_rivals_of_what_is_linked_are_gone():
    d = gather(
        np.array([0, 1, 1, 2]),
        np.array([1, 1, 2, 1]),
        np.array([[0.0, 0], [0, 1], [0, 2], [0, 3]]),
        conflicts=np.array([[1, 0], [2, 0]]),
    )
    left = cleared(d, edits(links=[[0, 1, 1, 2]]))
    assert left.label.tolist() == [1, 2, 1]
    assert left.conflicts is not None
    assert len(left.conflicts) == 0


def test_rows_of_objects_that_are_not_there():
    d = walkers(3, 2)
    objects = np.array([[0, 1], [2, 2], [2, 3], [3, 1], [9, 1]])
    assert rows_of(d, objects).tolist() == [0, 5, -1, -1, -1]


def test_corrections_of_others_mean_nothing():
    d = walkers(3, 2)
    assert not bans(d, edits(links=[[5, 1, 6, 1]], unlinks=[[0, 1, 5, 1]]))
