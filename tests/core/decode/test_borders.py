"""Class logits become objects, with their borders."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.class_targets import border_targets
from bigseg.core.decode.borders import labels_from_borders, margins, pack_margins, unpack_margins
from bigseg.core.metrics import average_precision, match
from bigseg.core.overlap import contingency
from bigseg.core.quality import sizes
from tests.worlds import ball

SAMPLE = Path(__file__).parents[3] / "bigseg" / "samples" / "nuclei2d_truth.tif"


def logits_of(classes, count=3):
    """Logits of a network that is sure."""
    return np.stack([np.where(classes == k, 4, -4) for k in range(count)]).astype(np.float32)


def maps_of(labels, **options):
    return margins(logits_of(border_targets(labels, **options)))


def precision(found, truth):
    return average_precision(match(*contingency(found, truth)), 0.5)


TOUCHING = ball((40, 60), (18, 20), 12) * np.uint32(1)
TOUCHING[ball((40, 60), (20, 42), 11)] = 2


def test_touching_objects_come_back():
    np.testing.assert_array_equal(labels_from_borders(maps_of(TOUCHING)), TOUCHING)


@pytest.mark.parametrize("parity", [False, True])
def test_real_labels_come_back(parity):
    truth = tifffile.imread(SAMPLE).astype(np.uint32)
    areas = sizes(truth)[1:]
    scale = 30 / np.median(2 * np.sqrt(areas[areas > 0] / np.pi))
    found = labels_from_borders(maps_of(truth, scale=scale), parity=parity)
    assert found.dtype == np.uint32
    assert precision(found, truth) >= 0.95


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, unique=True))
def test_discs_come_back(places):
    truth = np.zeros((104, 104), np.uint32)
    for id_, (y, x) in enumerate(sorted(places), 1):
        truth[ball(truth.shape, (13 + 25 * y + x, 13 + 25 * x), 12)] = id_
    assert precision(labels_from_borders(maps_of(truth)), truth) == 1


def test_two_classes_are_connected_pieces():
    cells = np.array([[1, 1, 0, 1], [0, 0, 1, 0]])
    found = labels_from_borders(margins(logits_of(cells, 2)))
    assert found.tolist() == [[1, 1, 0, 2], [0, 0, 3, 0]]


def test_volumes_need_nothing_more():
    core = np.zeros((12, 12, 12), int)
    core[2:10, 2:10, 2:10] = 2
    core[4:8, 4:8, 4:8] = 1
    found = labels_from_borders(margins(logits_of(core)))
    np.testing.assert_array_equal(found, core > 0)


def test_border_goes_to_the_nearest_object_and_not_across_a_gap():
    line = np.array([[1, 2, 2, 2, 2, 2, 1, 0, 2, 0]])
    found = labels_from_borders(margins(logits_of(line)))
    assert found.tolist() == [[1, 1, 1, 1, 2, 2, 2, 0, 0, 0]]
    assert labels_from_borders(margins(logits_of(line)), reach=1).tolist() == [
        [1, 1, 0, 0, 0, 2, 2, 0, 0, 0]
    ]
    assert labels_from_borders(margins(logits_of(line)), parity=True)[0, 8] == 2


def test_thresholds_are_on_the_logits():
    maps = np.array([[[1.9, 2.1, 0, 0]], [[0, 0, 0.6, 0.4]]], np.float32)
    assert labels_from_borders(maps).tolist() == [[0, 1, 1, 0]]
    loose = labels_from_borders(maps, cell_threshold=1, border_threshold=0.3)
    assert loose.tolist() == [[1, 1, 1, 1]]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 99))
def test_object_is_the_same_whatever_box_it_is_cut_from(y, x, seed):
    random = np.random.default_rng(seed)
    labels = np.zeros((80, 80), np.uint32)
    labels[20 : 20 + 40, 20 : 20 + 40] = TOUCHING[:, 8:48]
    maps = maps_of(labels) + random.normal(0, 3, (2, 80, 80)).astype(np.float32)
    # All that is connected to anything in the middle lies more than its reach inside.
    box = (slice(y // 3, 80 - x // 3), slice(x // 3, 80 - y // 3))
    whole = labels_from_borders(maps)
    cut = labels_from_borders(maps[(slice(None), *box)].copy())
    inner = (slice(25, 55), slice(25, 55))
    shifted = tuple(
        slice(i.start - b.start, i.stop - b.start) for i, b in zip(inner, box, strict=True)
    )
    pairs = np.unique(np.stack([whole[inner].ravel(), cut[shifted].ravel()]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1]


def test_eight_bits_separate_the_same_voxels():
    random = np.random.default_rng(0)
    maps = maps_of(TOUCHING) + random.normal(0, 3, (2, 40, 60)).astype(np.float32)
    packed = pack_margins(maps)
    assert packed.dtype == np.int8
    assert np.abs(unpack_margins(packed) - maps)[(maps > -4) & (maps < 7)].max() <= 1 / 32
    np.testing.assert_array_equal(labels_from_borders(packed), labels_from_borders(maps))
    assert not pack_margins(np.full((2, 3, 3), -9, np.float32)).any()


def test_nothing_gives_nothing():
    assert not labels_from_borders(np.full((2, 5, 5), np.nan, np.float32)).any()
    assert labels_from_borders(np.zeros((2, 0, 5), np.float32)).shape == (0, 5)


def test_other_maps_are_refused():
    with pytest.raises(ValueError, match=r"maps of shape \(3, 5, 5\) are not margins"):
        labels_from_borders(np.zeros((3, 5, 5), np.float32))
