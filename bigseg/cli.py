"""The command line: each command reads its arguments and calls one function."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import bigseg
from bigseg import demo as demonstration
from bigseg import pipeline
from bigseg.errors import BigsegError
from bigseg.io.convert import convert as convert_image
from bigseg.io.info import describe_text, info
from bigseg.run.progress import progress
from bigseg.run.status import status as run_status
from bigseg.run.status import status_text
from bigseg.run.worker import run_block
from bigseg.spec import SegmentSpec, parse, read_config
from bigseg.stages.evaluate import evaluate as evaluate_labels

app = typer.Typer(
    name="bigseg",
    help="Segment microscopy that does not fit in memory, block by block, on a Dask cluster.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
console = Console(highlight=False, soft_wrap=True)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Cluster = Annotated[
    str | None,
    typer.Option(help="local, serial, threads, or the address of a scheduler (tcp://…)."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Worker processes; as many as cores if not given.")
]


def say(result: Any, text: str, *, quiet: bool, as_json: bool) -> None:
    """Print a result for a person or for a machine."""
    if as_json:
        sys.stdout.write(json.dumps(result, default=str) + "\n")
    elif not quiet:
        console.print(text, markup=False)


def listener(quiet: bool, as_json: bool) -> pipeline.Listener:
    """What follows a run: a bar or lines for people, nothing otherwise."""
    return progress("silent" if quiet or as_json else "people")


@app.command()
def segment(
    image: Annotated[str, typer.Argument(help="OME-Zarr image: a path or a URL.")],
    output: Annotated[
        str | None, typer.Argument(help="OME-Zarr to create; if not given, IMAGE/labels/NAME.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Bundled model, or path or URL of weights.")
    ] = None,
    diameter: Annotated[
        float | None, typer.Option(help="Typical object along x, pixels of the chosen level.")
    ] = None,
    channels: Annotated[
        str | None, typer.Option(help="Channel numbers or names, as 2 or 2,0 or DAPI.")
    ] = None,
    level: Annotated[int | None, typer.Option(help="Resolution level to work on.")] = None,
    dims: Annotated[str | None, typer.Option(help="2d or 3d; by the image if not given.")] = None,
    anisotropy: Annotated[
        float | None, typer.Option(help="Voxel height over width; from the metadata if not given.")
    ] = None,
    flow_threshold: Annotated[
        float | None, typer.Option(help="Largest flow error of an object [0.4]; 0: do not test.")
    ] = None,
    cellprob_threshold: Annotated[
        float | None, typer.Option(help="Logit above which a voxel is foreground [0.0].")
    ] = None,
    min_size: Annotated[int | None, typer.Option(help="Smallest object, voxels [15].")] = None,
    max_size: Annotated[int | None, typer.Option(help="Largest object, voxels.")] = None,
    percentiles: Annotated[
        str | None, typer.Option(help="Percentiles that become 0 and 1 [1,99].")
    ] = None,
    normalize_per: Annotated[
        str | None, typer.Option(help="One intensity range per image or per frame [image].")
    ] = None,
    block: Annotated[str | None, typer.Option(help="Block, Z,Y,X or Y,X voxels.")] = None,
    halo: Annotated[
        int | None, typer.Option(help="What a block sees of its neighbours, voxels along x.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the labels [cells].")] = None,
    run: Annotated[
        str | None, typer.Option(help="Run folder; beside the output if not given.")
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="TOML file of settings; options win over it.")
    ] = None,
    workers: Workers = None,
    cluster: Cluster = None,
    keep_scratch: Annotated[
        bool, typer.Option("--keep-scratch", help="Keep predictions, to change thresholds later.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace labels and run of the same name.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and show the plan; run nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Segment an image into labels, block by block.

    Example: **bigseg segment embryo.zarr --model nuclei**
    """
    chosen = {
        "output": output,
        "model": model,
        "diameter": diameter,
        "channels": split(channels),
        "level": level,
        "dims": dims,
        "anisotropy": anisotropy,
        "flow_threshold": flow_threshold,
        "cellprob_threshold": cellprob_threshold,
        "min_size": min_size,
        "max_size": max_size,
        "percentiles": split(percentiles),
        "normalize_per": normalize_per,
        "block": split(block),
        "halo": halo,
        "name": name,
        "keep_scratch": keep_scratch or None,
    }
    settings = read_config(config) if config else {}
    settings |= {key: value for key, value in chosen.items() if value is not None}
    spec = parse({**settings, "image": image})
    if dry_run:
        plan = pipeline.dry_run(spec, run)
        say(plan.as_dict(), plan.text(), quiet=quiet, as_json=as_json)
        return
    result = pipeline.execute(
        spec,
        run=run,
        cluster=cluster,
        workers=workers,
        overwrite=overwrite,
        listener=listener(quiet, as_json),
    )
    say(asdict(result), result.text(), quiet=quiet, as_json=as_json)


