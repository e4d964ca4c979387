"""Corrections of finished runs: right, complete after interruptions, and nothing else changes."""

import shutil
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bigseg.core.objects import measure_objects
from bigseg.core.pyramid import downsample_labels
from bigseg.corrections import journal, plan
from bigseg.corrections.correct import correct
from bigseg.corrections.parts import Parts
from bigseg.errors import NotFound, SpecError
from bigseg.io.scratch import scratch
from bigseg.io.tables import read_table
from bigseg.jobs.maps import segment_maps
from bigseg.jobs.track import track
from bigseg.run.execute import ALONE, run_steps
from bigseg.run.folder import Run, open_run
from bigseg.specs.maps import EmSpec
from bigseg.stages import divisions, doubtful, graph, objects, seams
from tests.maps import boundary, cells
from tests.worlds import (
    Cut,
    make_image,
    plan_world,
    read_labels,
    same_partition,
    segment_world,
    world_table,
)

CUT = Cut(block=(1, 32, 32), halo=(0, 16, 16), ndim=2)
BAR, DUMBBELL, LEFT, RIGHT, LATER = (20, 4), (20, 70), (60, 10), (60, 50), (60, 80)
"""A voxel (y, x) of each object of the first frame; the last is in the second, too."""


def world() -> np.ndarray:
    """Two frames of a plane: a bar across blocks, a dumbbell in one, discs."""
    truth = np.zeros((2, 1, 80, 96), np.uint32)
    y, x = np.mgrid[:80, :96]
    truth[0, 0, 17:24, 2:62] = 1
    lobes = [(y - 20) ** 2 + (x - c) ** 2 <= 25 for c in (70, 84)]
    truth[0, 0, lobes[0] | lobes[1] | ((abs(y - 20) <= 1) & (x > 70) & (x < 84))] = 2
    for number, (at, of) in enumerate((LEFT, RIGHT, LATER), 3):
        truth[0, 0, (y - at) ** 2 + (x - of) ** 2 <= 50] = number
    truth[1, 0, (y - 60) ** 2 + (x - 80) ** 2 <= 50] = 6
    return truth


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    segment_world(str(folder), world(), CUT, "tyx")
    return folder


@pytest.fixture
def place(made, tmp_path):
    """A finished run of its own, in the place where it was made."""
    kept = tmp_path / "kept"
    shutil.copytree(made, kept)
    yield made
    shutil.rmtree(made)
    shutil.copytree(kept, made)


def run_of(place) -> str:
    return f"{place}/run.bigseg"


def labels(place) -> np.ndarray:
    return read_labels(f"{place}/labels.zarr")


def at(image, point, frame: int = 0) -> int:
    return int(image[frame, 0, *point])


def merge(*points):
    return {"merge": [{"points": [[0, *p] for p in points]}]}


def split(*points):
    return {"split": [{"points": [[0, *p] for p in points]}]}


def check_table(place) -> None:
    """The tables say what the labels show."""
    image, table = labels(place), world_table(place)
    ids, voxels = np.unique(image[image > 0], return_counts=True)
    assert table["id"].tolist() == ids.tolist()
    assert table["voxels"].tolist() == voxels.tolist()
    for row, id in enumerate(ids):
        t, _, y, x = np.nonzero(image == id)
        assert table["frame"][row] == t[0]
        assert (table["y0"][row], table["y1"][row]) == (y.min(), y.max() + 1)
        assert (table["x0"][row], table["x1"][row]) == (x.min(), x.max() + 1)
        assert table["x"][row] == pytest.approx(x.mean())
    own = read_table(objects.table_url(run_of(place)))
    assert own.keys() == table.keys()
    assert all(np.array_equal(own[n], table[n], equal_nan=own[n].dtype.kind == "f") for n in own)


def test_a_merge_changes_two_objects_and_nothing_else(place):
    before = labels(place)
    a, b = at(before, LEFT), at(before, RIGHT)
    result = correct(run_of(place), {"merge": [{"ids": [a, b]}]})
    after = labels(place)
    expected = np.where(before == max(a, b), min(a, b), before)
    assert np.array_equal(after, expected)
    assert result.merged == ((tuple(sorted((a, b))), min(a, b)),)
    assert result.objects == len(np.unique(before)) - 2
    check_table(place)


def test_points_name_objects_as_ids_do(place):
    before = labels(place)
    correct(run_of(place), merge(LEFT, RIGHT))
    assert at(labels(place), LEFT) == at(labels(place), RIGHT) == at(before, LEFT)


