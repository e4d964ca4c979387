"""Small objects: the same on disk and in a bucket."""

import errno
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bigseg import files


@pytest.fixture(params=["local", "file", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    return {
        "local": str(tmp_path),
        "file": f"file://{tmp_path}",
        "memory": f"memory://{tmp_path.parent.name}/{tmp_path.name}",
    }[request.param]


@pytest.fixture(scope="module")
def bucket(new_bucket: Callable[[str], str]) -> str:
    return new_bucket("small-objects")


def test_one_of_many_creates_an_object(folder: str) -> None:
    url = files.join(folder, "claims", "a.json")
    with ThreadPoolExecutor(8) as pool:
        mine = list(pool.map(lambda i: files.create(url, f"{i}".encode()), range(16)))
    assert sum(mine) == 1
    assert files.get(url) == f"{mine.index(True)}".encode()
    assert files.names(files.join(folder, "claims")) == ["a.json"]


def test_one_of_many_replaces_what_it_has_read(folder: str) -> None:
    url = files.join(folder, "lease.json")
    assert not files.replace(url, b"new", b"")
    files.put(url, b"old")
    assert not files.replace(url, b"new", b"older")
    with ThreadPoolExecutor(8) as pool:
        mine = list(pool.map(lambda i: files.replace(url, f"{i}".encode(), b"old"), range(16)))
    assert sum(mine) == 1
    assert files.get(url) == f"{mine.index(True)}".encode()
    assert files.names(folder) == ["lease.json"]


def test_no_two_processes_add_the_same_number(folder: str) -> None:
    if folder.startswith("memory"):
        pytest.skip("memory is not shared by processes")
    url = files.join(folder, "count")
    files.put(url, b"0")
    code = (
        "import sys\nfrom bigseg import files\nurl = sys.argv[1]\nadded = 0\n"
        "while added < 20:\n"
        "    old = files.get(url)\n"
        "    added += files.replace(url, b'%d' % (int(old) + 1), old)\n"
    )
    adding = [subprocess.Popen([sys.executable, "-c", code, url]) for _ in range(2)]
    assert [process.wait() for process in adding] == [0, 0]
    assert files.get(url) == b"40"


def test_stores_that_cannot_decide_are_refused() -> None:
    for change in (lambda u: files.create(u, b""), lambda u: files.replace(u, b"", b"")):
        with pytest.raises(files.Unreachable, match=r"ftp://h/a lies in .* kind 'ftp'"):
            change("ftp://h/a")


def test_a_file_is_created_on_a_disk_without_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    url = str(tmp_path / "a")
    assert [files.create(url, b"1"), files.create(url, b"2")] == [True, False]
    assert files.get(url) == b"1"


def test_all_objects_below_a_folder(folder: str) -> None:
    for path in ("a/b/c", "a/d", "e"):
        files.put(files.join(folder, path), b"1")
    assert files.tree(folder) == ["a/b/c", "a/d", "e"]
    assert files.tree(files.join(folder, "a")) == ["b/c", "d"]
    assert files.tree(files.join(folder, "none")) == []
    assert files.is_folder(files.join(folder, "a"))
    assert not files.is_folder(files.join(folder, "e"))
    files.remove_all([files.join(folder, path) for path in ("a/b/c", "e")])
    files.remove_all([])
    assert files.tree(folder) == ["a/d"]


def test_patterns_name_objects(folder: str) -> None:
    for path in ("a/1.tif", "a/2.tif", "b/1.tif", "b/3.txt"):
        files.put(files.join(folder, path), b"1")
    found = files.matching(files.join(folder, "*", "[12].tif"))
    found += files.matching(files.join(folder, "?", "1.tif"))
    prefix = found[0].removesuffix("a/1.tif")
    paths = [path.removeprefix(prefix) for path in found]
    assert paths == ["a/1.tif", "a/2.tif", "b/1.tif", "a/1.tif", "b/1.tif"]


def test_parts_of_an_object_are_read(folder: str) -> None:
    url = files.join(folder, "big")
    data = bytes(range(256)) * 100
    files.put(url, data)
    with files.open_read(url) as file:
        file.seek(-3, os.SEEK_END)
        assert file.read() == data[-3:]
        file.seek(10)
        assert (file.read(5), file.tell()) == (data[10:15], 15)
        file.seek(0)
        assert file.read() == data
    assert files.size(url) == len(data)
    assert files.sha256(url) == hashlib.sha256(data).hexdigest()
    before = files.stamp(url)
    assert files.stamp(url) == before
    files.put(url, b"other")
    assert files.stamp(url) != before


def test_a_file_is_uploaded_once(folder: str, tmp_path: Path) -> None:
    (tmp_path / "from").write_bytes(b"content")
    url = files.join(folder, "to")
    assert [files.upload(tmp_path / "from", url) for _ in range(2)] == [True, False]
    assert files.get(url) == b"content"


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
    monkeypatch.setenv("BIGSEG_RETRIES", "0")
    with pytest.raises(files.Unreachable, match=r"cannot be reached: nobody answers there; check"):
        files.get("http://127.0.0.1:9/a")
    monkeypatch.setitem(__import__("sys").modules, "paramiko", None)
    with pytest.raises(files.Unreachable, match=r"needs a package that .*paramiko"):
        files.get("sftp://host/a")


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


def test_what_killed_writers_left_is_swept_and_never_read(tmp_path: Path) -> None:
    left = [tmp_path / "c" / "0.1234.partial", tmp_path / ".a.json.1234.part"]
    young, lock = tmp_path / "c" / "1.1234.partial", tmp_path / ".a.json.lock.part"
    (tmp_path / "c").mkdir()
    for path in (*left, young, lock, tmp_path / "c" / "0"):
        path.write_bytes(b"1")
        if path != young:
            os.utime(path, (0, 0))
    assert files.tree(str(tmp_path)) == ["c/0"]
    assert files.names(str(tmp_path / "c")) == ["0"]
    assert files.sweep(str(tmp_path)) == 2
    assert {path.name for path in tmp_path.rglob("*")} == {"c", "0", young.name, lock.name}
    assert files.sweep("s3://bucket/a") == 0
