"""Real series for `tracking.py`: detections and their true links."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile


@dataclass(frozen=True, slots=True)
class Series:
    """Detections, sorted by frame, and their true links (rows).

    Where there are masks, `labels` has the axes t, z, y, x and `label` the label of each row.
    """

    frame: np.ndarray
    position: np.ndarray
    links: np.ndarray
    size: np.ndarray | None = None
    labels: np.ndarray | None = None
    label: np.ndarray | None = None
    voxel: tuple[float, float, float] = (1.0, 1.0, 1.0)
    intensity: np.ndarray | None = None


def of_masks(labels: np.ndarray, voxel: tuple[float, float, float] = (1, 1, 1)) -> Series:
    """Centres and sizes of masks (t, z, y, x), without links."""
    from skimage.measure import regionprops

    rows = [(t, r.label, *r.centroid, r.area) for t, m in enumerate(labels) for r in regionprops(m)]
    table = np.asarray(rows)
    position = table[:, 2:5] * voxel
    frame, label = table[:, 0].astype(int), table[:, 1].astype(int)
    size = table[:, 5] * np.prod(voxel)
    return Series(frame, position, np.empty((0, 2), int), size, labels, label, voxel)


def epidermis(data: Path) -> Series:
    """Masks of a tissue: centres and areas."""
    folder = data / "epidermis_tracking_labels" / "train" / "TRA"
    labels = np.stack([tifffile.imread(path)[None] for path in sorted(folder.glob("*.tif"))])
    series = of_masks(labels)
    links = _of_tracks(series.frame, series.label, folder / "man_track.txt")
    return replace(series, links=links)


def c2c12(data: Path) -> Series:
    """Points of cells on glass."""
    folder = data / "c2c12_points" / "train"
    with gzip.open(folder / "points.csv.gz", "rt") as file:
        table = np.genfromtxt(file, delimiter=",", names=True)
    frame, track = table["frame"].astype(int), table["track"].astype(int)
    position = np.c_[np.zeros(len(table)), table["y"], table["x"]]
    return Series(frame, position, _of_tracks(frame, track, folder / "man_track.txt"))


def embryo(name: str, lost: float) -> Callable[[Path], Series]:
    """Cells of an embryo, of which a share is lost (at random, the same for every side)."""

    def load(data: Path) -> Series:
        with gzip.open(data / "astec_lineages" / f"{name}.csv.gz", "rt") as file:
            table = np.genfromtxt(file, delimiter=",", names=True)
        row = {int(i): k for k, i in enumerate(table["id"])}
        links = [(row[int(p)], k) for k, p in enumerate(table["parent"]) if p > 0]
        position = np.c_[table["z"], table["y"], table["x"]]
        whole = Series(table["t"].astype(int), position, np.asarray(links), table["radius"] ** 3)
        return without(whole, np.random.default_rng(1).random(len(table)) < lost)

    return load


def without(series: Series, lost: np.ndarray) -> Series:
    """The series as a detector that misses some would see it; links lead over them."""
    source = np.full(len(lost), -1)
    source[series.links[:, 1]] = series.links[:, 0]
    place = np.cumsum(~lost) - 1
    links = []
    for row in np.flatnonzero(~lost):
        before = source[row]
        while before >= 0 and lost[before]:
            before = source[before]
        if before >= 0:
            links.append((place[before], place[row]))
    size = None if series.size is None else series.size[~lost]
    return Series(series.frame[~lost], series.position[~lost], np.asarray(links), size)


def _of_tracks(frame: np.ndarray, track: np.ndarray, text: Path) -> np.ndarray:
    rows = np.loadtxt(text, int)
    order = np.lexsort((frame, track))
    same = track[order[1:]] == track[order[:-1]]
    links = [np.c_[order[:-1], order[1:]][same]]
    last = {int(track[k]): k for k in order}
    first = {int(track[k]): k for k in order[::-1]}
    born = [(last[p], first[i]) for i, _, _, p in rows.tolist() if p in last and i in first]
    return np.concatenate([*links, np.asarray(born).reshape(-1, 2)])


def some(load: Callable[[Path], Series], first: int, last: int) -> Callable[[Path], Series]:
    """Only some frames of masks, to design on a part and judge by the rest."""

    def loaded(data: Path) -> Series:
        whole = load(data)
        kept = (whole.frame >= first) & (whole.frame <= last)
        place = np.cumsum(kept) - 1
        return replace(
            whole,
            frame=whole.frame[kept] - first,
            position=whole.position[kept],
            links=place[whole.links[kept[whole.links].all(axis=1)]],
            size=whole.size[kept],
            labels=whole.labels[first : last + 1],
            label=whole.label[kept],
        )

    return loaded


EMBRYOS = ("Pm02", "Pm05", "Pm07")
LOST = {"": 0.0, " -3 %": 0.03}
SETS: dict[str, Callable[[Path], Series]] = {
    "epidermis": epidermis,
    "c2c12": c2c12,
    **{f"{n}{tag}": embryo(n, share) for n in EMBRYOS for tag, share in LOST.items()},
}
HALVES = {
    "epidermis 0-6": some(epidermis, 0, 6),
    "epidermis 7-14": some(epidermis, 7, 14),
}
"""Only when they are asked for."""
