"""What more workers and larger volumes cost.

    python benchmarks/scaling.py memory --folder DISK [--sizes 1 2 4 8 16] [--block 256]
    python benchmarks/scaling.py workers --folder DISK [--times 8] [--block 128]

`memory` makes volumes of so many GiB on disk (nuclei, uint16, chunks of 64³ in shards), segments
each with 2 workers and a function that needs no network, and removes it again: what a worker and
the driver hold must not grow with the volume. `workers` predicts a bundled volume once, repeats
the predictions along y and x, and does all steps from label to write with 1 and with 2 workers.

Workers have loaded and compiled everything before they are timed, as in a long run.
Each run is a process of its own. On a busy machine believe processor seconds, not those of a
clock: what the longer of two workers computes, and what all take together, tell how much faster
two would be if each had a core of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil

FOLDER = Path(__file__).parent
INNER = 64
"""Edge of chunks."""
PITCH, RADIUS = 32, 10
"""Of nuclei, voxels; some are missing."""
GOALS = {"memory": 1.05, "speed": 1.8}
STEPS = ("label", "merge", "components", "solve", "objects", "write")
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

Array = np.ndarray[Any, Any]


def blobs(image: Array) -> Array:
    """Label what is bright: (c, z, y, x) to (z, y, x). The model of `memory`."""
    # Imported here: only workers need it.
    from scipy import ndimage

    found: Array = ndimage.label(image[0] > 0.5)[0]
    return found


blobs.representation = "labels"  # type: ignore[attr-defined]
blobs.diameter = 2 * RADIUS  # type: ignore[attr-defined]


def tile(edge: int) -> Array:
    """Nuclei, (edge, edge, edge) uint16, which go on as they end."""
    random = np.random.default_rng(0)
    counts = (edge // PITCH,) * 3
    shift = random.integers(-4, 5, (3, *counts))
    there = random.random(counts) < 0.8
    axis = np.arange(-PITCH // 2, PITCH // 2)
    tiled = np.full((edge,) * 3, 100, np.uint16)
    for index in zip(*np.nonzero(there), strict=True):
        far = sum(
            (axis - s).reshape([-1 if i == k else 1 for i in range(3)]) ** 2
            for k, s in enumerate(shift[(slice(None), *index)])
        )
        ball = np.where(np.asarray(far) <= RADIUS**2, 1000, 100).astype(np.uint16)
        tiled[tuple(slice(i * PITCH, (i + 1) * PITCH) for i in index)] = ball
    return tiled + random.integers(0, 4, tiled.shape, np.uint16)


def invent(url: str, gib: float, block: int) -> int:
    """Write a volume of about so many GiB, shard by shard; its edge."""
    from bigseg.io.create import create_image
    from bigseg.io.plan import plan_image
    from bigseg.io.volume import Volume

    edge = max(round((gib * 2**30 / 2) ** (1 / 3) / INNER) * INNER, INNER)
    create_image(plan_image(url, ("z", "y", "x"), (edge,) * 3, "u2", (1.0,) * 3, (block,) * 3))
    volume, piece = Volume.open(url), tile(block)
    steps = range(0, edge, block)
    for corner in ((z, y, x) for z in steps for y in steps for x in steps):
        box = tuple(slice(a, min(a + block, edge)) for a in corner)
        part = piece[tuple(slice(0, s.stop - s.start) for s in box)]
        volume.write((slice(0, 1), *box), part[None])
    return edge


def segment(url: str, output: str, block: int) -> None:
    """Segment a volume with 2 workers; print what the driver held."""
    from bigseg.jobs.segment import segment as run
    from bigseg.run.machine import peak_memory

    started = time.perf_counter()
    found = run(url, output, model="scaling:blobs", block=(block,) * 3, workers=2, dims="3d")
    print(
        json.dumps(
            {
                "driver": peak_memory(),
                "seconds": time.perf_counter() - started,
                "objects": found.objects,
            }
        )
    )


def below(folder: str) -> tuple[int, int]:
    """Files and bytes below a folder."""
    sizes = [path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


def records(run: str) -> dict[str, list[dict[str, Any]]]:
    """What blocks remembered, by step."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in Path(run, "ledger").rglob("[0-9]*.json"):
        found[path.relative_to(Path(run, "ledger")).parts[0]] += json.loads(path.read_text())
    return found


