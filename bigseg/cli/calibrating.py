"""Command that fits evidence to ground truth: calibrate."""

from __future__ import annotations

from typing import Annotated

import typer

from bigseg.cli.options import Debug, Json, Quiet, RunFolder, examples, say


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "calibrate",
        epilog=examples(
            "bigseg segment plane.zarr --model nuclei --block 96,96 --halo 9",
            "bigseg calibrate plane.zarr.cells.bigseg --truth truth.tif --out fit.json",
            "bigseg segment other.zarr --model nuclei --evidence fit.json",
        ),
    )(calibrate)


def calibrate(
    run: RunFolder,
    truth: Annotated[
        str, typer.Option(metavar="TRUTH", help="True labels of the run's image, path or URL.")
    ],
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Keep the evidence here, as JSON.", show_default="no"),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fit what overlaps between blocks are worth to ground truth.

    The objects of two blocks that meet are one if they lie mostly in the same true object. A run
    with many small blocks and a narrow halo has most to learn from. Prints the coefficients, and
    how far probabilities were from what is true, before and after.
    """
    from bigseg.io.evidence import write_evidence
    from bigseg.jobs import calibrate as calibration

    found = calibration.calibrate(run, truth)
    if out is not None:
        write_evidence(out, found.evidence)
    say(found.as_dict(), found.text(), quiet=quiet, as_json=as_json)
