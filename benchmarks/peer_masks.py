"""Cellpose 3 on many images, whole or step by step; runs in the peer's environment.

    peer_masks.py JOBS.json FOLDER

JOBS.json has the weights and a list of jobs, each of which reads and leaves .npy files in FOLDER.
Flows are those of the network, in the peer's units.
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cellpose import dynamics, utils
from cellpose.models import CellposeModel


@lru_cache
def model(weights: str) -> Any:
    """The model, once."""
    return CellposeModel(gpu=False, pretrained_model=weights)


def segment(folder: Path, job: dict[str, Any], weights: str) -> None:
    """`CellposeModel.eval` of an image: its labels, and the field that they came from."""
    labels, (_, flows, logits), _ = model(weights).eval(np.load(folder / job["in"]), **job["eval"])
    np.save(folder / job["out"], labels.astype(np.uint32))
    np.save(folder / job["field"], np.concatenate([flows, logits[None]]).astype(np.float32))


def follow(folder: Path, job: dict[str, Any]) -> None:
    """Follow the flows and group the ends, as the peer's `compute_masks` begins."""
    field = np.load(folder / job["in"])
    flows, cell = field[:-1], field[-1] > 0
    labels = np.zeros(cell.shape, np.uint32)
    if cell.any():
        inds = np.nonzero(cell)
        ends = dynamics.follow_flows(flows * cell / 5.0, inds=inds, niter=job["steps"])
        ends = ends if torch.is_tensor(ends) else torch.from_numpy(ends)
        labels = dynamics.get_masks_torch(ends.int(), inds, flows.shape[1:])
    np.save(folder / job["out"], labels.astype(np.uint32))


def judge(folder: Path, job: dict[str, Any]) -> None:
    """Drop objects by their flow error."""
    labels = np.load(folder / job["in"]).astype(np.int32)
    if labels.any():
        flows = np.load(folder / job["field"])[:-1]
        labels = dynamics.remove_bad_flow_masks(labels, flows, threshold=0.4)
    np.save(folder / job["out"], labels.astype(np.uint32))


def mend(folder: Path, job: dict[str, Any]) -> None:
    """Fill holes and drop what is small."""
    labels = np.load(folder / job["in"])
    if labels.any():
        labels = utils.fill_holes_and_remove_small_masks(labels, min_size=15)
    np.save(folder / job["out"], labels.astype(np.uint32))


if __name__ == "__main__":
    asked, where = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    for one in asked["jobs"]:
        if one["do"] == "eval":
            segment(where, one, asked["weights"])
        else:
            {"follow": follow, "judge": judge, "mend": mend}[one["do"]](where, one)
