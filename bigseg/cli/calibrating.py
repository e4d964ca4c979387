"""Command that fits evidence, or the costs of links, to ground truth: calibrate."""

# ruff: noqa: PLR0913 - the parameters of a command are its options

from __future__ import annotations

from typing import Annotated

import typer

from bigseg.cli.options import Debug, Json, Quiet, RunFolder, examples, say
from bigseg.errors import SpecError


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "calibrate",
        epilog=examples(
            "bigseg segment plane.zarr --model nuclei --block 96,96 --halo 9",
            "bigseg calibrate plane.zarr.cells.bigseg --truth truth.tif --out fit.json",
            "bigseg segment other.zarr --model nuclei --evidence fit.json",
            "bigseg calibrate tracked.zarr.bigseg --truth 01_GT --out costs.json",
            "bigseg track other.zarr --costs costs.json",
        ),
    )(calibrate)


def calibrate(
    run: RunFolder,
    truth: Annotated[
        str,
        typer.Option(
            metavar="TRUTH",
            help="True labels of the run's image, path or URL; of a run of 'bigseg track', true "
            "tracks: a CTC folder, labels over time, GEFF, a table of points.",
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Keep what is fitted here, as JSON.", show_default="no"),
    ] = None,
    distance: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Tracks: farthest that a true point may be from an object's centre.",
        ),
    ] = None,
    lineages: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help="Tracks: what descends from what in the truth, where that does not say it.",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Fit what overlaps between blocks are worth, or what links cost, to ground truth.

    Of a run of 'bigseg track': how objects move, divide, appear and get lost is counted in the true
    tracks; 'bigseg track --costs' uses it for series like it.

    Of a segmentation: the objects of two blocks that meet are one if they lie mostly in the same
    true object. A run with many small blocks and a narrow halo has most to learn from. Prints the
    coefficients, and how far probabilities were from what is true, before and after.
    """
    from bigseg import files
    from bigseg.io.evidence import write_evidence
    from bigseg.io.track_costs import write_costs
    from bigseg.jobs import calibrate as calibration
    from bigseg.jobs.calibrate_tracks import calibrate_tracks
    from bigseg.jobs.track import is_tracking
    from bigseg.run.folder import open_run

    if is_tracking(open_run(files.absolute(run))):
        costs = calibrate_tracks(run, truth, lines=lineages, distance=distance)
        if out is not None:
            write_costs(out, costs.model)
        say(costs.as_dict(), costs.text(), quiet=quiet, as_json=as_json)
        return
    if distance is not None or lineages is not None:
        raise SpecError(f"--distance and --lineages are of tracks, and {run} tracks nothing.")
    found = calibration.calibrate(run, truth)
    if out is not None:
        write_evidence(out, found.evidence)
    say(found.as_dict(), found.text(), quiet=quiet, as_json=as_json)
