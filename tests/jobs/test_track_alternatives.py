"""Segmentations of the same frames compete, and what goes best through time is tracked."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from pydantic import ValidationError

import bigseg
from bigseg import files
from bigseg.cli import main
from bigseg.core.tiles import Tiling
from bigseg.errors import ImageError, OutputExists, SpecError
from bigseg.events import StageEnded
from bigseg.io.geff import read_geff
from bigseg.io.labels import label_names
from bigseg.io.tables import read_table
from bigseg.jobs.track_series import read_series
from bigseg.stages.evaluate_tracks import evaluate_tracks
from tests.core.tracking.competing import merged, split, touching, written, written_truth
from tests.jobs.movies import moving_nuclei


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Truth, and two ways to draw it: one merges cells that touch, the other cuts some in two."""
    path = tmp_path_factory.mktemp("world")
    masks = touching(0)
    return {
        "masks": masks,
        "truth": written_truth(masks, path / "GT"),
        "merged": written(merged(masks, 0.2, 1), path / "merged", 3),
        "split": written(split(masks, 0.1, 2), path / "split", 4),
    }


@pytest.fixture(scope="module")
def both(world, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("both") / "out.zarr")
    return bigseg.track(
        world["merged"], out, alternatives=(world["split"],), cluster="serial", ctc=f"{out}.ctc"
    )


def scores(world, url: str) -> tuple[float, float]:
    found = evaluate_tracks(url, world["truth"]).scores.values()
    return found["edge F1"], found["TRA"]


def ids(url: str) -> np.ndarray:
    return np.asarray(bigseg.open_labels(url).data)


@pytest.mark.parametrize("mode", ["global", "fast"])
def test_two_that_are_wrong_make_one_that_is_right(world, tmp_path, mode):
    def tracked(first: str, *others: str) -> tuple[float, float]:
        found = bigseg.track(
            world[first],
            str(tmp_path / f"{first}{len(others)}.zarr"),
            alternatives=tuple(world[one] for one in others),
            cluster="serial",
            mode=mode,
        )
        return scores(world, found.labels)

    alone = tracked("merged"), tracked("split")
    together = tracked("merged", "split"), tracked("split", "merged")
    edges, tra = zip(*alone, strict=True)
    assert max(edges) < 0.94
    assert max(tra) < 0.985
    for edge, whole in together:
        assert edge > 0.97
        assert whole > 0.985


def test_each_object_is_drawn_by_the_labels_it_is_taken_from(world, both):
    found, table = ids(both.labels), read_table(f"{both.labels}/detections.parquet")
    drawn = [np.stack([tifffile.imread(f) for f in sorted(files_of(world[name]))])
             for name in ("merged", "split")]  # fmt: skip
    assert set(table["source"]) == {0, 1}
    for row in range(0, len(table["track"]), 7):
        frame, source = table["frame"][row], table["source"][row]
        own = drawn[source][frame] == table["id"][row]
        assert own.sum() == table["voxels"][row]
        shown = found[frame] == table["track"][row]
        assert (shown & own).sum() == shown.sum() >= 0.8 * own.sum()


def files_of(folder: str) -> list[str]:
    return [files.join(folder, name) for name in files.names(folder)]


def test_it_is_said_what_was_taken_from_where(world, both):
    counted = [
        int(n) for n in np.bincount(read_table(f"{both.labels}/detections.parquet")["source"])
    ]
    assert list(both.sources) == counted
    assert f"{counted[0]} objects of the labels, {counted[1]} of alternatives" in both.text()
    page = files.get(both.report).decode()
    assert "Labels that compete" in page
    assert f"{counted[1]:,} objects</td>" in page
    assert "objects given up for rivals" in page


def test_graphs_and_folders_of_the_challenge_say_the_same(world, both):
    graph = read_geff(f"{both.labels}/tracks.geff")
    assert np.bincount(graph.properties["source"].astype(int)).tolist() == list(both.sources)
    assert scores(world, f"{both.labels}.ctc") == pytest.approx(
        scores(world, both.labels), abs=5e-3
    )


def test_windows_and_parts_make_no_difference(world, both, tmp_path):
    other = bigseg.track(
        world["merged"],
        str(tmp_path / "b.zarr"),
        alternatives=(world["split"],),
        cluster="serial",
        window=4,
        objects_per_block=100,
    )
    assert other.parts > both.parts
    assert (ids(other.labels) > 0).sum() == pytest.approx((ids(both.labels) > 0).sum(), rel=2e-3)
    assert scores(world, other.labels) == pytest.approx(scores(world, both.labels), abs=2e-3)


def test_an_interrupted_run_goes_on(world, both, tmp_path):
    def stop(event):
        if getattr(event, "step", "") == "write-tracks":
            raise KeyboardInterrupt

    how = {"alternatives": (world["split"],), "cluster": "serial"}
    out = str(tmp_path / "c.zarr")
    with pytest.raises(KeyboardInterrupt, match="continues"):
        bigseg.track(world["merged"], out, listener=stop, **how)
    found = bigseg.track(world["merged"], out, **how)
    np.testing.assert_array_equal(ids(found.labels), ids(both.labels))