def test_an_object_of_several_blocks_is_cut_where_the_evidence_is_weakest(place):
    before = labels(place)
    result = correct(run_of(place), split((20, 4), (20, 58)))
    after = labels(place)
    one, two = at(after, (20, 4)), at(after, (20, 58))
    assert one != two
    assert {one, two} == {at(before, BAR), int(before.max()) + 1}
    assert np.array_equal(after[before != at(before, BAR)], before[before != at(before, BAR)])
    assert ((after > 0) == (before > 0)).all()
    assert result.split == ((at(before, BAR), tuple(sorted((one, two)))),)
    check_table(place)


def test_an_object_of_one_node_is_divided_at_its_neck(place):
    before = labels(place)
    old = at(before, DUMBBELL)
    correct(run_of(place), split((20, 70), (20, 84)))
    after = labels(place)
    one, two = at(after, (20, 70)), at(after, (20, 84))
    assert {one, two} == {old, int(before.max()) + 1}
    y, x = np.nonzero(before[0, 0] == old)
    assert set(after[0, 0, y[x <= 74], x[x <= 74]].tolist()) == {one}
    assert set(after[0, 0, y[x >= 80], x[x >= 80]].tolist()) == {two}
    check_table(place)


def test_pieces_can_be_merged_and_divided_again(place):
    before = labels(place)
    correct(run_of(place), split((20, 70), (20, 84)))
    correct(run_of(place), merge((20, 70), BAR))
    correct(run_of(place), split((20, 84), (20, 82)))
    correct(run_of(place), merge((20, 84), (20, 82)))
    after = labels(place)
    assert at(after, BAR) == at(after, (20, 70)) == at(before, BAR)
    assert at(after, (20, 84)) == at(after, (20, 82)) != at(after, BAR)
    assert ((after > 0) == (before > 0)).all()
    check_table(place)


def test_a_piece_joins_another_object_in_one_go(place):
    before = labels(place)
    wanted = split((20, 70), (20, 84)) | merge((20, 84), RIGHT)
    correct(run_of(place), wanted)
    after = labels(place)
    assert at(after, (20, 84)) == at(after, RIGHT) != at(after, (20, 70))
    assert at(after, LEFT) == at(before, LEFT)
    check_table(place)


def test_blocks_that_are_written_again_keep_divisions(place):
    correct(run_of(place), split((20, 70), (20, 84)))
    after, run = labels(place), open_run(run_of(place))
    step = run.step("write")
    for block in step.spec.grid:
        step.module.block(step.spec, block, step.module.read(step.spec, block))
    assert np.array_equal(labels(place), after)


def test_ids_of_what_was_merged_are_not_used_again(place):
    largest = int(labels(place).max())
    correct(run_of(place), {"merge": [{"ids": [1, 2]}]})
    result = correct(run_of(place), split((20, 4), (20, 58)))
    assert max(result.split[0][1]) == largest + 1


def test_what_is_so_already_writes_nothing(place):
    result = correct(run_of(place), split(LEFT, RIGHT))
    assert (result.blocks, result.record) == (0, None)
    assert "nothing to change" in result.text()
    assert not Path(divisions.corrections_url(run_of(place))).exists()


def test_a_dry_run_says_what_would_be_and_writes_nothing(place):
    before = {p: p.read_bytes() for p in Path(place).rglob("*") if p.is_file()}
    planned = correct(run_of(place), split((20, 70), (20, 84)), dry_run=True)
    assert before == {p: p.read_bytes() for p in Path(place).rglob("*") if p.is_file()}
    done = correct(run_of(place), split((20, 70), (20, 84)))
    assert (planned.split, planned.blocks) == (done.split, done.blocks)
    assert planned.objects is None


