"""Functions are found by name, here and in workers, and what they say of themselves is checked."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bigseg.errors import NotFound, SpecError, WeightsError
from bigseg.nets import network, weights
from bigseg.nets.functions import is_function, load_function, name_of, source_digest
from bigseg.plans.segment import describe_models
from bigseg.specs.segment import parse
from tests import models


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write modules into the current folder; each has a name of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(source: str) -> str:
        name = f"mine_{abs(hash((str(tmp_path), source)))}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return write


@pytest.mark.parametrize("model", ["a:b", "a.b.c:d", "_a:b_1", "tests.models:flows"])
def test_functions_are_told_from_files(model: str) -> None:
    assert is_function(model)


@pytest.mark.parametrize(
    "model", ["nuclei", "a/b:c", "s3://bucket/key", "a.pt", "C:\\a", "a:b.c", "a::b", "1a:b", ":b"]
)
def test_files_are_told_from_functions(model: str) -> None:
    assert not is_function(model)


def test_a_function_goes_by_its_name() -> None:
    assert name_of(models.flows) == "tests.models:flows"
    assert load_function("tests.models:flows") is models.flows


def nested() -> Callable[..., Any]:
    def inside(tiles: Any) -> Any:
        return tiles

    return inside


def of_a_session(tiles: Any) -> Any:
    return tiles


@pytest.mark.parametrize("function", [nested(), lambda x: x, np.random.default_rng(0).random])
def test_a_function_without_a_place_is_refused(function: Any) -> None:
    with pytest.raises(SpecError, match=r"cannot be found by workers: put it at the top of a"):
        name_of(function)


def test_a_function_of_a_session_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(of_a_session, "__module__", "__main__")
    with pytest.raises(SpecError, match="cannot be found by workers"):
        name_of(of_a_session)


def test_a_function_that_lost_its_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nested, "__module__", "tests.models")
    with pytest.raises(SpecError, match=r"not what workers would find as tests\.models:nested"):
        name_of(nested)


def test_a_module_beside_the_data_is_found(written: Callable[[str], str]) -> None:
    module = written("def double(tiles):\n    return 2 * tiles\n")
    assert load_function(f"{module}:double")(3) == 6


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import there_is_no_such_module\n", r"cannot be imported \(ModuleNotFoundError: No mod"),
        ("def f(:\n", r"cannot be imported \(SyntaxError: "),
        ("1 / 0\n", r"cannot be imported \(ZeroDivisionError: division by zero\)"),
        ("f = 3\n", "has no function 'f'"),
        ("g = 3\n", "has no function 'f'"),
    ],
)
def test_a_module_that_does_not_give_it_is_named(
    written: Callable[[str], str], source: str, message: str
) -> None:
    module = written(source)
    with pytest.raises(NotFound, match=f"Model '{module}:f': module '{module}' {message}"):
        load_function(f"{module}:f")


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFound, match=r"no_such_module:f'.*see that it is installed, or start"):
        weights.describe("no_such_module:f")


def test_another_source_is_another_model(written: Callable[[str], str]) -> None:
    one, other = (written(f"def f(x):\n    return x + {n}\n") for n in (1, 2))
    assert source_digest(f"{one}:f") != source_digest(f"{other}:f")
    assert source_digest(f"{one}:f") == weights.digest(f"{one}:f")


def test_whatever_can_be_called_has_a_digest() -> None:
    digests = {source_digest(m) for m in ("tests.models:made", "tests.models:flows", "math:sin")}
    assert {len(digest) for digest in digests} == {64}
    assert len(digests) == 3


def test_the_module_of_a_function_that_is_only_lent_counts_too(
    written: Callable[[str], str],
) -> None:
    one, other = (written(f"def f(x):\n    return x + {n}\n") for n in (3, 4))
    lent = written(f"from {one} import f\n")
    before = source_digest(f"{lent}:f")
    Path(f"{one}.py").write_text(Path(f"{other}.py").read_text())
    assert source_digest(f"{lent}:f") != before


def test_a_function_that_says_nothing_makes_flows_of_images_as_they_are() -> None:
    known = weights.describe("tests.models:flows")
    assert (known.kind, known.representation, known.outputs) == ("function", "flows", 3)
    assert (known.diameter, known.tile, known.channels) == (0.0, None, 64)


def test_a_function_says_what_it_makes() -> None:
    assert weights.describe("tests.models:two").representation == "borders"
    assert weights.describe("tests.models:three").outputs == 3
    assert weights.describe("tests.models:flows_three_classes").outputs == 6
    assert weights.describe("tests.models:square").tile == 64
    assert weights.describe("tests.models:flows", "hover").representation == "hover"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("circles", "its representation is 'circles'; it must be one of flows, hover, borders"),
        ("worded", "its tile is 'large'; it must be a number from 64 on"),
    ],
)
def test_what_a_function_says_wrongly_is_refused(name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=f"Model 'tests.models:{name}' says that {message}"):
        describe_models(parse({"image": "i.zarr", "model": f"tests.models:{name}"}))


def test_what_a_function_gives_is_a_copy_of_checked_maps() -> None:
    tiles = np.zeros((1, 3, 16, 16))
    name = "tests.models:flows"
    found = network.load(name, weights.digest(name))(tiles)
    assert found.dtype == np.float32
    assert not np.shares_memory(found, tiles)
    with pytest.raises(WeightsError, match=r"shape \(1, 2, 16, 16\) of tiles .*\(1, 3, 16, 16\)"):
        network.load(name, weights.digest(name))(tiles[:, :2])


def test_a_function_that_changed_since_the_run_was_planned_is_refused() -> None:
    with pytest.raises(WeightsError, match="has changed since the run was planned"):
        network.load("tests.models:flows", "0" * 64)