def test_the_same_labels_twice_are_as_one(world, tmp_path):
    twin = written(merged(world["masks"], 0.2, 1), tmp_path / "twin", 9)
    one, two = (
        bigseg.track(world["merged"], str(tmp_path / f"{n}.zarr"), cluster="serial", alternatives=n)
        for n in ((), (twin,))
    )
    assert two.sources[1] == 0
    np.testing.assert_array_equal(ids(one.labels), ids(two.labels))


def test_what_only_others_have_is_found_there(world, tmp_path):
    """A frame that one segmentation has lost."""
    empty = world["masks"].copy()
    empty[3] = 0
    first = written(empty, tmp_path / "first")
    second = written(world["masks"], tmp_path / "second", 1)
    found = bigseg.track(
        first, str(tmp_path / "o.zarr"), alternatives=(second,), cluster="serial", fill_gaps=True
    )
    assert found.sources[1] == len(np.unique(world["masks"][3])) - 1
    assert scores(world, found.labels) == (1.0, 1.0)


def test_missed_cells_are_drawn_after_what_was_taken(world, tmp_path):
    lost, lost_too = world["masks"].copy(), world["masks"].copy()
    lost[3] = lost_too[3] = 0
    lost[2] = 0  # so that shapes before the gap come from the other
    first, second = written(lost, tmp_path / "first"), written(lost_too, tmp_path / "second", 1)
    found = bigseg.track(
        first, str(tmp_path / "o.zarr"), alternatives=(second,), cluster="serial", fill_gaps=True
    )
    drawn = ids(found.labels)[3]
    true = world["masks"][3]
    assert ((drawn > 0) & (true > 0)).sum() > 0.8 * (true > 0).sum()


EDITS = """
delete = [{frame = 2, y = %d, x = %d, alternative = 1}]
"""


def test_corrections_name_objects_of_alternatives(world, both, tmp_path):
    table = read_table(f"{both.labels}/detections.parquet")
    row = np.flatnonzero((table["source"] == 1) & (table["frame"] == 2))[0]
    name = int(table["label"][row])
    link = f"delete = [[2, {name}]]"
    (tmp_path / "a.toml").write_text(link)
    place = table["y"][row], table["x"][row]
    (tmp_path / "b.toml").write_text(EDITS % tuple(round(v) for v in place))
    results = []
    for name in "ab":
        found = bigseg.track(
            world["merged"],
            str(tmp_path / f"{name}.zarr"),
            alternatives=(world["split"],),
            cluster="serial",
            edits=str(tmp_path / f"{name}.toml"),
        )
        results.append(ids(found.labels))
    np.testing.assert_array_equal(*results)
    assert (results[0] != ids(both.labels)).any()


def test_a_given_link_decides_between_rivals(world, both, tmp_path):
    """The whole is linked by hand where its halves were taken."""
    sets = next(read_tables_of(both.run, "sets", 3))
    names = next(read_tables_of(both.run, "names", 3))
    table = read_table(f"{both.labels}/detections.parquet")
    kept = set(table["label"][table["frame"] == 3].tolist())
    ours = set(names["label"][names["source"] == 0].tolist())
    whole = next(int(n) for n in sets["label"] if int(n) in ours - kept)
    before = int(table["label"][table["frame"] == 2][0])
    (tmp_path / "e.toml").write_text(f"link = [{{from = [2, {before}], to = [3, {whole}]}}]")
    found = bigseg.track(
        world["merged"],
        str(tmp_path / "e.zarr"),
        alternatives=(world["split"],),
        cluster="serial",
        edits=str(tmp_path / "e.toml"),
    )
    table = read_table(f"{found.labels}/detections.parquet")
    now = set(table["label"][table["frame"] == 3].tolist())
    groups = sets["set"][sets["label"] == whole]
    rivals = set(sets["label"][np.isin(sets["set"], groups)].tolist()) - {whole}
    assert whole in now
    assert not rivals & now


def read_tables_of(run: str, what: str, frame: int):
    yield read_table(files.join(run, "detections", what, f"{frame}.parquet"))


def test_an_alternative_that_is_not_there(world, tmp_path):
    (tmp_path / "e.toml").write_text("delete = [{frame = 0, y = 5, x = 5, alternative = 2}]")
    with pytest.raises(SpecError, match="of alternative 2, but there are 1; 0 are the labels"):
        bigseg.track(
            world["merged"],
            str(tmp_path / "e.zarr"),
            alternatives=(world["split"],),
            cluster="serial",
            edits=str(tmp_path / "e.toml"),
        )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            lambda m: m[:-1],
            r"has \(t, z, y, x\) = \(7, 1, 120, 120\) voxels, but .*\(8, 1, 120, 120",
        ),
        (lambda m: m[:, :-1], r"\(8, 1, 119, 120\).*other labels of the same voxels in the same"),
        (lambda m: m.astype(np.float32), "float32"),
    ],
)
def test_labels_of_something_else_are_refused(world, tmp_path, change, match):
    folder = tmp_path / "other"
    folder.mkdir()
    for number, frame in enumerate(change(world["masks"])):
        tifffile.imwrite(folder / f"{number}.tif", frame)
    with pytest.raises(ImageError, match=match):
        bigseg.track(
            world["merged"], str(tmp_path / "o.zarr"), alternatives=(str(folder),), cluster="serial"
        )
    assert not (tmp_path / "o.zarr").exists()


