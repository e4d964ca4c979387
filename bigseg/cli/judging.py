"""Commands that judge: evaluate, demo."""

# ruff: noqa: PLR0913 - the parameters of a command are its options

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from bigseg.cli.options import Debug, Json, Quiet, Workers, examples, follow, say

TRACKS = "Tracks"


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(
        "evaluate",
        epilog=examples(
            "bigseg evaluate embryo.zarr/labels/cells truth.zarr",
            "bigseg evaluate embryo.zarr/labels/cells mask.tif --json",
            "bigseg evaluate --tracks 01_RES 01_GT",
            "bigseg evaluate --tracks tracks.geff truth.csv --distance 5",
        ),
    )(evaluate)
    app.command("demo", epilog=examples("bigseg demo", "bigseg demo somewhere/else --workers 2"))(
        demo
    )


def evaluate(
    prediction: Annotated[
        str, typer.Argument(metavar="PREDICTION", help="Labels or tracks to judge, path or URL.")
    ],
    truth: Annotated[
        str, typer.Argument(metavar="TRUTH", help="Labels, masks or tracks to judge them by.")
    ],
    across_frames: Annotated[
        bool,
        typer.Option(
            "--across-frames", help="An id that occurs in several frames is one object (tracks)."
        ),
    ] = False,
    tracks: Annotated[
        bool,
        typer.Option(
            "--tracks",
            help="Judge tracks: CTC folders, label images over time, GEFF, tables of points.",
            rich_help_panel=TRACKS,
        ),
    ] = False,
    distance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Farthest that a point may be from the true one, in the unit of the points.",
            rich_help_panel=TRACKS,
        ),
    ] = None,
    lineages: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help="What descends from what in PREDICTION, where it does not say so: a table with "
            "the columns track, begin, end, parent, or a CTC text file.",
            show_default="that of bigseg track",
            rich_help_panel=TRACKS,
        ),
    ] = None,
    true_lineages: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="The same for TRUTH.", rich_help_panel=TRACKS),
    ] = None,
    workers: Workers = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare labels, or tracks, with ground truth, on any size.

    Counts, average precision AP = TP / (TP + FP + FN) and error rate (FP + FN) / (TP + FN) at
    several IoU, and the aggregated Jaccard index. Tracks are judged as by the Cell Tracking
    Challenge (DET, SEG, TRA, LNK, CT, TF, BC, CCA), and by their links and divisions.
    """
    if tracks:
        from bigseg.stages.evaluate_tracks import evaluate_tracks

        if across_frames:
            raise typer.BadParameter("--across-frames judges labels; leave it out with --tracks")
        judged = evaluate_tracks(
            prediction,
            truth,
            lines=lineages,
            true_lines=true_lineages,
            distance=distance,
            workers=workers,
        )
        say(judged.as_dict(), judged.text(), quiet=quiet, as_json=as_json)
        return
    _only_of_tracks(distance, lineages, true_lineages)
    from bigseg.stages.evaluate import evaluate as evaluate_labels

    scores = evaluate_labels(prediction, truth, workers=workers, across_frames=across_frames)
    say(scores.as_dict(), scores.text(), quiet=quiet, as_json=as_json)


def _only_of_tracks(
    distance: float | None, lineages: str | None, true_lineages: str | None
) -> None:
    """Refuse options that would be ignored."""
    options = {"--distance": distance, "--lineages": lineages, "--true-lineages": true_lineages}
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter(f"{name} is of tracks; give --tracks, too")


def demo(
    folder: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Where to put images and results.")
    ] = "demo",
    workers: Workers = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """See bigseg work on real images that come with it.

    A 2D mosaic and a 3D volume are converted to OME-Zarr, segmented in many small blocks by Dask
    workers on this machine, and judged by their ground truth. It takes a minute or two, offline.
    """
    from bigseg import demo as demonstration

    with follow(quiet=quiet, as_json=as_json) as listener:
        result = demonstration.run(folder, workers=workers, listener=listener)
    say(asdict(result), result.text(), quiet=quiet, as_json=as_json)
