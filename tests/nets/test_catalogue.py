"""The table of published models, and where they lie once they are fetched."""

import re
from pathlib import Path

import pytest

from bigseg.nets import catalogue
from bigseg.nets.publication import Published
from bigseg.nets.published import BUNDLED, PUBLISHED
from bigseg.nets.tensors import read_tensors

ROWS = [pytest.param(model, id=name) for name, model in PUBLISHED.items()]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BIGSEG_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.mark.parametrize("model", ROWS)
def test_rows_are_complete(model: Published) -> None:
    assert model.purpose
    assert model.licence.startswith("BSD-3-Clause")
    assert model.diameter in (17.0, 30.0)
    assert ("nuclei" in model.name) == (model.diameter == 17.0)
    assert model.sha256 is None or re.fullmatch("[0-9a-f]{64}", model.sha256)
    assert (model.sha256 is None) == (model.bytes is None)
    assert model.archive is not None or model.source.startswith("https://")
    assert model.size_model is None or model.size_model in PUBLISHED
    assert re.fullmatch(r"[\w-]+", model.name), "names are file names, and globs"


def test_no_two_rows_are_the_same_file() -> None:
    origins = [model.origin for model in PUBLISHED.values()]
    assert len(set(origins)) == len(origins)


def test_every_published_kind_is_there() -> None:
    kinds = {"denoise", "deblur", "upsample", "oneclick"}
    restoring = {f"{kind}_{what}" for kind in kinds for what in ("cyto3", "cyto2", "nuclei")}
    segmenting = {"cpsam", "cpsam_v2", "cyto", "cyto2", "cyto3", "cellpose_nuclei"}
    segmenting |= {"cpdino", "cpdino-vitb", "transformer_cp3", "neurips_cellpose_transformer"}
    scellseg = {"scellseg", "scellseg_cellpose", "scellseg_hover"}
    assert restoring | segmenting | scellseg <= PUBLISHED.keys()


def test_the_bundled_model_is_what_the_table_says() -> None:
    path = Path(catalogue.__file__).parents[2] / BUNDLED.source
    assert path.stat().st_size == BUNDLED.bytes
    assert read_tensors(str(path))["diam_mean"].item() == pytest.approx(BUNDLED.diameter, abs=0.1)
    assert BUNDLED.name not in PUBLISHED


def test_only_what_was_fetched_is_in_the_cache(cache: Path) -> None:
    assert catalogue.cached("cyto3") is None
    cache.mkdir()
    (cache / "cyto3").write_bytes(b"weights")
    (cache / "other").write_bytes(b"weights")
    assert catalogue.cached("cyto3") == str(cache / "cyto3")
    assert catalogue.cached("other") is None


def test_the_cache_may_be_a_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGSEG_MODELS", "s3://lab/models/")
    assert catalogue.place("cyto3") == "s3://lab/models/cyto3"


def test_the_cache_is_this_users_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIGSEG_MODELS", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    for platform, folder in (("linux", ".cache"), ("darwin", "Library/Caches")):
        monkeypatch.setattr("sys.platform", platform)
        assert catalogue.cache() == str(tmp_path / folder / "bigseg" / "models")


def test_the_way_to_fetch_is_a_sentence(cache: Path) -> None:
    sentence = catalogue.how_to_fetch("cyto3")
    assert "'bigseg models fetch cyto3' downloads it" in sentence
    assert str(cache) in sentence
