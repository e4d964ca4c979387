"""Training images: TIFF pairs of image and instance mask, as normalised 2D planes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from scipy.ndimage import zoom

from bigseg.core.augment import random_light, random_view
from bigseg.core.targets import flow_targets
from bigseg.errors import NotFound
from bigseg.types import Floats, Labels

MARGIN = 24
"""Objects cut by the edge of a crop still get the flow of the whole object: targets are computed
on a canvas this much wider, in pixels."""


@dataclass(frozen=True)
class Source:
    """A folder of `*_img.tif` and `*_mask.tif`, and how often it is drawn."""

    folder: str
    share: float
    anisotropy: float = 1.0
    """Voxel height over voxel width; volumes are cut into planes along all three axes."""


SOURCES = (
    Source("dsb2018_fluo/train", 0.62),
    Source("bbbc050_mouse_embryo_nuclei/train", 0.24, anisotropy=1.75 / 0.8),
    Source("ovule_nuclei_3d/train", 0.04, anisotropy=0.284 / 0.127),
    Source("dsb2018_histology/train", 0.10),
)


@dataclass(frozen=True)
class Sample:
    """One normalised image or volume with its mask and typical object."""

    image: Floats
    labels: Labels
    diameter: float
    """Median diameter of the objects, in pixels: 2 · sqrt(area / π), of planes for volumes."""
    anisotropy: float


def normalised(image: np.ndarray) -> Floats:
    """Map the 1st and 99th percentile to 0 and 1, as the engine does at prediction."""
    low, high = np.percentile(image, (1, 99))
    scaled: Floats = ((image - low) / max(high - low, 1e-3)).astype(np.float32)
    return scaled


def median_diameter(labels: Labels) -> float:
    """Median diameter of the objects of a mask, 0 if there are none."""
    planes = labels if labels.ndim == 3 else labels[None]
    areas = [np.unique(plane[plane > 0], return_counts=True)[1] for plane in planes]
    areas_all = np.concatenate(areas)
    return float(2 * np.sqrt(np.median(areas_all) / np.pi)) if areas_all.size else 0.0


def load(root: Path, source: Source) -> list[Sample]:
    """Read all pairs of a source.

    Raises
    ------
    NotFound
        If the folder holds no pair.
    """
    samples = []
    for path in sorted((root / source.folder).glob("*_img.tif")):
        image = tifffile.imread(path)
        if image.ndim == 3 and image.shape[-1] in (3, 4):
            image = image[..., :3].mean(-1)
        labels = tifffile.imread(path.with_name(path.name.replace("_img", "_mask")))
        labels = labels.astype(np.int32)
        diameter = median_diameter(labels)
        if diameter:
            samples.append(Sample(normalised(image), labels, diameter, source.anisotropy))
    if not samples:
        raise NotFound(f"{root / source.folder} holds no pair NAME_img.tif and NAME_mask.tif.")
    return samples


def random_planes(sample: Sample, rng: np.random.Generator) -> tuple[Floats, Labels]:
    """Pick a plane of a volume, or the image itself; planes are small, so four go side by side."""
    if sample.image.ndim == 2:
        return sample.image, sample.labels
    axis = int(rng.integers(3))
    image = np.moveaxis(sample.image, axis, 0)
    labels = np.moveaxis(sample.labels, axis, 0)
    filled = np.flatnonzero(labels.any((1, 2)))
    picked = rng.choice(filled, 4)
    step = labels.max() + 1
    planes = [image[i] for i in picked]
    masks = [np.where(labels[i] > 0, labels[i] + n * step, 0) for n, i in enumerate(picked)]
    if axis:
        stretch = (sample.anisotropy, 1)
        planes = [zoom(plane, stretch, order=1) for plane in planes]
        masks = [zoom(mask, stretch, order=0) for mask in masks]
    return _montage(planes), _montage(masks)


def _montage(planes: Sequence[np.ndarray]) -> np.ndarray:
    a, b, c, d = planes
    return np.block([[a, b], [c, d]])


def crops(
    samples: Sequence[Sequence[Sample]], shares: Sequence[float], size: int, seed: int
) -> Iterator[tuple[Floats, Floats]]:
    """Endless random crops and their targets.

    Yields
    ------
    image : (2, size, size) float32
        Normalised image, and the empty second channel of the published networks.
    target : (3, size, size) float32
        Flow y, flow x, foreground.
    """
    rng = np.random.default_rng(seed)
    wide = size + 2 * MARGIN
    inner = slice(MARGIN, MARGIN + size)
    while True:
        group = samples[int(rng.choice(len(samples), p=np.asarray(shares) / np.sum(shares)))]
        sample = group[int(rng.integers(len(group)))]
        image, labels = random_planes(sample, rng)
        scale = np.exp(rng.uniform(np.log(0.6), np.log(1.6)))
        scale = np.clip(scale, 8 / sample.diameter, 55 / sample.diameter)
        view, masks = random_view(image, labels, float(scale), (wide, wide), rng)
        if not masks[inner, inner].any() and rng.random() < 0.8:
            continue
        view = random_light(view, rng)[inner, inner]
        target = np.concatenate([flow_targets(masks), (masks > 0)[None]])[:, inner, inner]
        yield np.stack([view, np.zeros_like(view)]), target.astype(np.float32)
