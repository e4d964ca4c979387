"""Random views keep image and labels together, and stay what a seed makes of them."""

import numpy as np
import pytest

from bigseg.core.augment import random_light, random_view


@pytest.fixture
def labels() -> np.ndarray:
    ids = np.zeros((60, 80), np.int32)
    ids[10:30, 20:50], ids[35:55, 5:30] = 3, 7
    return ids


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_labels_move_with_the_image(labels: np.ndarray, scale: float) -> None:
    for seed in range(5):
        image = (labels > 0).astype(np.float32)
        view, masks = random_view(image, labels, scale, (64, 48), np.random.default_rng(seed))
        assert view.shape == masks.shape == (64, 48)
        assert (view.dtype, masks.dtype) == (np.float32, np.int32)
        assert ((view > 0.5) == (masks > 0)).mean() > 0.97
        assert set(np.unique(masks)) <= {0, 3, 7}


def test_a_view_is_as_large_as_the_scale_says(labels: np.ndarray) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        _, masks = random_view(labels.astype(np.float32), labels, 0.5, (128, 128), rng)
        assert (masks == 3).sum() == pytest.approx(600 / 4, rel=0.15)


def test_a_seed_makes_the_same_view_and_another_one_another(labels: np.ndarray) -> None:
    image = labels.astype(np.float32)
    one, same, other = (
        random_view(image, labels, 1.0, (40, 40), np.random.default_rng(s))[0] for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_light_keeps_shape_and_order_and_never_breaks(labels: np.ndarray) -> None:
    image = (labels > 0) * np.float32(0.8) + np.float32(-0.1)
    for seed in range(10):
        lit = random_light(image, np.random.default_rng(seed))
        assert lit.dtype == np.float32
        assert np.isfinite(lit).all()
        assert lit[labels > 0].mean() > lit[labels == 0].mean() + 0.1
