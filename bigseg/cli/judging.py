"""Commands that judge: evaluate, demo."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from bigseg.cli.options import Debug, Json, Quiet, Workers, examples, follow, say


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(
        "evaluate",
        epilog=examples(
            "bigseg evaluate embryo.zarr/labels/cells truth.zarr",
            "bigseg evaluate embryo.zarr/labels/cells mask.tif --json",
        ),
    )(evaluate)
    app.command("demo", epilog=examples("bigseg demo", "bigseg demo somewhere/else --workers 2"))(
        demo
    )


def evaluate(
    prediction: Annotated[
        str, typer.Argument(metavar="PREDICTION", help="Label image to judge, path or URL.")
    ],
    truth: Annotated[
        str, typer.Argument(metavar="TRUTH", help="Label image or mask file to judge it by.")
    ],
    across_frames: Annotated[
        bool,
        typer.Option(
            "--across-frames", help="An id that occurs in several frames is one object (tracks)."
        ),
    ] = False,
    workers: Workers = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare labels with ground truth, on any size.

    Counts, average precision AP = TP / (TP + FP + FN) and error rate (FP + FN) / (TP + FN) at
    several IoU, and the aggregated Jaccard index.
    """
    from bigseg.stages.evaluate import evaluate as evaluate_labels

    scores = evaluate_labels(prediction, truth, workers=workers, across_frames=across_frames)
    say(scores.as_dict(), scores.text(), quiet=quiet, as_json=as_json)


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
