"""Sides of `tracking.py`: each links detections in a process of its own, and is scored.

    tracking_sides.py link|apart MODE IN.npz OUT.npz

is how bigseg links them; files are those of `peer_tracking.py`.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tracking_sets import Series

if TYPE_CHECKING:
    from bigseg.core.tracking.detections import Detections
    from bigseg.core.tracking.overlaps import Overlaps

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE.parent / "bench-env"
OURS = ("global", "fast")
"""Also with -centres, without what masks share, and with -brightness, where there is an image."""
PEERS = {"plain": "tracking", "laptrack": "tracking", "btrack": "tracking", "ultrack": "ultrack"}
"""The environment of each."""
MOST_SECONDS = 900


def gates(series: Series) -> tuple[float, float]:
    """How far objects move in a frame, and daughters are from their mother: 99.9 % of all."""
    i, j = series.links.T
    far = np.linalg.norm(series.position[j] - series.position[i], axis=1)
    divides = np.bincount(i, minlength=len(series.frame))[i] > 1
    next_to = series.frame[j] - series.frame[i] == 1
    moved = far[~divides & next_to]
    born = far[divides & next_to] if (divides & next_to).any() else moved
    return float(np.quantile(moved, 0.999)), float(np.quantile(born, 0.999))


def run(side: str, series: Series, folder: Path, how: str = "link") -> dict[str, np.ndarray] | str:
    """Let a side link in a process of its own: its links and what they took, or why not."""
    move, division = gates(series)
    folder.mkdir(exist_ok=True)
    source, target = folder / "in.npz", folder / "out.npz"
    columns = {"frame": series.frame, "position": series.position, "voxel": series.voxel}
    for name in ("size", "intensity", "labels", "label"):
        if getattr(series, name) is not None:
            columns[name] = getattr(series, name)
    np.savez(source, move=move, division=division, **columns)
    target.unlink(missing_ok=True)
    if side.partition("-")[0] in OURS:
        program = [sys.executable, str(HERE / "tracking_sides.py"), how]
    else:
        python = ENVIRONMENTS / PEERS[side] / "bin" / "python"
        if not python.exists():
            return "not installed"
        program = [str(python), str(HERE / "peer_tracking.py")]
    command = [*program, side, str(source), str(target)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no result in {MOST_SECONDS} s"
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if "Error" in line]
        return said[-1] if said else f"failed ({error.returncode})"
    return dict(np.load(target))


def link(mode: str, source: str, target: str) -> None:
    """Link with bigseg, in a process of its own; compiled code is warmed up before."""
    from bigseg.core.tracking.detections import gather
    from bigseg.core.tracking.link import Settings, link

    data = dict(np.load(source))
    mode, _, how = mode.partition("-")
    columns = {name: data[name] for name in ("size", "intensity") if name in data}
    if "labels" in data:
        columns["size"] = data["size"] / np.prod(data["voxel"])
    label = data["label"] if "label" in data else np.arange(1, len(data["frame"]) + 1)
    few = data["frame"] < 3
    link(gather(data["frame"][few], label[few], data["position"][few]), Settings(mode=mode))
    cpu, wall = time.process_time(), time.perf_counter()
    d = gather(data["frame"], label, data["position"], columns)
    if "labels" in data and how != "centres":
        d = replace(d, overlaps=_overlaps(d, data["labels"], data["voxel"]))
    found = link(d, Settings(mode=mode, brightness=how == "brightness"))
    np.savez(
        target,
        links=np.c_[found.links.source, found.links.target],
        cpu=time.process_time() - cpu,
        wall=time.perf_counter() - wall,
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        gap=max((part.gap for part in found.parts), default=0.0),
    )


def _overlaps(d: Detections, labels: np.ndarray, voxel: np.ndarray) -> Overlaps:
    """Count voxels that masks of successive frames share, as `stages.overlap` does in a run."""
    from bigseg.core.overlap import overlap_counts
    from bigseg.core.tracking.link import find_drift
    from bigseg.core.tracking.overlaps import gather_overlaps

    starts, found = d.starts, []
    for t in range(d.frames - 1):
        two = d.take(np.arange(starts[t], starts[t + 2]))
        drift = find_drift(replace(two, frame=two.frame - t))
        moved = np.rint(np.asarray(drift[-1]) / voxel).astype(int) if drift else np.zeros(3, int)
        here = tuple(slice(max(0, -m), None if m <= 0 else -m) for m in moved)
        there = tuple(slice(max(0, m), None if m >= 0 else m) for m in moved)
        pairs, voxels = overlap_counts(labels[t][here], labels[t + 1][there])
        for column, frame in enumerate((t, t + 1)):
            known = d.label[starts[frame] : starts[frame + 1]]
            pairs[:, column] = starts[frame] + np.searchsorted(known, pairs[:, column])
        found.append(np.c_[pairs, voxels].astype(np.int64))
    return gather_overlaps(*np.concatenate(found).T)


def apart(mode: str, source: str, target: str) -> None:
    """Link with bigseg on two cores, as a run does: learn once, then parts side by side.

    Memory is the peak of all processes together, each counted in full.
    """
    from multiprocessing import get_context

    from bigseg.core.tracking import blocks, link
    from bigseg.core.tracking.detections import gather

    data = dict(np.load(source))
    label = np.arange(1, len(data["frame"]) + 1)
    settings = link.Settings(mode=mode)
    few = data["frame"] < 3
    link.link(gather(data["frame"][few], label[few], data["position"][few]), settings)
    wall, cpu = time.perf_counter(), time.process_time()
    d = link.bordered(gather(data["frame"], label, data["position"]))
    drift = link.find_drift(d)
    d = link.steady(d, drift)
    model = link.learn(d, settings)
    cores = link.cores(d, settings)
    learned = time.process_time() - cpu
    with get_context("fork").Pool(2, _share, (d, model, settings)) as pool:
        found = pool.map(_part, cores, chunksize=1)
        peaks = pool.map(_peak, range(2), chunksize=1)
    cpu = time.process_time()
    links, _ = blocks.stitch([part.links for part, _ in found])
    linked = sum(took for _, took in found) + time.process_time() - cpu
    np.savez(
        target,
        links=np.c_[links.source, links.target],
        cpu=learned + linked,
        learned=learned,
        wall=time.perf_counter() - wall,
        peak=_peak(0) + sum(peaks),
        gap=max(part.gap for part, _ in found),
    )


_SHARED: list = []


def _share(*what: object) -> None:
    _SHARED[:] = what


def _part(core: object) -> tuple:
    from bigseg.core.tracking import link

    d, model, settings = _SHARED
    cpu = time.process_time()
    part = link.link_part(d, core, model, settings)
    return part, time.process_time() - cpu


def _peak(_: int) -> int:
    time.sleep(0.2)  # so that each process is asked once
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def score(series: Series, links: np.ndarray) -> dict[str, float]:
    """TRA, LNK and F1 of links and divisions, where detections are those of the truth."""
    from bigseg.core.tracking.graph import of_lineages
    from bigseg.core.tracking.lineage import lineages
    from bigseg.core.tracking.metrics import pairing
    from bigseg.core.tracking.scores import track_scores

    n = len(series.frame)
    rows = np.arange(n, dtype=np.int64)
    label = rows + 1
    order = np.lexsort((label, series.frame))
    assert (order == rows).all(), "detections are sorted by frame"
    graphs = [
        of_lineages(lineages(series.frame.astype(np.int32), label, allowed(n, e)))
        for e in (series.links, links)
    ]
    found = track_scores(*graphs, pairing(n, n, np.c_[rows, rows]))
    return found.values()


def allowed(n: int, links: np.ndarray) -> np.ndarray:
    """Links with one source for each target, and two targets of a source, as lineages must have.

    Peers break the former rarely; a truth of which detections were taken away, the latter.
    """
    _, first = np.unique(links[:, 1], return_index=True)
    links = links[np.sort(first)]
    order = np.argsort(links[:, 0], kind="stable")
    start = np.searchsorted(links[order, 0], links[order, 0])
    return links[np.sort(order[np.arange(len(order)) - start < 2])]


if __name__ == "__main__":
    {"link": link, "apart": apart}[sys.argv[1]](*sys.argv[2:])
