"""Whole frames that are displaced are seen, whatever the distance; frames that are not, stay."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from bigseg.core.tracking.detections import Detections, gather
from bigseg.core.tracking.drift import shift
from bigseg.core.tracking.link import MODES, Settings, find_drift, link
from tests.core.tracking.moving import SPACING, world

SHARE = 0.1
"""Residual that is allowed, of the distance of neighbours."""


def cloud(seed: int, count: int, axes: int) -> np.ndarray:
    """Points anywhere, about `SPACING` from each other and not at one place."""
    rng = np.random.default_rng(seed)
    found = np.zeros((0, axes))
    while len(found) < count:
        point = rng.random(axes) * SPACING * 1.7 * count ** (1 / axes)
        if (((found - point) ** 2).sum(1) > SPACING**2 / 4).all():
            found = np.r_[found, [point]]
    return found


@given(
    seed=st.integers(0, 10_000),
    axes=st.sampled_from([2, 3]),
    far=st.sampled_from([0.0, 0.7, 3.0, 6.0]),
)
@settings(deadline=None, max_examples=12)
def test_a_displacement_is_found(seed: int, axes: int, far: float) -> None:
    rng = np.random.default_rng(seed)
    points = cloud(seed, 150, axes)
    way = rng.normal(size=axes)
    way *= far * SPACING / np.linalg.norm(way)
    moved = (points + way + rng.normal(0, 1, points.shape))[rng.random(150) > 0.1]
    found = shift(cKDTree(points), cKDTree(moved), SPACING)
    np.testing.assert_allclose(found, way, atol=SHARE * SPACING)


def test_frames_without_anything_in_common_stay() -> None:
    assert not shift(cKDTree(cloud(0, 200, 2)), cKDTree(cloud(1, 200, 2)), SPACING).any()


def test_few_objects_tell_nothing_of_the_image() -> None:
    points = cloud(0, 5, 2)
    assert not shift(cKDTree(points), cKDTree(points + 3 * SPACING), SPACING).any()


def test_a_series_at_rest_does_not_drift() -> None:
    assert find_drift(world(0)[0]) == ()
    assert find_drift(gather(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)))) == ()


def wandering(frames: int = 8) -> tuple[Detections, set[tuple[int, int]]]:
    """A cloud of points that jitter; detections and their links."""
    rng = np.random.default_rng(0)
    points = cloud(1, 100, 2)
    steps = np.cumsum(rng.normal(0, 1, (frames, *points.shape)), axis=0)
    frame = np.repeat(np.arange(frames), len(points))
    rows = np.arange(len(frame) - len(points))
    label = np.arange(len(frame)) + 1
    d = gather(frame, label, (points + steps).reshape(-1, 2))
    return d, set(zip(rows.tolist(), (rows + len(points)).tolist(), strict=True))


def shaken(d: Detections, frames: list[int], by: tuple[float, float]) -> Detections:
    """The same, but the image jumps before some frames and stays there."""
    jumps = np.zeros((d.frames, 3))
    jumps[frames, 1:] = by
    return replace(d, position=d.position + np.cumsum(jumps, axis=0)[d.frame])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("by", [(45.0, -30.0), (9.0, 5.0), (0.0, 200.0)])
def test_tracks_go_on_where_the_image_jumps(mode: str, by: tuple[float, float]) -> None:
    d, truth = wandering()
    found = link(shaken(d, [3, 4, 6], by), Settings(mode=mode))
    assert set(zip(found.links.source, found.links.target, strict=True)) == truth
    assert len(found.model.drift) == d.frames
    np.testing.assert_allclose(found.model.drift[-1], (0, *(3 * v for v in by)), atol=3)


def test_parts_see_the_same_drift_as_the_whole() -> None:
    d, truth = wandering()
    found = link(shaken(d, [4], (70.0, 0.0)), Settings(core_frames=3, core_objects=40))
    assert len(found.parts) > 4
    assert set(zip(found.links.source, found.links.target, strict=True)) == truth
