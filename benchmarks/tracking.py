"""Tracking beside peers: real lineages, simulated ones, and time and memory by size.

    python benchmarks/tracking.py --data DATA            # all sets, all sides
    python benchmarks/tracking.py --sets c2c12 --sides global,laptrack --data DATA
    python benchmarks/tracking.py --scale                # 10^4 to 10^6 detections

Every side links the *same detections* in a process of its own. bigseg has its usual settings on
every set and learns all numbers from the detections; peers are told how far objects move and
divide, taken from the truth (see `peer_tracking.py`). Peers need an environment of their own:

    python -m venv bench-env/tracking
    bench-env/tracking/bin/pip install laptrack==0.17.1 btrack==0.7.0 scipy pandas

btrack's wheel needs libstdc++ of GCC 13; on older systems build `libtracker.so` from its source
(`make`, with Eigen 3.4 as `btrack/include/eigen`) and copy it into `btrack/libs`.
DATA holds epidermis_tracking_labels, c2c12_points and astec_lineages.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

HERE = Path(__file__).resolve().parent
PEERS = ("plain", "laptrack", "btrack")
OURS = ("global", "fast")
PYTHON = HERE.parent / "bench-env" / "tracking" / "bin" / "python"
MOST_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Series:
    """Detections and their true links (rows)."""

    frame: np.ndarray
    position: np.ndarray
    links: np.ndarray
    size: np.ndarray | None = None


def epidermis(data: Path) -> Series:
    """Masks of a tissue: centres and areas."""
    from skimage.measure import regionprops

    folder = data / "epidermis_tracking_labels" / "train" / "TRA"
    rows = [
        (t, r.label, 0, *r.centroid, r.area)
        for t, path in enumerate(sorted(folder.glob("*.tif")))
        for r in regionprops(tifffile.imread(path))
    ]
    table = np.asarray(rows)
    frame, track = table[:, 0].astype(int), table[:, 1].astype(int)
    links = _of_tracks(frame, track, folder / "man_track.txt")
    return Series(frame, table[:, 2:5], links, table[:, 5])


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


def simulated(step: float, lost: float, false: float) -> Callable[[Path], Series]:
    """A hundred frames of about 900 discs: persistent random walk, repulsion, divisions, deaths.

    Nearest neighbours are 20 apart at first; `step` is the deviation of a step per axis.
    """

    def load(_: Path) -> Series:
        rng = np.random.default_rng(0)
        whole = walk(rng, cells=900, frames=100, step=step)
        seen = without(whole, rng.random(len(whole.frame)) < lost)
        extent = seen.position.max(0)
        extra = int(false * len(seen.frame))
        frame = np.r_[seen.frame, rng.integers(0, 100, extra)]
        places = rng.random((extra, 3)) * extent
        noisy = seen.position + np.array([0, 0.7, 0.7]) * rng.normal(size=seen.position.shape)
        order = np.argsort(frame, kind="stable")
        place = np.argsort(order)
        return Series(frame[order], np.r_[noisy, places][order], place[seen.links])

    return load


def walk(rng: np.random.Generator, cells: int, frames: int, step: float) -> Series:
    """Simulate cells that keep some of their direction, push each other away and divide.

    Each frame is a window into a larger tissue: for every cell that leaves, another one comes in
    at the other side; as many divide as die, so that every frame has `cells` cells.
    """
    from scipy.spatial import cKDTree

    width = 20 * 1.6 * np.sqrt(cells)
    place = rng.random((cells, 2)) * width
    speed = rng.normal(0, step, place.shape)
    parent = np.full(cells, -1)
    rows, links, n = [], [], 0
    for t in range(frames):
        ids = np.arange(n, n + len(place))
        rows.append(np.c_[np.full(len(place), t), np.zeros(len(place)), place])
        links.append(np.c_[parent, ids][parent >= 0])
        n += len(place)
        speed = 0.7 * speed + 0.7 * rng.normal(0, step, place.shape)
        pairs = cKDTree(place).query_pairs(14, output_type="ndarray")
        gap = place[pairs[:, 0]] - place[pairs[:, 1]]
        length = np.maximum(np.linalg.norm(gap, axis=1, keepdims=True), 1e-6)
        push = gap / length * (14 - length) * 0.25
        moved = place + speed
        np.add.at(moved, pairs[:, 0], push)
        np.add.at(moved, pairs[:, 1], -push)
        fate = rng.permutation(cells)
        count = rng.binomial(cells, 0.006)
        births, others = fate[:count], fate[2 * count :]
        angle = rng.uniform(0, 2 * np.pi, count)
        jump = 6 * np.c_[np.sin(angle), np.cos(angle)]
        place = np.r_[moved[others], moved[births] + jump, moved[births] - jump]
        speed = np.r_[speed[others], np.zeros((2 * count, 2))]
        parent = np.r_[ids[others], ids[births], ids[births]]
        parent[((place <= 0) | (place >= width)).any(1)] = -1
        place = place % width
    table = np.concatenate(rows)
    return Series(table[:, 0].astype(int), table[:, 1:], np.concatenate(links))


EMBRYOS = ("Pm02", "Pm05", "Pm07")
LOST = {"": 0.0, " -3 %": 0.03}
SETS: dict[str, Callable[[Path], Series]] = {
    "epidermis": epidermis,
    "c2c12": c2c12,
    **{f"{n}{tag}": embryo(n, share) for n in EMBRYOS for tag, share in LOST.items()},
    "simulated": simulated(2.0, 0.03, 0.01),
    "simulated, hard": simulated(4.0, 0.06, 0.03),
}


def gates(series: Series) -> tuple[float, float]:
    """How far objects move in a frame, and daughters are from their mother: 99.9 % of all."""
    i, j = series.links.T
    far = np.linalg.norm(series.position[j] - series.position[i], axis=1)
    divides = np.bincount(i, minlength=len(series.frame))[i] > 1
    next_to = series.frame[j] - series.frame[i] == 1
    moved = far[~divides & next_to]
    born = far[divides & next_to] if (divides & next_to).any() else moved
    return float(np.quantile(moved, 0.999)), float(np.quantile(born, 0.999))


def run(
    side: str, series: Series, folder: Path, how: str = "--link"
) -> dict[str, np.ndarray] | str:
    """Let a side link in a process of its own."""
    move, division = gates(series)
    source, target = folder / "in.npz", folder / "out.npz"
    columns = {"frame": series.frame, "position": series.position}
    if series.size is not None:
        columns["size"] = series.size
    np.savez(source, move=move, division=division, **columns)
    target.unlink(missing_ok=True)
    ours = side in OURS
    program = [sys.executable, str(HERE / "tracking.py"), how] if ours else [
        str(PYTHON), str(HERE / "peer_tracking.py")]  # fmt: skip
    command = [*program, side, str(source), str(target)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no result in {MOST_SECONDS} s"
    except subprocess.CalledProcessError as error:
        return error.stderr.strip().splitlines()[-1] if error.stderr else "failed"
    return dict(np.load(target))


def link(mode: str, source: str, target: str) -> None:
    """Link with bigseg, in a process of its own; compiled code is warmed up before."""
    from bigseg.core.tracking.detections import gather
    from bigseg.core.tracking.link import Settings, link

    data = dict(np.load(source))
    columns = {"size": data["size"]} if "size" in data else {}
    label = np.arange(1, len(data["frame"]) + 1)
    few = data["frame"] < 3
    link(gather(data["frame"][few], label[few], data["position"][few]), Settings(mode=mode))
    cpu, wall = time.process_time(), time.perf_counter()
    found = link(gather(data["frame"], label, data["position"], columns), Settings(mode=mode))
    np.savez(
        target,
        links=np.c_[found.links.source, found.links.target],
        cpu=time.process_time() - cpu,
        wall=time.perf_counter() - wall,
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        gap=max((part.gap for part in found.parts), default=0.0),
    )


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


COLUMNS = ("TRA", "LNK", "edge F1", "division F1(0)", "division F1(1)")


def compare(names: list[str], sides: list[str], data: Path) -> None:
    """Print a table: a row for each set and side."""
    print("| set | side |", " | ".join(COLUMNS), "| CPU s | GB |")
    print("| --- | --- |", " | ".join("---:" for _ in COLUMNS), "| ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            series = SETS[name](data)
            for side in sides:
                found = run(side, series, Path(folder))
                if isinstance(found, str):
                    print(f"| {name} | {side} | {found} |", flush=True)
                    continue
                values = score(series, found["links"].reshape(-1, 2))
                cells = " | ".join(f"{values[c]:.4f}" for c in COLUMNS)
                took = f"{float(found['cpu']):.1f} | {float(found['peak']) / 1e9:.2f}"
                print(f"| {name} | {side} | {cells} | {took} |", flush=True)


SHAPES = ((100, 100), (1000, 100), (1000, 1000), (50_000, 20))
"""Objects of a frame, frames."""


def scale(sides: list[str], shapes: list[tuple[int, int]]) -> None:
    """Print time and memory by the number of detections; bigseg's on two cores."""
    print(
        "| objects x frames | side | learn, CPU s | all, CPU s | us a detection to link |", end=""
    )
    print(" wall s | GB | edge F1 | bound gap |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for cells, frames in shapes:
            series = walk(np.random.default_rng(0), cells, frames, 2.0)
            n = len(series.frame)
            for side in sides:
                found = run(side, series, Path(folder), "--apart")
                what = f"| {cells:,} x {frames:,} = {n:,} | {side} |"
                if isinstance(found, str):
                    print(f"{what} {found} |", flush=True)
                    continue
                cpu, learned = float(found["cpu"]), float(found.get("learned", 0))
                right = _f1(series.links, found["links"], n)
                gap = f"{float(found['gap']):.0e}" if side == "global" else ""
                print(
                    f"{what} {learned:.1f} | {cpu:.1f} | {1e6 * (cpu - learned) / n:.1f} |"
                    f" {float(found['wall']):.1f} | {float(found['peak']) / 1e9:.2f} |"
                    f" {right:.4f} | {gap} |",
                    flush=True,
                )


def _f1(truth: np.ndarray, links: np.ndarray, n: int) -> float:
    a, b = truth[:, 0] * n + truth[:, 1], links[:, 0] * n + links[:, 1]
    return 2 * len(np.intersect1d(a, b)) / (len(a) + len(b))


def main() -> None:
    """Read what is asked for."""
    if sys.argv[1:2] in (["--link"], ["--apart"]):
        (link if sys.argv[1] == "--link" else apart)(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--sets", default=",".join(s.replace(",", ";") for s in SETS))
    parser.add_argument("--sides", default="global,fast,plain,laptrack,btrack")
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--shapes", default=",".join(f"{c}x{f}" for c, f in SHAPES))
    given = parser.parse_args()
    sides = given.sides.split(",")
    if given.scale:
        shapes = [tuple(int(v) for v in s.split("x")) for s in given.shapes.split(",")]
        scale(sides if "--sides" in sys.argv else list(OURS), [(c, f) for c, f in shapes])
    else:
        compare([s.replace(";", ",") for s in given.sets.split(",")], sides, given.data)


if __name__ == "__main__":
    main()
