"""HoVer maps become objects."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.class_targets import hover_targets
from bigseg.core.decode.hover import labels_from_hover
from bigseg.core.metrics import average_precision, match
from bigseg.core.overlap import contingency
from bigseg.core.quality import sizes
from bigseg.core.quantise import quantise, unpack
from tests.worlds import ball

SAMPLE = Path(__file__).parents[3] / "bigseg" / "samples" / "nuclei2d_truth.tif"


def fields(labels, noise=0.0, seed=0):
    random = np.random.default_rng(seed)
    maps = hover_targets(labels) + noise * random.standard_normal((2, *labels.shape))
    return maps.astype(np.float32), np.where(labels > 0, 4, -4).astype(np.float32)


def precision(found, truth, threshold=0.5):
    return average_precision(match(*contingency(found, truth)), threshold)


def discs(shape, radius, centres):
    labels = np.zeros(shape, np.uint32)
    for id_, centre in enumerate(centres, 1):
        labels[ball(shape, centre, radius)] = id_
    return labels


TOUCHING = discs((60, 90), 15, [(20, 20), (24, 48), (40, 70)])


def test_touching_objects_come_back():
    found = labels_from_hover(*fields(TOUCHING))
    assert found.dtype == np.uint32
    assert found.max() == 3
    assert precision(found, TOUCHING, 0.9) == 1


def test_real_labels_come_back():
    truth = tifffile.imread(SAMPLE).astype(np.uint32)
    areas = sizes(truth)[1:]
    diameter = float(np.median(2 * np.sqrt(areas[areas > 0] / np.pi)))
    found = labels_from_hover(*fields(truth), diameter=diameter, min_size=1)
    assert precision(found, truth) >= 0.95
    assert precision(found, truth, 0.75) >= 0.95


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, unique=True),
    st.sampled_from([8, 15, 30]),
)
def test_discs_come_back_whatever_their_size(places, radius):
    edge = 2 * radius + 1
    truth = discs(
        (4 * edge + 4, 4 * edge + 4),
        radius,
        [(edge * y + radius + x, edge * x + radius) for y, x in sorted(places)],
    )
    found = labels_from_hover(*fields(truth), diameter=2 * radius)
    assert precision(found, truth, 0.75) == 1


def test_the_published_axes_are_kept_for_parity_only():
    maps, logits = fields(TOUCHING)
    right = labels_from_hover(maps, logits)
    assert precision(right, TOUCHING) > precision(
        labels_from_hover(maps, logits, parity=True), TOUCHING
    )
    assert precision(labels_from_hover(maps[::-1].copy(), logits, parity=True), TOUCHING) == 1


def test_parity_depends_on_the_rest_of_the_image_and_the_default_does_not():
    maps, logits = fields(discs((60, 60), 15, [(20, 20), (24, 48)]), 0.05)
    wide = np.pad(maps, ((0, 0), (0, 0), (0, 60)))
    wide[:, :, 100:] = 9  # one sharp step elsewhere
    beside = np.pad(logits, ((0, 0), (0, 60)), constant_values=-4)
    for parity in (False, True):
        alone = labels_from_hover(maps, logits, parity=parity)[:, :50]
        same = np.array_equal(labels_from_hover(wide, beside, parity=parity)[:, :50], alone)
        assert same is not parity


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 99))
def test_object_is_the_same_whatever_box_it_is_cut_from(y, x, seed):
    labels = np.pad(TOUCHING, 20)
    maps, logits = fields(labels, 0.2, seed)
    box = (slice(y, y + 80), slice(x, x + 110))
    whole = labels_from_hover(maps, logits)
    cut = labels_from_hover(maps[(slice(None), *box)].copy(), logits[box].copy())
    np.testing.assert_array_equal(whole[box], cut)


def test_eight_bits_are_enough():
    maps, logits = fields(TOUCHING, 0.1)
    found = labels_from_hover(*unpack(quantise(maps, logits)))
    assert precision(found, labels_from_hover(maps, logits), 0.9) == 1


def test_specks_are_no_objects_and_threshold_is_on_the_logit():
    maps, logits = fields(TOUCHING)
    assert labels_from_hover(maps, logits, min_size=1000).max() == 0
    assert labels_from_hover(maps, logits, threshold=4.1).max() == 0
    assert labels_from_hover(maps, logits, threshold=4.0).max() == 3


@pytest.mark.parametrize("parity", [False, True])
def test_values_that_are_not_finite_are_flat_and_background(parity):
    maps, logits = fields(TOUCHING)
    maps[:, 12, 5] = np.nan
    maps[0, 14, 30] = np.inf
    logits[20, 20] = np.nan
    found = labels_from_hover(maps, logits, parity=parity)
    assert found[20, 20] == 0
    assert found.max() >= 2


@pytest.mark.parametrize("parity", [False, True])
def test_nothing_gives_nothing(parity):
    nothing = np.zeros((2, 9, 9), np.float32), np.full((9, 9), -4, np.float32)
    assert not labels_from_hover(*nothing, parity=parity).any()
    empty = np.zeros((2, 0, 9), np.float32), np.zeros((0, 9), np.float32)
    assert labels_from_hover(*empty, parity=parity).shape == (0, 9)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"maps of shape \(2, 5, 6\) do not fit logits"):
        labels_from_hover(np.zeros((2, 5, 6), np.float32), np.zeros((5, 5), np.float32))
