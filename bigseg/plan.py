"""From what a user asks for to the steps of a run, each with everything it needs.

All that can be refused is refused here, before anything is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from bigseg import files
from bigseg.core.intensity import is_exact_in_one_pass
from bigseg.core.targets import CUBES
from bigseg.core.tiles import Tiling
from bigseg.errors import NotFound, SpecError
from bigseg.grid import Index
from bigseg.io.plan import plan_labels
from bigseg.io.volume import Volume
from bigseg.nets import weights
from bigseg.spec import SegmentSpec
from bigseg.stages import label, merge, normalize, predict, publish, pyramid, report, write
from bigseg.types import StageSpec

PUBLISHED_STEPS = 200
"""Euler steps at the network's own scale, as in Cellpose."""
BAND = 8
"""Voxels (along x) of each neighbour that a block compares with it."""
TILINGS = {2: Tiling(512, 24), 3: Tiling(288, 16)}
"""Tile redundancy (tile / core)²: 1.22 in 2D, 1.27 in 3D."""
TILES_PER_BLOCK = {2: 4, 3: 1}
LONGEST_BLOCK = {2: 2048, 3: 448}
"""Voxels along an axis of a block of `predict`, which bounds its memory where scale is small."""


@dataclass(frozen=True)
class Step:
    """One step of a run."""

    name: str
    stage: str
    """Module in `bigseg.stages`."""
    spec: StageSpec


def plan_segment(spec: SegmentSpec, run: str) -> list[Step]:
    """Lay out the steps that segment an image.

    Raises
    ------
    SpecError, NotFound, ImageError, WeightsError
        In a sentence, if the image, the model and the settings do not fit each other.
    """
    volume = Volume.open(spec.image, spec.level)
    check_target(spec, volume)
    model = weights.describe(spec.model)
    t, _, z, y, x = volume.shape
    shape = (t, z, y, x)
    ndim = _ndim(spec, z)
    channels = resolve_channels(spec, volume)
    scale = network_scale(spec, volume, model)
    block, halo, band = label_blocks(spec, shape, ndim, scale, model.diameter)
    counted = {
        "run": run,
        "image": spec.image,
        "level": spec.level,
        "channels": channels,
        "shape": shape,
    }
    histograms = normalize.Spec(
        **counted,
        block=reading_block(volume),
        dtype=volume.dtype.str,
        percentiles=spec.percentiles,
        per=spec.normalize_per,
    )
    steps = [Step("normalize", "normalize", histograms)]
    if not is_exact_in_one_pass(volume.dtype):
        fine = histograms.model_copy(update={"fine": True})
        steps.append(Step("refine", "normalize", fine))
    tiling = TILINGS[ndim]
    predicted, context = predict_blocks(shape, ndim, scale, tiling)
    steps.append(
        Step(
            "predict",
            "predict",
            predict.Spec(
                **counted,
                block=predicted,
                halo=context,
                ndim=ndim,
                model=spec.model,
                digest=model.digest,
                scale=scale,
                tile=tiling.tile,
                margin=tiling.margin,
            ),
        )
    )
    labelled = label.Spec(
        run=run,
        shape=shape,
        block=block,
        halo=halo,
        band=band,
        ndim=ndim,
        cellprob_threshold=spec.cellprob_threshold,
        judge=spec.flow_threshold > 0,
        min_size=spec.min_size,
        steps=max(round(PUBLISHED_STEPS / scale[2]), 20),
        spacing=(scale[0] / scale[2], scale[1] / scale[2], 1.0) if ndim == 3 else CUBES,
    )
    spacing = volume.spacing if ndim == 3 else volume.spacing[1:]
    steps.append(Step("label", "label", labelled))
    merged = merge.Spec(
        run=run,
        label=labelled,
        spacing=spacing,
        flow_threshold=spec.flow_threshold,
        max_size=spec.max_size,
    )
    steps.append(Step("merge", "merge", merged))
    return steps + _output_steps(spec, run, volume, labelled)


