import base64
import io

import numpy as np
import PIL.Image
import pytest

from bigseg.view.pictures import (
    Picture,
    display_shape,
    encode,
    png,
    resize_image,
    resize_labels,
)


def decoded(data: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"))


def test_few_colours_survive_exactly() -> None:
    rgb = np.random.default_rng(0).choice([0, 100, 255], (20, 30, 3)).astype(np.uint8)
    assert (decoded(png(rgb)) == rgb).all()


def test_many_colours_survive_nearly() -> None:
    rgb = np.stack(np.meshgrid(np.arange(64) * 4, np.arange(64) * 4, [0]), -1)[:, :, 0]
    found = decoded(png(rgb.astype(np.uint8)))
    assert np.abs(found.astype(int) - rgb).mean() < 12


def test_pictures_shrink_until_they_fit_the_budget() -> None:
    noise = np.random.default_rng(0).integers(0, 64, (300, 300, 1)) * 4
    picture = Picture(np.repeat(noise, 3, 2).astype(np.uint8), "")
    whole = encode([picture] * 2, 10**9)
    small = encode([picture] * 2, len(whole[0]))
    assert sum(map(len, small)) <= len(whole[0])
    image = decoded(base64.b64decode(small[0].split(",")[1]))
    assert 150 < image.shape[0] < 300
    assert encode([], 10) == []


@pytest.mark.parametrize(
    ("shape", "spacing", "expected"),
    [
        ((100, 200), (1.0, 1.0), (250, 500)),
        ((10, 100), (4.0, 1.0), (200, 500)),
        ((1, 5), (1.0, 1.0), (8, 40)),
        ((5000, 10), (1.0, 1.0), (500, 1)),
    ],
)
def test_true_proportions(
    shape: tuple[int, int], spacing: tuple[float, float], expected: tuple[int, int]
) -> None:
    assert display_shape(shape, spacing, 500) == expected


def test_labels_are_repeated_or_picked_and_never_mixed() -> None:
    labels = np.array([[1, 2], [3, 4]])
    assert resize_labels(labels, (4, 4)).tolist() == [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2
    assert resize_labels(np.arange(16).reshape(4, 4), (2, 2)).tolist() == [[5, 7], [13, 15]]


def test_images_keep_their_mean() -> None:
    image = np.random.default_rng(0).random((64, 64)).astype(np.float32)
    assert resize_image(image, (16, 16)).mean() == pytest.approx(image.mean(), abs=0.01)
