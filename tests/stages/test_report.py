"""One page says what a run did, whatever the image and however far the run got."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from bigseg import files
from bigseg.errors import NotFound
from bigseg.io.scratch import scratch
from bigseg.io.volume import Volume
from bigseg.run.execute import ALONE, run_steps
from bigseg.run.folder import Run, make_steps, open_run
from bigseg.run.ledger import Ledger
from bigseg.specs.segment import SegmentSpec
from bigseg.stages import graph, label, report, seams
from bigseg.stages.evaluate import evaluate, remember
from bigseg.stages.normalize import ranges_url
from tests.worlds import Cut, balls, make_image, plan_world

VOID = {"meta", "img", "link", "br"}


class Checker(HTMLParser):
    """Refuses tags that are not closed, and keeps what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def reported(folder: Path, truth: Any, cut: Cut, axes: str, **settings: Any) -> str:
    """Run a world with a report; its page."""
    run = with_report(folder, truth, cut, axes, **settings)
    if "channels" not in settings:
        brighten(f"{folder}/image.zarr", truth)
    run_steps(run, ALONE)
    return page_of(run.url)


def with_report(folder: Path, truth: Any, cut: Cut, axes: str, **settings: Any) -> Run:
    run = plan_world(str(folder), truth, cut, axes)
    labelled = run.step("label").spec
    assert isinstance(labelled, label.Spec)
    values = {"image": f"{folder}/image.zarr", "output": f"{folder}/labels.zarr", "model": "nuclei"}
    spec = report.Spec(
        run=run.url,
        settings=SegmentSpec(**(values | settings)),
        channels=settings.get("channels", (0,)),
        opinions=labelled,
    )
    steps = [(s.name, s.stage, s.spec) for s in run.steps]
    planned = Run(run.url, "1.2.3", {}, make_steps([*steps, ("report", "report", spec)]))
    planned.save()
    frames = [[[0.0, 200.0]] * len(settings.get("channels", (0,)))]
    files.put(ranges_url(run.url), json.dumps(frames).encode())
    return planned


def brighten(image: str, truth: Any) -> None:
    volume = Volume.open(image)
    t, _, z, y, x = volume.shape
    volume.write(tuple(slice(0, n) for n in (t, z, y, x)), (truth > 0).astype(np.uint8) * 180)


def page_of(run: str) -> str:
    text = Path(report.url(run)).read_text()
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert all(link.startswith("data:image/png;base64,") for link in checker.links)
    assert "http" not in text
    assert "url(" not in text
    assert len(text) < 4_000_000
    return text


def pictures(page: str) -> list[PIL.Image.Image]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    return [PIL.Image.open(io.BytesIO(base64.b64decode(data))) for data in found]


def test_a_volume_is_shown_in_all_three_planes_with_its_seams(tmp_path: Path) -> None:
    truth = balls((1, 24, 64, 64), 40, (5, 7), seed=1)
    page = reported(tmp_path, truth, Cut((16, 32, 32), (12, 12, 12)), "zyx", min_size=20)
    for words in ("XY at z = ", "XZ at y = ", "YZ at x = ", "Block seams", "volumes (3D)"):
        assert words in page
    assert "objects (" in page
    assert "lie across the faces of the 8 blocks" in page
    assert re.search(r"<td>min_size</td><td>20</td><td>15</td>", page)
    assert "No block failed." in page
    assert "bigseg 1.2.3" in page
    shown = pictures(page)
    assert len(shown) == 2 * 5 + 1
    assert max(picture.width for picture in shown) <= 900
    assert all(len(picture.convert("RGB").getcolors(1 << 24) or []) > 2 for picture in shown)


def test_a_large_plane_has_an_overview_and_details(tmp_path: Path) -> None:
    truth = balls((1, 1, 700, 650), 120, (8, 14), seed=2)
    page = reported(tmp_path, truth, Cut((1, 256, 256), (0, 40, 40), ndim=2), "yx")
    assert page.count("Detail, y") == 2 * 3 + 3
    assert "Overview, y 0 to 700, x 0 to 650" in page
    assert "XY at" not in page
    assert "median size" in page


def test_frames_of_a_series_and_several_channels(tmp_path: Path) -> None:
    truth = np.concatenate([balls((1, 1, 48, 48), 6, (5, 7), seed=seed) for seed in range(5)])
    image = make_image(
        f"{tmp_path}/two.zarr", np.repeat(truth[:, None, 0] * 20, 2, 1).astype(np.uint8), "tcyx"
    )
    cut = Cut((1, 48, 48), (0, 0, 0), ndim=2)
    page = reported(tmp_path, truth, cut, "tyx", image=image.image.url, channels=(0, 1))
    for frame in (0, 2, 4):
        assert f"frame {frame}, y 0 to 48" in page
    assert "frame 1," not in page
    assert "t, c, y, x: 5 × 2 × 48 × 48" in page


def test_a_stack_of_planes_and_a_series_of_volumes(tmp_path: Path) -> None:
    truth = np.concatenate([balls((1, 1, 48, 48), 6, (5, 7), seed=s) for s in range(6)], axis=1)
    cut = Cut((1, 48, 48), (0, 0, 0), ndim=2)
    stack = reported(tmp_path / "stack", truth, cut, "zyx")
    assert stack.count('<p class="note">Detail, XY at z = ') == 3
    assert "planes (2D)" in stack
    series = balls((2, 16, 32, 32), 0, (5, 6), seed=1)
    for frame in (0, 1):
        series[frame] = balls((16, 32, 32), 4, (5, 6), seed=frame)
    volumes = reported(tmp_path / "series", series, Cut((16, 32, 32), (0, 0, 0)), "tzyx")
    for frame in (0, 1):
        for plane in ("XY at z", "XZ at y", "YZ at x"):
            assert f"frame {frame}, {plane} = " in volumes


