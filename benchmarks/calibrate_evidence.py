"""Fit what overlaps are worth to real images, and compare with what was used before.

    python benchmarks/calibrate_evidence.py DATA

DATA holds folders of pairs NAME_img.tif and NAME_mask.tif. The bundled model predicts each image
once, in memory, as the engine does; then it is labelled in blocks of several shapes, with halos of
two objects down to a quarter of one, and objects of neighbouring blocks are one if they lie mostly
in the same true object. Training images fit the coefficients (the defaults of
`bigseg.core.evidence.Evidence`); test images tell what they do: average precision by the truth, and
by the same predictions labelled in one block.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accuracy import SETS as HEIGHTS
from accuracy import field_of, pairs
from numpy.typing import NDArray
from per_block import Columns, Opinion, all_edges, cut, label_blocks, merge

from bigseg.core.evidence import Evidence
from bigseg.core.evidence_fit import fit, pooled, reliability, true_objects
from bigseg.core.instances import Criteria, find_objects
from bigseg.core.metrics import average_precision, match
from bigseg.core.overlap import contingency
from bigseg.core.quantise import quantise
from bigseg.grid import Block, Grid
from bigseg.nets import network, weights
from bigseg.specs.segment import SegmentSpec

SETS = ("dsb2018_fluo", "bbbc050_mouse_embryo_nuclei")
HALOS = (36, 18, 9, 4)
"""Pixels; usual objects are 18 wide, so the first is what a run has by default."""
BAND = 8
FEWEST = 12
"""True objects that an image must have."""
BEFORE = Evidence(bias=0, overlap=1)
"""Likeness above one half attracts: what was used before anything was fitted."""
REPULSIONS = (0.0, 0.2, 0.5)

Array = NDArray[Any]
Known = tuple[Columns, NDArray[np.bool_]]
"""Edges, and whether each joins two parts of one true object."""


@dataclass(frozen=True)
class Case:
    """An image, labelled in blocks."""

    halo: int
    grid: Grid
    opinions: list[Opinion]
    edges: Columns
    truth: Array
    whole: Array
    """Labels of the same predictions in one block."""

    def known(self) -> Known:
        """Edges of objects that lie in true ones, and whether in the same."""
        owners = np.concatenate(
            [
                true_objects(o.labels, self.truth[o.box[1:]], int(o.labels.max(initial=0)))
                for o in self.opinions
            ]
        )
        u, v = owners[self.edges["u"]], owners[self.edges["v"]]
        known = (u > 0) & (v > 0)
        return {name: column[known] for name, column in self.edges.items()}, (u == v)[known]


def cases(data: Path, split: str, name: str, most: int) -> Iterator[Case]:
    """Images of a split in blocks of random shapes, once for each halo."""
    random = np.random.default_rng(0)
    net = network.load("nuclei", weights.digest("nuclei"))
    tall = HEIGHTS[name]
    images = [pair for pair in pairs(data / name / split) if len(np.unique(pair[1])) > FEWEST]
    for number in random.permutation(len(images))[:most]:
        image, truth = images[number]
        field = field_of(net, image, tall)
        packed = quantise(field[:-1], field[-1])
        flat = image.ndim == 2
        packed, truth = (packed[:, None], truth[None]) if flat else (packed, truth)
        criteria = Criteria(judge=False, spacing=(1.0 if flat else tall, 1.0, 1.0))
        whole = labels_of(packed, criteria, cut(truth.shape, truth.shape, (0, 0, 0))[0])
        for halo in HALOS:
            deep = 0 if flat else max(round(halo / tall), 1)
            wide = [int(n) for n in random.integers(*((48, 120) if flat else (34, 70)), 2)]
            grid = cut(
                truth.shape,
                (1 if flat else int(random.integers(17, 30)), *wide),
                (deep, halo, halo),
            )
            band = (min(deep, 4), min(halo, BAND), min(halo, BAND))
            opinions = label_blocks(grid, band, lambda b: labels_of(packed, criteria, b))  # noqa: B023
            edges = all_edges(grid, opinions, packed[:-1])
            yield Case(halo, grid, opinions, edges, truth, whole)


def labels_of(packed: Array, criteria: Criteria, block: Block) -> Array:
    """Objects of a block of predictions (k, z, y, x)."""
    part = packed[(slice(None), *block.read[1:])]
    shape = packed.shape[1:]
    faces = tuple((b.start > 0, b.stop < n) for b, n in zip(block.read[1:], shape, strict=True))
    if shape[0] == 1:
        return find_objects("flows", part[:, 0], criteria, faces[1:])[0][None]
    return find_objects("flows", part, criteria, faces)[0]


def precisions(case: Case, evidence: Evidence, repulsion: float) -> list[float]:
    """AP at IoU 0.5 and 0.75 by the truth, and by the labels of one block."""
    found = merge(
        case.grid, case.opinions, edges=case.edges, costs=evidence.costs, repulsion=repulsion
    )
    by = [match(*contingency(found, labels)) for labels in (case.truth, case.whole)]
    return [average_precision(matches, iou) for matches in by for iou in (0.5, 0.75)]


def print_fit(learned: list[Known], tested: list[Known]) -> Evidence:
    """Fit, print the coefficients and how reliable they are; rounded as they are printed."""
    train, test = (
        (pooled([columns for columns, _ in rows]), np.concatenate([same for _, same in rows]))
        for rows in (learned, tested)
    )
    overlap = {name: train[0][name] for name in ("n_u", "n_v", "n_uv")}
    fits = {
        "before": BEFORE,
        "default": Evidence(),
        "overlap": rounded(fit(overlap, train[1])),
        "overlap, contact and flows": rounded(fit(*train)),
    }
    for name, evidence in fits.items():
        print(f"{name}: {json.dumps(evidence.as_dict())}")
    print("\n| edges of | evidence | edges | log loss | calibration error | wrong |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for title, rows in (("training", train), ("test", test)):
        for name, evidence in fits.items():
            found = reliability(evidence, *rows)
            print(
                f"| {title} | {name} | {found.edges} | {found.log_loss:.4f} "
                f"| {found.calibration_error:.4f} | {found.wrong:.4f} |"
            )
    print(flush=True)
    return fits["overlap"]


def rounded(evidence: Evidence) -> Evidence:
    """Two digits after the point are more than the edges can tell."""
    return Evidence.parse({name: round(value, 2) for name, value in evidence.as_dict().items()})


def print_scores(name: str, found: list[Case], evidence: Evidence) -> None:
    """Rows of the table of one set."""
    for halo in HALOS:
        chosen = [case for case in found if case.halo == halo]
        rows = [
            ("before", BEFORE, 0.0),
            ("default", Evidence(), SegmentSpec.model_fields["repulsion"].default),
        ]
        rows += [("fitted", evidence, r) for r in REPULSIONS]
        for title, one, repulsion in rows:
            mean = np.nanmean([precisions(case, one, repulsion) for case in chosen], axis=0)
            numbers = " | ".join(f"{value:.4f}" for value in mean)
            print(f"| {name} | {halo} | {title} | {repulsion:g} | {numbers} |", flush=True)


def main() -> None:
    """Print what was fitted, and what it does."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--most", type=int, default=60, help="plane images per split")
    parser.add_argument("--volumes", type=int, default=6, help="volumes per split")
    chosen = parser.parse_args()
    most = (chosen.most, chosen.volumes)
    learned = [
        case.known()
        for name, images in zip(SETS, most, strict=True)
        for case in cases(chosen.data, "train", name, images)
    ]
    tests = {
        name: list(cases(chosen.data, "test", name, images))
        for name, images in zip(SETS, most, strict=True)
    }
    known = [case.known() for found in tests.values() for case in found]
    evidence = print_fit(learned, known)
    print("| set | halo | evidence | repulsion | AP 0.5 | AP 0.75 | one block 0.5 | 0.75 |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for name, found in tests.items():
        print_scores(name, found, evidence)


if __name__ == "__main__":
    main()
