"""Link detections as a peer does; runs in the peer's environment, on files of `tracking.py`.

    peer_tracking.py PEER IN.npz OUT.npz

IN has `frame`, `position`, and `move` and `division`: how far, at most, an object of this series
moves in a frame, and a daughter is from her mother. Those are taken from the *truth* (99.9 % of
all), so that peers have better gates than a user could give them; bigseg is not told them.
OUT has `links`, CPU seconds and peak memory. Imports nothing of ours.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

GAP = 2
"""Frames that may be missed."""
Data = Any


def plain(data: Data) -> np.ndarray:
    """Frame by frame, the assignment of the least sum of squared distances, within the gate."""
    from scipy.optimize import linear_sum_assignment

    frame, position, gate = data["frame"], data["position"], float(data["move"])
    links = []
    for t in range(frame.max()):
        a, b = np.flatnonzero(frame == t), np.flatnonzero(frame == t + 1)
        squared = ((position[a][:, None] - position[b][None]) ** 2).sum(-1)
        # Neither moving costs as much as the gate: a row and a column of its own for each.
        whole = np.full((len(a) + len(b),) * 2, gate**2 / 2)
        whole[: len(a), : len(b)] = np.where(squared < gate**2, squared, 1e9)
        whole[len(a) :, len(b) :] = 0
        i, j = linear_sum_assignment(whole)
        both = (i < len(a)) & (j < len(b))
        both[both] = squared[i[both], j[both]] < gate**2
        links += list(zip(a[i[both]], b[j[both]], strict=True))
    return np.asarray(links).reshape(-1, 2)


def laptrack(data: Data) -> np.ndarray:
    """Laptrack: links, then gaps and splits."""
    import laptrack as peer
    import pandas as pd

    move, division = float(data["move"]), float(data["division"])
    table = pd.DataFrame(data["position"], columns=["z", "y", "x"])
    table["frame"], table["row"] = data["frame"], np.arange(len(table))
    tracker = peer.LapTrack(
        cutoff=move**2,
        gap_closing_cutoff=move**2,
        gap_closing_max_frame_count=GAP,
        splitting_cutoff=division**2,
    )
    tracks, splits, _ = tracker.predict_dataframe(
        table, ["z", "y", "x"], frame_col="frame", only_coordinate_cols=False
    )
    tracks = tracks.reset_index(drop=True)
    frame_column = "frame" if "frame" in tracks else "frame_y"
    found = {
        t: g.sort_values(frame_column)["row"].to_numpy() for t, g in tracks.groupby("track_id")
    }
    links = [pair for rows in found.values() for pair in pairwise(rows)]
    # Without a split the table has no columns.
    born = splits[["parent_track_id", "child_track_id"]].to_numpy() if len(splits) else ()
    for parent, child in born:
        links.append((found[parent][-1], found[child][0]))
    return np.asarray(links).reshape(-1, 2)


def btrack(data: Data) -> np.ndarray:
    """Btrack: Bayesian tracks, then its global optimisation."""
    import btrack as peer

    position, frame = data["position"], data["frame"]
    table = np.c_[frame, position[:, 2], position[:, 1], position[:, 0]]
    objects = peer.io.localizations_to_objects(
        {k: table[:, i] for i, k in enumerate(("t", "x", "y", "z"))}
    )
    for row, one in enumerate(objects):
        one.ID = row
    low, high = position.min(0) - 1, position.max(0) + 1
    with tempfile.TemporaryDirectory() as folder, peer.BayesianTracker(verbose=False) as tracker:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps({"TrackerConfig": _btrack_config(float(data["division"]))}))
        tracker.configure(str(path))
        many = np.bincount(frame).max() > 1000
        methods = peer.constants.BayesianUpdates
        tracker.update_method = methods.APPROXIMATE if many else methods.EXACT
        tracker.max_search_radius = float(data["move"])
        tracker.append(objects)
        tracker.volume = tuple((float(low[k]), float(high[k])) for k in (2, 1, 0))
        tracker.track(step_size=100)
        tracker.optimise()
        tracks = {t.ID: [r for r in t.refs if r >= 0] for t in tracker.tracks}
        parents = {t.ID: t.parent for t in tracker.tracks}
    links = [pair for rows in tracks.values() for pair in pairwise(rows)]
    for child, parent in parents.items():
        if parent != child and parent in tracks and tracks[parent] and tracks[child]:
            links.append((tracks[parent][-1], tracks[child][0]))
    return np.asarray(links).reshape(-1, 2)


def ultrack(data: Data) -> np.ndarray:
    """Ultrack on images of labels, with its usual settings, then its closing of gaps.

    CBC solves; Gurobi, which it prefers, is not free.

    Each detection is one component of the foreground, and so has one hypothesis: no two touch.
    """
    import sqlalchemy
    import ultrack as peer
    from ultrack.core.database import NodeDB
    from ultrack.tracks.gap_closing import close_tracks_gaps

    labels, label, voxel = _stack(data)
    area = np.concatenate([np.unique(one[one > 0], return_counts=True)[1] for one in labels])
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        config = peer.MainConfig()
        config.data_config.working_dir = Path(folder)
        config.segmentation_config.min_area = int(area.min())
        config.segmentation_config.max_area = int(area.max()) + 1
        config.linking_config.max_distance = float(max(data["move"], data["division"]))
        config.tracking_config.n_threads = 1
        tracker = peer.Tracker(config)
        tracker.track(labels=labels, scale=voxel)
        found = tracker.to_pandas()
        with sqlalchemy.create_engine(config.data_config.database_path).connect() as base:
            nodes = base.execute(sqlalchemy.select(NodeDB.id, NodeDB.t, NodeDB.pickle)).all()
    row = {(t, i): k for k, (t, i) in enumerate(zip(data["frame"], label, strict=True))}
    places = {i: (t, *(axis[0] for axis in node.mask_indices())) for i, t, node in nodes}
    found["row"] = [row[places[i][0], labels[places[i]]] for i in found["id"]]
    axes = ["z", "y", "x"][-(labels.ndim - 1) :]
    closed = close_tracks_gaps(found, GAP, float(data["move"]), axes, scale=voxel)
    # Nodes that fill a gap are copies of the one before.
    closed = closed.sort_values(["track_id", "t"]).drop_duplicates("row")
    tracks = {i: group["row"].to_numpy() for i, group in closed.groupby("track_id")}
    links = [pair for rows in tracks.values() for pair in pairwise(rows)]
    born = closed.drop_duplicates("track_id")[["row", "parent_track_id"]].to_numpy()
    links += [(tracks[mother][-1], child) for child, mother in born if mother in tracks]
    return np.asarray(links).reshape(-1, 2)


POINT = {2: 8, 3: 4}
"""Radius, in voxels, of most points that are drawn as discs or balls, by the number of axes."""


def _stack(data: Data) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Labels of all frames, of which no two touch; the label of each row; the voxel's size.

    Points are drawn as balls: half as wide as most are apart from their nearest neighbour, and
    smaller where another one is nearer than that.
    """
    if "labels" in data:
        labels, label, voxel = data["labels"].copy(), data["label"], tuple(data["voxel"])
        if labels.shape[1] == 1:
            labels, voxel = labels[:, 0], voxel[1:]
        for axis in range(1, labels.ndim):
            a, b = np.moveaxis(labels, axis, 0)[:-1], np.moveaxis(labels, axis, 0)[1:]
            a[(a != b) & (b > 0)] = 0
        for one in labels:
            _keep_largest(one)
        return labels, label, voxel
    from scipy.spatial import cKDTree

    frame, position = data["frame"], data["position"]
    if np.ptp(position[:, 0]) == 0:
        position = position[:, 1:]
    axes = position.shape[1]
    frames = [np.flatnonzero(frame == t) for t in range(frame.max() + 1)]
    near = np.full(len(frame), np.inf)
    for rows in frames:
        near[rows] = cKDTree(position[rows]).query(position[rows], 2)[0][:, 1]
    voxel = float(np.median(near)) / 2 / POINT[axes]
    radius = np.clip(near / voxel / 2 - 1, 1, POINT[axes])
    place = np.rint((position - position.min(0)) / voxel).astype(int) + POINT[axes] + 1
    shape = tuple(place.max(0) + POINT[axes] + 2)
    labels, label = np.zeros((len(frames), *shape), np.int32), np.zeros(len(frame), int)
    ball = np.argwhere(np.ones((2 * POINT[axes] + 1,) * axes)) - POINT[axes]
    far = np.sqrt((ball**2).sum(1))
    for t, rows in enumerate(frames):
        label[rows] = np.arange(1, len(rows) + 1)
        for row in rows:
            labels[(t, *(place[row] + ball[far <= radius[row]]).T)] = label[row]
    return labels, label, (voxel,) * axes


