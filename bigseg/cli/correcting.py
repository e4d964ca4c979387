"""The command that corrects a finished run: correct."""

from __future__ import annotations

from typing import Annotated

import typer

from bigseg.cli.options import Debug, Json, Quiet, RunFolder, examples, say


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "correct",
        epilog=examples(
            "bigseg correct embryo.zarr.cells.bigseg corrections.toml",
            "bigseg correct embryo.zarr.cells.bigseg corrections.toml --dry-run",
        ),
    )(correct)


def correct(
    run: RunFolder,
    corrections: Annotated[
        str | None,
        typer.Argument(
            metavar="CORRECTIONS",
            help="TOML or JSON with lists 'merge' and 'split' of ids or points; none: only "
            "complete a correction that was interrupted.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Merge objects of a finished run that are one, and split those that are not.

    Only what is touched is solved and written again, however large the run is. All other objects
    keep their ids.
    """
    from bigseg.corrections.correct import correct as correct_run

    done = correct_run(run, corrections, dry_run=dry_run)
    say(done.as_dict(), done.text(), quiet=quiet, as_json=as_json)
