"""Solve the same graphs with our parts and with the solvers of bioimage-cpp, one process each.

The kinds are those of `graphs.py`: detections in overlapping tiles (what bigseg merges), a region
graph of supervoxels, and a noisy grid. Energy is the sum of the costs of cut edges, less is better;
ARI is the adjusted Rand index of the nodes against the truth; memory is the peak beyond the inputs.
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

import numpy as np
from bioimage_cpp.graph import UndirectedGraph
from bioimage_cpp.graph import multicut as peer
from graphs import KINDS, Graph
from numpy.typing import NDArray

from bigseg.core.components import decompose, settled, united
from bigseg.core.presolve import presolve
from bigseg.core.reduce import reduce_by_blocks
from bigseg.core.solvers import solve_components

Partition = NDArray[np.integer]


def ours(graph: Graph, *, budget: int = 0, **options) -> tuple[Partition, str]:  # type: ignore[no-untyped-def]
    """Decompose, reduce, solve; and what the certificate says."""
    root, problem = decompose(len(graph.truth), graph.u, graph.v, graph.costs)
    conflicted = len(problem.u)
    root, problem = presolve(root, problem)
    if budget:
        root, problem = reduce_by_blocks(root, problem, graph.block[problem.nodes], budget=budget)
    solution = solve_components(problem, **options)
    proven = solution.optimal.mean() if len(problem) else 1.0
    note = (
        f"{len(problem)} components, {conflicted} then {len(problem.u)} edges, {proven:.1%} "
        f"proven, gap {(solution.energy - solution.lower_bound).sum():.4g}"
    )
    return settled(root, problem.nodes, solution.label), note


def flat(solver: Callable[[], peer.MulticutSolver]) -> Callable[[Graph], tuple[Partition, str]]:
    """A solver of bioimage-cpp on the whole graph."""

    def solve(graph: Graph) -> tuple[Partition, str]:
        uv = np.stack([graph.u, graph.v], axis=1).astype(np.uint64)
        native = UndirectedGraph.from_unique_edges(len(graph.truth), uv)
        label = solver().optimize(peer.MulticutObjective(native, graph.costs))
        return np.asarray(label).astype(np.int64), ""

    return solve


SOLVERS: dict[str, Callable[[Graph], tuple[Partition, str]]] = {
    "bigseg": ours,
    "bigseg, one start, no bound": lambda graph: ours(graph, certify=False),
    "bigseg, exact up to 2000 edges": lambda graph: ours(graph, exact_edges=2000, seconds=20),
    "bigseg, reduced to a quarter": lambda graph: ours(
        graph, budget=max(len(graph.u) // 4, 1), certify=False
    ),
    "bigseg, mutex watershed": lambda graph: ours(graph, solver="mutex-watershed", certify=False),
    "flat Kernighan-Lin": flat(peer.KernighanLinMulticut),
    "flat greedy": flat(peer.GreedyAdditiveMulticut),
    "decomposed Kernighan-Lin": flat(
        lambda: peer.MulticutDecomposer(peer.KernighanLinMulticut(), number_of_threads=1)
    ),
    "attraction alone": lambda graph: (united(len(graph.truth), graph.u, graph.v, graph.costs), ""),
}


def memory(field: str) -> float:
    """A number of /proc/self/status, in MB."""
    status = Path("/proc/self/status").read_text()
    found = re.search(rf"^{field}:\s*(\d+)", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def rand_index(a: Partition, b: Partition) -> float:
    """Adjusted Rand index of two partitions."""
    a, b = (np.unique(x, return_inverse=True)[1].astype(np.int64) for x in (a, b))
    pairs = [
        float((count * (count - 1.0) / 2).sum())
        for count in (
            np.unique(a * (b.max() + 1) + b, return_counts=True)[1],
            *map(np.bincount, (a, b)),
        )
    ]
    expected = pairs[1] * pairs[2] / (len(a) * (len(a) - 1.0) / 2)
    return (pairs[0] - expected) / ((pairs[1] + pairs[2]) / 2 - expected)


def load(path: Path) -> Graph:
    """A graph that was stored."""
    with np.load(path) as file:
        return Graph(**{name: file[name] for name in file.files})


def one(solver: str, path: Path) -> dict[str, float | str]:
    """Run one solver on a stored graph, and measure."""
    SOLVERS[solver](KINDS["tile"](2000, np.random.default_rng(0)))  # compile
    graph = load(path)
    Path("/proc/self/clear_refs").write_text("5")  # peak from here on
    before = memory("VmRSS")
    started = time.process_time()
    label, note = SOLVERS[solver](graph)
    seconds = time.process_time() - started
    peak = memory("VmHWM") - before
    cut = label[graph.u] != label[graph.v]
    return {
        "seconds": seconds,
        "memory": peak,
        "energy": float(graph.costs[cut].sum()),
        "clusters": len(np.unique(label)),
        "ari": rand_index(label, graph.truth),
        "note": note,
    }


def compare(kind: str, size: int, solvers: list[str], folder: Path) -> None:
    """Print a table of all solvers on one problem."""
    graph = KINDS[kind](size, np.random.default_rng(0))
    path = folder / "graph.npz"
    np.savez(path, **{name: getattr(graph, name) for name in Graph.__dataclass_fields__})
    print(f"\n**{kind}**: {len(graph.truth):,} nodes, {len(graph.u):,} edges\n")
    print("| solver | CPU s | memory MB | energy | clusters | ARI | |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    del graph
    for solver in solvers:
        command = [sys.executable, __file__, "--one", solver, "--graph", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"| {solver} | failed: {done.stderr.strip().splitlines()[-1]} |")
            continue
        row = json.loads(done.stdout)
        print(
            f"| {solver} | {row['seconds']:.3g} | {row['memory']:.0f} | {row['energy']:.2f} "
            f"| {row['clusters']:,} | {row['ari']:.4f} | {row['note']} |",
            flush=True,
        )


def main() -> None:
    """Compare on the problems asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--size", nargs="+", type=float, default=[1e5, 1e6], help="edges, about")
    parser.add_argument("--solver", nargs="+", choices=SOLVERS, default=list(SOLVERS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--graph", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(one(chosen.one, chosen.graph)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for kind in chosen.kind:
            for size in chosen.size:
                compare(kind, int(size), chosen.solver, Path(folder))


if __name__ == "__main__":
    main()
