"""The command that merges tiles which are labelled already: merge."""

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

PLACES, OBJECTS, WORK = "Where tiles lie", "Which objects are one", "Work"


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "merge",
        epilog=examples(
            "bigseg merge 'tiles/cells_y{y}_x{x}.tif' merged.zarr",
            "bigseg merge tiles/*.tif merged.zarr --grid 4,6 --overlap 64",
            "bigseg merge 'tiles/row{y}_col{x}.npy' merged.zarr --overlap 64",
            "bigseg merge tiles/ merged.zarr --positions positions.csv --voxel-size 2,0.5,0.5",
            "bigseg merge s3://lab/tiles/*.zarr merged.zarr",
        ),
    )(merge)


def merge(
    tiles: Annotated[
        list[str],
        typer.Argument(
            metavar="TILES…",
            help="Labels of each tile: TIFF, npy, PNG, zarr or OME-Zarr; files, folders, URLs, "
            "patterns with * and ?, or a path with {z}, {y}, {x}, {t} in the place of numbers.",
        ),
    ],
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="OME-Zarr labels to create.")],
    positions: Annotated[
        str | None,
        typer.Option(
            metavar="CSV",
            help="Table with the columns file, z, y, x and t: first voxel of each tile.",
            rich_help_panel=PLACES,
        ),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Where names have numbers, as 'tile_y{y}_x{x}.tif'; {} is any other text. They "
            "are first voxels, or, with --overlap or --pitch, places in a grid.",
            rich_help_panel=PLACES,
        ),
    ] = None,
    grid: Annotated[
        str | None,
        typer.Option(
            metavar="ROWS,COLUMNS",
            help="Or z,y,x: tiles lie row by row, in the order of the numbers in their names.",
            rich_help_panel=PLACES,
        ),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            metavar="VOXELS",
            help="Voxels that neighbours in a grid have in common, for all axes or for each.",
            show_default="0",
            rich_help_panel=PLACES,
        ),
    ] = None,
    pitch: Annotated[
        str | None,
        typer.Option(
            metavar="VOXELS",
            help="Voxels from one tile of a grid to the next, instead of --overlap.",
            rich_help_panel=PLACES,
        ),
    ] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            metavar="AXES",
            help="Axes of a tile, as zyx or tyx.",
            show_default="as stored; yx, zyx, tzyx where files do not say",
            rich_help_panel=PLACES,
        ),
    ] = None,
    allow_gaps: Annotated[
        bool,
        typer.Option(
            "--allow-gaps",
            help="Leave voxels that no tile covers empty.",
            rich_help_panel=PLACES,
        ),
    ] = False,
    voxel_size: Annotated[
        str | None,
        typer.Option(
            metavar="Z,Y,X",
            help="Size of a voxel, or y,x of a pixel.",
            show_default="what the tiles say",
            rich_help_panel=PLACES,
        ),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Unit of the voxel size, such as micrometer.",
            show_default="what the tiles say",
            rich_help_panel=PLACES,
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            help="Prior probability that two objects that meet are different; above 0.5 less is "
            "merged.",
            show_default="0.5",
            rich_help_panel=OBJECTS,
        ),
    ] = None,
    repulsion: Annotated[
        float | None,
        typer.Option(
            help="How strongly objects of one tile stay apart.",
            show_default="0, and 1 where tiles only touch",
            rich_help_panel=OBJECTS,
        ),
    ] = None,
    min_size: Annotated[
        int | None,
        typer.Option(
            metavar="VOXELS",
            help="Drop smaller objects.",
            show_default="0",
            rich_help_panel=OBJECTS,
        ),
    ] = None,
    block: Annotated[
        str | None,
        typer.Option(
            metavar="Z,Y,X",
            help="Voxels that are written at once.",
            show_default="by the shape of the whole",
            rich_help_panel=WORK,
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
            "--overwrite", help="Replace the result of a former merge.", rich_help_panel=WORK
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
    """Merge tiles that are labelled already into one label image.

    Each tile has ids of its own. An object that several tiles saw in their overlap gets one id; so
    does one that goes on over a face where tiles only touch. Without options the tiles' OME-Zarr
    metadata say where they lie. If it is interrupted, the same command continues it.
    """
    from bigseg.jobs import tiles as merging
    from bigseg.specs.segment import parse_as
    from bigseg.specs.tiles import MergeSpec

    spec = parse_as(
        MergeSpec,
        given(
            tiles=tuple(tiles),
            output=output,
            positions=positions,
            pattern=pattern,
            grid=split(grid),
            overlap=split(overlap),
            pitch=split(pitch),
            axes=axes,
            allow_gaps=allow_gaps,
            voxel_size=split(voxel_size),
            unit=unit,
            beta=beta,
            repulsion=repulsion,
            min_size=min_size,
            block=split(block),
        ),
    )
    if dry_run:
        from bigseg.jobs.plan import plan_merging

        plan = plan_merging(spec, run, cluster=cluster, workers=workers)
        say(plan.as_dict(), plan.text(), quiet=quiet, as_json=as_json)
        return
    if prepare:
        ready = merging.prepare(spec, run=run, overwrite=overwrite)
        say(ready.as_dict(), ready.text(), quiet=quiet, as_json=as_json)
        return
    with follow(quiet=quiet, as_json=as_json, skip_failed=skip_failed) as listener:
        result = merging.execute(
            spec,
            run=run,
            cluster=cluster,
            workers=workers,
            overwrite=overwrite,
            listener=listener,
        )
    end(result, quiet=quiet, as_json=as_json)
