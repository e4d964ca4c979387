"""All commands in one application, and how errors and Ctrl-C end it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bigseg.cli import (
    arrays,
    calibrating,
    correcting,
    images,
    judging,
    merging,
    models,
    planning,
    restoring,
    running,
    segmenting,
    tracking,
)
from bigseg.cli.buckets import reach_buckets
from bigseg.cli.options import Stopped, examples
from bigseg.errors import BigsegError
from bigseg.version import VERSION

INTERRUPTED = 130
UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""Base of all errors in a command line; typer gives it no public name."""

app = typer.Typer(
    name="bigseg",
    help="Segment microscopy that does not fit in memory, block by block, on a Dask cluster.",
    epilog=examples(
        "bigseg demo                                    see it work on real images",
        "bigseg convert stack.tif embryo.zarr           make OME-Zarr of your own",
        "bigseg info embryo.zarr                        look at it",
        "bigseg segment embryo.zarr --model nuclei      segment it",
        "bigseg segment --help                          all that can be chosen",
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"bigseg {VERSION}\n")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options of bigseg itself."""


segmenting.add_to(app)
planning.add_to(app)
running.add_to(app)
arrays.add_to(app)
images.add_to(app)
judging.add_to(app)
correcting.add_to(app)
merging.add_to(app)
restoring.add_to(app)
calibrating.add_to(app)
tracking.add_to(app)
app.add_typer(models.app, name="models")
reach_buckets(app)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. An error that a user can act on is one sentence."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments, prog_name="bigseg", standalone_mode=False)
        if code == INTERRUPTED:  # typer swallowed it
            raise KeyboardInterrupt
    except UsageError as error:
        code = _explain_usage(error, arguments)
    except (KeyboardInterrupt, typer.Abort, Stopped) as error:
        code = _write(str(error) or "Interrupted.", INTERRUPTED)
    except Exception as error:
        if "--debug" in arguments:
            raise
        code = _write(f"Error: {_sentence(error)}", 1)
    sys.exit(code)


def _sentence(error: Exception) -> str:
    """Nobody should have to read a traceback to know what happened."""
    if isinstance(error, BigsegError):
        return str(error)
    return f"{type(error).__name__}: {error} (unexpected; --debug shows where)."


def _write(line: str, code: int) -> int:
    sys.stderr.write(f"{line}\n")
    return code


def _explain_usage(error: Exception, arguments: list[str]) -> int:
    message = str(getattr(error, "format_message", lambda: error)())
    message = (
        message.strip().removeprefix("Invalid value: ").replace("Value error, ", "").rstrip(".?")
    )
    if not message:  # help was printed, as no command was given
        return 2
    known = {command.name for command in app.registered_commands}
    known |= {group.name for group in app.registered_groups}
    command = arguments[:1] if arguments[:1] and arguments[0] in known else []
    return _write(f"Error: {message}; see '{' '.join(['bigseg', *command, '--help'])}'.", 2)
