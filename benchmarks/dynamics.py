"""Flows to objects: ours against Cellpose 4.2's own `compute_masks`, in one run.

Synthetic cells (Voronoi cells of jittered seeds with warped borders), their flows, with noise where
asked for, and the same float32 flows and logits for both. Each side runs in a process of its own,
on one thread, after a warm-up on a corner, and does everything from flows to final objects: follow,
group, flow-error quality control, fill holes, minimum size. Cellpose has no quality control in
3D; ours is listed with and without it. Extra memory is the peak of the call beyond its inputs.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
CASES = {"2d-2048": ((2048, 2048), 47), "3d-128": ((128,) * 3, 4), "3d-256": ((256,) * 3, 9)}
FLOW_THRESHOLD, MIN_SIZE = 0.4, 15
NOISE = 0.0
"""Amplitude of the flows' noise, of 1. From 0.05 on one side or the other makes false splinters."""


def cells(shape: tuple[int, ...], per_axis: int, random: np.random.Generator) -> Any:
    """Labels of jittered Voronoi cells with gaps; about 70 % (2D) or 42 % (3D) foreground."""
    from scipy.ndimage import gaussian_filter
    from scipy.spatial import cKDTree

    pitch = np.array(shape) / per_axis
    grid = np.stack(np.meshgrid(*[np.arange(per_axis)] * len(shape), indexing="ij"), -1)
    seeds = (grid + 0.5 + random.uniform(-0.25, 0.25, grid.shape)) * pitch
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).astype(np.float32)
    for axis in range(len(shape)):
        warp = gaussian_filter(random.standard_normal(shape, np.float32), 6)
        points[..., axis] += 3 * warp / warp.std()
    tree = cKDTree(seeds.reshape(-1, len(shape)))
    distance, nearest = tree.query(points.reshape(-1, len(shape)), k=2)
    labels = (nearest[:, 0] + 1).astype(np.uint32)
    far = distance[:, 0] > (0.5 if len(shape) == 2 else 0.48) * pitch.mean()
    labels[far | (distance[:, 1] - distance[:, 0] < 1.5)] = 0
    return labels.reshape(shape)


def outputs(labels: Any, random: np.random.Generator, amplitude: float) -> tuple[Any, Any]:
    """Flows and logits as a good network would give them; in 3D the mean of three planes'."""
    from scipy.ndimage import gaussian_filter

    from bigseg.core.targets import flow_targets

    flows = np.zeros((labels.ndim, *labels.shape), np.float32)
    if labels.ndim == 2:
        flows += flow_targets(labels)
    else:
        for across in range(3):
            along = [axis for axis in range(3) if axis != across]
            for i in range(labels.shape[across]):
                plane = (slice(None),) * across + (i,)
                for axis, flow in zip(along, flow_targets(labels[plane]), strict=True):
                    flows[(axis, *plane)] += flow / 2
    for flow in flows:
        noise = gaussian_filter(random.standard_normal(labels.shape, np.float32), 2)
        flow += np.float32(amplitude / noise.std()) * noise
    logits = np.where(labels > 0, 6, -6) + random.normal(0, 0.5, labels.shape)
    return flows, logits.astype(np.float32)


