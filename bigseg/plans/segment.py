"""From what a user asks for to the steps of a run, each with everything it needs.

All that can be refused is refused here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Literal

import numpy as np

from bigseg import files
from bigseg.core.intensity import is_exact_in_one_pass
from bigseg.core.representations import count_classes
from bigseg.core.targets import CUBES
from bigseg.errors import SpecError
from bigseg.grid import Index
from bigseg.io.evidence import read_evidence
from bigseg.io.volume import Volume
from bigseg.nets import weights
from bigseg.plans.channels import resolve_channels
from bigseg.plans.lattice import (
    network_scale,
    object_diameter,
    predict_blocks,
    restoring_pixels,
    tiling_for,
)
from bigseg.plans.region import plan_region
from bigseg.plans.slices import Stacking, slice_steps
from bigseg.plans.steps import Step, graph_steps, output_steps
from bigseg.specs.segment import SegmentSpec
from bigseg.stages import (
    components,
    label,
    merge,
    normalize,
    objects,
    predict,
    report,
    restore,
    seams,
    windows,
    write,
)

PUBLISHED_STEPS = 200
"""Euler steps at the network's own scale, as in Cellpose."""
BAND = 8
"""Voxels (along x) of each neighbour that a block compares with it."""


def plan_segment(spec: SegmentSpec, run: str, apart: str | None = None) -> list[Step]:
    """Lay out the steps that segment an image.

    Parameters
    ----------
    run
        The run's folder.
    apart
        Folder for all that is made of predictions, where these serve several segmentations.

    Raises
    ------
    SpecError, NotFound, ImageError, WeightsError
        In a sentence, if the image, the model and the settings do not fit each other.
    """
    volume = Volume.open(spec.image, spec.level)
    check_target(spec.image, spec.target, volume)
    models = describe_models(spec)
    ndim = _ndim(spec, volume.shape[2], models[0])
    channels, mix = resolve_channels(spec.channels, volume, models[0])
    shown = _shown(spec, run, volume, models, (channels, mix, ndim))
    diameter = object_diameter(spec, models[0])
    region, steps = plan_region(spec, volume, run, channels, diameter)
    shown = shown.model_copy(update={"region": region})
    steps += [] if spec.intensity else _counting_steps(spec, volume, shown)
    labelled = _labelling(spec, shown, models[0])
    if apart is not None:
        labelled = labelled.model_copy(update={"run": apart, "predicted": run})
    if labelled.function is None:
        steps.append(Step("predict", "predict", shown))
    steps.append(Step("label", "label", labelled))
    kept = labelled.representation == "flows" and not shown.published
    flows = predict.predictions_url(run) if kept else None
    steps.append(Step("merge", "merge", merge.Spec(opinions=labelled, flows=flows)))
    joined, judged = _graph(spec, labelled, volume)
    steps += graph_steps(joined, judged, solver=spec.solver, exact_edges=spec.exact_edges)
    written = write.Spec(
        run=labelled.run, image=spec.image, level=spec.level, target=spec.target, opinions=labelled
    )
    if spec.dims == "slices":
        stacked, written = slice_steps(labelled, volume, written, _stacking(spec, labelled))
        steps += stacked
    else:
        steps += output_steps(written, volume.image)
    steps.append(Step("seams", "seams", seams.Spec(joined=joined, opinions=labelled)))
    told = report.Spec(run=run, settings=spec, channels=channels, opinions=written.opinions)
    return [*steps, Step("report", "report", told)]


def _graph(
    spec: SegmentSpec, labelled: label.Spec, volume: Volume
) -> tuple[components.Spec, objects.Spec]:
    """How the objects of blocks become those of the image."""
    counts = labelled.grid.counts
    judged = objects.Spec(
        run=labelled.run,
        counts=counts,
        spacing=volume.spacing if labelled.ndim == 3 else volume.spacing[1:],
        flow_threshold=spec.flow_threshold,
        min_size=labelled.min_size,
        max_size=None if spec.dims == "slices" else spec.max_size,
        classes=labelled.classes,
    )
    joined = components.Spec(
        run=labelled.run,
        counts=counts,
        beta=spec.beta,
        repulsion=spec.repulsion,
        evidence=read_evidence(spec.evidence).as_dict() if spec.evidence else {},
    )
    return joined, judged


