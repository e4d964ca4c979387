"""The command line, as people and scripts meet it: words, exit codes, and nothing left behind."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bigseg.cli import main
from bigseg.cli.app import app
from bigseg.core.tiles import Tiling
from bigseg.io.info import info
from bigseg.jobs import segment as pipeline
from bigseg.run.folder import open_run
from bigseg.stages import label

COMMANDS = ["segment", "plan", "run", "status", "jobs", "block", "finish", "info", "convert"]
COMMANDS += ["evaluate", "demo", "correct", "merge", "restore", "calibrate", "track"]
SERIAL = ("--model", "nuclei", "--cluster", "serial", "--block", "48,48")


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Bigseg = Callable[..., Said]


@pytest.fixture
def bigseg(capsys: pytest.CaptureFixture[str]) -> Bigseg:
    def call(*arguments: str) -> Said:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Said(int(caught.value.code or 0), out, err)

    return call


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bigseg.plans.lattice.TILINGS", {2: Tiling(128, 16), 3: Tiling(128, 16)})
    monkeypatch.setenv("COLUMNS", "100")


def discs() -> np.ndarray:
    """Nine bright discs: (y, x) uint8."""
    y, x = np.mgrid[:96, :96] % 32 - 16
    noise = np.random.default_rng(0).integers(0, 12, (96, 96))
    return (noise + 180 * (y**2 + x**2 < 81)).astype(np.uint8)


@pytest.fixture
def image(tmp_path: Path, bigseg: Bigseg) -> Path:
    return make_image(tmp_path, bigseg, discs())


def make_image(folder: Path, bigseg: Bigseg, pixels: np.ndarray, *options: str) -> Path:
    np.save(folder / "source.npy", pixels)
    path = folder / "image.zarr"
    axes = "cyx" if pixels.ndim == 3 else "yx"
    said = bigseg("convert", folder / "source.npy", path, "--axes", axes, "--quiet", *options)
    assert said == Said(0, "", "")
    return path


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_fits_the_screen(bigseg: Bigseg, command: str) -> None:
    said = bigseg(command, "--help")
    example = next(
        line for line in said.out.splitlines() if line.startswith(f"   bigseg {command}")
    )
    assert said.code == 0
    assert len(example.rstrip()) <= 80


def test_all_commands_are_there() -> None:
    assert [command.name for command in app.registered_commands] == COMMANDS


def test_help_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'zarr', 'numba', 'distributed', 'numpy', 'pydantic'}"
    code = f"import sys, bigseg.cli; print({heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "set()\n"


def test_no_command_shows_help_and_fails(bigseg: Bigseg) -> None:
    said = bigseg()
    assert "Usage: bigseg" in said.out
    assert said.code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["segmnt"], "No such command 'segmnt'. .*'bigseg --help'"),
        (["segment"], "Missing argument 'IMAGE'; see 'bigseg segment --help'"),
        (["segment", "a.zarr"], "no model is chosen; give --model nuclei"),
        (["segment", "a.zarr", "--thickness", "3"], "No such option: --thickness"),
        (["segment", "a.zarr", "--workers", "0"], "Invalid value for '--workers'"),
        (["convert", "a.tif", "a.zarr", "--voxel-size", "big"], "--voxel-size is 'big', not numb"),
        (
            ["convert", "a.tif", "a.zarr", "--ngff", "0.3"],
            "Invalid value for '--ngff': '0.3' is not one of",
        ),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(
    bigseg: Bigseg, arguments: list[str], message: str
) -> None:
    said = bigseg(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert re.match(f"Error: {message}", said.err)


def test_convert_info_segment_status_and_evaluate(bigseg: Bigseg, image: Path) -> None:
    said = bigseg("segment", image, *SERIAL)
    assert said.code == 0
    assert "9 objects in" in said.out
    assert str(image / "labels" / "cells") in said.out
    assert "predict: done in" in said.err
    assert "labels      cells" in bigseg("info", image).out
    assert "finished" in bigseg("status", f"{image}.cells.bigseg").out
    scores = bigseg("evaluate", image / "labels" / "cells", image / "labels" / "cells")
    assert "9 objects predicted, 9 in the truth" in scores.out


def test_machines_get_one_json_object(bigseg: Bigseg, image: Path, tmp_path: Path) -> None:
    found = bigseg("segment", image, *SERIAL, "--json")
    assert found.err == ""
    assert found.json["objects"] == 9
    again = bigseg("run", found.json["run"], "--cluster", "serial", "--json")
    assert again.json["labels"] == found.json["labels"]
    assert bigseg("info", image, "--json").json["shape"] == [96, 96]
    steps = bigseg("status", found.json["run"], "--json").json["steps"]
    assert [step["left"] for step in steps] == [0] * len(steps)
    labels = found.json["labels"]
    assert bigseg("evaluate", labels, labels, "--json").json["average_precision"] == [1, 1, 1]
    made = bigseg("convert", tmp_path / "source.npy", tmp_path / "b.zarr", "--axes", "yx", "--json")
    assert made.json["shape"] == [96, 96]


def test_quiet_says_nothing(bigseg: Bigseg, image: Path) -> None:
    assert bigseg("segment", image, *SERIAL, "--quiet") == Said(0, "", "")


def test_options_win_over_the_file_of_settings(bigseg: Bigseg, image: Path, tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('model = "nuclei"\nmin_size = 7\nname = "small"\nblock = [48, 48]\n')
    said = bigseg("segment", image, "--config", config, "--min-size", 9, "--cluster", "serial")
    assert said.code == 0
    settings = open_run(f"{image}.small.bigseg").settings
    assert (settings["min_size"], settings["block"]) == (9, [48, 48])


def test_a_dry_run_shows_the_plan(bigseg: Bigseg, image: Path, tmp_path: Path) -> None:
    before = everything(tmp_path)
    said = bigseg("segment", image, *SERIAL, "--dry-run", "--json")
    row = next(step for step in said.json["steps"] if step["step"] == "label")
    assert (row["blocks"], row["block"], row["hours"]) == (4, [1, 1, 48, 48], None)
    assert "run folder" in bigseg("segment", image, *SERIAL, "--dry-run").out
    assert everything(tmp_path) == before


def test_single_blocks_run_without_a_cluster(
    bigseg: Bigseg, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = f"{image}.cells.bigseg"
    with monkeypatch.context() as patch:
        patch.setattr(label, "block", _broken)
        failed = bigseg("segment", image, *SERIAL, "--quiet")
    assert failed.code == 1
    assert "block(s) of stage 'label' failed" in failed.err
    assert f"'bigseg run {run}'" in failed.err
    assert bigseg("block", run, "--stage", "label", "--index", "1", "--json").json["number"] == 1
    assert "is done, in" in bigseg("block", run, "--stage", "label", "--index", "0-0-1-0").out
    assert "was done already" in bigseg("block", run, "--stage", "label", "--index", "1").out
    assert "has no block '4'" in bigseg("block", run, "--stage", "label", "--index", "4").err
    early = bigseg("block", run, "--stage", "write", "--index", "0")
    assert (early.code, "needs 'label', which is not finished" in early.err) == (1, True)
    assert bigseg("run", run, "--cluster", "serial", "--json").json["objects"] == 9


def _broken(spec: Any, block: Any, data: Any) -> Any:
    raise OSError("the disk is gone")


def test_a_block_that_fails_alone_fails_the_command(
    bigseg: Bigseg, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label, "block", _broken)
    bigseg("segment", image, *SERIAL, "--quiet")
    said = bigseg("block", f"{image}.cells.bigseg", "--stage", "label", "--index", "0")
    assert said.code == 1
    assert "the disk is gone" in said.err


def test_ctrl_c_is_one_line_that_says_how_to_go_on(
    bigseg: Bigseg, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(spec: Any, block: Any, data: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(label, "block", stop)
    said = bigseg("segment", image, *SERIAL, "--quiet")
    assert said.code == 130
    assert said.out == ""
    assert said.err == f"Interrupted. 'bigseg run {image}.cells.bigseg' continues.\n"


def test_ctrl_c_anywhere_else_is_one_line_too(
    bigseg: Bigseg, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(url: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("bigseg.io.info.info", stop)
    assert bigseg("info", image) == Said(130, "", "Interrupted.\n")


def test_debug_shows_the_traceback(image: Path) -> None:
    with pytest.raises(FileNotFoundError):
        main(["segment", f"{image}x", *SERIAL, "--debug"])


def test_what_nobody_foresaw_is_a_sentence_too(
    bigseg: Bigseg, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "plan_segment", lambda spec, url: 1 / 0)
    said = bigseg("segment", image, *SERIAL)
    message = "Error: ZeroDivisionError: division by zero (unexpected; --debug shows where).\n"
    assert said == Said(1, "", message)


def no_zarr(image: Path) -> None:
    for path in image.rglob("*"):
        if path.is_file():
            path.unlink()


def no_multiscales(image: Path) -> None:
    edit(image / "zarr.json", lambda content: content["attributes"]["ome"].pop("multiscales"))


def unknown_axes(image: Path) -> None:
    def rename(content: Any) -> None:
        content["attributes"]["ome"]["multiscales"][0]["axes"][0]["name"] = "angle"

    edit(image / "zarr.json", rename)


def missing_level(image: Path) -> None:
    (image / info(str(image)).levels[0].path / "zarr.json").unlink()


def wrong_type(name: str) -> Callable[[Path], None]:
    def change(image: Path) -> None:
        path = image / info(str(image)).levels[0].path / "zarr.json"
        edit(path, lambda content: content.update(data_type=name, fill_value=[0.0, 0.0]))

    return change


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_zarr, "{image} is not a zarr .*'bigseg convert' makes OME-Zarr"),
        (no_multiscales, "{image} .*multiscales"),
        (unknown_axes, "The axes of {image} are angle, x; bigseg needs y and x"),
        (missing_level, "{image} name level.* which are missing"),
        (wrong_type("complex64"), "{image}.* holds complex.*bigseg needs integers"),
    ],
)
def test_images_that_cannot_be_used_are_refused(
    bigseg: Bigseg, image: Path, tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(image)
    refuse(bigseg, tmp_path, message.format(image=image), "segment", image, *SERIAL)


def refuse(bigseg: Bigseg, folder: Path, message: str, *arguments: Any) -> None:
    """A command must fail with one sentence and leave everything as it is."""
    before = everything(folder)
    said = bigseg(*arguments)
    assert said.code == 1
    assert said.out == ""
    assert said.err.startswith("Error: ")
    assert said.err.count("\n") == 1
    assert re.search(message, said.err)
    assert everything(folder) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--channels", "3"), "has no channel '3'"),
        (("--channels", "GFP"), "has no channel 'GFP'; it has channels 0"),
        (("--level", "7"), "level 7"),
        (("--dims", "3d"), "has a single z plane, so --dims 3d is impossible"),
        (("--dims", "4d"), "'dims' is '4d'"),
        (("--block", "64"), "--block"),
        (("--block", "a,b"), "'block.0' is 'a'"),
        (("--percentiles", "9,2"), "must rise, between 0 and 100"),
        (("--cluster", "cloud"), "Cluster 'cloud' is unknown; use local, serial, threads"),
        (("--model", "cellls"), "Model 'cellls' is neither a file nor a model that bigseg knows"),
        (("--config", "none.toml"), "none.toml does not exist"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    bigseg: Bigseg, image: Path, tmp_path: Path, options: tuple[str, str], message: str
) -> None:
    refuse(bigseg, tmp_path, message, "segment", image, *SERIAL, *options)


def test_unknown_settings_in_a_file_are_refused_by_name(
    bigseg: Bigseg, image: Path, tmp_path: Path
) -> None:
    config = tmp_path / "run.toml"
    config.write_text("min_sise = 3\n")
    message = "'min_sise' is not a setting; the settings are image, .*min_size"
    refuse(bigseg, tmp_path, message, "segment", image, *SERIAL, "--config", config)
    config.write_text("min_size = = 3\n")
    refuse(bigseg, tmp_path, "not TOML", "segment", image, *SERIAL, "--config", config)


def test_weights_of_another_network_are_refused(
    bigseg: Bigseg, image: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "other.safetensors"
    save_file({"conv.weight": torch.zeros(3, 3)}, weights)
    options = ("--cluster", "serial", "--model", weights)
    refuse(bigseg, tmp_path, f"{weights} ", "segment", image, *options)
    weights.write_bytes(b"no weights at all")
    refuse(bigseg, tmp_path, f"{weights} is not a file of wei", "segment", image, *options)


def test_outputs_are_not_overwritten(bigseg: Bigseg, image: Path, tmp_path: Path) -> None:
    bigseg("segment", image, *SERIAL, "--quiet")
    refuse(bigseg, tmp_path, "is finished already, .*--overwrite", "segment", image, *SERIAL)
    assert bigseg("segment", image, *SERIAL, "--overwrite", "--quiet").code == 0
    source = tmp_path / "source.npy"
    refuse(bigseg, tmp_path, f"{image} exists already", "convert", source, image, "--axes", "yx")


def test_outputs_do_not_lie_in_the_arrays_of_the_input(
    bigseg: Bigseg, image: Path, tmp_path: Path
) -> None:
    inside = image / info(str(image)).levels[0].path / "out.zarr"
    message = "lies inside the image's array .* choose another"
    refuse(bigseg, tmp_path, message, "segment", image, inside, *SERIAL)
    refuse(bigseg, tmp_path, "would replace the image", "segment", image, image, *SERIAL)


def test_places_that_cannot_be_written_are_refused(
    bigseg: Bigseg, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()  # nothing can be stored below a file, whoever asks
    message = "file/out.zarr.* cannot be written"
    output = tmp_path / "file" / "out.zarr"
    refuse(bigseg, tmp_path, message, "segment", image, output, *SERIAL)


def test_an_image_without_a_number_is_refused(bigseg: Bigseg, tmp_path: Path) -> None:
    image = make_image(tmp_path, bigseg, np.full((32, 32), np.nan, np.float32))
    refuse(bigseg, tmp_path, "no finite value", "segment", image, *SERIAL, "--quiet")


def test_text_is_no_image(bigseg: Bigseg, tmp_path: Path) -> None:
    np.save(tmp_path / "text.npy", np.full((4, 4), "a"))
    message = "text.npy holds values of type <U1; bigseg needs integers"
    refuse(bigseg, tmp_path, message, "convert", tmp_path / "text.npy", tmp_path / "text.zarr")


@pytest.mark.parametrize("command", ["status", "run"])
def test_a_folder_that_is_no_run_is_refused(bigseg: Bigseg, tmp_path: Path, command: str) -> None:
    message = f"{tmp_path} is not a run: it has no run.json"
    refuse(bigseg, tmp_path, message, command, tmp_path)


def test_channels_go_by_name(bigseg: Bigseg, tmp_path: Path) -> None:
    image = make_image(tmp_path, bigseg, np.stack([np.zeros((96, 96), np.uint8), discs()]))
    assert bigseg("segment", image, *SERIAL, "--channels", "1", "--json").json["objects"] == 9


def test_old_ngff_can_be_made(bigseg: Bigseg, tmp_path: Path) -> None:
    image = make_image(tmp_path, bigseg, discs(), "--ngff", "0.4", "--voxel-size", "0.5,0.25")
    found = bigseg("info", image, "--json").json
    assert (found["ngff"], found["voxel_size"]) == ("0.4", {"y": 0.5, "x": 0.25})
    assert found["problems"] == []