def test_only_touched_blocks_are_written(place, monkeypatch):
    written = []
    monkeypatch.setattr(journal, "_do", lambda stage, spec, n: written.append(n))
    result = correct(run_of(place), merge(LEFT, RIGHT))
    image = labels(place)
    y, x = np.nonzero(image[0, 0] == at(image, RIGHT))
    grid = open_run(run_of(place)).step("write").spec.grid
    expected = {grid.number((0, 0, *b)) for b in zip(y // 32, x // 32, strict=True)}
    assert sorted(set(written)) == sorted(expected)
    assert result.blocks == len(expected) < len(grid)


class Killed(Exception):
    pass


STEPS = ("divide", "renumber", "rewrite", "tabulate", "recount", "finish")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_after_an_interruption_the_rest_is_done(place, monkeypatch, step, after):
    wanted = split((20, 70), (20, 84)) | merge((20, 84), RIGHT)
    original = getattr(journal, step)

    def killed(*arguments):
        if after:
            original(*arguments)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(journal, step, killed)
        with pytest.raises(Killed):
            correct(run_of(place), wanted)
    result = correct(run_of(place), wanted)
    image = labels(place)
    assert at(image, (20, 84)) == at(image, RIGHT) != at(image, (20, 70))
    ended = step == "finish" and after
    assert len(result.split) == len(result.merged) == (0 if ended else 1)
    assert result.completed != ended
    check_table(place)


def test_killed_between_blocks_it_is_completed_without_its_file(place, monkeypatch):
    write_block = journal._do
    count = []

    def killed(stage, spec, number):
        count.append(number)
        if len(count) == 2:
            raise Killed
        write_block(stage, spec, number)

    with monkeypatch.context() as patch:
        patch.setattr(journal, "_do", killed)
        with pytest.raises(Killed):
            correct(run_of(place), merge(LEFT, RIGHT) | split((20, 4), (20, 58)))
    with pytest.raises(SpecError, match=r"was interrupted; 'bigseg correct .*' completes it first"):
        correct(run_of(place), split((20, 70), (20, 84)), dry_run=True)
    assert correct(run_of(place)).completed
    check_table(place)
    with pytest.raises(SpecError, match=r"No correction of .* was interrupted; name a file"):
        correct(run_of(place))


def test_another_correction_completes_the_one_before(place, monkeypatch):
    def killed(*arguments):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(journal, "renumber", killed)
        with pytest.raises(Killed):
            correct(run_of(place), split((20, 70), (20, 84)))
    result = correct(run_of(place), merge(LEFT, RIGHT))
    image = labels(place)
    assert at(image, (20, 70)) != at(image, (20, 84))
    assert at(image, LEFT) == at(image, RIGHT)
    assert not result.completed
    check_table(place)


def test_killed_while_it_is_worked_out_nothing_has_happened(place, monkeypatch):
    before = labels(place)
    put = journal.files.put

    def killed(url, data):
        if url.endswith("plan.json"):
            raise Killed
        put(url, data)

    with monkeypatch.context() as patch:
        patch.setattr(journal.files, "put", killed)
        with pytest.raises(Killed):
            correct(run_of(place), split((20, 70), (20, 84)))
    assert np.array_equal(labels(place), before)
    correct(run_of(place), merge(LEFT, RIGHT))
    assert at(labels(place), (20, 70)) == at(labels(place), (20, 84))
    check_table(place)


BAD = {
    r"Split 1 parts \(0, 60, 10\) and \(0, 60, 50\), but merge 1 join": merge(LEFT, RIGHT)
    | split(LEFT, RIGHT),
    r"point \(0, 0, 0\) lies in no object of .*labels.zarr; choose": merge((0, 0), LEFT),
    r"point \(0, 80, 0\) is not in .*labels.zarr, which is \(2, 80, 96\)": merge((80, 0), LEFT),
    r"point \(1, 2\) must have 3 numbers, t, y, x": {"merge": [{"points": [[1, 2], [0, 1, 2]]}]},
    r"no object 99 in .*: ids reach from 1 to 6": {"merge": [{"ids": [1, 99]}]},
    r"Merge 1 joins object \d of frame 0 with \d of frame 1; objects of different frames": {
        "merge": [{"points": [[0, *LATER], [1, *LATER]]}]
    },
    r"Split 1 is of object 99, but \(0, 60, 10\) lies in": {
        "split": [{"id": 99, "points": [[0, *LEFT], [0, *RIGHT]]}]
    },
    "a merge needs two different ids or points": {"merge": [{"ids": [3, 3]}]},
    "a split needs two points or more, all different": split(LEFT, LEFT),
    "'merge.0.id' is not a setting": {"merge": [{"id": 3}]},
    "nothing to merge or to split": {},
}


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_be_is_refused_and_nothing_is_written(made, message):
    before = {p: p.read_bytes() for p in made.rglob("*") if p.is_file()}
    with pytest.raises(SpecError, match=message):
        correct(run_of(made), BAD[message])
    assert before == {p: p.read_bytes() for p in made.rglob("*") if p.is_file()}


def test_a_merge_by_id_is_of_the_whole_object(made):
    image = labels(made)
    ids = {"merge": [{"ids": [at(image, BAR), at(image, LEFT)]}]}
    with pytest.raises(SpecError, match=r"parts \(0, 20, 4\) and \(0, 20, 58\), but merge 1 join"):
        correct(run_of(made), ids | split((20, 4), (20, 58)))


def test_merges_that_lead_round_a_split_are_refused(made):
    """Both discs are merged with the bar, which nobody splits, but are to be apart."""
    wanted = {
        "merge": [{"points": [[0, *LEFT], [0, 20, 4]]}, {"points": [[0, *RIGHT], [0, 20, 4]]}]
    }
    with pytest.raises(SpecError, match="but merge 1 and merge 2 join them; take one out"):
        correct(run_of(made), wanted | split(LEFT, RIGHT))


def test_ids_that_do_not_fit_are_refused(place):
    total = {"objects": np.array([2**32 - 1])}
    journal.write_table(graph.total_url(run_of(place)), total)
    with pytest.raises(SpecError, match=r"need the id 4294967296, but .* holds uint32"):
        correct(run_of(place), split((20, 70), (20, 84)))


def test_only_finished_runs_are_corrected(tmp_path):
    with pytest.raises(NotFound, match="is not a run"):
        correct(str(tmp_path), merge(LEFT, RIGHT))
    run = plan_world(str(tmp_path), world()[:, :, :32, :32], CUT, "tyx")
    with pytest.raises(SpecError, match=r"is not finished; 'bigseg run .*' continues it"):
        correct(run.url, merge(LEFT, RIGHT))


def test_runs_that_track_or_make_no_objects_are_refused(tmp_path):
    frames = world()[[0, 0], 0]
    make_image(f"{tmp_path}/frames.zarr", frames, "tyx")
    made = track(f"{tmp_path}/frames.zarr", f"{tmp_path}/tracks.zarr", cluster="serial")
    with pytest.raises(SpecError, match="tracks would not follow a correction of labels: correct"):
        correct(made.run, {"merge": [{"ids": [1, 2]}]})
    run = Run(f"{tmp_path}/other.bigseg", "test", {}, open_run(made.run).steps[:1])
    run.save()
    with pytest.raises(SpecError, match=r"other.bigseg makes no objects that can be corrected"):
        correct(run.url, {"merge": [{"ids": [1, 2]}]})


def test_planes_never_merge(tmp_path):
    truth = world()[:1, :, 40:, :32].repeat(2, axis=1)
    segment_world(str(tmp_path), truth, CUT, "zyx")
    with pytest.raises(SpecError, match="object 1 of plane 0 with 2 of plane 1; objects of diff"):
        correct(run_of(tmp_path), {"merge": [{"ids": [1, 2]}]})


def test_a_volume_and_its_coarser_levels(tmp_path):
    """Two touching cells that were taken for one, in blocks of a volume that has three levels."""
    z, y, x = np.mgrid[:12, :40, :600]
    truth = np.zeros((1, 12, 40, 600), np.uint32)
    for number, centre in enumerate((100, 140, 300, 500), 1):
        truth[0][(z - 6) ** 2 * 4 + (y - 20) ** 2 + (x - centre) ** 2 <= 81] = number
    truth[0, 5:8, 18:23, 140:300] = 2
    truth[truth == 3] = 2
    cut = Cut(block=(12, 40, 64), halo=(0, 0, 24), band=4, flow_threshold=0)
    segment_world(str(tmp_path), truth, cut, "zyx")
    before = [read_labels(f"{tmp_path}/labels.zarr", level) for level in (0, 1, 2)]
    wanted = {"merge": [{"points": [[6, 20, 100], [6, 20, 140]]}]}
    wanted |= {"split": [{"points": [[6, 20, 142], [6, 20, 300]]}]}
    result = correct(run_of(tmp_path), wanted)
    after = [read_labels(f"{tmp_path}/labels.zarr", level) for level in (0, 1, 2)]
    image = after[0][0, 6, 20]
    assert image[100] == image[140] != image[300]
    assert image[500] == before[0][0, 6, 20, 500]
    for fine, coarse in pairwise(after):
        factors = tuple(round(a / b) for a, b in zip(fine.shape[1:], coarse.shape[1:], strict=True))
        assert np.array_equal(coarse[0], downsample_labels(fine[0], factors))
    assert result.coarser_blocks >= 2
    check_table(tmp_path)
    run_steps(open_run(run_of(tmp_path)), ALONE)  # a finished run stays as it is
    assert np.array_equal(read_labels(f"{tmp_path}/labels.zarr"), after[0])


def test_nodes_that_did_not_change_keep_their_ids(place):
    before = np.array(scratch(graph.ids_url(run_of(place))))
    image = labels(place)
    correct(run_of(place), merge(LEFT, RIGHT))
    after = np.array(scratch(graph.ids_url(run_of(place))))
    old, new = (sorted({at(image, LEFT), at(image, RIGHT)})[i] for i in (1, 0))
    assert np.array_equal(after, np.where(before == old, new, before))


def test_a_point_that_nothing_parts_goes_where_its_surroundings_go(place):
    """It lies in the node of one of the points, and is merged with something else."""
    wanted = split((20, 70), (20, 84)) | merge((20, 86), RIGHT)
    result = correct(run_of(place), wanted)
    after = labels(place)
    assert at(after, (20, 84)) == at(after, (20, 86)) == at(after, RIGHT) != at(after, (20, 70))
    assert len(result.split[0][1]) == 2


def test_a_bar_and_its_third_point(place):
    """The same where blocks part an object."""
    wanted = split((20, 4), (20, 58)) | merge((20, 5), LEFT)
    correct(run_of(place), wanted)
    after = labels(place)
    assert at(after, (20, 4)) == at(after, LEFT) != at(after, (20, 58))
    check_table(place)


def test_merges_that_bring_parts_together_again_are_refused(made):
    """Both points are in the dumbbell, which is cut between them, and are merged."""
    wanted = split((20, 70), (20, 84)) | merge((20, 69), (20, 85))
    with pytest.raises(SpecError, match="bring them together again; split these objects, too"):
        correct(run_of(made), wanted)


def test_classes_are_voted_anew():
    image = np.array([[[1, 1, 1, 2, 2, 3]]], np.uint32)
    box = (slice(0, 1), *(slice(0, n) for n in image.shape))
    rows = measure_objects(image, read=box, write=box, shape=(1, 1, 1, 6))
    rows |= {"flow_error": np.array([0.1, 0.4, np.nan])}
    rows |= {"class_0": np.array([0, 0, 1]), "class_1": np.array([3, 0, 0])}
    rows |= {"class_2": np.array([0, 2, 0])}
    none = np.zeros(3, np.int64)
    parts = Parts(none, rows["id"].astype(np.int64), none, none > 0, rows)
    state = SimpleNamespace(judged=SimpleNamespace(spacing=(1.0, 1.0), classes=3))
    table = plan._rows(state, parts, np.array([4, 4, 9]))
    assert table["id"].tolist() == [4, 9]
    assert table["class"].tolist() == [1, 0]
    assert table["flow_error"] == pytest.approx([0.22, np.nan], nan_ok=True)


def test_supervoxels_of_maps_are_parted_between_cells(tmp_path, monkeypatch):
    """Two cells that were merged by mistake: the graph knows where one ends."""
    monkeypatch.setattr(seams, "GROUP", 1)
    truth = cells((24, 32, 40), 8, 3).astype(np.uint32)
    maps = boundary(truth)
    make_image(f"{tmp_path}/maps.zarr", maps[None], "czyx")
    spec = EmSpec(
        image=f"{tmp_path}/maps.zarr",
        source="boundaries",
        halo=24,
        block=(24, 20, 20),
        output=f"{tmp_path}/labels.zarr",
    )
    made = segment_maps(spec, cluster="serial")
    before, counted = read_labels(made.labels), face_tables(made.run)
    across = np.stack([before[0, :, :, 19], before[0, :, :, 20]], -1).reshape(-1, 2)
    differ = (across[:, 0] != across[:, 1]) & across.all(axis=1)
    pairs, times = np.unique(np.sort(across[differ], axis=1), axis=0, return_counts=True)
    places = [np.argwhere(before[0] == id) for id in pairs[times.argmax()]]
    points = [place[len(place) // 2].tolist() for place in places]
    correct(made.run, {"merge": [{"points": points}]})
    after = read_labels(made.labels)
    assert len(np.unique(after)) == len(np.unique(before)) - 1
    merged = face_tables(made.run)
    assert any(not np.array_equal(merged[n], counted[n]) for n in counted), "one sees the merge"
    spec = open_run(made.run).step("seams").spec
    seams.recount(spec, range(len(spec.grid)))
    assert all(np.array_equal(face_tables(made.run)[n], merged[n]) for n in merged)
    correct(made.run, {"split": [{"points": points}]})
    assert same_partition(read_labels(made.labels), before)
    assert all(np.array_equal(face_tables(made.run)[n], counted[n]) for n in counted)
    assert "Faces were counted anew" in Path(made.report).read_text()


def face_tables(run: str) -> dict[str, np.ndarray]:
    """What was counted at faces, and which pairs were doubtful; but for their ids."""
    faces, worst = read_table(seams.seams_url(run)), read_table(doubtful.doubtful_url(run))
    pairs = {f"worst {name}": worst[name] for name in ("u_block", "u", "v_block", "v", "kept")}
    return faces | pairs
