"""What there is to say about an image without reading its voxels."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from bigseg.io.labels import label_names
from bigseg.io.ome import Level, Version, describe
from bigseg.io.validate import validate


@dataclass(frozen=True)
class Info:
    """Facts about an OME-Zarr image; all fields are fit for JSON."""

    url: str
    name: str
    ngff: Version
    zarr: int
    """Format of its arrays, 2 or 3."""
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    voxel_size: dict[str, float]
    """Along t, z, y, x as far as the image has them."""
    units: dict[str, str]
    levels: tuple[Level, ...]
    channels: tuple[str, ...]
    """Names, if there are any."""
    labels: tuple[str, ...]
    problems: tuple[str, ...]
    """What is wrong with it as NGFF; empty if it is valid."""


def info(url: str) -> Info:
    """Describe and validate the image at `url`.

    Raises
    ------
    NotFound, ImageError
        If it cannot be read as an image at all; see `bigseg.io.ome.describe`.
    """
    image = describe(url)
    finest = image.levels[0]
    size = dict(zip(image.axes, finest.scale, strict=True))
    size.pop("c", None)
    return Info(
        url=image.url,
        name=image.name,
        ngff=image.version,
        zarr=image.zarr_format,
        axes=image.axes,
        shape=finest.shape,
        dtype=image.dtype.name if image.dtype.isnative else f"{image.dtype.name} (big-endian)",
        voxel_size=size,
        units=image.units,
        levels=image.levels,
        channels=image.channels,
        labels=tuple(label_names(url)),
        problems=tuple(validate(url)),
    )


def describe_text(found: Info) -> str:
    """Say it to a person, a line per fact."""
    sizes = [f"{a} {size:g} {found.units.get(a, '')}" for a, size in found.voxel_size.items()]
    lines = [
        f"{found.url}",
        _row("format", f"OME-Zarr {found.ngff}, zarr v{found.zarr}"),
        _row("axes", " ".join(found.axes)),
        _row("shape", f"{_by(found.shape)}, {found.dtype}, {_voxels(found.shape)}"),
        _row("voxel size", ", ".join(size.strip() for size in sizes)),
        *(_row("levels" if i == 0 else "", _level(one)) for i, one in enumerate(found.levels)),
        _row("channels", ", ".join(found.channels) or "not named"),
        _row("labels", ", ".join(found.labels) or "none"),
    ]
    if not found.problems:
        return "\n".join([*lines, _row("valid", f"yes, NGFF {found.ngff}")])
    first = _row("valid", f"no, as NGFF {found.ngff}:")
    return "\n".join([*lines, first, *(_row("", f"- {problem}") for problem in found.problems)])


def _row(name: str, text: str) -> str:
    return f"{name:<12}{text}"


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _voxels(shape: tuple[int, ...]) -> str:
    count = prod(shape)
    for size, name in ((10**9, "billion"), (10**6, "million")):
        if count >= size:
            return f"{count / size:.1f} {name} voxels"
    return f"{count} voxels"


def _level(level: Level) -> str:
    stored = f"in chunks of {_by(level.chunks)}"
    if level.shards:
        stored += f", shards of {_by(level.shards)}"
    return f"{level.path}: {_by(level.shape)} {stored}"
