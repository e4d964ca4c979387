"""`bigseg correct` on a run of `bigseg.segment`."""

import json
from pathlib import Path

import numpy as np
import pytest

import bigseg
from bigseg.cli import main
from tests.worlds import make_image, read_labels


def bars(image):
    """A model of labels: what is brighter than half is of one object."""
    return (image[0] > 0.5).astype(np.int32)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A bar over three blocks, and its run; the table has the report's columns, too."""
    monkeypatch.setattr("bigseg.nets.functions.load_function", lambda name: bars)
    data = np.zeros((32, 96), np.uint8)
    data[12:20, 4:92] = 200
    make_image(f"{tmp_path}/image.zarr", data, "yx")
    made = segmented(tmp_path)
    assert made.objects == 1
    return made


def segmented(folder, **more):
    return bigseg.segment(
        f"{folder}/image.zarr",
        model=f"{__name__}:bars",
        representation="labels",
        intensity=(0, 255),
        block=(32, 32),
        halo=8,
        cluster="serial",
        **more,
    )


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return int(ended.value.code or 0)


def test_a_file_is_applied_and_the_result_told(run, tmp_path, capsys):
    file = tmp_path / "corrections.json"
    file.write_text(json.dumps({"split": [{"points": [[16, 5], [16, 90]]}]}))
    assert call("correct", run.run, str(file), "--dry-run") == 0
    assert "split   1 into 1 + 2" in capsys.readouterr().out
    assert call("correct", run.run, str(file), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["objects"], said["of_blocks"], said["split"]) == (2, 3, [[1, [1, 2]]])
    assert "1 into 1 + 2" in Path(run.report).read_text("utf-8")
    labels = read_labels(run.labels)[0, 0, 16]
    assert sorted({int(labels[5]), int(labels[90])}) == [1, 2]


def test_a_mistake_is_one_sentence(run, tmp_path, capsys):
    file = tmp_path / "corrections.toml"
    file.write_text("[[merge]]\nids = [1, 7]\n")
    assert call("correct", run.run, str(file)) == 1
    assert "Error: There is no object 7 in" in capsys.readouterr().err
    file.write_text("merge = 3 =")
    assert call("correct", run.run, str(file)) == 1
    assert "is neither TOML nor .json" in capsys.readouterr().err
    assert call("correct", run.run, str(tmp_path / "none.toml")) == 1
    assert "none.toml does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("settings", [{}, {"min_size": 20}, {"max_size": 9999}])
def test_to_segment_again_drops_corrections(run, tmp_path, settings):
    bigseg.correct(run.run, {"split": [{"points": [[16, 5], [16, 90]]}]})
    again = segmented(tmp_path, overwrite=True, **settings)
    assert again.objects == 1
    assert len(np.unique(read_labels(again.labels))) == 2
    assert bigseg.correct(run.run, {"split": [{"points": [[16, 5], [16, 90]]}]}).objects == 2
