"""Segment the images that come with bigseg, judge the labels, and show all on one page."""

from __future__ import annotations

import html
import time
from dataclasses import dataclass
from importlib.resources import files as package_files
from io import BytesIO
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import find_boundaries

from bigseg import files
from bigseg.errors import OutputExists, SpecError
from bigseg.events import Listener, ignore
from bigseg.io.arrays import open_image, open_labels
from bigseg.io.convert import convert
from bigseg.io.ome import describe
from bigseg.jobs.segment import segment
from bigseg.stages import report
from bigseg.stages.evaluate import Evaluation, evaluate, remember

MODEL = "nuclei"
CLUSTER = "local"
COLOUR = (255, 140, 0)
PICTURE = 512
"""Pixels that the longer edge of a small picture has at least."""


@dataclass(frozen=True)
class Sample:
    """An image in the package, and how it is cut into blocks."""

    name: str
    title: str
    axes: str
    voxel_size: tuple[float, ...] | None
    """Micrometres along z, y, x; None: not recorded."""
    block: tuple[int, ...]
    """So small that there are many: the image would fit into one."""


SAMPLES = (
    Sample("nuclei2d", "Nuclei of many kinds of cells, 2D", "yx", None, (256, 256)),
    Sample("embryo3d", "A living mouse embryo, 3D", "zyx", (1.75, 0.8, 0.8), (32, 64, 64)),
)


@dataclass(frozen=True)
class Outcome:
    """One sample, segmented and judged."""

    sample: str
    title: str
    blocks: int
    image: str
    labels: str
    report: str
    objects: int
    true_objects: int
    average_precision: float
    """At an IoU of 0.5."""
    mean_average_precision: float
    seconds: float


@dataclass(frozen=True)
class Demo:
    """Where everything is."""

    page: str
    seconds: float
    outcomes: tuple[Outcome, ...]

    def text(self) -> str:
        """Say it to a person, and how to go on."""
        lines = [f"Done in {self.seconds:.0f} s; look at {self.page}", ""]
        for one in self.outcomes:
            lines += [
                f"{one.title}, {one.blocks} blocks, {one.seconds:.0f} s",
                f"  {one.objects} objects, {one.true_objects} in the truth, AP at IoU 0.5 "
                f"{one.average_precision:.3f}, mean AP {one.mean_average_precision:.3f}",
                f"  labels  {one.labels}",
                f"  report  {one.report}",
            ]
        return "\n".join([*lines, "", "Your own image:", *(f"  {line}" for line in COMMANDS)])


COMMANDS = (
    "bigseg convert your.tif your.zarr --axes zyx --voxel-size 1,0.5,0.5",
    "bigseg info your.zarr",
    f"bigseg segment your.zarr --model {MODEL}",
)


def run(folder: str, *, workers: int | None = None, listener: Listener = ignore) -> Demo:
    """Convert, segment and judge every sample, and write `FOLDER/index.html`.

    Parameters
    ----------
    folder
        A new folder, or that of an earlier demo, which is done again.
    workers
        Processes of the local Dask cluster; None: as many as cores.
    listener
        Is told how it goes.

    Raises
    ------
    OutputExists, SpecError
        If the folder holds anything else, or cannot be written.
    """
    started = time.monotonic()
    folder = files.absolute(folder)
    _check_folder(folder)
    outcomes = tuple(_show(sample, folder, workers, listener) for sample in SAMPLES)
    seconds = round(time.monotonic() - started, 1)
    page = files.join(folder, "index.html")
    files.put(page, _page(outcomes, seconds).encode())
    return Demo(page, seconds, outcomes)


def _check_folder(folder: str) -> None:
    if not files.is_local(folder):
        raise SpecError(f"{folder} is not on this machine; the demo wants a local folder.")
    files.check_writable(folder)
    ours = {"index.html"} | {
        name + ending
        for name in (sample.name for sample in SAMPLES)
        for ending in (".zarr", ".zarr.cells.bigseg", ".png")
    }
    if others := set(files.names(folder)) - ours:
        raise OutputExists(
            f"{folder} holds other things ({sorted(others)[0]}); give the demo a folder of its own."
        )