@app.command("run")
def continue_run(
    run: Annotated[str, typer.Argument(help="Run folder (….bigseg).")],
    workers: Workers = None,
    cluster: Cluster = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Continue an interrupted run; finished blocks are not computed again.

    Example: **bigseg run embryo.zarr.cells.bigseg**
    """
    result = pipeline.resume(
        run, cluster=cluster, workers=workers, listener=listener(quiet, as_json)
    )
    say(asdict(result), result.text(), quiet=quiet, as_json=as_json)


@app.command()
def status(
    run: Annotated[str, typer.Argument(help="Run folder (….bigseg).")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show stages, blocks done, failed and left, rate and time left.

    Example: **bigseg status embryo.zarr.cells.bigseg**
    """
    found = run_status(run)
    say([asdict(step) for step in found], status_text(found), quiet=False, as_json=as_json)


@app.command()
def block(
    run: Annotated[str, typer.Argument(help="Run folder (….bigseg).")],
    stage: Annotated[str, typer.Option(help="Step of the run, as `status` lists them.")],
    index: Annotated[str, typer.Option(help="Number of the block, or its index as 0-1-2-3.")],
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run one block of one stage, without Dask; for job arrays and for debugging.

    Example: **bigseg block embryo.zarr.cells.bigseg --stage label --index 17**
    """
    outcome = run_block(run, stage, index)
    say(asdict(outcome), outcome.text(), quiet=quiet, as_json=as_json)
    if outcome.status == "failed":
        raise typer.Exit(1)


@app.command("info")
def show_info(
    image: Annotated[str, typer.Argument(help="OME-Zarr image: a path or a URL.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show axes, shape, voxel size, chunks, levels, channels, labels, and whether it is valid.

    Example: **bigseg info embryo.zarr**
    """
    found = info(image)
    say(asdict(found), describe_text(found), quiet=False, as_json=as_json)


@app.command()
def convert(
    sources: Annotated[
        list[str], typer.Argument(help="TIFF, PNG, npy, zarr, CZI…; files, folders or patterns.")
    ],
    output: Annotated[str, typer.Argument(help="OME-Zarr to create.")],
    axes: Annotated[
        str | None, typer.Option(help="Axes of the source, as zyx or tcyx, if it does not say.")
    ] = None,
    voxel_size: Annotated[
        str | None, typer.Option(help="Voxel size in micrometres, Z,Y,X or Y,X.")
    ] = None,
    ngff: Annotated[str, typer.Option(help="Version to write, 0.5 (zarr v3) or 0.4 (v2).")] = "0.5",
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make an OME-Zarr image from other files, however large.

    Example: **bigseg convert stack.tif embryo.zarr --axes zyx --voxel-size 1.75,0.8,0.8**
    """
    size = split(voxel_size)
    convert_image(
        sources,
        output,
        axes=axes,
        voxel_size=None if size is None else tuple(float(part) for part in size),
        version=ngff,
    )
    say({"image": output}, f"Wrote {output}", quiet=quiet, as_json=as_json)


@app.command()
def evaluate(
    prediction: Annotated[str, typer.Argument(help="Label image to judge.")],
    truth: Annotated[str, typer.Argument(help="Label image or TIFF mask to judge it by.")],
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare labels with ground truth: AP, error rate, AJI, counts; on any size.

    Example: **bigseg evaluate embryo.zarr/labels/cells truth.zarr**
    """
    scores = evaluate_labels(prediction, truth)
    say(scores.as_dict(), scores.text(), quiet=False, as_json=as_json)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put it.")] = Path("demo"),
    workers: Workers = None,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Segment the bundled 2D mosaic and 3D volume, judge them by their truth, show the reports.

    Example: **bigseg demo**
    """
    text = demonstration.run(folder, workers=workers, listener=listener(quiet, False))
    say(None, text, quiet=quiet, as_json=False)


def split(text: str | None) -> tuple[str, ...] | None:
    """Parts of a list given as a,b,c."""
    return None if text is None else tuple(part.strip() for part in text.split(","))


def main() -> None:
    """Run the command line; errors a user can act on are one sentence."""
    debug = "--debug" in sys.argv
    try:
        app()
    except BigsegError as error:
        if debug:
            raise
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(1)
