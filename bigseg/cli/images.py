"""Commands about images: info, convert."""

# ruff: noqa: PLR0913 - the parameters of a command are its options

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer

from bigseg.cli.options import Debug, Json, Quiet, examples, follow, say, split
from bigseg.events import BlockDone, Listener, StageStarted


class Ngff(StrEnum):
    """Versions of OME-Zarr that can be written."""

    NEW = "0.5"
    OLD = "0.4"


def add_to(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(
        "info",
        epilog=examples(
            "bigseg info embryo.zarr",
            "bigseg info https://example.org/brain.zarr --json",
        ),
    )(show_info)
    app.command(
        "convert",
        epilog=examples(
            "bigseg convert stack.tif embryo.zarr --axes zyx --voxel-size 1.75,0.8,0.8",
            "bigseg convert 'frames/t*.tif' movie.zarr --axes tyx",
            "bigseg convert mask.png truth.zarr --ngff 0.4",
        ),
    )(convert)


def show_info(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="OME-Zarr image, path or URL.")],
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what an image is, and whether it is valid OME-Zarr.

    Axes, shape, voxel size, chunks, levels, channels, labels; and a sentence for all that is wrong
    with it. No voxel is read.
    """
    from bigseg.io.info import describe_text, info

    found = info(image)
    say(asdict(found), describe_text(found), quiet=quiet, as_json=as_json)


def convert(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE", help="TIFF, PNG, npy, zarr, CZI…: files, folders or patterns."
        ),
    ],
    output: Annotated[str, typer.Argument(metavar="OUTPUT", help="OME-Zarr to create.")],
    axes: Annotated[
        str | None,
        typer.Option(help="Axes of the sources in their order, as zyx or tcyx, if they say not."),
    ] = None,
    voxel_size: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Voxel size in micrometres, or Y,X.")
    ] = None,
    ngff: Annotated[
        Ngff, typer.Option(help="Version to write: 0.5 is zarr v3, 0.4 is zarr v2.")
    ] = Ngff.NEW,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make an OME-Zarr image of other files, however large.

    Files stream through; memory stays flat. Several files are stacked along the axis they lack.
    """
    from bigseg.io.convert import convert as convert_image

    with follow(quiet=quiet, as_json=as_json) as listener:
        image = convert_image(
            sources,
            output,
            axes=axes,
            voxel_size=numbers("--voxel-size", voxel_size),
            version="0.5" if ngff is Ngff.NEW else "0.4",
            progress=_counting(listener),
        )
    shape = list(image.levels[0].shape)
    found = {"image": image.url, "axes": list(image.axes), "shape": shape}
    axes_text, shape_text = ", ".join(image.axes), " x ".join(map(str, shape))
    text = f"Wrote {image.url}: {axes_text}, {shape_text}\nsee it with  bigseg info {output}"
    say(found, text, quiet=quiet, as_json=as_json)


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Read numbers given as 1.75,0.8,0.8."""
    try:
        parts = split(text)
        return None if parts is None else tuple(float(part) for part in parts)
    except ValueError:
        raise typer.BadParameter(f"{option} is '{text}', not numbers like 1.75,0.8,0.8") from None


def _counting(listener: Listener) -> Callable[[int, int], None]:
    """Tell a listener of each part that is converted."""

    def tell(done: int, of: int) -> None:
        if done == 1:
            listener(StageStarted("convert", of, 0))
        listener(BlockDone("convert", str(done), 0.0))

    return tell