def _show(sample: Sample, folder: str, workers: int | None, listener: Listener) -> Outcome:
    bundled = package_files("bigseg") / "samples"
    image = files.join(folder, f"{sample.name}.zarr")
    if not files.exists(image):
        source = str(bundled / f"{sample.name}.tif")
        convert([source], image, axes=sample.axes, voxel_size=sample.voxel_size)
    result = segment(
        image,
        model=MODEL,
        block=sample.block,
        cluster=CLUSTER,
        workers=workers,
        overwrite=True,
        listener=listener,
    )
    scores = evaluate(result.labels, str(bundled / f"{sample.name}_truth.tif"))
    remember(result.run, scores)
    report.renew(result.run)
    files.put(files.join(folder, f"{sample.name}.png"), picture(image, result.labels))
    return _outcome(sample, image, result.labels, result.report, scores, result.seconds)


def _outcome(
    sample: Sample, image: str, labels: str, page: str, scores: Evaluation, seconds: float
) -> Outcome:
    shape = describe(image).levels[0].shape
    blocks = [-(-n // edge) for n, edge in zip(shape, sample.block, strict=True)]
    return Outcome(
        sample=sample.name,
        title=sample.title,
        blocks=int(np.prod(blocks)),
        image=image,
        labels=labels,
        report=page,
        objects=scores.predicted,
        true_objects=scores.true,
        average_precision=scores.average_precision[scores.thresholds.index(0.5)],
        mean_average_precision=scores.mean_average_precision,
        seconds=seconds,
    )


def picture(image: str, labels: str) -> bytes:
    """PNG of a plane with the outlines of its objects; of volumes, the plane with most objects."""
    grey = np.asarray(open_image(image))
    ids = np.asarray(open_labels(labels))
    if grey.ndim == 3:
        plane = int(np.argmax([len(np.unique(each)) for each in ids]))
        grey, ids = grey[plane], ids[plane]
    colours = outlined(grey, ids)
    times = max(PICTURE // max(grey.shape), 1)
    data = BytesIO()
    height, width = grey.shape
    large = Image.fromarray(colours).resize(
        (times * width, times * height), Image.Resampling.NEAREST
    )
    large.save(data, "PNG", optimize=True)
    return data.getvalue()


def outlined(grey: NDArray[Any], ids: NDArray[Any]) -> NDArray[np.uint8]:
    """(y, x) grey and ids to (y, x, 3) colours, with a line around every object."""
    low, high = np.percentile(grey, (1, 99.8))
    scaled = np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1)
    colours = np.repeat(np.rint(255 * scaled).astype(np.uint8)[..., None], 3, axis=2)
    colours[find_boundaries(ids, mode="inner")] = COLOUR
    return colours


def _page(outcomes: tuple[Outcome, ...], seconds: float) -> str:
    template = (package_files("bigseg") / "samples" / "index.html").read_text("utf-8")
    whole, _, part = template.partition("<!-- sample -->")
    parts = [Template(part).substitute(_escaped(one)) for one in outcomes]
    commands = html.escape("\n".join(COMMANDS))
    return Template(whole).substitute(
        samples="".join(parts), seconds=f"{seconds:.0f}", commands=commands
    )


def _escaped(one: Outcome) -> dict[str, str]:
    name = one.image.rpartition("/")[2].removesuffix(".zarr")
    return {
        "title": html.escape(one.title),
        "picture": f"{name}.png",
        "report": f"{name}.zarr.cells.bigseg/{one.report.partition('.bigseg/')[2]}",
        "objects": str(one.objects),
        "true": str(one.true_objects),
        "ap": f"{one.average_precision:.3f}",
        "mean": f"{one.mean_average_precision:.3f}",
        "blocks": str(one.blocks),
        "seconds": f"{one.seconds:.0f}",
        "labels": f"{name}.zarr/labels/cells",
    }
