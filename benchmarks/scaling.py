"""What more workers and larger volumes cost.

    python benchmarks/scaling.py memory --folder DISK [--sizes 1 2 4 8 16] [--block 256]
    python benchmarks/scaling.py workers --folder DISK [--times 16] [--block 128] [--free]

`memory` makes volumes of so many GiB on disk (nuclei, uint16, chunks of 64³ in shards), segments
each with 2 workers and a function that needs no network, and removes it again: what a worker and
the driver hold must not grow with the volume. Results are kept in a file (`--kept`), so that sizes
can be measured one by one; `--sizes` without any prints them again. Compare volumes that both have
blocks inside: those at faces have less halo.

`workers` predicts a bundled volume once, repeats the predictions along y and x, and does all steps
from label to write with 1 and with 2 workers, `write` several times. Each worker is bound to a
core, as batch systems and containers bind them: on two cores a single worker would else read ahead
and compress on the second one, and two could never be twice as fast. `--free` leaves them unbound.
The second table says what each worker did all the time (see `timeline.py`).

Workers have loaded and compiled everything before they are timed, as in a long run.
Each run is a process of its own. On a busy machine believe processor seconds, not those of a
clock.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from timeline import KINDS, shares, watched

FOLDER = Path(__file__).parent
INNER = 64
"""Edge of chunks."""
PITCH, RADIUS = 32, 6
"""Of nuclei, voxels; some are missing."""
GOALS = {"memory": 1.05, "speed": 1.8}
STEPS = ("label", "merge", "components", "solve", "objects", "write")
REPEATS = {"write": 4}
"""Steps that are too short to be timed once."""
SIDE = 128
"""Of the part of a bundled volume that is repeated, voxels along y and x."""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

Array = np.ndarray[Any, Any]
Index = tuple[int, int, int]


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
    """Write a volume of about so many GiB; its edge.

    All stored objects of one shape are alike: one is encoded, and its file is copied.
    """
    from bigseg.io.create import create_image
    from bigseg.io.plan import plan_image
    from bigseg.io.store import open_array
    from bigseg.io.volume import Volume

    edge = max(round((gib * 2**30 / 2) ** (1 / 3) / INNER) * INNER, INNER)
    create_image(plan_image(url, ("z", "y", "x"), (edge,) * 3, "u2", (1.0,) * 3, (block,) * 3))
    volume, piece = Volume.open(url), tile(block)
    place = Path(url, volume.level.path)
    name_of = open_array(str(place)).metadata.encode_chunk_key
    written: dict[tuple[int, ...], Path] = {}
    for index in np.ndindex((-(-edge // block),) * 3):
        box = tuple(slice(i * block, min((i + 1) * block, edge)) for i in index)
        shape = tuple(s.stop - s.start for s in box)
        file = place / name_of(index)
        if shape in written:
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(written[shape], file)
            continue
        volume.write((slice(0, 1), *box), piece[None, : shape[0], : shape[1], : shape[2]])
        written[shape] = file
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


def measure_memory(folder: Path, sizes: list[float], block: int, kept: Path) -> None:
    """Measure growing volumes one after the other; print these and those measured before."""
    rows = json.loads(kept.read_text()) if kept.exists() else {}
    for size in sizes:
        rows[f"{size:g} at {block}"] = measured(folder, size, block)
        kept.write_text(json.dumps(rows, indent=1))
        print(f"{size:g} GiB: {rows[f'{size:g} at {block}']['clock']:.0f} s", file=sys.stderr)
    show_memory(sorted(rows.values(), key=lambda row: (row["block"], row["gib"])))


def measured(folder: Path, size: float, block: int) -> dict[str, Any]:
    """Segment a volume of so many GiB; what it took."""
    url, output = str(folder / "scaling-image.zarr"), str(folder / "scaling-labels.zarr")
    places = [url, output, f"{output}.bigseg"]
    try:
        edge = invent(url, size, block)
        found = alone("segment", url, output, str(block))
        steps = records(f"{output}.bigseg")
        files, bytes_kept = below(f"{output}.bigseg/ledger")
        stored = sum(below(place)[1] for place in places)
    finally:
        for place in places:
            shutil.rmtree(place, ignore_errors=True)
    return {
        "gib": edge**3 * 2 / 2**30,
        "edge": edge,
        "block": block,
        "blocks": len(steps["label"]),
        "inner": max(-(-edge // block) - 2, 0) ** 3,
        "objects": found["objects"],
        "driver": found["driver"],
        "clock": found["seconds"],
        "spent": {n: sum(r["seconds"] for r in rows) for n, rows in steps.items()},
        "peaks": {n: held(rows) for n, rows in steps.items()},
        "ledger": [files, bytes_kept],
        "stored": stored,
    }


def held(rows: list[dict[str, Any]]) -> int:
    """Most bytes that a worker had held by the end of a step."""
    return max((row["peak_bytes"] for row in rows), default=0)


def show_memory(rows: list[dict[str, Any]]) -> None:
    """Print what volumes took, and how much more than the smallest of the same blocks."""
    if not rows:
        raise SystemExit("Nothing has been measured yet; give --sizes.")
    print(
        "| GiB | shape | blocks of | blocks | of these inside | objects | largest worker MB "
        "| driver MB | ledger objects | ledger kB | clock s per GiB | blocks' s per GiB "
        "| stored in the end, GB |\n|" + 13 * " ---: |"
    )
    for row in rows:
        cells = [f"{row['gib']:.2f}", f"{row['edge']}³", f"{row['block']}³", f"{row['blocks']}"]
        cells += [f"{row['inner']}", f"{row['objects']:,}"]
        cells += [f"{n / 1e6:.0f}" for n in (max(row["peaks"].values()), row["driver"])]
        cells += [f"{row['ledger'][0]}", f"{row['ledger'][1] / 1e3:.0f}"]
        cells += [f"{n / row['gib']:.0f}" for n in (row["clock"], sum(row["spent"].values()))]
        print(f"| {' | '.join(cells)} | {row['stored'] / 1e9:.1f} |")
    names = [name for name in rows[-1]["peaks"] if rows[-1]["peaks"][name]]
    names.sort(key=lambda name: rows[-1]["peaks"][name])
    print("\nMB that the largest worker had held by the end of each step:\n")
    print(f"| GiB | {' | '.join(names)} |\n|{' ---: |' * (len(names) + 1)}")
    for row in rows:
        cells = [f"{row['peaks'].get(name, 0) / 1e6:.0f}" for name in names]
        print(f"| {row['gib']:.2f} | {' | '.join(cells)} |")
    print()
    for large in rows:
        small = next(row for row in rows if row["block"] == large["block"])
        if small is not large:
            more = max(large["peaks"].values()) / max(small["peaks"].values())
            print(
                f"{large['gib'] / small['gib']:.1f} times the volume: a worker holds {more:.3f} "
                f"times as much (goal at 8: ≤ {GOALS['memory']}), the driver "
                f"{large['driver'] / small['driver']:.3f} times"
            )


def predicted(folder: Path, block: Index) -> tuple[Array, Array]:
    """A bundled volume, (z, y, x), and what the network says of it, (t, k, z, y, x)."""
    from skimage.io import imread

    import bigseg
    from bigseg.io.scratch import scratch
    from bigseg.jobs.segment import segment
    from bigseg.stages.predict import predictions_url

    place = folder / "scaling-once"
    data = imread(Path(bigseg.__file__).parent / "samples" / "embryo3d.tif")[:, :SIDE, :SIDE]
    converted(data, place)
    segment(
        f"{place}.zarr", f"{place}-labels.zarr", model="nuclei", block=block, cluster="serial",
        keep_scratch=True,
    )  # fmt: skip
    return data, np.asarray(scratch(predictions_url(f"{place}-labels.zarr.bigseg"))[:])


def converted(data: Array, place: Path) -> None:
    """Write a volume as an image."""
    from bigseg.io.convert import convert

    np.save(f"{place}.npy", data)
    convert([f"{place}.npy"], f"{place}.zarr", axes="zyx", block=(64, 64, 64))
    Path(f"{place}.npy").unlink()


def plan_tiled(place: Path, times: int, block: Index, known: tuple[Array, Array]) -> str:
    """A run of which all is done up to the predictions of a repeated volume; its URL."""
    from bigseg.io.scratch import scratch
    from bigseg.jobs.segment import prepare
    from bigseg.run.folder import open_run
    from bigseg.run.ledger import Ledger
    from bigseg.specs.segment import parse
    from bigseg.stages.predict import predictions_url

    data, predictions = known
    converted(np.tile(data, (1, times, times)), place)
    asked = {"image": f"{place}.zarr", "output": f"{place}-labels.zarr", "model": "nuclei"}
    run = open_run(prepare(parse({**asked, "block": block, "keep_scratch": True})).run)
    for step in run.steps[: [s.name for s in run.steps].index("label")]:
        step.module.prepare(step.spec)
        Ledger.of(run, step).finish({})
    array = scratch(predictions_url(run.url))
    row = np.tile(predictions, (1, 1, 1, 1, times))
    for y in range(0, array.shape[3], SIDE):
        array[..., y : y + SIDE, :] = row
    return run.url


def times_of(processes: list[psutil.Process]) -> list[float]:
    """Processor seconds of processes."""
    return [sum(process.cpu_times()[:2]) for process in processes]


def forget(run: Any, steps: Sequence[str]) -> None:
    """Drop the records of some steps."""
    for name in steps:
        shutil.rmtree(f"{run.url}/ledger/{name}", ignore_errors=True)


def timed(run: Any, groups: Any, folder: Path, *, bound: bool) -> dict[str, dict[str, Any]]:
    """Do the steps from label to write anew, short ones several times; what each took."""
    from bigseg.events import ignore
    from bigseg.run.execute import finish_step, run_step

    forget(run, STEPS)
    for name in ("graph", "tables"):
        shutil.rmtree(f"{run.url}/{name}", ignore_errors=True)
    taken: dict[str, dict[str, Any]] = {}
    driver = psutil.Process()
    for step in (step for step in run.steps if step.name in STEPS):
        group = groups.of(step)
        doing = replace(group, execute=watched(group.execute, folder, bound=bound))
        sums: dict[str, Any] = defaultdict(float)
        told: list[list[dict[str, float]]] = []
        for _ in range(REPEATS.get(step.name, 1)):
            forget(run, [step.name])
            family = driver.children(recursive=True)
            before, mine = times_of(family), sum(driver.cpu_times()[:2])
            started = time.time()
            run_step(run, step, doing, listen=ignore, tries=1)
            ended = time.time()
            spent = [b - a for a, b in zip(before, times_of(family), strict=True)]
            sums["clock"] += ended - started
            sums["workers"] += sum(spent)
            sums["driver"] += sum(driver.cpu_times()[:2]) - mine
            sums["blocks"] += len(step.spec.grid)
            told.append(shares(folder, started, ended))
        finish_step(run, step)
        lines = [[one[n] for one in told if n < len(one)] for n in range(group.workers)]
        added = [{k: sum(one[k] for one in line) for k in line[0]} for line in lines if line]
        taken[step.name] = {**sums, "shares": added}
    return taken


def work(many: str, few: str, workers: int, *, bound: bool) -> None:
    """Print what steps take when workers have loaded everything: they do a small run before."""
    from bigseg.run.cluster import open_cluster
    from bigseg.run.folder import open_run

    folder = Path(tempfile.mkdtemp(dir=Path(few).parent, prefix="scaling-timeline-"))
    with open_cluster("local", workers) as groups:
        timed(open_run(few), groups, folder, bound=bound)
        print(json.dumps(timed(open_run(many), groups, folder, bound=bound)))


def measure_workers(folder: Path, times: int, block: int, *, bound: bool) -> None:
    """Print what 1 and 2 workers take."""
    shape = (SIDE // 2, block, block)
    try:
        known = predicted(folder, shape)
        urls = [plan_tiled(folder / f"scaling-{n}", n, shape, known) for n in (times, 4)]
        how = "bound" if bound else "free"
        one, two = (alone("work", *urls, workers, how) for workers in ("1", "2"))
    finally:
        for place in folder.glob("scaling-*"):
            shutil.rmtree(place, ignore_errors=True)
    print(
        "| step | blocks | 1 worker, s | 2 workers, s | times as fast | processor s of 1 | of both "
        "| driver's with 1 | with 2 |\n|" + " --- |" + 8 * " ---: |"
    )
    for name, single in one.items():
        double = two[name]
        cells = [name, f"{single['blocks']:.0f}", f"{single['clock']:.2f}"]
        cells += [f"{double['clock']:.2f}", f"{single['clock'] / double['clock']:.2f}"]
        cells += [f"{side['workers']:.2f}" for side in (single, double)]
        cells += [f"{side['driver']:.2f}" for side in (single, double)]
        print(f"| {' | '.join(cells)} |")
    print(f"\ngoal: label and write ≥ {GOALS['speed']} times as fast with 2 workers\n")
    print("Seconds of the clock, by what a worker did:\n")
    print(f"| step | worker | tasks | {' | '.join(KINDS)} |\n| --- | --- |" + 6 * " ---: |")
    for name in one:
        for side in (one[name], two[name]):
            for number, share in enumerate(side["shares"], 1):
                cells = [name, f"{number} of {len(side['shares'])}", f"{share['tasks']:.0f}"]
                cells += [f"{share[kind]:.2f}" for kind in KINDS]
                print(f"| {' | '.join(cells)} |")


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
    memory.add_argument("--sizes", nargs="*", type=float, default=[1, 2, 4, 8, 16], help="GiB")
    memory.add_argument("--kept", type=Path, help="results, also of sizes measured before")
    workers.add_argument("--times", type=int, default=16, help="repeats along y and along x")
    workers.add_argument(
        "--free", action="store_true", help="let a worker use cores that others leave idle"
    )
    commands.add_parser("segment").add_argument("arguments", nargs=3)
    commands.add_parser("work").add_argument("arguments", nargs=4)
    asked = parser.parse_args()
    if asked.command == "segment":
        url, output, block = asked.arguments
        return segment(url, output, int(block))
    if asked.command == "work":
        many, few, count, how = asked.arguments
        return work(many, few, int(count), bound=how == "bound")
    asked.folder.mkdir(parents=True, exist_ok=True)
    if asked.command == "memory":
        kept = asked.kept or asked.folder / "scaling-memory.json"
        return measure_memory(asked.folder.absolute(), asked.sizes, asked.block, kept)
    return measure_workers(asked.folder.absolute(), asked.times, asked.block, bound=not asked.free)


if __name__ == "__main__":
    main()
