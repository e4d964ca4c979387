"""Trees and film strips of lineages."""

from __future__ import annotations

import re

import numpy as np
import pytest

from bigseg.core.tracking.lineage import lineages
from bigseg.view import film
from bigseg.view.lineage_tree import largest, lineage_trees, rows_of


@pytest.fixture
def family():
    """A mother (frames 0, 1) of two daughters (2, 3), of which the first has two; and a loner."""
    frame = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3])
    label = np.array([1, 2, 1, 2, 1, 2, 1, 2, 3])
    links = np.array([[0, 2], [1, 3], [2, 4], [2, 5], [4, 6], [4, 7], [5, 8]])
    return lineages(frame, label, links)


def test_a_mother_is_amid_her_daughters(family):
    place = rows_of(family, np.flatnonzero(family.lineage == 1))
    root = int(np.flatnonzero((family.parent == 0) & (family.lineage == 1))[0])
    below = [place[t] for t in np.flatnonzero(family.parent == root + 1)]
    assert place[root] == pytest.approx(np.mean(below))
    leaves = [t for t in place if family.daughters[t] == 0]
    assert sorted(place[t] for t in leaves) == [0, 1, 2]


def test_lineages_without_divisions_are_not_drawn(family):
    assert largest(family) == [1]
    drawing, count = lineage_trees(family, 4)
    assert count == 1
    assert drawing.count("<line") == 5
    assert drawing.count("<path") == 4


def test_nothing_to_draw():
    alone = lineages(np.array([0, 1]), np.array([1, 1]), np.array([[0, 1]]))
    assert lineage_trees(alone, 2) == ('<p class="none">No object divided.</p>', 0)


def test_a_strip_shows_the_frames_around_a_division(family):
    centre = np.stack([np.zeros(9), np.full(9, 20.0), 10.0 + np.arange(9)], axis=1)
    event = film.events(family, centre, np.full(9, 4.0), 1)[0]
    labels = np.zeros((4, 1, 40, 50), np.uint32)
    labels[:, :, 15:25, 5:20] = event.mother

    def read(box):
        return labels[box][0]

    pictures = film.strip(film.Reel(labels.shape, read, None, (1, 1, 1)), event)
    frames = [int(re.findall(r"\d+", picture.caption)[0]) for picture in pictures]
    assert frames[0] <= event.frame < frames[-1]
    assert all(picture.rgb.max() > 0 for picture in pictures)


def test_others_are_dimmed():
    tracks = np.array([[1, 1, 1, 2, 2, 2]] * 3, np.uint32)
    whole, dimmed = film.painted(tracks, None), film.painted(tracks, None, (1,))
    np.testing.assert_array_equal(whole[:, :3], dimmed[:, :3])
    assert dimmed[1, 4].max() < whole[1, 4].max()
