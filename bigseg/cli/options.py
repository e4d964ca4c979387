"""What all commands share: options, and how they speak."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.markup import escape

from bigseg.events import Listener
from bigseg.holes import leave_out_failed

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|NAME",
        help="Where blocks are computed: local (processes), threads, serial, the address of a Dask "
        "scheduler, tcp://…, or a TOML file that says more: GPUs, batch systems, Kubernetes.",
        show_default="local",
        rich_help_panel="Work",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Blocks computed at once.",
        show_default="as many as cores",
        rich_help_panel="Work",
    ),
]
Calibrate = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="SECONDS",
        help="With --dry-run: compute samples for so long, about, to tell what it takes.",
        show_default="0",
        rich_help_panel="Work",
    ),
]
Prepare = Annotated[
    bool,
    typer.Option(
        "--prepare",
        help="Check everything, write the run folder, compute nothing: for 'bigseg jobs'.",
        rich_help_panel="Work",
    ),
]
HOLES = 3
"""Exit code of a run that is finished, with blocks left out."""
SkipFailed = Annotated[
    bool,
    typer.Option(
        "--skip-failed",
        help="Go on without blocks that keep failing, name them here, in the report and in "
        f"holes.parquet in the result, and end with exit code {HOLES}. Without it, the run stops "
        "at the end of the step, with exit code 1.",
        rich_help_panel="Work",
    ),
]
RunFolder = Annotated[
    str, typer.Argument(metavar="RUN", help="Run folder, path or URL, ending in .bigseg.")
]


def say(result: object, text: str, *, quiet: bool = False, as_json: bool = False) -> None:
    """Print a result on stdout: for a machine, for a person, or not at all."""
    if as_json:
        sys.stdout.write(json.dumps(result, default=str) + "\n")
    elif not quiet:
        sys.stdout.write(text + "\n")


class Stopped(Exception):
    """Somebody pressed Ctrl-C; the message says how to go on. Typer would drop the message."""


def end(result: Any, *, quiet: bool = False, as_json: bool = False) -> None:
    """Print the result of a run; name the blocks that it has left out, if there are any."""
    from bigseg.run.left_out import holes

    left_out = holes(result.run)
    content = asdict(result) | {"left_out": [asdict(hole) for hole in left_out]}
    say(content, result.text(), quiet=quiet, as_json=as_json)
    for hole in left_out:
        sys.stderr.write(f"{hole.text()}\n")
    if left_out:
        sys.stderr.write(
            f"The result has {len(left_out)} hole(s). Once the cause is mended, the same command "
            "with --overwrite makes it anew.\n"
        )
        raise typer.Exit(HOLES)


@contextmanager
def follow(*, quiet: bool, as_json: bool, skip_failed: bool = False) -> Iterator[Listener]:
    """Show how a run goes, on stderr, unless only the result is wanted."""
    from bigseg.run.progress import progress

    try:
        with progress(quiet=quiet or as_json) as listener, leave_out_failed(skip_failed):
            yield listener
    except KeyboardInterrupt as error:
        raise Stopped(str(error) or "Interrupted.") from None


@contextmanager
def follow_many(
    *, quiet: bool, as_json: bool, skip_failed: bool = False
) -> Iterator[Callable[[str], Listener]]:
    """Show how runs side by side go, by their names, as `follow` does."""
    from bigseg.run.progress import progress_of_many

    try:
        with leave_out_failed(skip_failed):
            yield progress_of_many(quiet=quiet or as_json)
    except KeyboardInterrupt as error:
        raise Stopped(str(error) or "Interrupted.") from None


def split(text: str | None) -> tuple[str, ...] | None:
    """Parts of a list given as a,b,c."""
    return None if text is None else tuple(part.strip() for part in text.split(","))


def given(**options: Any) -> dict[str, Any]:
    """Options that the user gave."""
    return {name: value for name, value in options.items() if value is not None}


def examples(*lines: str) -> str:
    """Closing lines of a command's help; backspace makes typer keep line breaks."""
    return "\b\n[bold]Examples[/bold]\n" + "\n".join(f"  {escape(line)}" for line in lines)