def alone(*arguments: str) -> Any:
    """What this program prints last in a process of its own, as JSON."""
    paths = os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, __file__, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=FOLDER,
        env=os.environ | ENVIRONMENT | {"PYTHONPATH": paths},
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def measure_memory(folder: Path, sizes: list[float], block: int) -> None:
    """Print memory, records and time of growing volumes."""
    print(
        "| GiB | shape | blocks | objects | largest worker MB | driver MB | ledger objects "
        "| ledger kB | clock s per GiB | blocks' s per GiB |\n|" + 10 * " ---: |"
    )
    peaks: dict[float, tuple[float, float]] = {}
    for size in sizes:
        url, output = str(folder / "scaling-image.zarr"), str(folder / "scaling-labels.zarr")
        places = [url, output, f"{output}.bigseg"]
        try:
            edge = invent(url, size, block)
            found = alone("segment", url, output, str(block))
            steps = records(f"{output}.bigseg")
            files, kept = below(f"{output}.bigseg/ledger")
        finally:
            for place in places:
                shutil.rmtree(place, ignore_errors=True)
        gib = edge**3 * 2 / 2**30
        by_step = {n: max(r["peak_bytes"] for r in rows) for n, rows in steps.items() if rows}
        blocks = len(steps["label"])
        spent = sum(r["seconds"] for rows in steps.values() for r in rows)
        peaks[size] = max(by_step.values()), found["driver"]
        cells = [f"{gib:.2f}", f"{edge}³", f"{blocks}", f"{found['objects']:,}"]
        cells += [f"{n / 1e6:.0f}" for n in peaks[size]]
        cells += [f"{files}", f"{kept / 1e3:.0f}"]
        cells += [f"{found['seconds'] / gib:.0f}", f"{spent / gib:.0f}"]
        print(f"| {' | '.join(cells)} |", flush=True)
        grown = ", ".join(f"{name} {n / 1e6:.0f}" for name, n in by_step.items())
        print(f"<!-- MB held by the end of each step: {grown} -->", flush=True)
    for small in sizes[:1]:
        for large in sizes[1:]:
            ratios = [b / a for a, b in zip(peaks[small], peaks[large], strict=True)]
            goal = f" (goal at 8 ×: ≤ {GOALS['memory']})"
            print(
                f"\n{large / small:g} × the volume: a worker holds {ratios[0]:.3f} × as much"
                f"{goal}, the driver {ratios[1]:.3f} ×"
            )


def plan_tiled(folder: Path, times: int, block: int) -> str:
    """A run of which all is done up to the predictions of a repeated volume; its URL."""
    from skimage.io import imread

    import bigseg
    from bigseg.io.convert import convert
    from bigseg.io.scratch import scratch
    from bigseg.jobs.segment import prepare, segment
    from bigseg.run.folder import open_run
    from bigseg.run.ledger import Ledger
    from bigseg.specs.segment import parse
    from bigseg.stages.predict import predictions_url

    data = imread(Path(bigseg.__file__).parent / "samples" / "embryo3d.tif")[:, :128, :128]
    once, many = str(folder / "scaling-once"), str(folder / "scaling-many")
    for url, repeats in ((once, 1), (many, times)):
        np.save(f"{url}.npy", np.tile(data, (1, repeats, repeats)))
        convert([f"{url}.npy"], f"{url}.zarr", axes="zyx", block=(64, 64, 64))
        Path(f"{url}.npy").unlink()
    blocks = (64, block, block)
    segment(
        f"{once}.zarr", f"{once}-labels.zarr", model="nuclei", block=blocks, cluster="serial",
        keep_scratch=True,
    )  # fmt: skip
    asked = {"image": f"{many}.zarr", "output": f"{many}-labels.zarr", "model": "nuclei"}
    run = open_run(prepare(parse({**asked, "block": blocks, "keep_scratch": True})).run)
    known = np.asarray(scratch(predictions_url(f"{once}-labels.zarr.bigseg"))[:])
    for step in run.steps[: [s.name for s in run.steps].index("label")]:
        step.module.prepare(step.spec)
        Ledger.of(run, step).finish({})
    array = scratch(predictions_url(run.url))
    for y in range(0, array.shape[3], 128):
        for x in range(0, array.shape[4], 128):
            array[..., y : y + 128, x : x + 128] = known
    return run.url


