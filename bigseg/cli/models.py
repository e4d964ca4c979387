"""Commands about published models: models, models list, models fetch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bigseg.cli.options import Debug, Json, Quiet, examples, say

if TYPE_CHECKING:
    from bigseg.nets.download import Progress
    from bigseg.nets.publication import Published

app = typer.Typer(
    help="Show published models, and fetch them.\n\nWithout a command: list them.",
    epilog=examples(
        "bigseg models",
        "bigseg models fetch cyto3",
        "bigseg segment cells.zarr --model cyto3",
    ),
    invoke_without_command=True,
    rich_markup_mode="rich",
)


@app.callback()
def _models(
    context: typer.Context, quiet: Quiet = False, as_json: Json = False, debug: Debug = False
) -> None:
    if context.invoked_subcommand is None:
        list_models(quiet=quiet, as_json=as_json)


@app.command("list", epilog=examples("bigseg models list", "bigseg models list --json"))
def list_models(quiet: Quiet = False, as_json: Json = False, debug: Debug = False) -> None:
    """List published models: what for, size, licence, training diameter, source, whether here.

    Nothing is downloaded.
    """
    from bigseg import files
    from bigseg.nets.catalogue import cache
    from bigseg.nets.published import BUNDLED, PUBLISHED

    here = {BUNDLED.name, *files.names(cache())}
    rows = [_row(model, model.name in here) for model in (BUNDLED, *PUBLISHED.values())]
    say({"cache": cache(), "models": rows}, _table(rows, cache()), quiet=quiet, as_json=as_json)


@app.command(
    "fetch",
    epilog=examples(
        "bigseg models fetch cyto3 size_cyto3",
        "bigseg models fetch cpsam_v2 --from /media/usb/cpsam_v2",
        "BIGSEG_MODELS=s3://lab/models bigseg models fetch cpsam_v2",
    ),
)
def fetch_models(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="Published model.")],
    given: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="Copy from a file, a folder that holds it or its source package, path or URL, "
            "instead of downloading it.",
        ),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Put published models where every command and worker finds them.

    The place is the folder or bucket that BIGSEG_MODELS names, or else this user's cache folder. A
    file arrives there whole and verified, or not at all; an interrupted download goes on where it
    ended.
    """
    from dataclasses import asdict

    from bigseg.nets.fetch import fetch, find

    found = []
    for name in [find(name).name for name in names]:  # a wrong name before the first download
        with _showing(name, quiet or as_json) as progress:
            found.append(fetch(name, given=given, progress=progress))
    text = "\n".join(
        f"{one.name}: {'fetched to' if one.new else 'is already at'} {one.url}, "
        f"{megabytes(one.bytes)}"
        for one in found
    )
    say({"models": [asdict(one) for one in found]}, text, quiet=quiet, as_json=as_json)


def _row(model: Published, here: bool) -> dict[str, Any]:
    """What a listing says of a model."""
    from bigseg.nets.fetch import recorded

    size = model.bytes
    if size is None and here and (record := recorded(model.name)) is not None:
        size = record[1]
    return {
        "name": model.name,
        "purpose": model.purpose,
        "architecture": model.architecture,
        "bytes": size,
        "licence": model.licence,
        "diameter": model.diameter,
        "channels": list(model.channels),
        "source": model.origin,
        "size_model": model.size_model,
        "here": here,
    }


def _table(rows: list[dict[str, Any]], place: str) -> str:
    """Rows as lines of aligned columns, and what the marks mean."""
    head = ("", "name", "what for", "size", "diameter", "licence", "source")
    lines = [head]
    for row in rows:
        size = "?" if row["bytes"] is None else megabytes(row["bytes"])
        licence, _, note = row["licence"].partition("; ")
        mark = "*" if row["here"] else ""
        text = (row["name"], row["purpose"], size, f"{row['diameter']:g} px")
        lines.append((mark, *text, licence + (" †" if note else ""), row["source"]))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = "\n".join(
        "  ".join(text.ljust(n) for text, n in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
    return (
        f"{table}\n\n"
        f"* is here: comes with bigseg, or lies in {place}\n"
        "† trained on some data under CC-BY-NC; judge yourself whether that binds the weights\n"
        "? is not known before it is fetched\n"
        "fetch one with  bigseg models fetch NAME"
    )


def megabytes(size: int) -> str:
    """Size of a file for people."""
    return f"{size / 1e6:.1f} MB" if size >= 50_000 else f"{size / 1e3:.1f} kB"


@contextmanager
def _showing(name: str, quiet: bool) -> Iterator[Progress]:
    """Show on stderr how a download goes, on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True, quiet=quiet)
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
