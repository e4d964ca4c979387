"""Every code block of the documentation runs, in the order of its page; every link leads somewhere.

Blocks of `bash` and `python` run in a folder of the page's own that holds small cuts of the bundled
samples; python blocks of a page share their names. A block of `toml file=NAME` becomes that file.
`text output` must be what the shell block before it prints; other `text` is a picture. A block that
cannot run says why: `bash no-run="needs SLURM"`.

The tutorial runs as it is written, with Dask workers. Elsewhere, to be quick, lines that only call
bigseg run in this process, and segment without workers of their own.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tifffile

from bigseg.cli import main
from bigseg.io.convert import convert

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FENCE = re.compile(r"^```(.*?)\n(.*?)^```\s*$", re.M | re.S)
REASON = re.compile(r'no-run="[^"]{3,}"')
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
KNOWN = {"bash", "python", "toml", "text"}


@dataclass(frozen=True)
class CodeBlock:
    language: str
    info: str
    code: str
    line: int


def blocks(text: str) -> Iterator[CodeBlock]:
    for found in FENCE.finditer(text):
        language, _, info = found[1].strip().partition(" ")
        yield CodeBlock(language, info, found[2], text[: found.start()].count("\n") + 1)


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages call their images."""
    folder = tmp_path_factory.mktemp("samples")
    bundled = package_files("bigseg") / "samples"
    for name, source, cut in (
        ("nuclei", "nuclei2d", np.s_[256:528, :272]),
        ("embryo", "embryo3d", np.s_[24:34, 48:96, 48:96]),
    ):
        for end in ("", "_truth"):
            with (bundled / f"{source}{end}.tif").open("rb") as file:
                tifffile.imwrite(folder / f"{name}{end}.tif", tifffile.imread(file)[cut])
    plane = tifffile.imread(folder / "nuclei.tif")[:128, :128]
    (folder / "frames").mkdir()
    for t in range(3):
        tifffile.imwrite(folder / "frames" / f"t{t:03}.tif", np.roll(plane, 3 * t, axis=1))
    np.save(folder / "array.npy", np.stack([plane, plane[::-1]]))
    convert([str(folder / "nuclei.tif")], str(folder / "nuclei.zarr"), voxel_size=(0.5, 0.5))
    spacing = (1.75, 0.8, 0.8)
    embryo = str(folder / "embryo.zarr")
    convert([str(folder / "embryo.tif")], embryo, axes="zyx", voxel_size=spacing)
    convert([str(folder / "frames")], str(folder / "movie.zarr"), axes="tyx")
    return folder


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Environment of shell blocks: `bigseg` is this checkout's, `python` is the one that tests.

    There is no batch system: where one is installed that does not run, each question to it would
    wait ten seconds for an answer.
    """
    tools = tmp_path / "bin"
    tools.mkdir()
    command = f'#!/bin/sh\nexec "{sys.executable}" -c "from bigseg.cli import main; main()" "$@"\n'
    (tools / "bigseg").write_text(command)
    (tools / "bigseg").chmod(0o755)
    (tools / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tools / "python").chmod(0o755)
    for question in ("scontrol", "squeue"):
        (tools / question).write_text("#!/bin/sh\nexit 1\n")
        (tools / question).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.mark.parametrize(
    "page", [p for p in PAGES if FENCE.search(p.read_text("utf-8"))], ids=name_of
)
def test_blocks_of_a_page_run_in_order(
    page: Path,
    samples: Path,
    tmp_path: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "work"
    shutil.copytree(samples, folder)
    monkeypatch.chdir(folder)
    names: dict[str, object] = {"__name__": "__main__"}
    printed = ""
    for block in blocks(page.read_text("utf-8")):
        if "no-run" in block.info:
            continue
        place = f"{name_of(page)}:{block.line}"
        if block.language == "python":
            exec(compile("\n" * block.line + block.code, page, "exec"), names)
        elif block.language == "toml":
            Path(block.info.removeprefix("file=")).write_text(block.code)
        elif block.language == "bash" and page.parent.name != "tutorials" and is_plain(block.code):
            run_here(block.code, place)
        elif block.language == "bash":
            printed = run_shell(block.code, environment, place)
        elif block.info == "output":
            assert printed.strip() == block.code.strip(), f"{place} shows another output"


def lines_of(code: str) -> list[str]:
    """Lines of a shell block, continued ones joined."""
    return code.replace("\\\n", " ").strip().splitlines()


def is_plain(code: str) -> bool:
    """Whether a shell block only calls bigseg."""
    return not set("|;&<>$#") & set(code) and all(x.startswith("bigseg ") for x in lines_of(code))


CLUSTERED = ("segment", "run", "restore", "merge", "track")
"""Commands that would start workers."""


def run_here(code: str, place: str) -> None:
    for line in lines_of(code):
        arguments = shlex.split(line)[1:]
        if arguments[0] in CLUSTERED and "--cluster" not in arguments:
            arguments += ["--cluster", "serial"]
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not ended.value.code, f"{place} failed: {line}"


def run_shell(code: str, environment: dict[str, str], place: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, f"{place} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_runs_or_says_why_not(page: Path) -> None:
    for block in blocks(page.read_text("utf-8")):
        place = f"{name_of(page)}:{block.line}"
        assert block.language in KNOWN, f"{place} has no known language: '{block.language}'"
        if "no-run" in block.info:
            assert REASON.search(block.info), f"{place} does not run and does not say why"
        elif block.language == "toml":
            assert block.info.startswith("file="), f"{place} does not say which file it is"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text("utf-8")):
        if "://" in target:
            continue
        there = (page.parent / target).resolve()
        assert there.exists(), f"{name_of(page)} links to {target}, which does not exist"
        if anchor and there.suffix == ".md":
            assert anchor[1:] in anchors(there), f"{name_of(page)}: {target} has no {anchor}"


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as forges make them."""
    text = FENCE.sub("", page.read_text("utf-8"))
    heads = re.findall(r"^#+ (.*)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text("utf-8")
    listed = {(DOCS / target).resolve() for target, _ in LINK.findall(index)}
    assert [name_of(p) for p in PAGES if p.resolve() not in listed and p.parent != DOCS] == []


@pytest.fixture(scope="session")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_is_what_the_code_says(generate: ModuleType) -> None:
    assert generate.outdated() == [], "run python docs/generate.py"


def test_every_setting_and_command_is_explained(generate: ModuleType) -> None:
    for page, text in generate.pages().items():
        empty = [
            line for line in text.splitlines() if line.startswith("| `") and "|  |" in line[-5:]
        ]
        assert empty == [], f"{page.name} has rows without a word: {empty}"
