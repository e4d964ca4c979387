"""Lineages of known worlds come back, whatever the mode, the order and the parts."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.tracking import rates
from bigseg.core.tracking.detections import Detections, gather
from bigseg.core.tracking.link import Linked, Settings, learn_from, link, sample
from bigseg.errors import SpecError
from tests.core.tracking.moving import without, world

MODES = ["global", "fast"]


def pairs(found: Linked) -> set[tuple[int, int]]:
    return set(zip(found.links.source.tolist(), found.links.target.tolist(), strict=True))


@pytest.mark.parametrize("mode", MODES)
@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=6)
def test_moving_and_dividing_points_come_back(mode: str, seed: int) -> None:
    d, truth = world(seed)
    assert pairs(link(d, Settings(mode=mode))) == truth


@given(seed=st.integers(0, 10_000), lost=st.integers(0, 10_000))
@settings(deadline=None, max_examples=6)
def test_a_missed_detection_is_linked_over(seed: int, lost: int) -> None:
    d, links = world(seed, divide=0)
    rng = np.random.default_rng(lost)
    inner = np.flatnonzero((d.frame > 0) & (d.frame < d.frames - 1))
    d, truth = without(d, links, set(rng.choice(inner, 4, replace=False).tolist()))
    assert pairs(link(d)) == truth


@given(seed=st.integers(0, 10_000))
@settings(deadline=None, max_examples=6)
def test_parts_give_what_the_whole_gives(seed: int) -> None:
    d, _ = world(seed, frames=12)
    whole = link(d, Settings(core_frames=100, core_objects=10**6))
    parts = link(d, Settings(core_frames=3, core_objects=25))
    assert len(parts.parts) > 8
    assert pairs(parts) == pairs(whole)
    np.testing.assert_array_equal(parts.real, whole.real)


def test_the_order_of_the_rows_does_not_matter() -> None:
    d, truth = world(3)
    order = np.random.default_rng(0).permutation(len(d))
    shuffled = gather(d.frame[order], d.label[order], d.position[order])
    np.testing.assert_array_equal(shuffled.position, d.position)
    assert pairs(link(shuffled)) == truth


def test_divisions_are_told_from_moves() -> None:
    d, truth = world(5, divide=0.1)
    found = link(d)
    out = np.bincount([a for a, _ in truth], minlength=len(d))
    np.testing.assert_array_equal(found.links.division, out[found.links.source] == 2)
    assert found.links.division.sum() >= 2


def test_without_divisions_nothing_divides() -> None:
    d, _ = world(5, divide=0.1)
    found = link(d, Settings(divisions=False))
    assert not found.links.division.any()
    assert np.unique(found.links.source).size == len(found.links.source)


def test_of_two_segmentations_that_compete_the_one_that_goes_on_is_taken() -> None:
    d, truth = world(1, divide=0)
    # A rival of every object of frame 3, some way off.
    rows = np.flatnonzero(d.frame == 3)
    rival = d.position[rows] + np.array([0, 0, 8.0])
    frame = np.r_[d.frame, np.full(len(rows), 3)]
    label = np.r_[d.label, d.label[rows] + 1000]
    sets = np.arange(len(rows))
    conflicts = np.r_[np.c_[rows, sets], np.c_[len(d) + sets, sets]]
    both = gather(frame, label, np.r_[d.position, rival], conflicts=conflicts)
    real = np.ones(len(both), bool)
    real[(both.frame == 3) & (both.label > 1000)] = False
    for mode in MODES:
        found = link(both, Settings(mode=mode))
        np.testing.assert_array_equal(found.real, real)
        assert len(found.links.source) == len(truth)


def test_what_is_surely_false_is_rejected() -> None:
    d, truth = world(2, divide=0)
    middle = d.position.mean(0) + 30
    score = np.r_[np.full(len(d), 0.99), 1e-6]
    more = gather(
        np.r_[d.frame, 4], np.r_[d.label, 999], np.r_[d.position, [middle]], {"score": score}
    )
    found = link(more)
    assert more.label[~found.real].tolist() == [999]
    assert len(found.links.source) == len(truth)


@pytest.mark.parametrize("mode", MODES)
def test_the_share_of_false_detections_is_learned(mode: str) -> None:
    d, truth = world(2, side=8, frames=12, divide=0.02)
    rng = np.random.default_rng(0)
    extra = len(d) // 25
    places = rng.uniform(d.position.min(0), d.position.max(0), (extra, 3))
    frame = np.r_[d.frame, rng.integers(0, d.frames, extra)]
    both = gather(frame, np.arange(1, len(frame) + 1), np.r_[d.position, places])
    found = link(both, Settings(mode=mode))
    assert 0.02 < found.model.false < 0.05
    assert len(found.links.source) == pytest.approx(len(truth), rel=0.02)


EMPTY = np.zeros((0, 3))


def points(*rows: tuple[int, float, float]) -> Detections:
    table = np.asarray(rows, np.float64).reshape(-1, 3)
    frame = table[:, 0].astype(int)
    return gather(frame, np.arange(1, len(frame) + 1), table[:, 1:])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("d", "links"),
    [
        (points(), 0),
        (points((0, 1, 1)), 0),
        (points((0, 1, 1), (0, 5, 5), (0, 9, 9)), 0),
        (points((0, 1, 1), (1, 1, 1), (2, 1, 1)), 2),
        (points((0, 1, 1), (2, 1, 1.5)), 1),
        (points((0, 1, 1), (9, 1, 1)), 0),
        (points((0, 1, 1), (0, 1, 1), (1, 1, 1), (1, 1, 1)), 2),
    ],
    ids=["none", "one", "one frame", "still", "a gap", "too long a gap", "at one place"],
)
def test_hardly_anything_is_linked_as_well(d: Detections, links: int, mode: str) -> None:
    found = link(d, Settings(mode=mode))
    assert len(found.links.source) == links
    assert found.real.all()


def test_gates_can_be_set() -> None:
    d, truth = world(4, divide=0)
    assert pairs(link(d, Settings(max_move=100.0))) == truth
    assert not pairs(link(d, Settings(max_move=1e-6, max_division=1e-6)))


def test_numbers_can_be_fitted_to_known_links() -> None:
    d, truth = world(7, side=8, frames=12, step=1.5, divide=0.05)
    found = link(d)
    assert pairs(found) == truth
    model = learn_from(d, found.links, Settings())
    assert 1.0 < model.steps[0].scale < 2.0
    assert 0.02 < model.divides < 0.08
    assert math.exp(model.separation[0]) == pytest.approx(20, rel=0.4)


def test_a_distribution_is_found_again() -> None:
    rng = np.random.default_rng(0)
    squared = (rng.normal(0, 3, (4000, 2)) ** 2).sum(1)
    found = rates.spread(squared, 2, rates.Spread(1.0))
    assert found.scale == pytest.approx(3, rel=0.05)
    assert found.tail > 9


def test_costs_are_densities() -> None:
    spread = rates.Spread(2.0, 3.0)
    x = np.linspace(-2000, 2000, 400_001)
    assert np.exp(-spread.cost(x**2)).sum() * (x[1] - x[0]) == pytest.approx(1, abs=1e-3)
    assert spread.cost(np.array([spread.reach(9.0, 2) ** 2]), 2)[0] == pytest.approx(9.0)


def test_equal_sets_of_a_series_give_equal_links() -> None:
    d, _ = world(11, divide=0.08)
    sized = replace(d, size=np.full(len(d), 5.0))
    assert pairs(link(sized)) == pairs(link(sized))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "slow"}, "Mode 'slow' is unknown; link in mode global or fast"),
        ({"gap": -1}, "gap is -1; 0 is the least"),
        ({"core_frames": 0}, "core_frames is 0; 1 is the least"),
    ],
)
def test_settings_that_cannot_be_are_refused(change: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Settings(**change)


def test_a_link_over_no_frame_is_possible() -> None:
    d = points((0, 1, 1), (2, 1, 1.5))
    assert not pairs(link(d, Settings(gap=0)))


def test_of_crowded_frames_a_region_tells_enough() -> None:
    d, truth = world(3, side=16, frames=8)
    part = sample(d, 200)
    assert len(part) < 400 < len(d) / 2
    assert part.border is not None
    assert part.frames >= 6
    assert pairs(link(d, Settings(sample=200))) == truth