def test_a_missing_frame_is_named(world, tmp_path):
    other = written(world["masks"], tmp_path / "other")
    (tmp_path / "other" / "mask003.tif").unlink()
    with pytest.raises(ImageError, match="has no frame 3; a series needs one file for each frame"):
        bigseg.track(world["merged"], str(tmp_path / "o.zarr"), alternatives=(other,))


def test_the_same_labels_are_no_alternative(world, tmp_path):
    with pytest.raises(SpecError, match="is given twice; alternatives are other labels"):
        bigseg.track(world["split"], str(tmp_path / "o.zarr"), alternatives=(world["split"],))


def test_points_do_not_compete():
    with pytest.raises((SpecError, ValidationError), match="'alternatives' needs outlines"):
        bigseg.track("points.csv", alternatives=("other.csv",))


def test_labels_are_of_one_series(world, tmp_path, capsys):
    with pytest.raises(SystemExit, match="1"):
        main(
            ["track", *[world[n] for n in ("merged", "split")], str(tmp_path), "--alternative", "x"]
        )
    assert "--alternative gives labels of one series" in capsys.readouterr().err


def test_a_table_of_series_names_alternatives(world, tmp_path):
    rows = f"labels,alternatives\n{world['merged']},{world['split']}\n"
    (tmp_path / "series.csv").write_text(rows)
    batch = bigseg.track_many(
        read_series(str(tmp_path / "series.csv")), str(tmp_path / "all"), cluster="serial"
    )
    assert not batch.failed
    table = read_table(str(tmp_path / "all" / "merged.zarr" / "detections.parquet"))
    assert set(table["source"]) == {0, 1}


@pytest.fixture
def movie(tmp_path, monkeypatch):
    monkeypatch.setattr("bigseg.plans.lattice.TILINGS", {2: Tiling(128, 16)})
    return moving_nuclei(str(tmp_path / "movie.zarr"))


SEGMENTED = {"model": "nuclei", "segment": {"block": (64, 64)}, "cluster": "serial"}


def test_thresholds_of_the_same_predictions_compete(movie, tmp_path):
    events = []
    found = bigseg.track(
        movie, alternatives=("cellprob_threshold=3",), listener=events.append, **SEGMENTED
    )
    ended = [e.step for e in events if isinstance(e, StageEnded)]
    assert ended.count("predict") == 1
    assert "alternative-1-label" in ended
    assert label_names(movie) == ["cells", "cells-alternative-1", "cells-tracks"]
    assert sum(found.sources) > 30
    assert "alternatives" not in files.names(found.run)
    # They are what a run of its own makes.
    other = bigseg.segment(
        movie, str(tmp_path / "o.zarr"), model="nuclei", block=(64, 64), cellprob_threshold=3,
        cluster="serial",
    )  # fmt: skip
    made = ids(f"{movie}/labels/cells-alternative-1")
    np.testing.assert_array_equal(made, ids(other.labels))
    assert (made > 0).sum() < (ids(f"{movie}/labels/cells") > 0).sum()


def test_alternatives_that_were_made_serve_again_and_others_are_made_anew(movie):
    how = {"alternatives": ("cellprob_threshold=3",), **SEGMENTED}
    bigseg.track(movie, **how)
    events = []
    bigseg.track(movie, min_length=2, overwrite=True, listener=events.append, **how)
    assert next(e.step for e in events if isinstance(e, StageEnded) and not e.skipped) == "lineages"
    how["alternatives"] = ("cellprob_threshold=5",)
    before = ids(f"{movie}/labels/cells-alternative-1") > 0
    bigseg.track(movie, overwrite=True, **how)
    assert (ids(f"{movie}/labels/cells-alternative-1") > 0).sum() < before.sum()


def test_labels_of_others_are_not_replaced_by_alternatives(movie):
    bigseg.segment(movie, model="nuclei", cluster="serial", name="cells-alternative-1")
    with pytest.raises(OutputExists, match="cells-alternative-1 exists already"):
        bigseg.track(movie, alternatives=("min_size=40",), **SEGMENTED)


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ("diameter=20", "'diameter=20' changes what the network is shown"),
        ("nonsense=3", "'nonsense' is not a setting"),
        ("cellprob_threshold=", "cannot be read .* write name=value"),
        ("cellprob_threshold=99", "less than or equal to 7.9"),
        ("name='x'", "names its labels; they are called after the first ones"),
    ],
)
def test_settings_that_cannot_be_alternatives(movie, setting, match):
    with pytest.raises(SpecError, match=match):
        bigseg.track(movie, alternatives=(setting,), **SEGMENTED)


def test_settings_need_a_model(world, tmp_path):
    with pytest.raises(SpecError, match=r"'cellprob_threshold=2' .* no model"):
        bigseg.track(
            world["split"], str(tmp_path / "o.zarr"), alternatives=("cellprob_threshold=2",)
        )
