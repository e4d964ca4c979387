"""The global stage at scale: from tables of objects and edges on disk to final ids.

Invents what blocks of a dense volume would have stored, and runs the very steps of a
segmentation over it: `components`, `solve`, `objects`, on a local Dask cluster. Cells stand on a
lattice; a block sees those of its own and two rows of each neighbour; so a cell is up to eight
nodes. Some are missed, split or fused in a block, and cells overlap their neighbours a little.
Prints time, processor time and memory for growing volumes, and can draw them; time per edge is the
processor's in one process that has compiled and imported everything before.
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
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
from watch import Taken, run

from bigseg.grid import Grid
from bigseg.io.tables import write_table
from bigseg.plans.steps import graph_steps
from bigseg.run.cluster import open_cluster
from bigseg.run.execute import ALONE, run_steps
from bigseg.run.folder import Run, make_steps
from bigseg.stages import components, objects
from bigseg.stages.graph import block_ids, edges_url, nodes_url, write_offsets

PITCH, REACH = 9.5, 2.0
"""Cells per block along each axis, and how many of a neighbour's rows a block sees."""
VOXELS = 4000
"""Of a cell."""
MISSED, SPLIT, FUSED, TOUCHING = 0.02, 0.03, 0.0015, 0.4
"""Shares of nodes that a block misses, splits or fuses with the next, and of weak overlaps."""
SIDES = {"1e5": 4, "1e6": 8, "1e7": 16}
"""Blocks along each axis, by the number of nodes."""

Array = np.ndarray[Any, Any]


def seen(index: tuple[int, ...], blocks: int) -> list[Array]:
    """Cells that a block sees, along each axis."""
    last = int(blocks * PITCH)
    bounds = [(i * PITCH - REACH, (i + 1) * PITCH + REACH) for i in index]
    return [np.arange(max(int(np.ceil(a)), 0), min(int(np.ceil(b)), last)) for a, b in bounds]


def chance(cells: Array, block: int, what: int) -> Array:
    """A number from 0 to 1 for each cell in a block: the same whoever asks."""
    mixed = (cells.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) ^ np.uint64(
        (block * 0xC2B2AE3D27D4EB4F + what * 0x165667B19E3779F9) & 0xFFFFFFFFFFFFFFFF
    )
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return ((mixed ^ (mixed >> np.uint64(32))) >> np.uint64(11)) / 2.0**53


def labelled(index: tuple[int, ...], grid: Grid) -> tuple[Array, Array, Array]:
    """Cells that a block found, the local id of each, and that of its other half if it is split."""
    blocks = grid.counts[1]
    z, y, x = (a.astype(np.int64) for a in seen(index[1:], blocks))
    edge = int(blocks * PITCH)
    cells = ((z[:, None, None] * edge + y[:, None]) * edge + x).reshape(-1)
    number = grid.number(index)
    cells = cells[chance(cells, number, 0) >= MISSED]
    alone = chance(cells, number, 1) >= FUSED
    alone[0] = True
    ids = np.cumsum(alone)
    halves = chance(cells, number, 2) < SPLIT
    other = np.where(halves, ids[-1] + np.cumsum(halves), 0)
    return cells, ids, other


def edges_between(one: Any, other: Any, blocks: tuple[int, int], edge: int) -> dict[str, Array]:
    """What two blocks would have counted in their zone."""
    cells, a, b = np.intersect1d(one[0], other[0], assume_unique=True, return_indices=True)
    noise = 0.72 + 0.27 * chance(cells, blocks[0], 7 + blocks[1] % 13)
    rows = []
    for u, v, share in (
        (one[1][a], other[1][b], noise),
        (one[2][a], other[1][b], noise * 0.55),
        (one[1][a], other[2][b], noise * 0.45),
    ):
        there = (u > 0) & (v > 0)
        rows.append((u[there], v[there], share[there]))
    for step in (1, edge, edge * edge):
        _, c, d = np.intersect1d(one[0] + step, other[0], assume_unique=True, return_indices=True)
        weak = chance(one[0][c], blocks[0] * 31 + blocks[1], step) < TOUCHING
        rows.append((one[1][c][weak], other[1][d][weak], np.full(int(weak.sum()), 0.12)))
    u, v, share = (np.concatenate([row[i] for row in rows]) for i in range(3))
    _, first = np.unique(u * (int(v.max(initial=0)) + 1) + v, return_index=True)
    u, v, share = u[first], v[first], share[first]
    n = np.full(len(u), VOXELS, np.int64)
    return {"u": u, "v": v, "n_u": n, "n_v": n, "n_uv": np.rint(share * VOXELS).astype(np.int64)}


