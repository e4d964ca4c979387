"""The same run on a disk, in memory and in the buckets of all clouds; and what goes wrong there."""

import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zarr

from bigseg import files
from bigseg.errors import BigsegError
from bigseg.io import shards
from bigseg.io.create import create_image
from bigseg.io.plan import plan_image
from bigseg.io.store import open_array, open_store
from bigseg.io.tables import read_table
from bigseg.io.volume import Volume
from bigseg.jobs import segment as pipeline
from bigseg.nets import catalogue, weights
from tests.contracts.stores import CANARY, Store, store, web

SIDE = 96
BOX = (slice(0, 1), slice(0, 1), slice(0, SIDE), slice(0, SIDE))
MODEL = Path(__file__).parents[2] / "bigseg" / "models" / "nuclei.safetensors"


def discs() -> np.ndarray:
    """Nine bright discs on a dark, slightly noisy ground: (y, x) uint8."""
    y, x = np.mgrid[:SIDE, :SIDE]
    image = np.random.default_rng(0).integers(0, 12, (SIDE, SIDE))
    for centre in np.ndindex(3, 3):
        cy, cx = (16 + 32 * c for c in centre)
        image[(y - cy) ** 2 + (x - cx) ** 2 < 9**2] += 180
    return image.astype(np.uint8)


def make_image(url: str) -> str:
    create_image(plan_image(url, ("y", "x"), (SIDE, SIDE), "u1", (1.0, 1.0), (1, 64, 64)))
    for y in (0, 64):
        for x in (0, 64):
            box = (slice(0, 1), slice(0, 1), slice(y, min(y + 64, 96)), slice(x, min(x + 64, 96)))
            Volume.open(url).write(box, discs()[None, None, box[2], box[3]])
    return url


@dataclass(frozen=True)
class Made:
    """What a run makes."""

    labels: np.ndarray
    table: dict[str, np.ndarray]


def made(labels: str) -> Made:
    table = read_table(files.join(labels, "objects.parquet"))
    return Made(Volume.open(labels).read(BOX), table)


def assert_same(one: Made, other: Made) -> None:
    np.testing.assert_array_equal(one.labels, other.labels)
    assert one.table.keys() == other.table.keys()
    for name, column in one.table.items():
        np.testing.assert_array_equal(column, other.table[name])


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """What comes out on a disk."""
    folder = tmp_path_factory.mktemp("expected")
    image = make_image(str(folder / "image.zarr"))
    result = pipeline.segment(image, model="nuclei", block=(48, 48), cluster="serial")
    assert result.objects == 9
    return made(result.labels)


@pytest.fixture(scope="module", params=["local", "memory", "s3", "az", "gs"])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    with store(request.param, tmp_path_factory.mktemp(request.param)) as served:
        yield served


def test_image_run_labels_and_weights_may_be_in_one_bucket(place: Store, expected: Made) -> None:
    image = make_image(files.join(place.url, "whole", "image.zarr"))
    model = files.join(place.url, "weights", "mine.safetensors")
    files.put(model, MODEL.read_bytes())
    result = pipeline.segment(image, model=model, block=(48, 48), cluster="serial")
    assert result.labels == f"{image}/labels/cells"
    assert_same(made(result.labels), expected)
    assert files.names(result.run) == ["graph", "ledger", "report", "run.json", "tables"]


