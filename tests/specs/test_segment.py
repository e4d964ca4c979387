"""Settings are refused in a sentence that names them."""

from pathlib import Path
from typing import Any

import pytest

from bigseg.errors import NotFound, SpecError
from bigseg.specs.segment import parse, read_config

ENOUGH = {"image": "a.zarr", "model": "nuclei"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"diametre": 3}, "'diametre' is not a setting; the settings are image"),
        ({"diameter": -1}, "'diameter' is -1: Input should be greater than 0"),
        ({"percentiles": (99, 1)}, "percentiles .* must rise"),
        ({"block": (8, 8)}, "'block.*' is 8"),
        ({"dims": "4d"}, "'dims' is '4d'"),
        ({"name": "../up"}, "'name' is '../up'"),
    ],
)
def test_wrong_settings_are_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        parse({**ENOUGH, **values})


def test_the_model_is_needed() -> None:
    with pytest.raises(SpecError, match="'model' is missing"):
        parse({"image": "a.zarr"})


def test_results_lie_in_the_image_or_where_they_are_wanted() -> None:
    inside, beside = parse(ENOUGH), parse({**ENOUGH, "output": "b.zarr/"})
    assert (inside.target, inside.run) == ("a.zarr/labels/cells", "a.zarr.cells.bigseg")
    assert beside.run == "b.zarr.bigseg"


def test_configurations_are_toml(tmp_path: Path) -> None:
    good, bad = tmp_path / "run.toml", tmp_path / "bad.toml"
    good.write_text("min_size = 3\nblock = [64, 64]\n")
    bad.write_text("min_size: 3")
    assert read_config(str(good)) == {"min_size": 3, "block": [64, 64]}
    with pytest.raises(SpecError, match="is not TOML"):
        read_config(str(bad))
    with pytest.raises(NotFound, match="does not exist"):
        read_config(str(tmp_path / "none.toml"))
