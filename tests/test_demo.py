"""The demo: its images are what they are said to be, and its page shows what was found."""

from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files as package_files
from pathlib import Path

import numpy as np
import pytest
import tifffile

from bigseg import demo
from bigseg.core.tiles import Tiling
from bigseg.errors import OutputExists, SpecError
from bigseg.events import BlockDone, Event
from bigseg.io.info import info

SAMPLES = Path(str(package_files("bigseg") / "samples"))


class Links(HTMLParser):
    """What a page leads to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found |= {value for name, value in attrs if name in ("href", "src") and value}


@pytest.mark.parametrize(
    ("name", "shape", "count"), [("nuclei2d", (1024, 1024), 609), ("embryo3d", (51, 132, 134), 26)]
)
def test_samples_are_what_their_readme_says(name: str, shape: tuple[int, ...], count: int) -> None:
    image, truth = (tifffile.imread(SAMPLES / f"{name}{end}.tif") for end in ("", "_truth"))
    assert image.shape == truth.shape == shape
    assert np.unique(truth).tolist() == list(range(count + 1))
    assert str(count) in (SAMPLES / "README.md").read_text()


def test_samples_are_small() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.iterdir()) < 2_000_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[demo.Demo, list[Event]]:
    """The demo, on a quarter of the 2D sample and without processes of its own."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        sources = folder / "package" / "samples"
        sources.mkdir(parents=True)
        sources.joinpath("index.html").write_text((SAMPLES / "index.html").read_text())
        for end in ("", "_truth"):
            pixels = tifffile.imread(SAMPLES / f"nuclei2d{end}.tif")[:256, :256]
            tifffile.imwrite(sources / f"nuclei2d{end}.tif", pixels)
        patch.setattr(demo, "package_files", lambda package: folder / "package")
        patch.setattr(demo, "SAMPLES", (replace(demo.SAMPLES[0], block=(128, 128)),))
        patch.setattr(demo, "CLUSTER", "serial")
        patch.setattr("bigseg.plans.lattice.TILINGS", {2: Tiling(288, 16)})
        events: list[Event] = []
        return demo.run(str(folder / "demo"), listener=events.append), events


def test_it_runs_block_by_block(made: tuple[demo.Demo, list[Event]]) -> None:
    done = [event for event in made[1] if isinstance(event, BlockDone) and event.step == "label"]
    assert len(done) == made[0].outcomes[0].blocks == 4


def test_it_finds_most_nuclei(made: tuple[demo.Demo, list[Event]]) -> None:
    assert made[0].outcomes[0].average_precision > 0.5


def test_the_page_leads_only_to_what_is_there(made: tuple[demo.Demo, list[Event]]) -> None:
    page = Path(made[0].page)
    links = Links()
    links.feed(page.read_text())
    assert len(links.found) == 2
    assert all((page.parent / link).is_file() for link in links.found)
    assert "$" not in page.read_text()


def test_report_and_page_show_the_scores(made: tuple[demo.Demo, list[Event]]) -> None:
    outcome = made[0].outcomes[0]
    score = f"{outcome.average_precision:.3f}"
    assert score in Path(made[0].page).read_text()
    assert score in Path(outcome.report).read_text()


def test_it_says_how_to_go_on(made: tuple[demo.Demo, list[Event]]) -> None:
    text = made[0].text()
    assert made[0].page in text
    assert made[0].outcomes[0].labels in text
    assert "bigseg segment your.zarr --model nuclei" in text


def test_its_image_is_valid_and_has_the_labels(made: tuple[demo.Demo, list[Event]]) -> None:
    found = info(made[0].outcomes[0].image)
    assert found.labels == ("cells",)
    assert found.problems == ()


def test_it_keeps_out_of_folders_of_others(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputExists, match=r"holds other things \(thesis.txt\)"):
        demo.run(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_it_wants_a_folder_on_this_machine() -> None:
    with pytest.raises(SpecError, match="memory://demo is not on this machine"):
        demo.run("memory://demo")


def test_outlines_run_around_every_object() -> None:
    ids = np.zeros((5, 5), np.uint8)
    ids[1:4, 1:4] = 1
    drawn = (demo.outlined(ids * 10, ids) == demo.COLOUR).all(axis=2)
    assert drawn.sum() == 8
    assert not drawn[2, 2]
