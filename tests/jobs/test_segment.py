"""From an image to labels: what is refused, what is continued, what is computed again."""

import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bigseg import files
from bigseg.core.tiles import Tiling
from bigseg.errors import BigsegError, BlocksFailed, ImageError, NotFound, OutputExists, SpecError
from bigseg.events import BlockDone, Event, StageEnded
from bigseg.io.create import create_image
from bigseg.io.labels import label_names
from bigseg.io.plan import plan_image
from bigseg.io.volume import Volume
from bigseg.jobs import claim
from bigseg.jobs import segment as pipeline
from bigseg.jobs.begin import Interrupted
from bigseg.run.folder import open_run
from bigseg.run.ledger import Ledger
from bigseg.run.status import status
from bigseg.specs.segment import parse
from bigseg.stages import label

SIDE = 96
BOX = (slice(0, 1), slice(0, 1), slice(0, SIDE), slice(0, SIDE))


def discs() -> np.ndarray:
    """Nine bright discs on a dark, slightly noisy ground: (y, x) uint8."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.random.default_rng(0).integers(0, 12, (SIDE, SIDE))
    for centre in np.ndindex(3, 3):
        cy, cx = (16 + 32 * c for c in centre)
        image[(y - cy) ** 2 + (x - cx) ** 2 < 9**2] += 180
    return image.astype(np.uint8)


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bigseg.plans.lattice.TILINGS", {2: Tiling(128, 16)})
    monkeypatch.setattr("bigseg.run.cluster.ANSWER", "0.3s")


@pytest.fixture
def image(tmp_path: Path) -> str:
    return make_image(tmp_path / "image.zarr", discs())


def make_image(path: Path, pixels: np.ndarray) -> str:
    scale = (1.0, 1.0)
    create_image(plan_image(str(path), ("y", "x"), pixels.shape, pixels.dtype, scale, (1, 64, 64)))
    Volume.open(str(path)).write(BOX, pixels[None, None])
    return str(path)


def segment(image: str, *args: Any, **settings: Any) -> tuple[pipeline.Result, list[Event]]:
    events: list[Event] = []
    settings = {"model": "nuclei", "block": (48, 48), "cluster": "serial", **settings}
    result = pipeline.segment(image, *args, listener=events.append, **settings)
    return result, events


def computed(events: list[Event], step: str) -> int:
    """How many blocks of a step were computed."""
    return sum(isinstance(event, BlockDone) and event.step == step for event in events)


def pixels(url: str) -> np.ndarray:
    return Volume.open(url).read(BOX)[0, 0, 0]


def every_file(folder: str) -> set[Path]:
    return set(Path(folder).rglob("*"))


def test_labels_lie_in_the_image_and_the_run_beside_it(image: str) -> None:
    result, _ = segment(image)
    labels = pixels(result.labels)
    assert result.labels == f"{image}/labels/cells"
    assert result.run == f"{image}.cells.bigseg"
    assert label_names(image) == ["cells"]
    assert result.objects == 9
    assert sorted(np.unique(labels)) == list(range(10))
    assert len({labels[16 + 32 * y, 16 + 32 * x] for y, x in np.ndindex(3, 3)} - {0}) == 9
    assert files.exists(result.table)
    assert not files.exists(f"{result.run}/scratch")
    assert all(step.finished and step.left == 0 for step in status(result.run))


def test_labels_lie_in_an_image_of_their_own_if_asked(image: str, tmp_path: Path) -> None:
    before = every_file(image)
    result, _ = segment(image, str(tmp_path / "out.zarr"))
    assert result.labels == str(tmp_path / "out.zarr")
    assert result.run == str(tmp_path / "out.zarr.bigseg")
    assert pixels(result.labels).max() == 9
    assert every_file(image) == before


def test_a_finished_run_is_refused_and_replaced_if_asked(image: str) -> None:
    first, _ = segment(image)
    with pytest.raises(OutputExists, match=r"labels/cells is finished already, .*--overwrite"):
        segment(image)
    second, events = segment(image, overwrite=True)
    assert computed(events, "predict") == 1
    assert (pixels(second.labels) == pixels(first.labels)).all()


def test_labels_that_no_run_made_are_refused_and_replaced_if_asked(image: str) -> None:
    result, _ = segment(image)
    files.remove(result.run)
    with pytest.raises(OutputExists, match=r"exists already; choose another --name"):
        segment(image)
    assert not files.exists(result.run)
    assert segment(image, overwrite=True)[0].objects == 9
    assert label_names(image) == ["cells"]


@pytest.mark.parametrize("what", ["folder", "image"])
def test_overwrite_never_replaces_what_is_not_labels(image: str, tmp_path: Path, what: str) -> None:
    other = tmp_path / "other"
    if what == "image":
        make_image(other, discs())
    else:
        other.mkdir()
        (other / "thesis.tex").touch()
    before = every_file(str(other))
    with pytest.raises(OutputExists, match=r"is not a label image .* does not replace it"):
        segment(image, str(other), overwrite=True)
    assert every_file(str(other)) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_never_moves_into_a_folder_of_other_things(
    image: str, tmp_path: Path, overwrite: bool
) -> None:
    (tmp_path / "mine" / "report").mkdir(parents=True)
    with pytest.raises(OutputExists, match=r"mine is not empty \(it holds 'report'\)"):
        segment(image, run=str(tmp_path / "mine"), overwrite=overwrite)
    assert files.names(str(tmp_path / "mine")) == ["report"]


@pytest.mark.parametrize("place", ["image.zarr/0/run", "image.zarr", "."])
def test_run_and_image_do_not_lie_in_each_other(image: str, tmp_path: Path, place: str) -> None:
    with pytest.raises(SpecError, match="must not lie in each other; choose another with --run"):
        segment(image, run=str(tmp_path / place))
    assert pixels(image).max() > 180


def test_what_others_put_into_a_run_stays(image: str) -> None:
    result, _ = segment(image)
    files.put(f"{result.run}/notes.txt", b"good one")
    segment(image, overwrite=True, min_size=20)
    assert files.get(f"{result.run}/notes.txt") == b"good one"


def test_other_settings_are_refused_by_name(image: str) -> None:
    segment(image)
    message = r"other settings \(flow_threshold was 0.4, now 0.6\); choose another --run"
    with pytest.raises(SpecError, match=message):
        segment(image, flow_threshold=0.6)


def test_thresholds_are_changed_without_predicting_again(image: str) -> None:
    segment(image, keep_scratch=True)
    result, events = segment(image, keep_scratch=True, overwrite=True, min_size=100_000)
    assert result.objects == 0
    skipped = [e.step for e in events if isinstance(e, StageEnded) and e.skipped]
    assert skipped == ["normalize", "predict"]
    assert computed(events, "label") == 4
    assert not pixels(result.labels).any()


def test_what_is_judged_after_merging_is_changed_without_labelling_again(image: str) -> None:
    before, _ = segment(image, keep_scratch=True)
    after, events = segment(image, keep_scratch=True, overwrite=True, flow_threshold=0.001)
    skipped = [e.step for e in events if isinstance(e, StageEnded) and e.skipped]
    assert skipped == ["normalize", "predict", "label", "merge", "components", "solve"]
    assert after.objects < before.objects
    assert len(np.unique(pixels(after.labels))) == after.objects + 1


def test_a_new_name_needs_only_writing(image: str) -> None:
    first, _ = segment(image, keep_scratch=True)
    again, events = segment(image, run=first.run, name="again", overwrite=True)
    assert again.objects == first.objects
    assert computed(events, "merge") == 0
    np.testing.assert_array_equal(pixels(again.labels), pixels(first.labels))


def test_without_scratch_all_is_predicted_again(image: str) -> None:
    segment(image)
    _, events = segment(image, overwrite=True, min_size=20)
    assert computed(events, "predict") == 1


def test_predictions_of_other_channels_do_not_serve(image: str) -> None:
    first, _ = segment(image, keep_scratch=True)
    _, events = segment(image, keep_scratch=True, overwrite=True, percentiles=(2.0, 98.0))
    assert computed(events, "predict") == 1
    assert open_run(first.run).settings["percentiles"] == [2.0, 98.0]


def stop_in_label(monkeypatch: pytest.MonkeyPatch, error: BaseException, after: int) -> None:
    """Let the step `label` break after some blocks."""
    count, original = iter(range(100)), label.block

    def block(spec: Any, block: Any, data: Any) -> Any:
        if next(count) >= after:
            raise error
        return original(spec, block, data)

    monkeypatch.setattr(label, "block", block)


def test_ctrl_c_says_how_to_continue_and_the_same_command_does(
    image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_in_label(patch, KeyboardInterrupt(), 2)
        message = rf"Interrupted. 'bigseg run {image}.cells.bigseg' continues"
        with pytest.raises(Interrupted, match=message) as caught:
            segment(image)
    assert caught.value.exit_code == 130
    result, events = segment(image)
    assert computed(events, "predict") == 0
    assert computed(events, "label") == 2
    assert result.objects == 9


def test_blocks_that_fail_are_reported_and_a_resumed_run_tries_only_these(
    image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = f"{image}.cells.bigseg"
    with monkeypatch.context() as patch:
        stop_in_label(patch, MemoryError("no room"), 1)
        with pytest.raises(BlocksFailed, match=r"3 block\(s\) of stage 'label' failed; .*no room"):
            segment(image)
    assert {step.name: step.failed for step in status(run)}["label"] == 3
    events: list[Event] = []
    assert pipeline.resume(run, cluster="serial", listener=events.append).objects == 9
    assert computed(events, "label") == 3


def test_other_settings_take_over_an_interrupted_run_if_asked(
    image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_in_label(patch, KeyboardInterrupt(), 2)
        with pytest.raises(Interrupted):
            segment(image)
    with pytest.raises(SpecError, match="min_size was 15, now 20"):
        segment(image, min_size=20)
    result, events = segment(image, min_size=20, overwrite=True)
    assert (computed(events, "predict"), computed(events, "label")) == (0, 4)
    assert result.objects == 9


def test_resuming_a_finished_run_computes_nothing(image: str) -> None:
    first, _ = segment(image)
    events: list[Event] = []
    again = pipeline.resume(first.run, listener=events.append)
    assert (again.labels, again.objects) == (first.labels, 9)
    assert all(isinstance(event, StageEnded) and event.skipped for event in events)


def test_predictions_that_somebody_removed_are_missed(
    image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_in_label(patch, KeyboardInterrupt(), 2)
        with pytest.raises(Interrupted):
            segment(image)
    run = f"{image}.cells.bigseg"
    files.remove(f"{run}/scratch")
    for go_on in (lambda: segment(image), lambda: pipeline.resume(run, cluster="serial")):
        with pytest.raises(NotFound, match=r"predictions of .* are gone, .*--overwrite"):
            go_on()
    assert segment(image, overwrite=True)[0].objects == 9


def test_a_damaged_run_is_refused_and_replaced_if_asked(image: str) -> None:
    result, _ = segment(image)
    files.put(f"{result.run}/run.json", b'{"steps": ')
    with pytest.raises(SpecError, match=r"run.json is damaged .*--overwrite"):
        segment(image)
    assert segment(image, overwrite=True)[0].objects == 9


def test_an_image_without_a_number_leaves_no_trace(tmp_path: Path) -> None:
    empty = make_image(tmp_path / "nan.zarr", np.full((SIDE, SIDE), np.nan, np.float32))
    before = every_file(str(tmp_path))
    with pytest.raises(ImageError, match="no finite value"):
        segment(empty)
    assert every_file(str(tmp_path)) == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cluster": "cloud"}, "Cluster 'cloud' is unknown"),
        ({"cluster": "tcp://127.0.0.1:9"}, "No Dask scheduler answers at tcp://127.0.0.1:9"),
        ({"model": "cells"}, "Model 'cells' is neither a file nor"),
        ({"blocks": 3}, "'blocks' is not a setting"),
        ({"channels": (3,)}, "has no channel '3'"),
        ({"level": 4}, "level"),
    ],
)
def test_what_is_refused_writes_nothing(
    image: str, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    before = every_file(str(tmp_path))
    with pytest.raises(BigsegError, match=message):
        segment(image, **settings)
    assert every_file(str(tmp_path)) == before


def test_a_disk_that_is_too_small_is_refused(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**4, 9 * 10**3, 10**3))
    before = every_file(str(tmp_path))
    with pytest.raises(SpecError, match=r"needs about 0.0 GB of scratch .* put the run elsewhere"):
        segment(image)
    assert every_file(str(tmp_path)) == before


@pytest.mark.parametrize("what", ["run", "output"])
def test_places_that_cannot_be_written_are_refused(image: str, tmp_path: Path, what: str) -> None:
    (tmp_path / "file").touch()  # nothing can be stored below a file
    places = {name: str(tmp_path / name) for name in ("run", "output")}
    places[what] = str(tmp_path / "file" / "x")
    before = every_file(str(tmp_path))
    with pytest.raises(BigsegError, match=r"file/x cannot be written"):
        segment(image, **places)
    assert every_file(str(tmp_path)) == before


def test_a_run_that_is_claimed_anew_forgets_its_records_first(image: str) -> None:
    result, _ = segment(image)
    claim.remove_run(result.run)
    assert not files.exists(result.run)
    assert not Ledger(f"{result.run}/ledger/predict/x").has_records()


def test_who_plans_and_watches_a_run_does_not_load_pytorch() -> None:
    modules = "bigseg.jobs.segment, bigseg.plans.segment, bigseg.run.worker"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


def test_a_result_that_is_replaced_is_written_again_whatever_changed(image: str) -> None:
    """Settings that matter to no step before the report still remove the former labels."""
    first, _ = segment(image, keep_scratch=True)
    before = Volume.open(first.labels).read(BOX)
    second, events = segment(image, keep_scratch=False, overwrite=True)
    assert "predict" in [e.step for e in events if isinstance(e, StageEnded) and e.skipped]
    np.testing.assert_array_equal(before, Volume.open(second.labels).read(BOX))


def test_a_run_of_another_version_is_refused_and_can_be_replaced(image: str) -> None:
    ready = pipeline.prepare(parse({"image": image, "model": "nuclei"}))
    run = open_run(ready.run)
    ledger = Ledger.of(run, run.step("predict"))
    files.put(files.join(ledger.url, "0-0-0-0.json"), b"{}")
    with pytest.raises(SpecError, match=r"another version has made the run.*--overwrite"):
        pipeline.resume(ready.run, cluster="serial")
    assert claim._way(run, True) == (claim.Way.ANEW, run)