def test_nothing_found_is_said(tmp_path: Path) -> None:
    page = reported(
        tmp_path, np.zeros((1, 8, 32, 32), np.uint32), Cut((8, 32, 32), (0,) * 3), "zyx"
    )
    assert "<b>0</b><span>objects</span>" in page
    assert "The image is a single block." in page
    assert len(pictures(page)) == 6


def test_scores_and_truth_appear_when_the_page_is_renewed(tmp_path: Path) -> None:
    truth = balls((1, 1, 64, 64), 8, (6, 8), seed=3)
    page = reported(tmp_path, truth, Cut((1, 64, 64), (0, 0, 0), ndim=2), "yx")
    assert "Against the truth" not in page
    np.save(tmp_path / "truth.npy", truth[0, 0])
    run = f"{tmp_path}/run.bigseg"
    found = evaluate(f"{tmp_path}/labels.zarr", str(tmp_path / "truth.npy"), workers=1)
    remember(run, found)
    assert report.renew(run) == report.url(run)
    page = page_of(run)
    assert f"<td>{found.average_precision[0]:.3f}</td>" in page
    assert page.count("<figcaption>Truth</figcaption>") == 1
    (tmp_path / "truth.npy").unlink()
    report.renew(run)
    assert page_of(run).count("<figcaption>Truth</figcaption>") == 0


def test_a_run_that_failed_can_be_reported_on(tmp_path: Path) -> None:
    truth = balls((1, 1, 64, 64), 8, (6, 8), seed=3)
    run = with_report(tmp_path, truth, Cut((1, 64, 64), (0, 0, 0), ndim=2), "yx")
    ledger = Ledger.of(run, run.step("label"))
    ledger.fail(0, "Voxels <here> cannot be read.", "")
    page = page_of(report.renew(run.url).removesuffix("/report/report.html"))
    assert "1 blocks are not done." in page
    assert "Voxels &lt;here&gt; cannot be read." in page
    assert "The run has not written its labels." in page


def test_only_what_is_shown_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = balls((1, 1, 700, 650), 60, (8, 14), seed=2)
    reported(tmp_path, truth, Cut((1, 256, 256), (0, 40, 40), ndim=2), "yx")
    monkeypatch.setattr("bigseg.view.planes.OVERVIEW", 100)
    monkeypatch.setattr("bigseg.view.planes.SEAMS", 100)
    inner, longest = Volume.read, []

    def read(self: Volume, box: Any, *args: Any) -> Any:
        longest.append(max(s.stop - s.start for s in box))
        return inner(self, box, *args)

    monkeypatch.setattr(Volume, "read", read)
    report.renew(f"{tmp_path}/run.bigseg")
    assert max(longest) == 320


def test_names_are_shown_as_text(tmp_path: Path) -> None:
    truth = np.zeros((1, 1, 32, 32), np.uint32)
    folder = tmp_path / "a<b>&c"
    page = reported(folder, truth, Cut((1, 32, 32), (0,) * 3, ndim=2), "yx")
    assert "a&lt;b&gt;&amp;c" in page


def test_a_run_without_a_report_is_refused(tmp_path: Path) -> None:
    run = plan_world(
        str(tmp_path), np.zeros((1, 1, 32, 32), np.uint32), Cut((1,) * 3, (0,) * 3), "yx"
    )
    with pytest.raises(NotFound, match="has no step that reports"):
        report.renew(run.url)
    assert open_run(run.url).version == "test"


@pytest.mark.parametrize("ndim", [2, 3])
def test_faces_and_the_pairs_that_are_least_sure_are_shown(tmp_path: Path, ndim: int) -> None:
    shape = (1, 32, 32, 48) if ndim == 3 else (1, 1, 64, 64)
    truth = balls(shape, 20, (5, 7), seed=4)
    cut = Cut((16, 16, 24), (8, 8, 8)) if ndim == 3 else Cut((1, 32, 32), (0, 12, 12), ndim=2)
    run = with_report(tmp_path, truth, cut, "zyx" if ndim == 3 else "yx")
    brighten(f"{tmp_path}/image.zarr", truth)
    run_steps(run, ALONE)
    assert "Seams in numbers" not in page_of(run.url), "the run does not look at them"
    seen = with_seams(run)
    undo(run.url)
    run_steps(seen, ALONE)
    page = page_of(run.url)
    assert "Blocks touch over" in page
    assert f"faces ({4 + 4 + 4 if ndim == 3 else 4})" in page
    assert "kept apart" in page
    assert "against it" in page
    assert page.count("<figcaption>What both blocks said</figcaption>") >= 2
    assert "Certificate" in page


def with_seams(run: Run) -> Run:
    """The run with a step that looks at faces before the report."""
    joined, labelled = run.step("components").spec, run.step("label").spec
    steps = [(s.name, s.stage, s.spec) for s in run.steps]
    steps.insert(-1, ("seams", "seams", seams.Spec(joined=joined, opinions=labelled)))
    seen = Run(run.url, run.version, {}, make_steps(steps))
    seen.save()
    return seen


def undo(run: str) -> None:
    """Give every object of every block an id of its own."""
    ids = scratch(graph.ids_url(run))
    ids[:] = np.arange(1, ids.shape[0] + 1)
