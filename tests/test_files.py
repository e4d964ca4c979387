"""Small objects: the same on disk and in a bucket."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bigseg import files


@pytest.fixture(params=["local", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {
        "local": str(tmp_path),
        "file": f"file://{tmp_path}",
        "memory": f"memory://{tmp_path.parent.name}/{tmp_path.name}",
    }[request.param]


def test_put_get_list_remove(folder: str) -> None:
    url = files.join(folder, "a", "b.json")
    assert not files.exists(url)
    assert files.names(files.join(folder, "a")) == []
    files.put(url, b"1")
    files.put(url, b"2")
    assert files.get(url) == b"2"
    assert files.exists(url)
    assert files.names(folder) == ["a"]
    assert files.names(files.join(folder, "a")) == ["b.json"]
    files.remove(url)
    assert not files.exists(url)


def test_folders_are_removed_whole(folder: str) -> None:
    for name in ("x", "y/z"):
        files.put(files.join(folder, "a", name), b"1")
    files.remove(files.join(folder, "a"))
    files.remove(files.join(folder, "a"))
    assert not files.exists(files.join(folder, "a", "y", "z"))


def test_missing_objects_are_not_found(folder: str) -> None:
    with pytest.raises(FileNotFoundError):
        files.get(files.join(folder, "gone"))


def test_a_failed_put_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = str(tmp_path / "a.json")
    files.put(url, b"old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        files.put(url, b"new")
    assert files.get(url) == b"old"
    assert files.names(str(tmp_path)) == os.listdir(tmp_path) == ["a.json"]


def test_readers_never_see_a_part(tmp_path: Path) -> None:
    url = str(tmp_path / "a")
    contents = {bytes([i]) * 100_000 for i in range(8)}
    files.put(url, min(contents))
    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(files.put, url, content) for content in sorted(contents) * 3]
        while not all(write.done() for write in writes):
            assert files.get(url) in contents


def test_writable_places(folder: str) -> None:
    files.check_writable(files.join(folder, "new", "deep"))
    assert files.names(folder) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(files.Unreachable, match=r"file/a cannot be written .*choose another"):
        files.check_writable(str(tmp_path / "file" / "a"))
    with pytest.raises(files.Unreachable, match=r"/proc/a cannot be written"):
        files.check_writable("/proc/a")


def test_unfinished_parts_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / ".a.123.part").touch()
    assert files.names(str(tmp_path)) == []


def test_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert files.absolute("a/../b") == str(tmp_path / "b")
    assert files.absolute("s3://bucket/a/") == "s3://bucket/a"
    assert files.join("s3://bucket/", "a", "b") == "s3://bucket/a/b"
    assert [files.protocol(u) for u in ("/a", "file:///a", "s3://a", "memory://a")] == [
        "file", "file", "s3", "memory",
    ]  # fmt: skip


def test_unreachable_places_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(files.Unreachable, match="nowhere://a cannot be opened: Protocol not known"):
        files.get("nowhere://a")
    with pytest.raises(files.Unreachable, match="check the address and the credentials"):
        files.get("http://127.0.0.1:9/a")
    monkeypatch.setitem(__import__("sys").modules, "gcsfs", None)
    with pytest.raises(files.Unreachable, match=r"needs a package .* pip install 'bigseg\[gcs\]'"):
        files.get("gs://bucket/a")


@pytest.mark.parametrize(
    ("url", "start", "path"),
    [
        ("/data/embryo.zarr", "/data/embryo.zarr/labels/cells", "../../"),
        ("/data/embryo.zarr", "/data/result.zarr", "../embryo.zarr"),
        ("s3://bucket/embryo.zarr", "s3://bucket/out/result.zarr", "../../embryo.zarr"),
        ("s3://bucket/embryo.zarr", "/data/result.zarr", "s3://bucket/embryo.zarr"),
    ],
)
def test_a_source_is_named_relative_where_that_is_possible(url: str, start: str, path: str) -> None:
    assert files.relative(url, start) == path
