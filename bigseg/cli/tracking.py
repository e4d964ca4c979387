"""The command that follows objects through time: track."""

# ruff: noqa: PLR0913 - the parameters of a command are its options

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from bigseg.cli.options import (
    HOLES,
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
    follow_many,
    given,
    say,
    split,
)
from bigseg.errors import SpecError

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
            "bigseg track movie.zarr --model nuclei --alternative cellprob_threshold=2",
            "bigseg track masks/ tracked.zarr --alternative other-masks/",
            "bigseg track 'plate/*.zarr' tracked/",
            "bigseg track --series plate.csv tracked/",
        ),
    )(track)


def track(
    series: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LABELS... [OUTPUT]",
            help="Label image with a time axis, TIFF or npy file with one, or a folder or pattern "
            "of one file per frame; with --model, an image. OUTPUT, the last of several, is the "
            "OME-Zarr to create, or, for several series, the folder of all results; without it, "
            "results lie beside the labels, as NAME-tracks.",
            show_default=False,
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            "--series",
            metavar="FILE",
            help="Table of series, CSV or Parquet: columns labels and, if wanted, output, image, "
            "voxel_size and other settings. LABELS are left out, OUTPUT is a folder.",
            rich_help_panel=INPUT,
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="OME-Zarr image of the same voxels, in which mean intensities are measured.",
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
    alternative: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABELS|SETTING",
            help="Other labels of the same frames, which compete with the first: at each place "
            "those are taken that go best with the frames before and after. With --model also "
            "settings, as 'cellprob_threshold=2'. May be given several times.",
            show_default=False,
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
            help="Most frames that one link spans: 3 bridges two frames without the object.",
            show_default="3",
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
    brightness: Annotated[
        bool,
        typer.Option(
            "--brightness",
            help="Objects keep their brightness, which helps to tell them apart; cells that divide "
            "do not. Needs --image or --model.",
            rich_help_panel=LINKS,
        ),
    ] = False,
    no_divisions: Annotated[
        bool,
        typer.Option("--no-divisions", help="Objects do not divide.", rich_help_panel=LINKS),
    ] = False,
    merging: Annotated[
        bool,
        typer.Option(
            "--merging",
            help="Two objects may become one, as where two that touch are drawn as one. Global "
            "mode only; GEFF, napari and tables say it, a CTC folder cannot.",
            rich_help_panel=LINKS,
        ),
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

    Several series are tracked side by side, each as a run of its own; one that fails does not stop
    the others, and is named at the end.
    """
    from bigseg.specs.segment import read_config
    from bigseg.specs.track import given_labels

    settings = given(
        image=image,
        channel=int(channel) if channel and channel.isdecimal() else channel,
        model=model,
        segment=read_config(config) if config else None,
        alternatives=tuple(alternative) if alternative else None,
        voxel_size=split(voxel_size),
        mode=mode,
        gap=gap,
        max_step=max_step,
        max_division=max_division,
        divisions=False if no_divisions else None,
        merging=merging or None,
        brightness=brightness or None,
        min_length=min_length,
        edits=edits,
        costs=costs,
        fill_gaps=fill_gaps or None,
        ctc=ctc,
    )
    asked = Asked(
        overwrite, workers, cluster, dry_run, prepare, skip_failed, quiet=quiet, as_json=as_json
    )
    labels, output, many = _arguments(series or [], table)
    if not many:
        _one({**settings, "labels": labels[0], "output": output}, run, asked)
        return
    if run is not None:
        raise SpecError("--run is the folder of one run; several series have one each.")
    for name in ("ctc", "edits", "image"):
        if name in settings:
            raise SpecError(
                f"--{name} is of one series; for several, give a table with a column '{name}', "
                "with --series."
            )
    if given_labels(settings.get("alternatives", ())):
        raise SpecError(
            "--alternative gives labels of one series; for several, give a table with a column "
            "'alternatives', with --series, or settings of the segmentation."
        )
    _several(labels, table, output, settings, asked)


@dataclass(frozen=True)
class Asked:
    """How the work is done, and told of."""

    overwrite: bool
    workers: int | None
    cluster: str | None
    dry_run: bool
    prepare: bool
    skip_failed: bool
    quiet: bool
    as_json: bool

    def say(self, result: object, text: str) -> None:
        """Print a result."""
        say(result, text, quiet=self.quiet, as_json=self.as_json)


def _arguments(series: list[str], table: str | None) -> tuple[list[str], str | None, bool]:
    """Labels, output, and whether there are several series."""
    from bigseg.jobs.track_series import is_many

    if table is not None:
        if len(series) > 1:
            raise SpecError("With --series only the folder of the results is given besides.")
        return [], series[0] if series else None, True
    if not series:
        raise SpecError("Give the labels that are tracked, or a table of series with --series.")
    if len(series) > 2:
        return series[:-1], series[-1], True
    return series[:1], series[1] if len(series) > 1 else None, is_many(series[0])


def _one(settings: dict[str, Any], run: str | None, asked: Asked) -> None:
    """Track one series, or say what would be done."""
    from bigseg.jobs import track as tracking
    from bigseg.specs.segment import parse_as
    from bigseg.specs.track import TrackSpec

    spec = parse_as(TrackSpec, settings)
    if asked.dry_run:
        from bigseg.jobs.plan import plan_tracking

        plan = plan_tracking(spec, run, cluster=asked.cluster, workers=asked.workers)
        asked.say(plan.as_dict(), plan.text())
        return
    if asked.prepare:
        ready = tracking.prepare(spec, run=run, overwrite=asked.overwrite)
        asked.say(ready.as_dict(), ready.text())
        return
    with follow(
        quiet=asked.quiet, as_json=asked.as_json, skip_failed=asked.skip_failed
    ) as listener:
        result = tracking.execute(
            spec,
            run=run,
            cluster=asked.cluster,
            workers=asked.workers,
            overwrite=asked.overwrite,
            listener=listener,
        )
    end(result, quiet=asked.quiet, as_json=asked.as_json)


def _several(
    labels: list[str],
    table: str | None,
    output: str | None,
    settings: dict[str, Any],
    asked: Asked,
) -> None:
    """Track several series, or make them ready; exit code 1 if one of them fails."""
    from bigseg.jobs import track_many
    from bigseg.jobs.track_series import read_series, specifications

    rows: list[Any] = list(labels) if table is None else read_series(table)
    specs = specifications(rows, output, settings)
    if asked.dry_run or asked.prepare:
        made = track_many.look_ahead if asked.dry_run else track_many.prepare
        ready = made(specs, overwrite=asked.overwrite)
        lines = [
            f"{one['series']}: {one['error']}" if one["error"] else one["text"] for one in ready
        ]
        shown = [{key: value for key, value in one.items() if key != "text"} for one in ready]
        asked.say(shown, "\n".join(lines))
        if any(one["error"] for one in ready):
            raise typer.Exit(1)
        return
    with follow_many(
        quiet=asked.quiet, as_json=asked.as_json, skip_failed=asked.skip_failed
    ) as listeners:
        batch = track_many.execute(
            specs,
            cluster=asked.cluster,
            workers=asked.workers,
            overwrite=asked.overwrite,
            listeners=listeners,
        )
    asked.say(batch.as_dict(), batch.text())
    if batch.failed or batch.incomplete:
        raise typer.Exit(1 if batch.failed else HOLES)
