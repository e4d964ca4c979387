"""The command that segments."""

# ruff: noqa: PLR0913 - the parameters of a command are its options

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer

from bigseg.cli.options import (
    Calibrate,
    Cluster,
    Debug,
    Json,
    Prepare,
    Quiet,
    SkipFailed,
    Workers,
    end,
    examples,
    follow,
    given,
    say,
    split,
)

VOXELS, OBJECTS, WORK = "Which voxels", "Which objects", "Work"
MERGING, MAPS = "Which parts are one", "Maps instead of a model"


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(
        "segment",
        epilog=examples(
            "bigseg segment embryo.zarr --model nuclei",
            "bigseg segment cells.zarr --model nuclei --channels DAPI --diameter 25",
            "bigseg segment embryo.zarr out.zarr --model my.safetensors --block 128,512,512",
            "bigseg segment s3://bucket/brain.zarr --model nuclei --cluster tcp://head:8786",
            "bigseg segment embryo.zarr --model nuclei --dry-run",
            "bigseg segment membranes.zarr --from boundaries",
        ),
    )(segment)


def segment(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="OME-Zarr image, path or URL.")],
    output: Annotated[
        str | None,
        typer.Argument(
            metavar="OUTPUT",
            help="OME-Zarr to create.",
            show_default="IMAGE/labels/NAME",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="nuclei (bundled), a name of 'bigseg models', weights, or module:function; of "
            "several, A,B,C, outputs are averaged.",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="boundaries|affinities",
            help="IMAGE holds maps that a network made, dense EM for example; no model is needed.",
            rich_help_panel=MAPS,
        ),
    ] = None,
    offsets: Annotated[
        str | None,
        typer.Option(
            metavar="JSON",
            help="Where the affinity of each channel leads, as [[-1,0,0],[0,-1,0],[0,0,-1]].",
            show_default="direct neighbours",
            rich_help_panel=MAPS,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="watershed|mutex-watershed",
            help="How supervoxels are made.",
            show_default="watershed",
            rich_help_panel=MAPS,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Probability from which a voxel is boundary.",
            show_default="0.5",
            rich_help_panel=MAPS,
        ),
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(
            help="Of the Gaussian that smooths what the watershed floods, voxels.",
            show_default="1",
            rich_help_panel=MAPS,
        ),
    ] = None,
    min_supervoxel: Annotated[
        int | None,
        typer.Option(
            help="Smaller supervoxels are shared out among their neighbours, voxels.",
            show_default="50",
            rich_help_panel=MAPS,
        ),
    ] = None,
    flat_supervoxels: Annotated[
        bool,
        typer.Option(
            "--flat-supervoxels",
            help="Make supervoxels plane by plane, where planes are far apart.",
            rich_help_panel=MAPS,
        ),
    ] = False,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="TOML file of settings, as min_size = 30; options win over it."
        ),
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Channels by number or name, as 2,0 or DAPI; or by role, as cyto=2,nuclei=0; or "
            "grey; or rgb.",
            show_default="the first, or all for Cellpose-SAM",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    level: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Resolution level to work on, 0 being the finest.",
            show_default="0",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Label image, of any resolution, that is not 0 where objects are looked for.",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    skip_background: Annotated[
        bool,
        typer.Option(
            "--skip-background",
            help="Compute nothing where a coarse level shows nothing but background.",
            rich_help_panel=VOXELS,
        ),
    ] = False,
    dims: Annotated[
        str | None,
        typer.Option(
            metavar="2d|3d|slices",
            help="Objects of planes, of volumes, or of planes put together to volumes.",
            show_default="3d if there is more than one plane",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    anisotropy: Annotated[
        float | None,
        typer.Option(
            help="Voxel height over width.",
            show_default="from the voxel size",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    percentiles: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Percentiles of intensity that the model sees as 0 and 1.",
            show_default="1,99",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    normalize_per: Annotated[
        str | None,
        typer.Option(
            metavar="image|frame|plane",
            help="One intensity range for all of the image, or one for each frame or plane.",
            show_default="image",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    intensity: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Values that the model sees as 0 and 1, instead of percentiles.",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            min=16,
            metavar="PIXELS",
            help="Edge of windows with percentiles of their own, smoothed and without seams, where "
            "brightness varies over the image.",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    smooth: Annotated[
        float | None,
        typer.Option(help="Sigma of a Gaussian against noise, pixels.", rich_help_panel=VOXELS),
    ] = None,
    sharpen: Annotated[
        float | None,
        typer.Option(
            help="Sigma of a Gaussian of the surroundings to subtract, pixels.",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    invert: Annotated[
        bool,
        typer.Option("--invert", help="Show dark objects as bright ones.", rich_help_panel=VOXELS),
    ] = False,
    restore: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Model that restores the image on its way to the network, as denoise_cyto3.",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    flips: Annotated[
        bool,
        typer.Option(
            "--flips",
            help="Average over four mirror images of each tile: slower, a little better.",
            rich_help_panel=VOXELS,
        ),
    ] = False,
    overlap: Annotated[
        float | None,
        typer.Option(
            help="Share of a tile that the next one covers, too.",
            show_default="about 0.1",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    representation: Annotated[
        str | None,
        typer.Option(
            metavar="flows|hover|borders|labels",
            help="What the outputs of the model mean.",
            show_default="as published",
            rich_help_panel=OBJECTS,
        ),
    ] = None,
    parity: Annotated[
        bool,
        typer.Option(
            "--parity",
            help="Do as the original does, mistakes included; for images that fit in memory.",
            rich_help_panel=OBJECTS,
        ),
    ] = False,
    diameter: Annotated[
        str | None,
        typer.Option(
            metavar="PIXELS|auto",
            help="Width of a typical object in pixels; the image is rescaled by it. auto measures "
            "it on a few samples.",
            show_default="that of the training",
            rich_help_panel=OBJECTS,
        ),
    ] = None,
    flow_threshold: Annotated[
        float | None,
        typer.Option(
            help="Largest flow error of an object. Higher keeps more, 0 keeps all.",
            show_default="0.4",
            rich_help_panel=OBJECTS,
        ),
    ] = None,
    cellprob_threshold: Annotated[
        float | None,
        typer.Option(
            help="Least logit of an object's voxels. Lower finds dimmer and larger objects.",
            show_default="as published, mostly 0.0",
            rich_help_panel=OBJECTS,
        ),
    ] = None,
    border_threshold: Annotated[
        float | None,
        typer.Option(
            help="Least logit of a border, for models of borders.",
            show_default="0.5",
            rich_help_panel=OBJECTS,
        ),
    ] = None,
    min_size: Annotated[
        int | None,
        typer.Option(help="Smallest object, voxels.", show_default="15", rich_help_panel=OBJECTS),
    ] = None,
    max_size: Annotated[
        int | None,
        typer.Option(help="Largest object, voxels.", show_default="any", rich_help_panel=OBJECTS),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the labels.", show_default="cells", rich_help_panel=OBJECTS),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            help="How likely it is, before looking, that overlapping objects are two.",
            show_default="0.5, or 0.65 with --from",
            rich_help_panel=MERGING,
        ),
    ] = None,
    evidence: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="What overlaps are worth, as 'bigseg calibrate' fits it.",
            show_default="fitted to several kinds of images",
            rich_help_panel=MERGING,
        ),
    ] = None,
    gap: Annotated[
        int | None,
        typer.Option(
            help="With --dims slices: planes in a row in which an object may be missing.",
            show_default="1",
            rich_help_panel=MERGING,
        ),
    ] = None,
    min_z_extent: Annotated[
        int | None,
        typer.Option(
            help="With --dims slices: planes that an object must span.",
            show_default="2",
            rich_help_panel=MERGING,
        ),
    ] = None,
    repulsion: Annotated[
        float | None,
        typer.Option(
            help="How much objects of one block repel each other, in mean costs.",
            show_default="0",
            rich_help_panel=MERGING,
        ),
    ] = None,
    solver: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="kernighan-lin, greedy, greedy-fixation, mutex-watershed, fusion-moves or exact.",
            show_default="kernighan-lin",
            rich_help_panel=MERGING,
        ),
    ] = None,
    exact_edges: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Solve contradictions of up to N edges to a proven optimum.",
            show_default="200",
            rich_help_panel=MERGING,
        ),
    ] = None,
    block: Annotated[
        str | None,
        typer.Option(
            metavar="Z,Y,X",
            help="Voxels of a block, or Y,X.",
            show_default="by the shape",
            rich_help_panel=WORK,
        ),
    ] = None,
    halo: Annotated[
        int | None,
        typer.Option(
            help="Voxels that a block sees of its neighbours.",
            show_default="two diameters",
            rich_help_panel=WORK,
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Run folder.",
            show_default="beside the output",
            rich_help_panel=WORK,
        ),
    ] = None,
    workers: Workers = None,
    cluster: Cluster = None,
    keep_scratch: Annotated[
        bool,
        typer.Option(
            "--keep-scratch",
            help="Keep predictions: other thresholds then take seconds (with --overwrite).",
            rich_help_panel=WORK,
        ),
    ] = False,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace labels and run of the same name.", rich_help_panel=WORK
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Check everything, show the plan, write nothing.",
            rich_help_panel=WORK,
        ),
    ] = False,
    calibrate: Calibrate = None,
    prepare: Prepare = False,
    skip_failed: SkipFailed = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Segment an image into labels, block by block.

    IMAGE and --model suffice. The result is a label image with a table of its objects; the run
    folder beside it holds the report. If it is interrupted, the same command continues it.
    """
    options = given(
        image=image,
        output=output,
        model=model,
        diameter=diameter,
        channels=split(channels),
        level=level,
        mask=mask,
        skip_background=skip_background or None,
        dims=dims,
        anisotropy=anisotropy,
        flow_threshold=flow_threshold,
        cellprob_threshold=cellprob_threshold,
        min_size=min_size,
        max_size=max_size,
        percentiles=split(percentiles),
        normalize_per=normalize_per,
        intensity=split(intensity),
        window=window,
        smooth=smooth,
        sharpen=sharpen,
        invert=invert or None,
        restore=restore,
        flips=flips or None,
        overlap=overlap,
        representation=representation,
        parity=parity or None,
        border_threshold=border_threshold,
        beta=beta,
        evidence=evidence,
        gap=gap,
        min_z_extent=min_z_extent,
        repulsion=repulsion,
        solver=solver,
        exact_edges=exact_edges,
        block=split(block),
        halo=halo,
        name=name,
        source=source,
        offsets=_offsets(offsets),
        method=method,
        threshold=threshold,
        sigma=sigma,
        min_supervoxel=min_supervoxel,
        slices=flat_supervoxels or None,
        keep_scratch=keep_scratch or None,
    )
    work = _work(config, options)
    if dry_run:
        plan = work.look_ahead(run, cluster=cluster, workers=workers, calibrate=calibrate or 0.0)
        say(plan.as_dict(), plan.text(), quiet=quiet, as_json=as_json)
        return
    if prepare:
        ready = work.prepare(run=run, overwrite=overwrite)
        say(ready.as_dict(), ready.text(), quiet=quiet, as_json=as_json)
        return
    with follow(quiet=quiet, as_json=as_json, skip_failed=skip_failed) as listener:
        result = work.execute(
            run=run,
            cluster=cluster,
            workers=workers,
            overwrite=overwrite,
            listener=listener,
        )
    end(result, quiet=quiet, as_json=as_json)


def _offsets(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except json.JSONDecodeError:
        raise typer.BadParameter(
            f"--offsets is {text!r}; it must be JSON, as [[-1,0,0],[0,-1,0],[0,0,-1]]"
        ) from None


@dataclass(frozen=True)
class Work:
    """What is to be done, whichever way."""

    look_ahead: Callable[..., Any]
    prepare: Callable[..., Any]
    execute: Callable[..., Any]


def _work(config: str | None, options: dict[str, Any]) -> Work:
    """Work on settings made of a file and of options, which win over it."""
    from bigseg.jobs import maps as em_pipeline
    from bigseg.jobs import segment as pipeline
    from bigseg.jobs.plan import plan_maps, plan_segmentation
    from bigseg.specs.maps import EmSpec
    from bigseg.specs.segment import parse, parse_as, read_config

    settings = (read_config(config) if config else {}) | options
    if "source" in settings:
        maps = parse_as(EmSpec, settings)
        return Work(
            partial(plan_maps, maps),
            partial(em_pipeline.prepare, maps),
            partial(em_pipeline.segment_maps, maps),
        )
    if "model" not in settings:
        raise typer.BadParameter("no model is chosen; give --model nuclei, or the path of weights")
    spec = parse(settings)
    return Work(
        partial(plan_segmentation, spec),
        partial(pipeline.prepare, spec),
        partial(pipeline.execute, spec),
    )