def node_table(index: tuple[int, ...], found: tuple[Array, Array, Array], edge: int) -> Any:
    """Rows of the objects of a block."""
    cells, ids, other = found
    count = int(max(ids[-1], other.max(initial=0)))
    place = np.zeros((count, 3), np.int32)
    for local in (ids, other):
        zyx = np.stack(np.unravel_index(cells, (edge,) * 3), 1)
        place[local[local > 0] - 1] = zyx[local > 0]
    own = np.floor(place / PITCH).astype(int)
    voxels = np.where((own == np.array(index[1:])).all(1), VOXELS, 0).astype(np.int64)
    low, high = 16 * place, 16 * place + 16
    table = {"id": np.arange(1, count + 1, dtype=np.uint64), "frame": np.zeros(count, np.int32)}
    table |= {"voxels": voxels, "voxels_total": np.full(count, VOXELS, np.int64)}
    table |= {f"{axis}0": low[:, i] for i, axis in enumerate("zyx")}
    table |= {f"{axis}1": high[:, i] for i, axis in enumerate("zyx")}
    table |= {f"sum_{axis}": voxels * (low[:, i] + 8) for i, axis in enumerate("zyx")}
    table |= {name: np.zeros(count, bool) for name in ("touches_border", "cut")}
    return table | {"flow_error": np.full(count, 0.1)}


def invent(folder: str, blocks: int) -> dict[str, int]:
    """Store the tables of a run; number of nodes and of edges."""
    grid = Grid((1, blocks, blocks, blocks), (1, 1, 1, 1), (0, 0, 0, 0))
    edge = int(blocks * PITCH)
    facts, known = [], {}
    for number, block in enumerate(block_ids(grid.counts)):
        index = grid[number].index
        for there in (index, *grid.neighbours(index)):
            if there not in known:
                known[there] = labelled(there, grid)
        own = known.pop(index)
        parts = []
        for there in grid.neighbours(index):
            other = grid.number(there)
            parts.append((other, edges_between(own, known[there], (number, other), edge)))
        names = ("u", "v", "n_u", "n_v", "n_uv")
        none = [np.zeros(0, np.int64)]
        columns = {k: np.concatenate([c[k] for _, c in parts] or none) for k in names}
        lengths = [len(c["u"]) for _, c in parts]
        columns["u_block"] = np.full(sum(lengths), number, np.int32)
        columns["v_block"] = np.repeat(np.array([o for o, _ in parts], np.int32), lengths)
        table = node_table(index, own, edge)
        write_table(edges_url(folder, block), columns)
        write_table(nodes_url(folder, block), table)
        facts.append({"objects": len(table["id"]), "edges": len(columns["u"])})
    return write_offsets(folder, facts)


def plan(folder: str, blocks: int) -> None:
    """Lay out the steps of the global stage over invented tables."""
    counts = (1, blocks, blocks, blocks)
    joined = components.Spec(run=folder, counts=counts)
    judged = objects.Spec(run=folder, counts=counts, spacing=(1.0, 1.0, 1.0), min_size=1)
    steps = [(s.name, s.stage, s.spec) for s in graph_steps(joined, judged)]
    Run(folder, "benchmark", {}, make_steps(steps)).save()


def solve(folder: str) -> None:
    """Run the global stage on two workers."""
    from bigseg.run.folder import open_run

    with open_cluster("local", 2) as cluster:
        run_steps(open_run(folder), cluster)


def measure(blocks: int, folder: Path) -> tuple[dict[str, int], Taken, dict[str, float]]:
    """Invent a volume of so many blocks along each axis, and solve it in a process of its own."""
    url = str(folder / f"{blocks}.bigseg")
    found = invent(url, blocks)
    plan(url, blocks)
    taken = run(
        [sys.executable, __file__, "--solve", url],
        environment=os.environ | {"OMP_NUM_THREADS": "1"},
        folder=folder,
        log=folder / "log",
    )
    seconds = {
        path.parent.parent.name: sum(
            json.loads(p.read_text())["seconds"] for p in path.parent.glob("[0-9]*.json")
        )
        for path in Path(url).glob("ledger/*/*/finished.json")
    }
    return found, taken, seconds


