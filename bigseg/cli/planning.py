"""The command that plans: `segment` with all its options, but nothing is written."""

from __future__ import annotations

import inspect
import typing
from typing import Annotated, Any

import typer

from bigseg.cli.options import examples
from bigseg.cli.segmenting import segment

LEFT_OUT = ("dry_run", "overwrite", "prepare", "skip_failed", "calibrate")
"""Options of `segment` that mean nothing where nothing is written."""
USUAL = 20.0
Calibrate = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="How long samples of the image may be computed, about, to know what the run takes; "
        "0: not at all, and no hours are told.",
        rich_help_panel="Work",
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(
        "plan",
        epilog=examples(
            "bigseg plan embryo.zarr --model nuclei",
            "bigseg plan s3://bucket/brain.zarr --model nuclei --workers 64 --json",
            "bigseg plan embryo.zarr --model nuclei --calibrate 0",
        ),
    )(_command())


def plan(calibrate: float = USUAL, **options: Any) -> None:
    """Say what a segmentation would take, before anything is paid for.

    The options are those of 'bigseg segment'. Samples from all over the image are segmented in a
    temporary folder, to know what the run takes of time, memory and disk; what cannot fit is
    refused. Nothing is written beside the image.
    """
    segment(**options, dry_run=True, calibrate=calibrate)


def _command() -> Any:
    """`plan` with the parameters of `segment`, which are not written down twice."""
    hints = typing.get_type_hints(segment, include_extras=True)
    given = [
        parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(segment).parameters.items()
        if name not in LEFT_OUT
    ]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    own = inspect.Parameter("calibrate", kind, default=USUAL, annotation=Calibrate)

    def command(*args: Any, **options: Any) -> None:
        plan(*args, **options)

    parameters = [*given, own]
    command.__doc__ = plan.__doc__
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command
