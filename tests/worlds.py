"""Images and objects that tests invent, and runs over them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bigseg.core.metrics import average_precision, match
from bigseg.core.overlap import contingency
from bigseg.core.quantise import quantise
from bigseg.core.targets import flow_targets
from bigseg.grid import Index
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.scratch import create_scratch, scratch
from bigseg.io.tables import read_table
from bigseg.io.volume import Volume
from bigseg.plans.steps import Step, graph_steps, output_steps
from bigseg.run.execute import Executor, Group, run_steps, serial
from bigseg.run.folder import Run, make_steps
from bigseg.stages import components, label, merge, objects, predict, publish, write

Array = NDArray[Any]

LOGIT = 6.0
"""How sure an invented network is of its objects."""


@dataclass(frozen=True)
class Cut:
    """How a world is cut into blocks, along (z, y, x), and what its objects must be."""

    block: Index
    halo: Index
    ndim: int = 3
    band: int = 8
    flow_threshold: float = 0.4
    min_size: int = 1
    max_size: int | None = None


def canonical_box(volume: Volume) -> tuple[slice, ...]:
    """All of an image, (t, z, y, x)."""
    t, _, z, y, x = volume.shape
    return tuple(slice(0, n) for n in (t, z, y, x))


def make_image(
    url: str,
    data: Array,
    axes: str,
    scale: tuple[float, ...] | None = None,
    version: Literal["0.4", "0.5"] = "0.5",
    block: Index = (32, 32, 32),
) -> Volume:
    """Store `data`, whose axes are `axes`, as an OME-Zarr image without its coarser levels."""
    scale = scale or (1.0,) * data.ndim
    plan = plan_image(url, tuple(axes), data.shape, data.dtype, scale, block, version)
    create_image(plan)
    volume = Volume.open(url)
    five = data.reshape(volume.shape)
    for channel in range(volume.shape[1]):
        volume.write(canonical_box(volume), five[:, channel], channel)
    return volume


def read_labels(url: str, level: int = 0) -> Array:
    """Labels of an image, (t, z, y, x)."""
    volume = Volume.open(url, level)
    return volume.read(canonical_box(volume))[:, 0]


def perfect_predictions(truth: Array, ndim: int) -> NDArray[np.int8]:
    """What a network that knows the objects (t, z, y, x) would store: (t, k, z, y, x)."""
    packed = []
    for frame in truth:
        if ndim == 3:
            flows = flow_targets(frame)
        else:
            flows = np.stack([flow_targets(plane) for plane in frame], axis=1)
        logits = np.where(frame > 0, LOGIT, -LOGIT).astype(np.float32)
        packed.append(quantise(flows, logits))
    return np.stack(packed)


def plan_world(folder: str, truth: Array, cut: Cut, axes: str = "tzyx") -> Run:
    """Image, perfect predictions and a run from `label` to `publish`; nothing has been run."""
    image, url = f"{folder}/image.zarr", f"{folder}/run.bigseg"
    keep = tuple(n for n, axis in zip(truth.shape, "tzyx", strict=True) if axis in axes)
    volume = make_image(image, np.zeros(keep, np.uint8), axes)
    packed = perfect_predictions(truth, cut.ndim)
    create_scratch(predict.predictions_url(url), packed.shape, packed.shape, np.int8)
    scratch(predict.predictions_url(url))[:] = packed
    block = (1, *(cut.block if cut.ndim == 3 else (1, *cut.block[1:])))
    halo = (0, *(cut.halo if cut.ndim == 3 else (0, *cut.halo[1:])))
    labelled = label.Spec(
        run=url,
        shape=truth.shape,
        block=block,
        halo=halo,
        band=tuple(min(cut.band, h) for h in halo),
        ndim=cut.ndim,
        cellprob_threshold=0.0,
        judge=cut.flow_threshold > 0,
        min_size=cut.min_size,
        steps=200,
    )
    counts = labelled.grid.counts
    judged = objects.Spec(
        run=url,
        counts=counts,
        spacing=(1.0,) * cut.ndim,
        flow_threshold=cut.flow_threshold,
        min_size=cut.min_size,
        max_size=cut.max_size,
    )
    written = write.Spec(
        run=url, image=image, level=0, target=f"{folder}/labels.zarr", opinions=labelled
    )
    planned = [
        Step("label", "label", labelled),
        Step("merge", "merge", merge.Spec(opinions=labelled)),
        *graph_steps(components.Spec(run=url, counts=counts), judged),
        *output_steps(written, volume.image),
    ]
    steps = [(step.name, step.stage, step.spec) for step in planned]
    run = Run(url, "test", {}, make_steps(steps))
    run.save()
    return run


def segment_world(
    folder: str, truth: Array, cut: Cut, axes: str = "tzyx", execute: Executor = serial
) -> Array:
    """Labels (t, z, y, x) that the stages after `predict` make of perfect predictions."""
    run_steps(plan_world(folder, truth, cut, axes), Group(execute, 1))
    return read_labels(f"{folder}/labels.zarr")


def world_table(folder: str) -> dict[str, Array]:
    """Object table of a world that has been segmented."""
    return dict(read_table(publish.table_url(f"{folder}/labels.zarr")))


def agreement(a: Array, b: Array, iou: float = 0.9) -> float:
    """Average precision between two label images; 1 if both are empty."""
    pairs, counts = contingency(a, b)
    matches = match(pairs, counts)
    if not a.any() and not b.any():
        return 1.0
    return average_precision(matches, iou)


def same_partition(a: Array, b: Array) -> bool:
    """Whether two label images are equal but for the names of their objects."""
    pairs, _ = contingency(a, b)
    backs = bool(((pairs[:, 0] == 0) == (pairs[:, 1] == 0)).all())
    return backs and all(len(np.unique(pairs[:, side])) == len(pairs) for side in (0, 1))


def ball(shape: Index, centre: tuple[float, ...], radii: tuple[float, ...] | float) -> Array:
    """Mask of an ellipsoid."""
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    axes = radii if isinstance(radii, tuple) else (radii,) * len(shape)
    mask: Array = sum(((g - c) / r) ** 2 for g, c, r in zip(grids, centre, axes, strict=True)) <= 1
    return mask


def balls(shape: Index, count: int, radius: tuple[float, float], seed: int) -> Array:
    """World of balls or discs at random places; later ones stop where earlier ones are."""
    rng = np.random.default_rng(seed)
    world = np.zeros(shape, np.uint32)
    for number in range(1, count + 1):
        centre = tuple(rng.uniform(0, n) for n in shape)
        mask = ball(shape, centre, float(rng.uniform(*radius)))
        world[mask & (world == 0)] = number
    return whole_objects(world)


def whole_objects(world: Array) -> Array:
    """Keep of each object its largest piece, and drop what is too small to be one."""
    from skimage.measure import label as pieces_of

    result = np.zeros_like(world)
    for number in np.unique(world)[1:]:
        pieces = pieces_of(world == number, connectivity=1)
        sizes = np.bincount(pieces.ravel())[1:]
        if sizes.max() >= 30:
            result[pieces == sizes.argmax() + 1] = number
    return result


in_plane = partial(np.expand_dims, axis=(0, 1))
"""(y, x) to (t, z, y, x)."""
