"""How long corrections take, as runs grow: the same corrections of images of more and more blocks.

python benchmarks/corrections.py FOLDER 2048 6144      # edges of square images, blocks of 256

A function that labels touching discs is the model, so that a run is made quickly; what is timed
is `bigseg.correct` alone, twice: the first time includes loading compiled code. On a busy machine
look at the CPU time.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import label

from bigseg.corrections.correct import correct
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.jobs.segment import segment

BLOCK, PITCH = 256, 24


def discs(image: np.ndarray) -> np.ndarray:
    """Label (c, y, x) normalised: each connected bright region is an object."""
    found, _ = label(image[0] > 0.5)
    return np.asarray(found)


def make_image(url: str, edge: int) -> None:
    """Discs on a grid; two in a row of each hundred touch, so that there is something to part."""
    y, x = np.mgrid[:PITCH, :PITCH]
    tile = ((y - 12) ** 2 + (x - 12) ** 2 <= 81).astype(np.uint8) * 200
    count = -(-edge // PITCH)
    data = np.tile(tile, (count, count))[:edge, :edge]
    for row in range(0, count, 10):
        data[row * PITCH + 10 : row * PITCH + 14, 5 * PITCH + 12 : 6 * PITCH + 12] = 200
    plan = plan_image(url, ("y", "x"), data.shape, data.dtype, (1.0, 1.0), (1, BLOCK, BLOCK))
    create_image(plan)
    Volume.open(url).write(tuple(slice(0, n) for n in (1, 1, edge, edge)), data[None, None])


def measure(folder: Path, edge: int) -> dict[str, float]:
    """Make a run and correct it."""
    shutil.rmtree(folder, ignore_errors=True)
    image = str(folder / "image.zarr")
    make_image(image, edge)
    started = time.monotonic()
    made = segment(
        image,
        model="benchmarks.corrections:discs",
        representation="labels",
        intensity=(0, 255),
        block=(BLOCK, BLOCK),
        halo=32,
        min_size=1,
        cluster="serial",
    )
    whole = time.monotonic() - started
    times, cpu = [], []
    for row in (0, 10):
        y = row * PITCH + 12
        points = [[y, 5 * PITCH + 12], [y, 6 * PITCH + 12]]
        merged = [[y + 5 * PITCH, 5 * PITCH + 12], [y + 5 * PITCH, 6 * PITCH + 12]]
        wanted = {"split": [{"points": points}], "merge": [{"points": merged}]}
        begun = time.process_time()
        result = correct(made.run, wanted)
        cpu.append(round(time.process_time() - begun, 2))
        assert len(result.split) == len(result.merged) == 1
        times.append(result.seconds)
    return {
        "blocks": result.of_blocks,
        "written": result.blocks,
        "objects": made.objects,
        "run_seconds": round(whole, 1),
        "first_seconds": times[0],
        "seconds": times[1],
        "cpu_seconds": cpu[1],
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    for edge in map(int, sys.argv[2:]):
        print(json.dumps(measure(Path(sys.argv[1]) / str(edge), edge)))