def _keep_largest(labels: np.ndarray) -> None:
    """Of each label only its largest piece: others would compete; ultrack refuses single voxels."""
    from scipy import ndimage

    pieces, count = ndimage.label(labels > 0)
    size, owner = np.bincount(pieces.ravel()), np.zeros(count + 1, labels.dtype)
    owner[pieces.ravel()] = labels.ravel()
    kept = {owner[piece]: piece for piece in np.argsort(size, kind="stable") if size[piece] > 1}
    kept.pop(0, None)  # the background
    labels[~np.isin(pieces, list(kept.values()))] = 0


def _btrack_config(division: float) -> dict[str, Any]:
    """Its published settings for cells; divisions as far as they are in this series."""
    step = np.eye(6) + np.eye(6, k=3)
    noise = [0.5, 0.5, 0.5, 1, 1, 1]
    return {
        "MotionModel": {
            "name": "cell_motion",
            "dt": 1.0,
            "measurements": 3,
            "states": 6,
            "accuracy": 7.5,
            "prob_not_assign": 0.001,
            "max_lost": GAP,
            "A": {"matrix": step.ravel().tolist()},
            "H": {"matrix": np.eye(3, 6).ravel().tolist()},
            "P": {
                "sigma": 150.0,
                "matrix": np.diag([0.1, 0.1, 0.1, 1, 1, 1]).ravel().tolist(),
            },
            "G": {"sigma": 15.0, "matrix": noise},
            "R": {"sigma": 5.0, "matrix": np.eye(3).ravel().tolist()},
        },
        "ObjectModel": {},
        "HypothesisModel": {
            "name": "cell_hypothesis",
            "hypotheses": ["P_FP", "P_init", "P_term", "P_link", "P_branch", "P_dead"],
            "lambda_time": 5.0,
            "lambda_dist": 3.0,
            "lambda_link": 10.0,
            "lambda_branch": 50.0,
            "eta": 1e-10,
            "theta_dist": 20.0,
            "theta_time": 5.0,
            "dist_thresh": max(40.0, division),
            "time_thresh": 2.0,
            "apop_thresh": 5,
            "segmentation_miss_rate": 0.1,
            "apoptosis_rate": 0.001,
            "relax": True,
        },
    }


def main() -> None:
    """Link once, leave links and what they took."""
    name, source, target = sys.argv[1:]
    data = dict(np.load(source))
    cpu, wall = time.process_time(), time.perf_counter()
    links = {"plain": plain, "laptrack": laptrack, "btrack": btrack, "ultrack": ultrack}[name](data)
    np.savez(
        target,
        links=links.astype(np.int64),
        cpu=time.process_time() - cpu,
        wall=time.perf_counter() - wall,
        peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    )


if __name__ == "__main__":
    main()