def _stacking(spec: SegmentSpec, labelled: label.Spec) -> Stacking:
    """How objects of planes become those of a volume, where they are judged by size, too."""
    return Stacking(
        gap=spec.gap,
        min_z_extent=spec.min_z_extent,
        beta=spec.beta,
        min_size=spec.min_size,
        max_size=spec.max_size,
        classes=labelled.classes,
        solver=spec.solver,
        exact_edges=spec.exact_edges,
    )


def describe_models(spec: SegmentSpec) -> list[weights.Model]:
    """What is known of each model; those that are averaged must be alike.

    Raises
    ------
    NotFound, WeightsError, SpecError
        If one cannot be used, or not together with the first.
    """
    models = [weights.describe(name, spec.representation) for name in spec.models]
    for model in models:
        weights.check_representation(model)
        for what in ("representation", "outputs", "channels", "diameter", "tile"):
            ours, first = getattr(model, what), getattr(models[0], what)
            if ours != first:
                raise SpecError(
                    f"Models '{models[0].name}' and '{model.name}' cannot be averaged: {what} "
                    f"must be the same, but {'are' if what.endswith('s') else 'is'} {first} and "
                    f"{ours}."
                )
    if len(models) > 1 and models[0].representation == "labels":
        raise SpecError("Models that make labels cannot be averaged; give one.")
    return models


def _counting_steps(spec: SegmentSpec, volume: Volume, shown: predict.Spec) -> list[Step]:
    """Steps that find what is dark and what is bright."""
    block = reading_block(volume)
    if shown.window is not None:
        whole = tuple(ceil(n / w) * w for n, w in zip(block[1:], shown.window, strict=True))
        local = windows.Spec(
            run=shown.run,
            image=spec.image,
            level=spec.level,
            channels=shown.channels,
            sight=shown.sight,
            shape=shown.shape,
            block=(1, *whole),
            window=shown.window,
            percentiles=spec.percentiles,
        )
        return [Step("windows", "windows", local)]
    dtype = volume.dtype if shown.sight.plain else np.dtype(np.float32)
    counted = normalize.Spec(
        run=shown.run,
        image=spec.image,
        level=spec.level,
        channels=shown.channels,
        shape=shown.shape,
        block=(1, 1, *block[2:]) if spec.normalize_per == "plane" else block,
        dtype=dtype.str,
        percentiles=spec.percentiles,
        per=spec.normalize_per,
        sight=shown.sight,
    )
    steps = [Step("normalize", "normalize", counted)]
    if not is_exact_in_one_pass(dtype):
        steps.append(Step("refine", "normalize", counted.model_copy(update={"fine": True})))
    return steps


def _shown(
    spec: SegmentSpec,
    run: str,
    volume: Volume,
    models: Sequence[weights.Model],
    how: tuple[tuple[int, ...], bool, Literal[2, 3]],
) -> predict.Spec:
    """How the models are shown the image."""
    t, _, z, y, x = volume.shape
    shape = (t, z, y, x)
    channels, mix, ndim = how
    model = models[0]
    scale = network_scale(spec, volume, model)
    tiling = tiling_for(model, ndim, spec.overlap, spec.parity)
    block, halo = predict_blocks(shape, ndim, scale, tiling)
    return predict.Spec(
        run=run,
        image=spec.image,
        level=spec.level,
        channels=channels,
        sight=normalize.Sight(mix=mix, smooth=spec.smooth, sharpen=spec.sharpen),
        window=_window(spec, scale, ndim),
        intensity=spec.intensity,
        invert=spec.invert,
        restore=_restoring(spec, volume, object_diameter(spec, model)),
        shape=shape,
        block=block,
        halo=halo,
        ndim=ndim,
        models=spec.models,
        digests=tuple(model.digest for model in models),
        representation=model.representation,
        outputs=model.outputs,
        flips=spec.flips,
        scale=scale,
        tile=tiling.tile,
        margin=tiling.margin,
        fixed=tiling.fixed,
        published=tiling.published,
    )


def _window(spec: SegmentSpec, scale: tuple[float, float, float], ndim: int) -> Index | None:
    """Windows of intensity, (z, y, x): as deep as wide in volumes, one plane in planes."""
    if spec.window is None or spec.intensity is not None:
        return None
    deep = max(round(spec.window * scale[2] / scale[0]), 1) if ndim == 3 else 1
    return deep, spec.window, spec.window


