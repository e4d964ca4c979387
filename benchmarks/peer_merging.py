"""Merge per-block labels as peers do; runs in a peer's environment, on files of `merging.py`.

    peer_merging.py SIDE FOLDER

Every subfolder of FOLDER is a case: `case.json` and the labels of each block's read box, with ids
of the block's own. Labels of the whole and what they took are left there. Imports nothing of ours.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Blocks = list[np.ndarray]
Case = dict[str, Any]


def memory(field: str) -> int:
    """A number of /proc/self/status, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"^{field}:\s*(\d+)", status, re.MULTILINE)[1])


def measure(side: str, merge: Callable[[Case, Blocks], Any], folder: Path) -> None:
    """Merge a case; leave the labels and what it took."""
    case = json.loads((folder / "case.json").read_text())
    blocks = [np.load(folder / f"block-{n}.npy") for n in range(len(case["blocks"]))]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before, wall, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
    labels = merge(case, blocks)
    took = {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "extra": memory("VmHWM") - before,
    }
    np.save(folder / f"{side}.npy", np.asarray(labels).astype(np.uint32))
    (folder / f"{side}.json").write_text(json.dumps(took))


def run(side: str, merge: Callable[[Case, Blocks], Any], folder: Path) -> None:
    """Merge all cases, the first one twice: what is compiled or imported late is not counted."""
    cases = sorted(path.parent for path in folder.glob("*/case.json"))
    for one in (cases[0], *cases):
        measure(side, merge, one)


def slices(box: list[list[int]]) -> tuple[slice, ...]:
    """A box as stored in JSON."""
    return tuple(slice(*ends) for ends in box)


def own(case: Case, number: int, labels: np.ndarray) -> np.ndarray:
    """Labels of the voxels that a block owns."""
    block = case["blocks"][number]
    read = [start for start, _ in block["read"]]
    return labels[
        tuple(slice(a - r, b - r) for (a, b), r in zip(block["write"], read, strict=True))
    ]


def faces_of_cellpose(case: Case, blocks: Blocks) -> np.ndarray:
    """Cellpose's distributed evaluation, from the labels of each block on."""
    from cellpose.contrib import distributed_segmentation as peer

    indices, faces, used, parts = [], [], [], []
    for number, labels in enumerate(blocks):
        index = tuple(case["blocks"][number]["index"])
        part, ids = peer.global_segment_ids(own(case, number, labels), index, case["counts"])
        ids = ids[1:] if ids[0] == 0 else ids
        indices.append(index)
        faces.append(peer.block_faces(part))
        used.append(ids)
        parts.append(part)
    table = peer.determine_merge_relabeling(indices, faces, np.concatenate(used))
    result = np.zeros(case["shape"], np.uint32)
    for number, part in enumerate(parts):
        result[slices(case["blocks"][number]["write"])] = table[part]
    return result


def labels_of_dask_image(case: Case, blocks: Blocks) -> np.ndarray:
    """What `dask_image.ndmeasure.label` does once every chunk has its labels."""
    import dask.array as da
    from dask_image.ndmeasure._utils import _label as peer

    whole, total = np.zeros(case["shape"], np.int32), 0
    for number, labels in enumerate(blocks):
        ids, dense = np.unique(own(case, number, labels), return_inverse=True)
        first = int(ids[0] != 0)
        part = dense.reshape(own(case, number, labels).shape) + first
        highest = int(part.max())
        part[part > 0] += total
        whole[slices(case["blocks"][number]["write"])] = part
        total += highest
    chunked = da.from_array(whole, chunks=tuple(case["block"]))
    graph = peer.label_adjacency_graph(chunked, None, total)
    table = peer.connected_components_delayed(graph)
    return np.asarray(peer.relabel_blocks(chunked, table).compute(scheduler="synchronous"))


def stitching_of_bioimage_py(case: Case, blocks: Blocks) -> np.ndarray:
    """bioimage-py's stitching of tiles that overlap by their halo."""
    from bioimage_py.segmentation import stitch_segmentation

    return stitch_segmentation(
        np.zeros(case["shape"], np.uint8),
        lambda _, number: blocks[number].astype(np.uint64),
        tuple(case["block"]),
        tuple(case["halo"]),
        shape=tuple(case["shape"]),
    )


SIDES = {
    "cellpose": faces_of_cellpose,
    "dask-image": labels_of_dask_image,
    "bioimage-py": stitching_of_bioimage_py,
}

if __name__ == "__main__":
    run(sys.argv[1], SIDES[sys.argv[1]], Path(sys.argv[2]))
