"""Run by test_tracks.py in the environment of traccuracy, py-ctcmetrics and geff: their answers.

python original_tracks.py graphs FOLDER    # scores of pairs of graphs, matched already
python original_tracks.py points FOLDER    # pairs of points that traccuracy matches
python original_tracks.py ctc RESULT TRUTH # scores of folders, and whether the result is valid
python original_tracks.py geff PATH        # what geff reads, after it validated graph and ids
"""

import json
import sys
import warnings
from pathlib import Path

import networkx
import numpy as np

warnings.simplefilter("ignore")


FIRST = {"true": 0, "result": 10**6}
"""Of the ids of each graph; traccuracy mistakes links over frames if both have the same ids."""


def graph(case, which, links=None):
    from traccuracy import TrackingGraph

    frame, first = case[f"{which}_frame"], FIRST[which]
    links = case[f"{which}_links"] if links is None else links
    position = case.get(f"{which}_position", np.zeros((len(frame), 3)))
    made = networkx.DiGraph()
    for row, (t, (z, y, x)) in enumerate(zip(frame.tolist(), position.tolist(), strict=True)):
        made.add_node(first + row, t=t, z=z, y=y, x=x, segmentation_id=row + 1)
    made.add_edges_from(map(tuple, (links + first).tolist()))
    return TrackingGraph(made, location_keys=("z", "y", "x"))


def graphs(folder):
    from traccuracy.matchers._matched import Matched
    from traccuracy.metrics import BasicMetrics, CTCMetrics, DivisionMetrics

    found = []
    for path in sorted(Path(folder).glob("*.npz"), key=lambda p: int(p.stem)):
        case = np.load(path)

        def matched(case=case):
            pairs = case["pairs"] + list(FIRST.values())
            pair = [graph(case, which) for which in FIRST]
            return Matched(*pair, [tuple(p) for p in pairs.tolist()], {"name": "given"})

        scores = {"ctc": CTCMetrics().compute(matched()).results}
        if len(np.unique(case["pairs"][:, 1])) == len(case["pairs"]):
            one = matched()
            scores["basic"] = BasicMetrics().compute(one).results
            scores["divisions"] = DivisionMetrics(max_frame_buffer=3).compute(one).results
            scores["relaxed"] = (
                BasicMetrics()
                .compute(matched(), relax_skips_gt=True, relax_skips_pred=True)
                .results
            )
        found.append(scores)
    return found


def points(folder):
    from traccuracy.matchers import PointMatcher

    found = []
    for path in sorted(Path(folder).glob("*.npz"), key=lambda p: int(p.stem)):
        case = np.load(path)
        none = np.zeros((0, 2), int)
        pair = [graph(case, which, none) for which in FIRST]
        mapping = PointMatcher(float(case["distance"])).compute_mapping(*pair).mapping
        found.append((np.array(mapping).reshape(-1, 2) - list(FIRST.values())).tolist())
    return found


def ctc(result, truth):
    from ctc_metrics import evaluate_sequence, validate_sequence
    from traccuracy import run_metrics
    from traccuracy.loaders import load_ctc_data
    from traccuracy.matchers import CTCMatcher
    from traccuracy.metrics import CTCMetrics

    valid = validate_sequence(result, threads=1)["Valid"]
    names = ["DET", "TRA", "LNK", "CT", "TF", "BC", "CCA"]
    if (Path(truth) / "SEG").is_dir():
        names.append("SEG")
    scores = evaluate_sequence(result, truth, metrics=names, threads=1)
    pair = [load_ctc_data(str(p)) for p in (Path(truth) / "TRA", result)]
    other, _ = run_metrics(*pair, CTCMatcher(), [CTCMetrics()])
    return {"valid": valid, "py-ctcmetrics": scores, "traccuracy": other[0]["results"]}


def geff(path):
    from geff.core_io import read_to_memory
    from geff.validate.data import ValidationConfig
    from geff.validate.structure import validate_structure

    validate_structure(path)
    read = read_to_memory(
        path, data_validation=ValidationConfig(graph=True, tracklet=True, lineage=True)
    )
    return {
        "ids": read["node_ids"].tolist(),
        "edges": read["edge_ids"].tolist(),
        "props": {k: np.asarray(v["values"]).tolist() for k, v in read["node_props"].items()},
        "metadata": json.loads(read["metadata"].model_dump_json()),
    }


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    answer = {"graphs": graphs, "points": points, "ctc": ctc, "geff": geff}[kind](*arguments)
    sys.stdout.write("\n" + json.dumps(answer, default=float) + "\n")
