"""bigseg models, as people and scripts meet it."""

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner, Result

from bigseg.cli import models
from bigseg.errors import NotFound, WeightsError
from bigseg.nets.published import BUNDLED, PUBLISHED

app = typer.Typer()
app.add_typer(models.app, name="models")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BIGSEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path / "models"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save({"x": torch.zeros(20_000)}, tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def worked(*arguments: object) -> str:
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_without_a_command_models_are_listed() -> None:
    text = worked()
    assert text == worked("list")
    for name in (BUNDLED.name, *PUBLISHED):
        assert f" {name} " in text
    head = text.splitlines()[0].split("  ")
    assert [word.strip() for word in head if word.strip()] == [
        "name",
        "what for",
        "size",
        "diameter",
        "licence",
        "source",
    ]
    cyto3 = next(line for line in text.splitlines() if " cyto3 " in line)
    assert "26.6 MB" in cyto3
    assert "30 px" in cyto3
    assert "BSD-3-Clause †" in cyto3
    assert "https://www.cellpose.org/models/cyto3" in cyto3


@pytest.mark.parametrize("arguments", [("--json",), ("list", "--json")])
def test_the_list_is_for_machines_too(cache: Path, arguments: tuple[str, ...]) -> None:
    found = json.loads(worked(*arguments))
    assert found["cache"] == str(cache)
    rows = {row["name"]: row for row in found["models"]}
    assert rows.keys() == {BUNDLED.name, *PUBLISHED}
    assert rows["cyto3"]["size_model"] == "size_cyto3"
    assert [name for name, row in rows.items() if row["here"]] == [BUNDLED.name]


def test_quiet_lists_nothing() -> None:
    assert worked("--quiet") == worked("list", "-q") == ""


def test_what_was_fetched_is_marked_and_its_size_known(weights: Path) -> None:
    assert "cyto2: fetched to" in worked("fetch", "cyto2", "--from", weights)
    rows = {row["name"]: row for row in json.loads(worked("--json"))["models"]}
    assert rows["cyto2"]["here"]
    assert rows["cyto2"]["bytes"] == weights.stat().st_size
    lines = worked().splitlines()
    assert [line.split()[1] for line in lines if line.startswith("* ")][:2] == ["nuclei", "cyto2"]
    assert "cyto2: is already at" in worked("fetch", "cyto2")


def test_what_is_fetched_is_told_to_machines(cache: Path, weights: Path) -> None:
    found = json.loads(worked("fetch", "cyto2", "--from", weights, "--json"))["models"]
    assert [(one["name"], one["url"], one["new"]) for one in found] == [
        ("cyto2", str(cache / "cyto2"), True)
    ]


def test_a_wrong_name_is_refused_before_anything_is_fetched(cache: Path, weights: Path) -> None:
    result = call("fetch", "cyto2", "cyto9", "--from", weights)
    assert isinstance(result.exception, NotFound)
    assert "No model 'cyto9' is published" in str(result.exception)
    assert not cache.exists()


def test_another_file_than_the_published_is_refused(weights: Path) -> None:
    result = call("fetch", "cyto3", "--from", weights)
    assert isinstance(result.exception, WeightsError)
    assert "and 26,566,255 are published" in str(result.exception)


@pytest.mark.parametrize("command", [(), ("list",), ("fetch",)])
def test_help_ends_with_examples(command: tuple[str, ...]) -> None:
    text = worked(*command, "--help")
    assert f"bigseg models {' '.join(command)}".strip() in text[text.index("Examples") :]


def test_sizes_are_for_people() -> None:
    assert models.megabytes(1_233_586_851) == "1233.6 MB"
    assert models.megabytes(3_627) == "3.6 kB"
