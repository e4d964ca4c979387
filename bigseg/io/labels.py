"""Label images: create them in or beside an image, list them, find the one that is meant."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from bigseg import files
from bigseg.errors import ImageError
from bigseg.io.create import create_arrays, is_there, publish
from bigseg.io.ome import Image, Version, describe, image_node, multiscale_attributes
from bigseg.io.store import read_node, write_group


def create_labels(plan: Image, source: str | None = "../../") -> None:
    """Write the metadata of a planned label image, and register it with its image.

    It is registered if it lies in `IMAGE/labels/`. Repeating it is harmless.

    Parameters
    ----------
    plan : Image
        With an integer dtype and without channels.
    source : str or None
        Path from the label image to the image it was made from.

    Raises
    ------
    OutputExists
        If something else is there.
    ImageError
        If the plan cannot be a label image, or lies in an image of another version.
    """
    if plan.dtype.kind not in "ui" or "c" in plan.axes:
        raise ImageError(
            f"Labels need an integer type and no channels; {plan.url} would have "
            f"{plan.dtype} and axes {', '.join(plan.axes)}."
        )
    parent, _, name = plan.url.rstrip("/").rpartition("/")
    inside = parent.endswith("/labels")
    if inside:
        _check_version(parent.removesuffix("/labels"), plan, name)
    label: dict[str, Any] = {} if plan.version == "0.5" else {"version": "0.4"}
    if source is not None:
        label["source"] = {"image": source}
    if not is_there(plan):
        create_arrays(plan, labels=True)
        publish(plan, {"image-label": label})
    if inside:
        register_labels(parent, name, plan.version)


def _check_version(image: str, plan: Image, name: str) -> None:
    node = read_node(image)
    if node is not None and node.format != plan.zarr_format:
        version = {2: "0.4", 3: "0.5"}[node.format]
        raise ImageError(
            f"{image} is zarr v{node.format}, so labels/{name} must be NGFF {version}, "
            f"not {plan.version}."
        )


def register_labels(folder: str, name: str, version: Version) -> None:
    """Add `name` to the list of the labels group at `folder`, keeping all that is in it."""
    with _locked(folder):
        found = label_list(folder)
        if name not in found:
            _write_label_list(folder, [*found, name], version)
    if name not in label_list(folder):
        raise ImageError(
            f"Another process changed the list of labels of {folder} at the same time; try again."
        )


def unregister_labels(folder: str, name: str) -> None:
    """Take `name` off the list of the labels group at `folder`, keeping all others."""
    with _locked(folder):
        found = label_list(folder)
        node = read_node(folder)
        if node is not None and name in found:
            found.remove(name)
            _write_label_list(folder, found, "0.5" if node.format == 3 else "0.4")


def label_list(folder: str) -> list[str]:
    """Names that the labels group at `folder` lists; empty if there is no such group."""
    node = read_node(folder)
    if node is None:
        return []
    found = (node.attributes.get("ome") or node.attributes).get("labels", [])
    if not isinstance(found, list):
        raise ImageError(f"The labels metadata of {folder} must be a list, not {found!r}.")
    return [str(name) for name in found]


def label_names(image: str) -> list[str]:
    """Names of the label images that the image at URL `image` lists."""
    return label_list(files.join(image, "labels"))


def find_labels(url: str) -> str:
    """URL of the label image that `url` means.

    `url` may be a label image, an image that has exactly one, or an image of integers without
    channels and without labels, such as a converted mask.

    Raises
    ------
    NotFound
        If nothing is there.
    ImageError
        If it is not clear which label image is meant, or there is none.
    """
    node = image_node(url)
    if isinstance(listed := (node.attributes.get("ome") or node.attributes).get("labels"), list):
        folder = url
    else:
        _, attributes = multiscale_attributes(url, node)
        folder = files.join(url, "labels")
        listed = [] if "image-label" in attributes else label_list(folder)
    if len(listed) == 1:
        return files.join(folder, str(listed[0]))
    if listed:
        raise ImageError(
            f"{url} has the label images {', '.join(map(str, listed))}; "
            f"name one of them, for example {files.join(folder, str(listed[0]))}."
        )
    image = describe(url)
    if image.dtype.kind in "ui" and "c" not in image.axes:
        return url
    raise ImageError(
        f"{url} holds no labels: it has no label images, and its own voxels are {image.dtype} "
        f"with axes {', '.join(image.axes)}, where labels are integers without channels."
    )


def _write_label_list(folder: str, names: list[str], version: Version) -> None:
    node = read_node(folder)
    attributes = dict(node.attributes) if node else {}
    if version == "0.5":
        ome = {**attributes.get("ome", {}), "version": "0.5", "labels": names}
        write_group(folder, 3, {**attributes, "ome": ome})
    else:
        write_group(folder, 2, {**attributes, "labels": names})


@contextlib.contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Hold the folder against other processes of this machine, where the system can."""
    if not files.is_local(folder):
        yield
        return
    path = files.local_path(folder)
    path.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError, ImportError):  # some file systems know no locks
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