def memory(field: str) -> int:
    """A number of /proc/self/status, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"^{field}:\s*(\d+)", status, re.MULTILINE)[1])


def measure(function: Callable[[Any, Any], Any], folder: Path, name: str) -> None:
    """Run `function` on the data in `folder`; leave its labels and what it took beside them."""
    flows, logits = np.load(folder / "flows.npy"), np.load(folder / "logits.npy")
    corner = (slice(0, 64),) * logits.ndim
    function(flows[(slice(None), *corner)].copy(), logits[corner].copy())
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before, wall, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
    labels = function(flows, logits)
    took = {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "extra": memory("VmHWM") - before,
    }
    np.save(folder / f"{name}.npy", labels.astype(np.uint32))
    (folder / f"{name}.json").write_text(json.dumps(took))


def ours(flows: Any, logits: Any, judge: bool = True) -> Any:
    """From flows to final objects with bigseg, with or without flow-error quality control."""
    from bigseg.core.decode.flows import labels_from_flows
    from bigseg.core.holes import fill_holes
    from bigseg.core.quality import flow_errors, remove_objects, sizes

    labels = labels_from_flows(flows, logits)
    if judge:
        labels = remove_objects(labels, flow_errors(labels, flows) > FLOW_THRESHOLD)
    labels = fill_holes(labels)
    return remove_objects(labels, sizes(labels) < MIN_SIZE)


def peer(flows: Any, logits: Any) -> Any:
    """From flows to final objects with Cellpose."""
    from cellpose.dynamics import compute_masks

    flows *= 5  # in place, and not at the expense of the peer's memory
    return compute_masks(
        flows, logits, flow_threshold=FLOW_THRESHOLD, min_size=MIN_SIZE, do_3D=logits.ndim == 3
    )


SIDES = {"ours": ours, "unjudged": lambda f, p: ours(f, p, judge=False), "peer": peer}


def compare(name: str, folder: Path, amplitude: float) -> list[str]:
    """Rows of the table for one case."""
    from peers import peer_environment, peer_python

    from bigseg.core.metrics import average_precision, match
    from bigseg.core.overlap import contingency

    shape, per_axis = CASES[name]
    random = np.random.default_rng(1)
    labels = cells(shape, per_axis, random)
    for kind, data in zip(("flows", "logits"), outputs(labels, random, amplitude), strict=True):
        np.save(folder / f"{kind}.npy", data)
    sides = ["ours", "peer"] if len(shape) == 2 else ["ours", "unjudged", "peer"]
    for side in sides:
        python = peer_python() if side == "peer" else sys.executable
        paths = {} if side == "peer" else {"PYTHONPATH": str(ROOT)}
        command = [python, __file__, "--side", side, "--folder", str(folder)]
        subprocess.run(command, check=True, env=peer_environment() | paths)
    found = {side: np.load(folder / f"{side}.npy") for side in sides}
    took = {side: json.loads((folder / f"{side}.json").read_text()) for side in sides}

    def precision(a: Any, b: Any) -> float:
        return average_precision(match(*contingency(a, b)), 0.9)

    rows = []
    for side in sides:
        one, other = took[side], took["peer"]
        rows.append(
            f"| {name} | {side} | {len(np.unique(found[side])) - 1} "
            f"| {precision(found[side], labels):.3f} | {precision(found[side], found['peer']):.3f} "
            f"| {one['cpu']:.2f} | {one['wall']:.2f} | {one['extra'] / 1e6:.0f} "
            f"| {other['cpu'] / one['cpu']:.0f}× | {other['extra'] / one['extra']:.1f}× |"
        )
    return rows


def main() -> None:
    """Print the table, or take one side of one case."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="The first run makes the peer's environment (minutes, about 2 GB) in bench-env/.\n"
        "example: nice python benchmarks/dynamics.py --large",
    )
    parser.add_argument("--large", action="store_true", help="also 256³: 3 minutes, 2 GB of memory")
    parser.add_argument("--case", choices=CASES, help="only this one")
    parser.add_argument("--noise", type=float, default=NOISE, help="amplitude, of 1")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        measure(SIDES[args.side], args.folder, args.side)
        return
    sys.path.insert(0, str(ROOT))
    print(
        "| case | side | objects | AP@0.9 truth | AP@0.9 peer | CPU s | wall s | extra MB "
        "| CPU, peer / this | memory, peer / this |"
    )
    print("| --- |" + " ---: |" * 9)
    names = list(CASES) if args.large else list(CASES)[:2]
    for name in [args.case] if args.case else names:
        with tempfile.TemporaryDirectory() as folder:
            print("\n".join(compare(name, Path(folder), args.noise)), flush=True)


if __name__ == "__main__":
    main()