def _output_steps(spec: SegmentSpec, run: str, volume: Volume, labelled: label.Spec) -> list[Step]:
    """Steps that write the label image, its levels and the report."""
    written = write.Spec(
        run=run, image=spec.image, level=spec.level, target=spec.target, label=labelled
    )
    steps = [Step("write", "write", written)]
    z, y, x = labelled.block[1:]
    plan = plan_labels(volume.image, spec.target, "uint32", (z, y, x), level=spec.level)
    levels = [Volume(plan, number) for number in range(len(plan.levels))]
    for number, (finer, coarse) in enumerate(pairwise(levels), 1):
        level = pyramid.Spec(
            write=written,
            number=number,
            shape=_space(coarse),
            finer=_space(finer),
            block=coarse.unit,
        )
        steps.append(Step(f"pyramid-{number}", "pyramid", level))
    steps.append(Step("publish", "publish", publish.Spec(write=written)))
    steps.append(Step("report", "report", report.Spec(run=run, settings=spec, label=labelled)))
    return steps


def _space(volume: Volume) -> Index:
    t, _, z, y, x = volume.shape
    return t, z, y, x


def check_target(spec: SegmentSpec, volume: Volume) -> None:
    """Refuse to write into the arrays of the input."""
    image, target = files.absolute(spec.image), files.absolute(spec.target)
    if target == image or image.startswith(target + "/"):
        raise SpecError(f"The output {target} would replace the image {image}; choose another.")
    for level in volume.image.levels:
        array = files.join(image, level.path)
        if target == array or target.startswith(array + "/"):
            raise SpecError(
                f"The output {target} lies inside the image's array {array}; choose another."
            )


def _ndim(spec: SegmentSpec, z: int) -> int:
    if spec.dims == "3d" and z == 1:
        raise SpecError(f"{spec.image} has a single z plane, so --dims 3d is impossible; use 2d.")
    return 3 if (spec.dims or ("3d" if z > 1 else "2d")) == "3d" else 2


def resolve_channels(spec: SegmentSpec, volume: Volume) -> tuple[int, ...]:
    """Numbers of the channels that were asked for by number or name."""
    names, count = volume.image.channels, volume.shape[1]
    numbers = []
    for channel in spec.channels or (0,):
        if isinstance(channel, str) and channel in names:
            numbers.append(names.index(channel))
        elif str(channel).isdecimal() and int(channel) < count:
            numbers.append(int(channel))
        else:
            known = f" named {', '.join(names)}" if names else ""
            raise NotFound(
                f"{spec.image} has no channel '{channel}': it has {count}{known}, "
                f"numbered 0 to {count - 1}."
            )
    return tuple(numbers)


def network_scale(
    spec: SegmentSpec, volume: Volume, model: weights.Model
) -> tuple[float, float, float]:
    """Pixels of the network per voxel, along z, y, x."""
    across = model.diameter / (spec.diameter or model.usual_diameter)
    z, y, x = volume.spacing
    tall = spec.anisotropy or (z / x if "z" in volume.axes else 1.0)
    return across * _near_one(tall), across * _near_one(y / x), across


def _near_one(ratio: float) -> float:
    """Leave voxels alone that are cubes but for rounding."""
    return 1.0 if abs(ratio - 1) < 0.01 else ratio


def predict_blocks(
    shape: Index, ndim: int, scale: tuple[float, float, float], tiling: Tiling
) -> tuple[Index, Index]:
    """Block and halo of `predict`; they depend on nothing that a user can cut differently."""
    tiles, longest = TILES_PER_BLOCK[ndim], LONGEST_BLOCK[ndim]
    edges = []
    for length, one in zip(shape[1:], scale, strict=True):
        at_most = max(int(longest * one / tiling.core), 1)
        edges.append(min(tiling.lattice(length, one, min(tiles, at_most)), longest))
    margins = [ceil(tiling.margin / one) for one in scale]
    if ndim == 2:
        edges[0] = max(min(shape[1], (1 << 22) // (edges[1] * edges[2])), 1)
        margins[0] = 0
    return (1, *edges), (0, *margins)


def label_blocks(
    spec: SegmentSpec, shape: Index, ndim: int, scale: tuple[float, float, float], diameter: float
) -> tuple[Index, Index, Index]:
    """Block, halo and band of `label`, (t, z, y, x)."""
    block = spec.block or _usual_block(shape, ndim)
    if len(block) == 2 and ndim == 3:
        block = (min(shape[1], 256), *block)
    if len(block) not in (2, 3):
        raise SpecError(f"--block {block} must be two numbers, y,x, or three, z,y,x.")
    z, y, x = block if len(block) == 3 else (1, *block)
    tall = scale[0] / scale[2]
    halo = spec.halo if spec.halo is not None else max(round(2 * diameter / scale[2]), 16)
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
