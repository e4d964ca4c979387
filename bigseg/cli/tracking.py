"""The command that follows objects through time: track."""

# ruff: noqa: PLR0913 - the parameters of a command are its options

from __future__ import annotations

from typing import Annotated

import typer

from bigseg.cli.options import (
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

INPUT, LINKS, RESULT, WORK = "What is tracked", "Links", "Result", "Work"


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "track",
        epilog=examples(
            "bigseg track embryo.zarr/labels/cells",
            "bigseg track 01_RES/ tracked.zarr --voxel-size 1.0,0.09,0.09",
            "bigseg track 'masks/t*.tif' tracked.zarr --mode fast",
            "bigseg track embryo.zarr/labels/cells --max-step 8 --gap 3",
            "bigseg track embryo.zarr/labels/cells --edits edits.toml --overwrite",
            "bigseg track movie.zarr --model nuclei",
        ),
    )(track)


def track(
    labels: Annotated[
        str,
        typer.Argument(
            metavar="LABELS",
            help="Label image with a time axis, TIFF or npy file with one, or a folder or pattern "
            "of one file per frame; with --model, an image.",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Argument(
            metavar="OUTPUT",
            help="OME-Zarr labels to create, numbered by track.",
            show_default="beside the labels, NAME-tracks",
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="OME-Zarr image of the same voxels; brightness then tells objects apart, too.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(
            metavar="N|NAME",
            help="Channel of that image.",
            show_default="0",
            rich_help_panel=INPUT,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="LABELS is an image: segment it first with this model, in the same run.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="TOML file of other settings of that segmentation, as diameter = 12.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    voxel_size: Annotated[
        str | None,
        typer.Option(
            metavar="Z,Y,X",
            help="Size of a voxel, or Y,X.",
            show_default="what the labels say, or 1",
            rich_help_panel=INPUT,
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            metavar="global|fast",
            help="Whether all frames decide together, or one after the other.",
            show_default="global",
            rich_help_panel=LINKS,
        ),
    ] = None,
    gap: Annotated[
        int | None,
        typer.Option(
            metavar="FRAMES",
            help="Most frames that one link spans: 2 bridges one frame without the object.",
            show_default="2",
            rich_help_panel=LINKS,
        ),
    ] = None,
    max_step: Annotated[
        float | None,
        typer.Option(
            metavar="DISTANCE",
            help="Farthest that an object moves from one frame to the next, in physical units.",
            show_default="estimated",
            rich_help_panel=LINKS,
        ),
    ] = None,
    max_division: Annotated[
        float | None,
        typer.Option(
            metavar="DISTANCE",
            help="Farthest that a daughter lies from her mother a frame before.",
            show_default="estimated",
            rich_help_panel=LINKS,
        ),
    ] = None,
    no_divisions: Annotated[
        bool,
        typer.Option("--no-divisions", help="Objects do not divide.", rich_help_panel=LINKS),
    ] = False,
    min_length: Annotated[
        int | None,
        typer.Option(
            metavar="FRAMES",
            help="Drop shorter tracks that have neither mother nor daughters.",
            show_default="1",
            rich_help_panel=LINKS,
        ),
    ] = None,
    edits: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Corrections, TOML or JSON: link, unlink, divide, delete. With --overwrite only "
            "what they touch is linked again.",
            rich_help_panel=LINKS,
        ),
    ] = None,
    costs: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="How objects move and divide, as 'bigseg calibrate' fits it to true tracks.",
            show_default="estimated",
            rich_help_panel=LINKS,
        ),
    ] = None,
    fill_gaps: Annotated[
        bool,
        typer.Option(
            "--fill-gaps",
            help="Draw objects in frames in which they were missed.",
            rich_help_panel=RESULT,
        ),
    ] = False,
    ctc: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Write a result folder of the Cell Tracking Challenge, too.",
            rich_help_panel=RESULT,
        ),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Run folder.",
            show_default="OUTPUT.bigseg",
            rich_help_panel=WORK,
        ),
    ] = None,
    workers: Workers = None,
    cluster: Cluster = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace the result of a former run.", rich_help_panel=WORK
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
    prepare: Prepare = False,
    skip_failed: SkipFailed = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Follow objects through time: from labels of frames to tracks, divisions and lineages.

    How far objects move, how they divide and how often they are missed is estimated from the
    series itself. The result is a label image whose objects are numbered by track, with tables of
    tracks, objects and links beside it. If it is interrupted, the same command continues it.
    """
    from bigseg.jobs import track as tracking
    from bigseg.specs.segment import parse_as, read_config
    from bigseg.specs.track import TrackSpec

    spec = parse_as(
        TrackSpec,
        given(
            labels=labels,
            output=output,
            image=image,
            channel=int(channel) if channel and channel.isdecimal() else channel,
            model=model,
            segment=read_config(config) if config else None,
            voxel_size=split(voxel_size),
            mode=mode,
            gap=gap,
            max_step=max_step,
            max_division=max_division,
            divisions=False if no_divisions else None,
            min_length=min_length,
            edits=edits,
            costs=costs,
            fill_gaps=fill_gaps or None,
            ctc=ctc,
        ),
    )
    if dry_run:
        plan = tracking.dry_run(spec, run)
        say(plan.as_dict(), plan.text(), quiet=quiet, as_json=as_json)
        return
    if prepare:
        ready = tracking.prepare(spec, run=run, overwrite=overwrite)
        say(ready.as_dict(), ready.text(), quiet=quiet, as_json=as_json)
        return
    with follow(quiet=quiet, as_json=as_json, skip_failed=skip_failed) as listener:
        result = tracking.execute(
            spec,
            run=run,
            cluster=cluster,
            workers=workers,
            overwrite=overwrite,
            listener=listener,
        )
    end(result, quiet=quiet, as_json=as_json)
