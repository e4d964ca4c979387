"""The command that restores: restore."""

# ruff: noqa: PLR0913 - the parameters of a command are its options

from __future__ import annotations

from typing import Annotated

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

VOXELS, WORK = "Which voxels", "Work"


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "restore",
        epilog=examples(
            "bigseg restore noisy.zarr clean.zarr --model denoise_cyto3",
            "bigseg restore noisy.zarr clean.zarr --model deblur_nuclei --channels DAPI",
            "bigseg restore small.zarr large.zarr --model upsample_cyto3 --diameter 12",
            "bigseg restore noisy.zarr clean.zarr --model my.safetensors --dry-run",
        ),
    )(restore)


def restore(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="OME-Zarr image, path or URL.")],
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="OME-Zarr to create.")],
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH", help="Restoring model (denoise_cyto3), or weights, path or URL."
        ),
    ],
    diameter: Annotated[
        float | None,
        typer.Option(
            help="Width of a typical object in pixels; the network sees the image rescaled by it.",
            show_default="that of the training",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Channels to restore by number or name, as 2 or 2,0 or DAPI; others are left out.",
            show_default="all",
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
    enlarge: Annotated[
        bool | None,
        typer.Option(
            "--enlarge/--no-enlarge",
            help="Make a finer grid, in which objects have the diameter of the training.",
            show_default="if the model is an upsample_…",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    values: Annotated[
        str | None,
        typer.Option(
            metavar="image|network",
            help="Values on the scale and in the type of the image, or as the network gives them: "
            "float32, 0 and 1 being the percentiles.",
            show_default="image",
            rich_help_panel=VOXELS,
        ),
    ] = None,
    percentiles: Annotated[
        str | None,
        typer.Option(
            metavar="LOW,HIGH",
            help="Percentiles of the image that become 0 and 1 for the network.",
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
            "--overwrite",
            help="Replace the result of a former restoration.",
            rich_help_panel=WORK,
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
    """Denoise, deblur or upsample an image, block by block and without seams.

    Every plane of every channel is restored by itself; OUTPUT keeps axes, voxel size and channel
    names. If it is interrupted, the same command continues it.
    """
    from bigseg.jobs import restore as restoration
    from bigseg.plans.restore import RestoreSpec
    from bigseg.specs.segment import parse_as

    spec = parse_as(
        RestoreSpec,
        given(
            image=image,
            output=output,
            model=model,
            diameter=diameter,
            channels=split(channels),
            level=level,
            enlarge=enlarge,
            values=values,
            percentiles=split(percentiles),
            normalize_per=normalize_per,
        ),
    )
    if dry_run:
        from bigseg.jobs.plan import plan_restoration

        plan = plan_restoration(
            spec, run, cluster=cluster, workers=workers, calibrate=calibrate or 0.0
        )
        say(plan.as_dict(), plan.text(), quiet=quiet, as_json=as_json)
        return
    if prepare:
        ready = restoration.prepare(spec, run=run, overwrite=overwrite)
        say(ready.as_dict(), ready.text(), quiet=quiet, as_json=as_json)
        return
    with follow(quiet=quiet, as_json=as_json, skip_failed=skip_failed) as listener:
        result = restoration.execute(
            spec,
            run=run,
            cluster=cluster,
            workers=workers,
            overwrite=overwrite,
            listener=listener,
        )
    end(result, quiet=quiet, as_json=as_json)
