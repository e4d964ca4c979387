"""Voxels that objects of successive frames share, as candidates and as evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bigseg.core.overlap import overlap_counts
from bigseg.core.tracking import candidates, costs, link, motion, rates
from bigseg.core.tracking.blocks import Links
from bigseg.core.tracking.detections import Detections, gather
from bigseg.core.tracking.overlaps import Overlaps, gather_overlaps, mutual, union_share
from tests.core.tracking.rods import rods


def seen(labels) -> Detections:
    """Detections of label images (t, y, x), with what they share."""
    rows, shared, first = [], [], 0
    for t, frame in enumerate(labels):
        names = np.unique(frame)[1:]
        place = ndimage.center_of_mass(frame > 0, frame, names)
        size = np.bincount(frame.ravel())[names]
        rows.append(np.c_[np.full(len(names), t), names, place, size])
        if t + 1 < len(labels):
            pairs, voxels = overlap_counts(frame, labels[t + 1])
            later = first + len(names)
            names_then = np.unique(labels[t + 1])[1:]
            ends = first + np.searchsorted(names, pairs[:, 0])
            shared.append(np.c_[ends, later + np.searchsorted(names_then, pairs[:, 1]), voxels])
            first = later
    table, pairs = np.concatenate(rows), np.concatenate(shared).astype(np.int64)
    frame, label = table[:, :2].astype(int).T
    d = gather(frame, label, table[:, 2:4], {"size": table[:, 4]})
    return replace(d, overlaps=gather_overlaps(pairs[:, 0], pairs[:, 1], pairs[:, 2]))


def wrong(d: Detections, names, **how: object) -> int:
    """How many links lead to another rod, or are missing."""
    found = link.link(d, link.Settings(divisions=False, **how)).links
    rod = np.empty(len(d), int)
    for t, label in enumerate(names):
        rod[d.starts[t] : d.starts[t + 1]][label - 1] = np.arange(len(label))
    true = (rod[found.source] == rod[found.target]) & (d.frame[found.target] > 0)
    return int((~true).sum()) + names[1:].size - len(found.source)


@pytest.mark.parametrize("mode", ["global", "fast"])
def test_long_thin_cells_are_told_by_what_they_cover(mode):
    labels, names = rods(0)
    d = seen(labels)
    assert wrong(d, names, mode=mode) == 0
    assert wrong(replace(d, overlaps=None), names, mode=mode) > 0.3 * names[1:].size


def test_parts_see_what_the_whole_sees():
    labels, names = rods(1)
    assert wrong(seen(labels), names, core_frames=2, core_objects=40) == 0


def test_what_overlaps_is_a_candidate_however_far_its_centre():
    d = gather(
        np.array([0, 0, 0, 1, 1, 1]),
        np.array([1, 2, 3, 1, 2, 3]),
        np.array([[0.0, 0], [5, 0], [10, 0], [0, 40], [5, 1], [10, 1]]),
        {"size": np.full(6, 100.0)},
    )
    d = replace(d, overlaps=Overlaps(np.array([0]), np.array([3]), np.array([60.0])))
    model = replace(rates.first(d, 1), divides=0.0)
    n = costs.nodes(d, model)
    # Nobody is far enough off for the gate to be as wide as that.
    reach = replace(link.reach_of(model, link.Settings(gap=0)), move=(8.0,))
    some = candidates.leaving(d, n, model, reach, motion.still(d), 0)
    assert (0, 3) not in set(zip(some.source.tolist(), some.target.tolist(), strict=True))
    told = replace(model, overlap=costs.Overlap((-50.0, *np.linspace(0, 50, 10).tolist())))
    some = candidates.leaving(d, n, told, reach, motion.still(d), 0)
    assert (0, 3) in set(zip(some.source.tolist(), some.target.tolist(), strict=True))
    reach = replace(reach, limits=(30.0, 30.0))
    some = candidates.leaving(d, n, told, reach, motion.still(d), 0)
    assert (0, 3) not in set(zip(some.source.tolist(), some.target.tolist(), strict=True))


def test_a_step_that_a_user_limits_is_limited_for_all():
    d = seen(rods(0)[0])
    found = link.link(d, link.Settings(max_move=10.0, divisions=False)).links
    far = np.linalg.norm(d.position[found.target] - d.position[found.source], axis=1)
    assert (far <= 10 * (d.frame[found.target] - d.frame[found.source])).all()
    assert len(far) > 100


def test_daughters_that_cover_their_mother_are_likelier_than_those_that_do_not():
    model = replace(
        rates.first(seen(rods(0)[0]), 1), overlap=costs.Overlap(tuple(np.linspace(-5, 5, 11)))
    )
    one = np.ones(2)
    cost = costs.divisions(model, one, 10 * one, alike=np.array([0.0, 0.9]))
    assert cost[1] < cost[0] - 3


def test_odds_are_those_of_the_series():
    labels, names = rods(2, frames=8)
    d = seen(labels)
    ends = [np.empty(names.shape[1], int) for _ in names]
    for t, label in enumerate(names):
        ends[t] = d.starts[t] + label - 1
    source, target = np.concatenate(ends[:-1]), np.concatenate(ends[1:])
    order = np.argsort(target)
    source, target = source[order], target[order]
    links = Links(source, target, np.zeros(len(source), np.bool_), np.zeros(len(source)))
    model = link.learn_from(d, links, link.Settings())
    assert model.overlap is not None
    assert list(model.overlap.odds) == sorted(model.overlap.odds)
    # No link is without overlap, and nobody else overlaps at all.
    assert model.overlap.odds[0] < -4
    assert model.overlap.odds[-1] > 2
    few = d.take(np.flatnonzero(d.frame < 2))
    first = link.learn_from(few, Links(*(c[target < d.starts[2]] for c in (
        source, target, links.division, links.gain))), link.Settings())  # fmt: skip
    assert first.overlap is None  # of 72 links


def test_brightness_tells_objects_apart_on_request():
    rng = np.random.default_rng(0)
    frames, count = 15, 40
    place = rng.uniform(0, 100, (count, 2)) + rng.normal(0, 5, (frames, count, 2)).cumsum(0)
    light = np.exp(rng.normal(0, 1, count)) * np.exp(rng.normal(0, 0.03, (frames, count)))
    frame, label = np.indices((frames, count)).reshape(2, -1)
    d = gather(frame, label + 1, place.reshape(-1, 2), {"intensity": light.ravel()})
    right = []
    for brightness in (False, True):
        found = link.link(d, link.Settings(brightness=brightness, divisions=False)).links
        right.append((d.label[found.source] == d.label[found.target]).mean())
    assert right[0] < 0.85
    assert right[1] > 0.97


Pairs = st.lists(st.tuples(st.integers(0, 9), st.integers(10, 19), st.integers(1, 50)), max_size=30)


@settings(deadline=None, max_examples=50)
@given(Pairs, st.sets(st.integers(0, 19)))
def test_some_rows_keep_the_pairs_among_them(pairs, rows):
    known = {(i, j): float(v) for i, j, v in pairs}
    columns = np.array([(*key, v) for key, v in known.items()]).reshape(-1, 3).astype(int)
    o = gather_overlaps(*columns.T)
    kept = np.array(sorted(rows), np.int64)
    some = o.take(kept)
    found = zip(kept[some.source].tolist(), kept[some.target].tolist(), some.voxels, strict=True)
    assert {(i, j): v for i, j, v in found} == {
        (i, j): v for (i, j), v in known.items() if i in rows and j in rows
    }
    i, j = np.repeat(np.arange(10), 10), np.tile(np.arange(10, 20), 10)
    expected = [known.get((a, b), 0.0) for a, b in zip(i.tolist(), j.tolist(), strict=True)]
    assert o.shared(i, j).tolist() == expected


def test_the_most_alike_remain_from_both_sides():
    o = gather_overlaps(np.array([0, 0, 0, 1]), np.array([3, 4, 5, 5]), np.array([1, 9, 5, 8]))
    size = np.full(6, 10.0)
    best = o.most(size, 1)
    assert list(zip(best.source.tolist(), best.target.tolist(), strict=True)) == [
        (0, 3), (0, 4), (1, 5),
    ]  # fmt: skip
    i, j = mutual(o, size)
    assert list(zip(i.tolist(), j.tolist(), strict=True)) == [(0, 4), (1, 5)]
    assert union_share(np.array([5.0]), np.array([20.0])).tolist() == [1 / 3]