def _restoring(spec: SegmentSpec, volume: Volume, diameter: float) -> restore.Plane | None:
    """How a restoring network is shown the image; its result lies on the image's own grid."""
    if spec.restore is None:
        return None
    model = restore.describe_restorer(spec.restore)
    _, _, _, y, x = volume.shape
    return restore.Plane(
        length=(y, x),
        pixels=restoring_pixels(volume, model.diameter / diameter),
        result=(y, x),
        model=spec.restore,
        digest=model.digest,
    )


def _labelling(spec: SegmentSpec, shown: predict.Spec, model: weights.Model) -> label.Spec:
    """How objects are found."""
    scale, ndim = shown.scale, shown.ndim
    diameter = object_diameter(spec, model)
    block, halo, band = label_blocks(spec, shown.shape, ndim, scale, diameter)
    threshold = spec.cellprob_threshold
    flows = model.representation == "flows"
    return label.Spec(
        run=shown.run,
        shape=shown.shape,
        block=block,
        halo=halo,
        band=band,
        ndim=ndim,
        region=shown.region,
        cellprob_threshold=model.threshold if threshold is None else threshold,
        judge=flows and spec.flow_threshold > 0,
        min_size=0 if spec.dims == "slices" else spec.min_size,
        steps=max(round(PUBLISHED_STEPS / scale[2]), 20),
        spacing=(scale[0] / scale[2], scale[1] / scale[2], 1.0) if ndim == 3 else CUBES,
        representation=model.representation,
        classes=count_classes(model.representation, model.outputs),
        diameter=diameter,
        border_threshold=spec.border_threshold,
        parity=spec.parity,
        function=shown if model.representation == "labels" else None,
    )


def check_target(image: str, target: str, volume: Volume) -> None:
    """Refuse to write into the arrays of the input."""
    image, target = files.absolute(image), files.absolute(target)
    if target == image or image.startswith(target + "/"):
        raise SpecError(f"The output {target} would replace the image {image}; choose another.")
    for level in volume.image.levels:
        array = files.join(image, level.path)
        if target == array or target.startswith(array + "/"):
            raise SpecError(
                f"The output {target} lies inside the image's array {array}; choose another."
            )


def _ndim(spec: SegmentSpec, z: int, model: weights.Model) -> Literal[2, 3]:
    if spec.dims in ("3d", "slices") and z == 1:
        raise SpecError(
            f"{spec.image} has a single z plane, so --dims {spec.dims} is impossible; use 2d."
        )
    if model.representation == "hover" and (spec.dims == "3d" or (z > 1 and spec.dims is None)):
        raise SpecError(
            f"Model '{model.name}' makes hover maps, which exist in planes only; use --dims 2d."
        )
    return 3 if (spec.dims or ("3d" if z > 1 else "2d")) == "3d" else 2


def label_blocks(
    spec: SegmentSpec, shape: Index, ndim: int, scale: tuple[float, float, float], diameter: float
) -> tuple[Index, Index, Index]:
    """Block, halo and band of `label`, (t, z, y, x); the diameter is in voxels along x."""
    block = spec.block or _usual_block(shape, ndim)
    if len(block) == 2 and ndim == 3:
        block = (min(shape[1], 256), *block)
    if len(block) not in (2, 3):
        raise SpecError(f"--block {block} must be two numbers, y,x, or three, z,y,x.")
    z, y, x = block if len(block) == 3 else (1, *block)
    tall = scale[0] / scale[2]
    halo = spec.halo if spec.halo is not None else max(round(2 * diameter), 16)
    band = min(BAND, halo)
    if ndim == 2:
        return (1, 1, y, x), (0, 0, halo, halo), (0, 0, band, band)
    deep = ceil(halo / tall), min(max(ceil(band / tall), 2), ceil(halo / tall))
    return (1, z, y, x), (0, deep[0], halo, halo), (0, deep[1], band, band)


def _usual_block(shape: Index, ndim: int) -> Index:
    """Blocks of at most about 2²⁴ voxels, wider where the image is flat."""
    if ndim == 2:
        return 1024, 1024
    z, wide = min(shape[1], 256), 256
    while z * (2 * wide) ** 2 <= 1 << 24:
        wide *= 2
    return z, wide, wide


def reading_block(volume: Volume) -> Index:
    """Blocks of `normalize`: whole stored objects, of about 2²⁴ voxels."""
    space = volume.shape[2:]
    edges = list(volume.unit[1:])
    for axis in (2, 1, 0):
        while edges[axis] < space[axis] and edges[0] * edges[1] * edges[2] < 1 << 23:
            edges[axis] *= 2
    return (1, *(min(edge, max(n, 1)) for edge, n in zip(edges, space, strict=True)))