def steady(folder: str, small: str) -> None:
    """Print the processor time of all steps in one process that is warm from a small volume."""
    from bigseg.run.folder import open_run

    for url in (small, folder):
        shutil.rmtree(Path(url, "ledger"), ignore_errors=True)
        shutil.rmtree(Path(url, "graph", "solutions"), ignore_errors=True)
        started = time.process_time()
        run_steps(open_run(url), ALONE)
    print(time.process_time() - started)


def relabel(folder: str) -> None:
    """Print the memory, in bytes, that the ids of one block take beyond the libraries."""
    from dynamics import memory

    from bigseg.core.relabel import relabel as apply
    from bigseg.run.folder import open_run
    from bigseg.stages.graph import read_ids

    counts = open_run(folder).step("components").spec.counts
    labels = np.arange(64**3, dtype=np.uint32).reshape(64, 64, 64) % 2000
    apply(labels, np.arange(2000, dtype=np.uint64) + 1)
    read_ids(folder, 0)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    ids = read_ids(folder, int(np.prod(counts)) // 2)
    apply(labels % len(ids), ids)
    print(memory("VmHWM") - before)


def draw(rows: list[tuple[int, float]], path: Path) -> None:
    """Microseconds per edge against the number of edges, as SVG."""
    left, right = 5.0, 7.6
    most = 1.25 * max(cost for _, cost in rows)
    at = [(60 + 520 * (log10(n) - left) / (right - left), 250 - 220 * c / most) for n, c in rows]
    marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in at)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in at)
    texts = "".join(
        f'<text x="{x:.0f}" y="{y - 10:.0f}" text-anchor="middle">{c:.2f}</text>'
        f'<text x="{x:.0f}" y="270" text-anchor="middle">{n:.1e}</text>'
        for (x, y), (n, c) in zip(at, rows, strict=True)
    )
    path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 300" font-family="sans-serif" '
        'font-size="13"><rect width="620" height="300" fill="white"/>'
        '<path d="M60 20V250H590" fill="none" stroke="#888"/>'
        f'<polyline points="{line}" fill="none" stroke="#1668b8" stroke-width="2"/>'
        f'<g fill="#1668b8">{marks}</g>{texts}'
        '<text x="325" y="293" text-anchor="middle">edges</text>'
        '<text x="66" y="16">processor time, µs per edge</text></svg>\n'
    )


def ask(*arguments: str) -> str:
    """What this program prints in a process of its own."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=SIDES, default=["1e5", "1e6"])
    parser.add_argument("--plot", type=Path, help="SVG to write")
    parser.add_argument("--solve", help=argparse.SUPPRESS)
    parser.add_argument("--relabel", help=argparse.SUPPRESS)
    parser.add_argument("--steady", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.solve:
        return solve(args.solve)
    if args.relabel:
        return relabel(args.relabel)
    if args.steady:
        return steady(*args.steady)
    names = "nodes,edges,objects,wall s,CPU s,µs per edge once warm,largest process MB"
    names += ",all processes MB,components s,solve s,objects s,relabelling a block MB"
    print(f"| {names.replace(',', ' | ')} |\n|" + 12 * " ---: |")
    rows = []
    for name in args.sizes:
        with tempfile.TemporaryDirectory() as folder:
            found, taken, seconds = measure(SIDES[name], Path(folder))
            total = Path(folder, f"{SIDES[name]}.bigseg", "ledger")
            (facts,) = [json.loads(p.read_text()) for p in total.glob("objects/*/finished.json")]
            extra = int(ask("--relabel", str(total.parent)))
            invent(f"{folder}/small.bigseg", 2)
            plan(f"{folder}/small.bigseg", 2)
            cpu = float(ask("--steady", str(total.parent), f"{folder}/small.bigseg"))
        rows.append((found["edges"], 1e6 * cpu / found["edges"]))
        cells = [f"{found['nodes']:,}", f"{found['edges']:,}", f"{facts['objects']:,}"]
        cells += [f"{taken.wall:.1f}", f"{taken.cpu:.1f}", f"{rows[-1][1]:.2f}"]
        cells += [f"{taken.largest / 1e6:.0f}", f"{taken.together / 1e6:.0f}"]
        cells += [f"{seconds.get(step, 0):.1f}" for step in ("components", "solve", "objects")]
        cells.append(f"{extra / 1e6:.1f}")
        print(f"| {' | '.join(cells)} |", flush=True)
    if args.plot:
        draw(rows, args.plot)
    return None


if __name__ == "__main__":
    main()
