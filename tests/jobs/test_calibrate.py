"""Evidence is fitted to the edges of a run, and read back from its file."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bigseg.cli import main
from bigseg.core.evidence import Evidence
from bigseg.errors import BigsegError, ImageError, NotFound, SpecError
from bigseg.io.evidence import read_evidence, write_evidence
from bigseg.jobs.calibrate import calibrate
from bigseg.run.execute import ALONE, finish_step, run_step
from tests.worlds import Cut, balls, in_plane, plan_world


def merged_run(folder: Path, steps: tuple[str, ...] = ("label", "merge")) -> tuple[str, np.ndarray]:
    """Run over discs in small blocks, as far as its edges."""
    truth = in_plane(balls((160, 160), 50, (5, 9), seed=2))
    run = plan_world(str(folder), truth, Cut((1, 32, 32), (0, 8, 8), ndim=2))
    for name in steps:
        step = run.step(name)
        run_step(run, step, ALONE, listen=lambda _: None, tries=1)
        finish_step(run, step)
    return run.url, truth


def halves(truth: np.ndarray) -> np.ndarray:
    """Truth that has a left and a right half of each object."""
    found = 2 * truth.astype(np.uint32)
    columns = np.arange(truth.shape[-1])
    for number in np.unique(truth)[1:]:
        mask = truth == number
        found[mask & (columns > np.nonzero(mask)[-1].mean())] += 1
    return found


def test_edges_of_a_run_fit_evidence(tmp_path: Path) -> None:
    run, truth = merged_run(tmp_path)
    tifffile.imwrite(tmp_path / "truth.tif", halves(truth)[0, 0])
    found = calibrate(run, str(tmp_path / "truth.tif"))
    assert found.after.log_loss < found.before.log_loss
    assert 10 <= found.after.same <= found.after.edges - 10
    out = tmp_path / "evidence.json"
    with pytest.raises(SystemExit) as stopped:
        main(["calibrate", run, "--truth", str(tmp_path / "truth.tif"), "--out", str(out)])
    assert not stopped.value.code
    assert read_evidence(str(out)) == found.evidence
    assert "wrong edges" in found.text()
    assert json.dumps(found.as_dict())


def test_truth_that_leaves_nothing_in_doubt_fits_nothing(tmp_path: Path) -> None:
    run, truth = merged_run(tmp_path)
    tifffile.imwrite(tmp_path / "truth.tif", truth[0, 0].astype(np.uint16))
    with pytest.raises(BigsegError, match=r"edges join what is two in truth; at least 10"):
        calibrate(run, str(tmp_path / "truth.tif"))
    tifffile.imwrite(tmp_path / "small.tif", truth[0, 0, :9].astype(np.uint16))
    with pytest.raises(ImageError, match="give the truth of the same image and level"):
        calibrate(run, str(tmp_path / "small.tif"))


def test_a_run_without_edges_is_refused(tmp_path: Path) -> None:
    run, _ = merged_run(tmp_path, ("label",))
    with pytest.raises(SpecError, match="has not merged yet; 'bigseg run"):
        calibrate(run, str(tmp_path / "truth.tif"))


def test_files_that_are_no_evidence_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no evidence file"):
        read_evidence(str(tmp_path / "none.json"))
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(SpecError, match="is no evidence file; 'bigseg calibrate' makes one"):
        read_evidence(str(tmp_path / "list.json"))
    write_evidence(str(tmp_path / "good.json"), Evidence(bias=2))
    assert read_evidence(str(tmp_path / "good.json")) == Evidence(bias=2)
