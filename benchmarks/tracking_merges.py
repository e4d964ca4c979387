"""Merges of objects: found in real series played backwards, and not where there are none.

    python benchmarks/tracking_merges.py --data DATA

Backwards in time, divisions are merges whose truth is known. Forwards there are none: what is found
is wrong. The first forty frames, as `tracking.py` loads them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from tracking_sets import SETS
from tracking_sides import HERE, allowed

FRAMES = 40


def measure(name: str, data: Path, *, backwards: bool, merging: bool) -> str:
    """Row of a table."""
    from bigseg.core.tracking.detections import gather
    from bigseg.core.tracking.link import Settings, link

    series = SETS[name](data)
    kept = series.frame < FRAMES
    rows, links = np.cumsum(kept) - 1, allowed(len(kept), series.links)
    links = rows[links[kept[links].all(axis=1)]]
    frame = series.frame[kept]
    if backwards:
        frame, links = frame.max() - frame, links[:, ::-1]
    order = np.argsort(frame, kind="stable")
    truth = np.argsort(order)[links]
    size = {} if series.size is None else {"size": series.size[kept]}
    label = np.arange(1, len(frame) + 1)
    found = link(gather(frame, label, series.position[kept], size), Settings(merging=merging)).links
    ours = np.c_[found.source, found.target]
    n, a, b = len(frame), _merges(truth), _merges(ours)
    common = len(np.intersect1d(truth @ [n, 1], ours @ [n, 1]))
    f1 = 2 * common / (len(truth) + len(ours))
    return f"{len(a)} | {len(b)} | {len(a & b)} | {f1:.4f} |"


def _merges(links: np.ndarray) -> set[tuple[int, ...]]:
    """Targets of two links, with both sources."""
    order = np.lexsort((links[:, 0], links[:, 1]))
    source, target = links[order].T
    two = np.flatnonzero(target[1:] == target[:-1])
    return {(int(target[k]), int(source[k]), int(source[k + 1])) for k in two}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--sets", default="epidermis,c2c12,Pm05")
    given = parser.parse_args()
    print("| set | played | merging | merges | found | right | F1 of links |")
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |")
    for name in given.sets.split(","):
        for backwards in (True, False):
            for merging in (True, False):
                how = "backwards" if backwards else "forwards"
                row = measure(name, given.data, backwards=backwards, merging=merging)
                print(f"| {name} | {how} | {'yes' if merging else 'no'} | {row}", flush=True)


if __name__ == "__main__":
    main()
