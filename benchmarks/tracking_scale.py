"""Time and memory of linking by the number of detections, for `tracking.py --scale`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from tracking_sides import run
from tracking_simulated import walk

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
                found = run(side, series, Path(folder), "apart")
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
