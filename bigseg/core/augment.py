"""Random views of a training image: turned, scaled, flipped, dimmed, blurred, noisy."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.transform import AffineTransform, warp

from bigseg.types import Floats, Labels

Canvas = tuple[int, int]


def random_view(
    image: Floats, labels: Labels, scale: float, canvas: Canvas, rng: np.random.Generator
) -> tuple[Floats, Labels]:
    """Cut a turned, mirrored and scaled window out of an image.

    Parameters
    ----------
    image : (y, x) float32
    labels : (y, x) int
    scale
        Pixels of the view per pixel of the image.
    canvas
        Height and width of the view; what lies outside the image is 0.

    Returns
    -------
    image, labels : (*canvas,)
        Labels keep their ids and are interpolated by nearest neighbour.
    """
    angle = rng.uniform(0, 2 * np.pi)
    mirror = rng.choice([-1.0, 1.0])
    # The centre is drawn so that the view overlaps the image as much as its size allows.
    reach = np.array(canvas) / 2 / scale
    centre = [
        rng.uniform(min(r, n / 2), max(n - r, n / 2))
        for r, n in zip(reach, image.shape, strict=True)
    ]
    to_image = (
        AffineTransform(translation=(-canvas[1] / 2, -canvas[0] / 2))
        + AffineTransform(scale=(mirror / scale, 1 / scale), rotation=0)
        + AffineTransform(rotation=angle)
        + AffineTransform(translation=(centre[1], centre[0]))
    )
    view = warp(image, to_image, output_shape=canvas, order=1, preserve_range=True)
    masks = warp(labels, to_image, output_shape=canvas, order=0, preserve_range=True)
    return view.astype(np.float32), masks.astype(np.int32)


def random_light(image: Floats, rng: np.random.Generator) -> Floats:
    """Change gain, gamma, offset, sharpness and noise of a normalised image.

    The gain reaches far down, because one intensity range over a whole mosaic leaves some of its
    parts dim.
    """
    light = np.maximum(image, 0).astype(np.float64) ** rng.uniform(0.7, 1.4)
    if rng.random() < 0.25:
        light = gaussian_filter(light, rng.uniform(0.3, 1.5))
    gain = np.exp(rng.uniform(np.log(0.35), np.log(1.3)))
    light = light * gain + rng.uniform(-0.05, 0.1)
    if rng.random() < 0.5:
        light = light + rng.normal(0, rng.uniform(0, 0.08) * gain, light.shape)
    lit: Floats = light.astype(np.float32)
    return lit