def times_of(processes: list[psutil.Process]) -> list[float]:
    """Processor seconds of processes."""
    return [sum(process.cpu_times()[:2]) for process in processes]


def forget(run: Any) -> None:
    """Drop what the steps from label to write have made."""
    for name in STEPS:
        shutil.rmtree(f"{run.url}/ledger/{name}", ignore_errors=True)
    for name in ("graph", "tables"):
        shutil.rmtree(f"{run.url}/{name}", ignore_errors=True)


def timed(run: Any, groups: Any) -> dict[str, dict[str, Any]]:
    """Do the steps from label to write anew; what each took."""
    from bigseg.events import ignore
    from bigseg.run.execute import finish_step, run_step

    taken: dict[str, dict[str, Any]] = {}
    driver = psutil.Process()
    forget(run)
    for step in (step for step in run.steps if step.name in STEPS):
        group = groups.of(step)
        family = driver.children(recursive=True)
        before, mine = times_of(family), sum(driver.cpu_times()[:2])
        started = time.perf_counter()
        run_step(run, step, group, listen=ignore, tries=1)
        ended = time.perf_counter()
        spent = [b - a for a, b in zip(before, times_of(family), strict=True)]
        finish_step(run, step)
        taken[step.name] = {
            "blocks": len(step.spec.grid),
            "clock": ended - started,
            "workers": sorted(spent, reverse=True)[: group.workers],
            "driver": sum(driver.cpu_times()[:2]) - mine,
        }
    return taken


def work(url: str, workers: int) -> None:
    """Do the steps twice; print what each took when the workers had loaded everything."""
    from bigseg.run.cluster import open_cluster
    from bigseg.run.folder import open_run

    run = open_run(url)
    with open_cluster("local", workers) as groups:
        timed(run, groups)
        print(json.dumps(timed(run, groups)))


def measure_workers(folder: Path, times: int, block: int) -> None:
    """Print what 1 and 2 workers take."""
    url = plan_tiled(folder, times, block)
    try:
        ones, twos = alone("work", url, "1"), alone("work", url, "2")
    finally:
        for place in folder.glob("scaling-*"):
            shutil.rmtree(place, ignore_errors=True)
    print(
        "| step | blocks | 1 worker, s | 2 workers, s | faster | processor s of 1 | of both "
        "| of the longer | driver's | faster with a core each |\n|" + 10 * " ---: |"
    )
    for name, one in ones.items():
        two = twos[name]
        single, longer = sum(one["workers"]), max(two["workers"])
        cells = [name, f"{one['blocks']}", f"{one['clock']:.2f}", f"{two['clock']:.2f}"]
        cells += [f"{one['clock'] / two['clock']:.2f}", f"{single:.2f}"]
        cells += [f"{sum(two['workers']):.2f}", f"{longer:.2f}", f"{two['driver']:.2f}"]
        cells.append(f"{single / longer:.2f}")
        print(f"| {' | '.join(cells)} |")
    print(f"\ngoal: label and write ≥ {GOALS['speed']} × as fast with 2 workers")


def main() -> None:
    """Print tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    memory, workers = commands.add_parser("memory"), commands.add_parser("workers")
    for one in (memory, workers):
        one.add_argument("--folder", type=Path, required=True, help="on a disk with room")
        one.add_argument("--block", type=int, default=256 if one is memory else 128)
    memory.add_argument("--sizes", nargs="+", type=float, default=[1, 2, 4, 8, 16], help="GiB")
    workers.add_argument("--times", type=int, default=8, help="repeats along y and along x")
    commands.add_parser("segment").add_argument("arguments", nargs=3)
    commands.add_parser("work").add_argument("arguments", nargs=2)
    asked = parser.parse_args()
    if asked.command == "segment":
        url, output, block = asked.arguments
        return segment(url, output, int(block))
    if asked.command == "work":
        return work(asked.arguments[0], int(asked.arguments[1]))
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.command == "memory":
        return measure_memory(asked.folder.absolute(), asked.sizes, asked.block)
    return measure_workers(asked.folder.absolute(), asked.times, asked.block)


if __name__ == "__main__":
    main()