def test_a_killed_run_goes_on_in_a_bucket(place: Store, expected: Made) -> None:
    if not place.shared:
        pytest.skip("memory ends with its process")
    image = make_image(files.join(place.url, "killed", "image.zarr"))
    code = (
        "import os, signal, sys\n"
        "from bigseg.jobs import segment as pipeline\n"
        "from bigseg.events import BlockDone\n"
        "def listen(event):\n"
        "    if isinstance(event, BlockDone) and event.step == 'label':\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "pipeline.segment(sys.argv[1], model='nuclei', block=(48, 48), cluster='serial',"
        " listener=listen)\n"
    )
    driver = subprocess.run([sys.executable, "-c", code, image], check=False)
    assert driver.returncode == -9
    run = f"{image}.cells.bigseg"
    assert not files.exists(f"{image}/labels/cells/objects.parquet")
    before = {path for path in files.tree(f"{run}/ledger") if path.startswith("label")}
    assert before
    events: list[object] = []
    result = pipeline.resume(run, cluster="serial", listener=events.append)
    assert_same(made(result.labels), expected)
    assert sum(getattr(event, "step", "") == "predict" for event in events) <= 1  # it was finished


def test_one_of_many_is_told_that_it_did_it(place: Store) -> None:
    url = files.join(place.url, "claims", "a.json")
    with ThreadPoolExecutor(8) as pool:
        mine = list(pool.map(lambda i: files.create(url, b"%d" % i), range(16)))
        assert sum(mine) == 1
        old = files.get(url)
        assert old == b"%d" % mine.index(True)
        mine = list(pool.map(lambda i: files.replace(url, b"new %d" % i, old), range(16)))
        assert sum(mine) == 1
    assert files.get(url) == b"new %d" % mine.index(True)
    assert not files.replace(files.join(place.url, "claims", "none"), b"", b"")


def test_small_objects(place: Store) -> None:
    top = files.join(place.url, "small")
    assert files.names(top) == files.tree(top) == []
    for path in ("a/b/c", "a/d", "a.b", "e f"):
        files.put(files.join(top, path), path.encode())
    assert files.names(top) == ["a", "a.b", "e f"]
    assert files.tree(top) == ["a.b", "a/b/c", "a/d", "e f"]
    assert files.get(files.join(top, "e f")) == b"e f"
    assert files.size(files.join(top, "a.b")) == 3
    assert [files.exists(files.join(top, n)) for n in ("a", "a.b", "b")] == [True, True, False]
    with pytest.raises(FileNotFoundError):
        files.get(files.join(top, "b"))
    files.remove_all([files.join(top, path) for path in ("e f", "a/d")])
    files.remove(files.join(top, "a"))
    files.remove(files.join(top, "a"))
    assert files.tree(top) == ["a.b"]
    files.check_writable(files.join(top, "new", "folder"))
    assert files.names(files.join(top, "new")) == []


def test_stores_of_arrays_can_be_sent_to_workers(place: Store) -> None:
    url = files.join(place.url, "sent.zarr")
    create_image(plan_image(url, ("y", "x"), (8, 8), "u1", (1.0, 1.0), (1, 8, 8)))
    sent = pickle.dumps(open_array(files.join(url, "0")))
    secrets = [v for v in {**place.environment, **place.wrong}.values() if len(v) > 16]
    assert not [secret for secret in secrets if secret.encode() in sent]
    assert pickle.loads(sent)[:].sum() == 0
    assert pickle.loads(pickle.dumps(open_store(url))) == open_store(url)


def test_parts_of_shards_are_what_was_written(
    place: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "REQUEST", 100)  # bytes; so small a shard would be read whole
    monkeypatch.setattr(shards, "END", 0)
    url, numbers = files.join(place.url, "shards"), np.arange(4096, dtype=np.uint32).reshape(64, 64)
    made = zarr.create_array(
        open_store(url, read_only=False), shape=(64, 64), chunks=(8, 8), shards=(32, 64), dtype="u4"
    )
    made[:] = numbers
    array = open_array(url)
    for box in (np.s_[:9, :9], np.s_[3:60, 60:], np.s_[3:60, 60:], np.s_[:]):
        np.testing.assert_array_equal(array[box], numbers[box])
    made[:32] = 7
    np.testing.assert_array_equal(array[:9, :9], 7)


def test_wrong_credentials_are_a_sentence_without_them(
    place: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if not place.wrong:
        pytest.skip("needs no credentials")
    url = files.join(place.url, "a.json")
    files.put(url, b"")
    for name, value in place.wrong.items():
        monkeypatch.setenv(name, value)
    for action in (
        lambda: files.get(url), lambda: files.put(url, b""), lambda: files.names(place.url),
        lambda: files.create(url, b""), lambda: files.exists(url),
        lambda: pipeline.segment(f"{place.url}/image.zarr", model="nuclei"),
    ):  # fmt: skip
        with pytest.raises(BigsegError, match=r"Access to \S+ is denied .*credentials") as caught:
            action()
        chain = [caught.value, caught.value.__cause__]
        assert CANARY not in "".join(map(str, chain))
    said = capfd.readouterr()
    assert CANARY not in said.out + said.err


def test_a_bucket_that_is_not_there_is_a_sentence(place: Store) -> None:
    if not place.wrong:
        pytest.skip("has no buckets")
    url = place.url.replace("microscopy", "microscope") + "/a"
    for action in (lambda: files.get(url), lambda: files.put(url, b""), lambda: files.names(url)):
        with pytest.raises(BigsegError, match=r"The bucket of \S+ does not exist; check its name"):
            action()


def test_a_web_server_is_read(tmp_path: Path, expected: Made) -> None:
    make_image(str(tmp_path / "image.zarr"))
    shutil.copy(MODEL, tmp_path / "mine.safetensors")
    with web(tmp_path) as address:
        result = pipeline.segment(
            f"{address}/image.zarr", str(tmp_path / "out.zarr"),
            model=f"{address}/mine.safetensors", block=(48, 48), cluster="serial",
        )  # fmt: skip
        assert_same(made(result.labels), expected)
        with pytest.raises(BigsegError, match="cannot be listed, as HTTP has no folders"):
            files.names(address)
    assert os.path.isdir(result.run)


def test_fetched_models_may_lie_in_a_bucket(
    place: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BIGSEG_MODELS", files.join(place.url, "models"))
    assert catalogue.cached("cyto3") is None
    assert files.upload(MODEL, catalogue.place("cyto3"))
    assert not files.upload(MODEL, catalogue.place("cyto3"))
    assert weights.locate("cyto3") == files.join(place.url, "models", "cyto3")
    assert weights.digest("cyto3") == weights.digest(str(MODEL))
