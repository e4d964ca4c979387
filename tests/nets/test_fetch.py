"""Published models come whole and verified from a server that may do anything, or not at all."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch

from bigseg import files
from bigseg.errors import NotFound, WeightsError
from bigseg.nets import fetch as module
from bigseg.nets.catalogue import cached
from bigseg.nets.download import Patience
from bigseg.nets.fetch import Fetched, fetch, sidecar
from bigseg.nets.publication import Archive, Published
from bigseg.nets.published import PUBLISHED
from bigseg.nets.tensors import read_shapes

HASTE = Patience(timeout=0.5, pause=0.01)


def weights(seed: int = 0) -> bytes:
    generator = torch.Generator().manual_seed(seed)
    file = io.BytesIO()
    torch.save({"x": torch.rand(300_000, generator=generator)}, file)
    return file.getvalue()


CONTENT = weights()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What a server has, how it behaves, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    headers: dict[str, str] = field(default_factory=dict)
    redirect: dict[str, str] | None = None
    """Headers of a redirect before the file."""
    statuses: list[int] = field(default_factory=list)
    """Of the first answers."""
    cuts: list[int] = field(default_factory=list)
    """Bytes after which the first answers end."""
    stall: float = 0
    """Seconds to wait there instead."""
    ranges: bool = True
    asked: list[str | None] = field(default_factory=list)
    """Range of each request."""


class Answer(BaseHTTPRequestHandler):
    state: Server

    def do_GET(self) -> None:
        state = self.state
        if state.redirect is not None and self.path != "/real":
            self.send_response(302)
            for name, value in {**state.redirect, "Location": "/real"}.items():
                self.send_header(name, value)
            self.end_headers()
            return
        state.asked.append(self.headers.get("Range"))
        if state.statuses:
            self.send_error(state.statuses.pop(0))
            return
        start = self.start()
        if start is None:
            return
        body = state.content[start:]
        self.send_header("Content-Length", str(len(body)))
        for name, value in state.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if state.cuts:
            self.wfile.write(body[: state.cuts.pop(0)])
            self.wfile.flush()
            time.sleep(state.stall)
            self.close_connection = True
        else:
            self.wfile.write(body)

    def start(self) -> int | None:
        size, wanted = len(self.state.content), self.headers.get("Range")
        if wanted is None or not self.state.ranges:
            self.send_response(200)
            return 0
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= size:
            self.send_error(416)
            return None
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        return start

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    handler = type("Handler", (Answer,), {"state": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        made.daemon_threads = True
        state.url = f"http://127.0.0.1:{made.server_port}"
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield state
        made.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BIGSEG_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "models"


Publish = Callable[..., Published]


@pytest.fixture
def publish(server: Server, monkeypatch: pytest.MonkeyPatch) -> Publish:
    def publish(name: str = "cyto3", **facts: Any) -> Published:
        known = {"bytes": len(CONTENT), "sha256": SHA256, "source": f"{server.url}/net", **facts}
        model = replace(PUBLISHED[name], **known)
        monkeypatch.setitem(PUBLISHED, name, model)
        return model

    return publish


def get(name: str = "cyto3", **options: Any) -> Fetched:
    return fetch(name, patience=HASTE, **options)


def left(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


def test_a_model_arrives_whole_with_a_record(server: Server, publish: Publish, cache: Path) -> None:
    model, seen = publish(), []
    found = get(progress=lambda done, of: seen.append((done, of)))
    assert found == Fetched("cyto3", str(cache / "cyto3"), len(CONTENT), SHA256, new=True)
    assert (cache / "cyto3").read_bytes() == CONTENT
    assert left(cache) == ["cyto3", "cyto3.json"]
    record = json.loads((cache / "cyto3.json").read_text())
    assert (record["sha256"], record["origin"]) == (SHA256, model.source)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert cached("cyto3") == found.url


def test_what_is_here_is_not_downloaded_again(server: Server, publish: Publish) -> None:
    publish()
    first = get()
    assert get() == replace(first, new=False)
    assert len(server.asked) == 1


def test_a_download_that_is_cut_off_goes_on(server: Server, publish: Publish) -> None:
    publish()
    server.cuts = [1000, 5000]
    assert get().sha256 == SHA256
    assert server.asked == [None, "bytes=1000-", "bytes=6000-"]


def test_a_server_that_stalls_is_asked_again(server: Server, publish: Publish) -> None:
    publish()
    server.cuts, server.stall = [70_000], 1.5
    assert get().sha256 == SHA256
    assert server.asked == [None, "bytes=70000-"]


def test_a_server_that_recovers_is_waited_for(server: Server, publish: Publish) -> None:
    publish()
    server.statuses = [503, 429]
    assert get().sha256 == SHA256


def test_a_server_that_never_sends_all_is_given_up_and_the_part_kept(
    server: Server, publish: Publish, cache: Path
) -> None:
    publish()
    server.cuts = [4000, 0, 0, 0, 0]
    with pytest.raises(files.Unreachable, match=r"4,000 bytes are kept, and the same command"):
        get()
    assert cached("cyto3") is None
    server.cuts, server.asked = [], []
    assert get().sha256 == SHA256
    assert server.asked == ["bytes=4000-"]
    assert left(cache) == ["cyto3", "cyto3.json"]


def test_a_server_without_ranges_sends_all_again(server: Server, publish: Publish) -> None:
    publish()
    server.cuts, server.ranges = [4000], False
    assert get().sha256 == SHA256


def test_no_server_is_a_sentence(publish: Publish) -> None:
    publish(source="http://127.0.0.1:9/net")
    with pytest.raises(files.Unreachable, match=r"cannot be downloaded \(.*refused\).*give --from"):
        get()


@pytest.mark.parametrize("status", [404, 403, 410])
def test_a_file_that_is_not_there_is_a_sentence(
    server: Server, publish: Publish, status: int
) -> None:
    publish()
    server.statuses = [status]
    with pytest.raises(NotFound, match=f"/net cannot be had: the server says {status}"):
        get()


def test_another_file_than_the_published_is_refused(
    server: Server, publish: Publish, cache: Path
) -> None:
    publish(sha256="0" * 64)
    with pytest.raises(WeightsError, match=rf"its SHA-256 is {SHA256}, published is 000"):
        get()
    assert left(cache) == []


def test_a_file_of_another_size_is_refused_before_it_is_downloaded(
    server: Server, publish: Publish
) -> None:
    publish(bytes=7)
    with pytest.raises(WeightsError, match=r"/net has 1,2\d\d,\d\d\d bytes, and 7 are published"):
        get()


def test_a_web_page_is_refused(server: Server, publish: Publish) -> None:
    publish(bytes=None, sha256=None)
    server.headers["Content-Type"] = "text/html; charset=utf-8"
    with pytest.raises(WeightsError, match="/net is a web page"):
        get()


@pytest.mark.parametrize(("name", "what"), [("cyto2", "not a file of weights"), ("size_cyto2", "")])
def test_content_of_another_kind_is_refused(
    server: Server, publish: Publish, cache: Path, name: str, what: str
) -> None:
    model = publish(name, bytes=None, sha256=None)
    server.content = b"anything but what was asked for"
    with pytest.raises(WeightsError, match=f"{model.source} is {what}"):
        get(name)
    assert left(cache) == []


def stated(how: str, content: bytes) -> tuple[dict[str, str], dict[str, str] | None]:
    """Headers with which servers state a checksum, and those of a redirect."""
    if how == "huggingface":
        return {}, {"X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"'}
    md5 = b64encode(hashlib.md5(content).digest()).decode()
    return {"x-goog-hash": f"crc32c=AAAAAA==, md5={md5}"}, None


@pytest.mark.parametrize("how", ["huggingface", "google"])
def test_without_a_published_checksum_the_servers_counts(
    server: Server, publish: Publish, how: str
) -> None:
    publish(bytes=None, sha256=None)
    server.headers, server.redirect = stated(how, CONTENT)
    server.cuts = [3000]
    assert get().sha256 == SHA256
    assert server.asked == [None, "bytes=3000-"]


@pytest.mark.parametrize("how", ["huggingface", "google"])
def test_what_is_not_what_the_server_states_is_refused(
    server: Server, publish: Publish, how: str, cache: Path
) -> None:
    publish(bytes=None, sha256=None)
    server.headers, server.redirect = stated(how, weights(1))
    with pytest.raises(WeightsError, match="is not the published file"):
        get()
    assert left(cache) == []


def test_a_part_that_nothing_can_verify_is_not_continued(server: Server, publish: Publish) -> None:
    publish(bytes=None, sha256=None)
    server.cuts = [3000]
    assert get().sha256 == SHA256
    assert server.asked == [None, "bytes=3000-", None]


def test_a_file_that_changes_under_its_address_is_refused(
    server: Server, publish: Publish, cache: Path
) -> None:
    publish(bytes=None, sha256=None)
    get()
    (cache / "cyto3").unlink()
    server.content = weights(1)
    with pytest.raises(WeightsError, match=rf"/net has changed: .* it was {SHA256}.*delete"):
        get()
    files.remove(sidecar("cyto3"))
    assert get().sha256 == hashlib.sha256(server.content).hexdigest()


def test_a_part_longer_than_the_file_is_thrown_away(
    server: Server, publish: Publish, cache: Path
) -> None:
    publish()
    cache.mkdir()
    (cache / ".cyto3.somewhere.0.0123abcd.part").write_bytes(CONTENT + b"more")
    assert get().sha256 == SHA256


def test_a_part_that_is_whole_is_not_downloaded_again(
    server: Server, publish: Publish, cache: Path
) -> None:
    publish()
    cache.mkdir()
    (cache / ".cyto3.somewhere.0.0123abcd.part").write_bytes(CONTENT)
    assert get().sha256 == SHA256
    assert server.asked == []


def test_an_error_of_ours_is_not_taken_for_one_of_the_connection(publish: Publish) -> None:
    publish()

    def fail(done: int, of: int | None) -> None:
        raise BrokenPipeError("nobody listens")

    with pytest.raises(BrokenPipeError):
        get(progress=fail)
    assert get().sha256 == SHA256


def test_a_part_that_somebody_is_at_is_left_alone(
    server: Server, publish: Publish, cache: Path
) -> None:
    publish()
    cache.mkdir()
    theirs = cache / ".cyto3.elsewhere.17.0123abcd.part"
    theirs.write_bytes(CONTENT[:500])
    get()
    assert theirs.exists()
    assert server.asked == [None]
    (cache / "cyto3").unlink()
    os.utime(theirs, (0, time.time() - module.STALE - 1))
    get()
    assert not theirs.exists()
    assert server.asked == [None, "bytes=500-"]


KILLED = """
import sys
from dataclasses import replace
from bigseg.nets.fetch import fetch
from bigseg.nets.published import PUBLISHED
facts = dict(source=sys.argv[1], bytes=int(sys.argv[2]), sha256=sys.argv[3])
PUBLISHED["cyto3"] = replace(PUBLISHED["cyto3"], **facts)
fetch("cyto3", progress=lambda done, of: print(done, flush=True))
"""


def test_what_a_killed_process_left_is_continued(
    server: Server, publish: Publish, cache: Path
) -> None:
    model = publish()
    server.cuts, server.stall = [1 << 20], 20
    command = [sys.executable, "-c", KILLED, model.source, str(model.bytes), SHA256]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        arrived = next((line for line in process.stdout if int(line) >= 1 << 20), None)
        process.kill()
    assert arrived is not None
    assert cached("cyto3") is None
    assert len(left(cache)) == 1
    assert get().sha256 == SHA256
    assert server.asked[0] is None
    assert server.asked[1] == f"bytes={1 << 20}-"
    assert left(cache) == ["cyto3", "cyto3.json"]


def test_many_at_once_do_not_disturb_each_other(publish: Publish, cache: Path) -> None:
    publish()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: get(), range(16)))
    assert {one.sha256 for one in found} == {SHA256}
    assert (cache / "cyto3").read_bytes() == CONTENT
    assert left(cache) == ["cyto3", "cyto3.json"]


def test_the_cache_may_be_a_bucket(
    server: Server, publish: Publish, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish()
    monkeypatch.setenv("BIGSEG_MODELS", "memory://lab-fetch/models")
    server.cuts = [4000, 0, 0, 0, 0]
    with pytest.raises(files.Unreachable):
        get()
    server.cuts = []
    assert get().new
    assert server.asked[-1] == "bytes=4000-"
    assert files.get("memory://lab-fetch/models/cyto3") == CONTENT
    assert files.names("memory://lab-fetch/models") == ["cyto3", "cyto3.json"]
    assert list((tmp_path / "cache" / "bigseg" / "models").iterdir()) == []
    assert not get().new


def test_the_first_to_reach_the_bucket_wins(
    publish: Publish, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish()
    monkeypatch.setenv("BIGSEG_MODELS", "memory://lab-race/models")
    url = "memory://lab-race/models/cyto3"
    monkeypatch.setattr(module, "_check_content", lambda *_: files.put(url, CONTENT))
    assert not get().new
    assert files.get(url) == CONTENT
    assert list((tmp_path / "cache" / "bigseg" / "models").iterdir()) == []


@pytest.fixture
def bucket(new_bucket: Callable[[str], str]) -> str:
    """A folder of a bucket."""
    return f"{new_bucket('lab')}/models"


def test_a_model_in_an_s3_bucket_is_never_replaced(
    publish: Publish, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish()
    monkeypatch.setenv("BIGSEG_MODELS", bucket)
    assert get().new
    assert not get().new
    late = tmp_path / "late.part"
    late.write_bytes(b"what a slower process brings")
    assert not module._publish(late, f"{bucket}/cyto3")
    assert files.get(f"{bucket}/cyto3") == CONTENT
    assert not late.exists()
    assert read_shapes(f"{bucket}/cyto3") == {"x": (300_000,)}


def test_a_cache_that_cannot_be_written_is_refused_before_the_download(
    server: Server, publish: Publish, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish()
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("BIGSEG_MODELS", str(tmp_path / "file" / "models"))
    with pytest.raises(files.Unreachable, match="cannot be written"):
        get()
    assert server.asked == []


# Without internet.


@pytest.mark.parametrize("name", ["cyto2", "cyto2torch_0", "renamed"])
def test_a_copy_is_taken_from_where_it_is(
    publish: Publish, tmp_path: Path, cache: Path, name: str
) -> None:
    publish("cyto2", source="https://example.org/models/cyto2torch_0")
    (tmp_path / "usb").mkdir()
    (tmp_path / "usb" / name).write_bytes(CONTENT)
    place = tmp_path / "usb" / name if name == "renamed" else tmp_path / "usb"
    assert get("cyto2", given=str(place)).sha256 == SHA256
    assert (cache / "cyto2").read_bytes() == CONTENT


def test_a_copy_may_be_anywhere(publish: Publish, cache: Path) -> None:
    publish()
    fsspec.filesystem("memory").pipe_file("/usb-copy/net", CONTENT)
    assert get(given="memory://usb-copy/net").sha256 == SHA256


def test_a_wrong_copy_is_refused(publish: Publish, tmp_path: Path, cache: Path) -> None:
    publish()
    (tmp_path / "net").write_bytes(weights(1))
    with pytest.raises(WeightsError, match=f"{tmp_path}/net is not the published file"):
        get(given=str(tmp_path / "net"))
    assert left(cache) == []


def test_a_copy_that_is_not_there_is_a_sentence(publish: Publish, tmp_path: Path) -> None:
    publish()
    with pytest.raises(NotFound, match="holds no file 'cyto3' or 'net'; give the file itself"):
        get(given=str(tmp_path))
    with pytest.raises(NotFound, match="nowhere does not exist"):
        get(given=str(tmp_path / "nowhere"))


def test_a_file_that_somebody_put_into_the_cache_is_verified(publish: Publish, cache: Path) -> None:
    publish()
    cache.mkdir()
    (cache / "cyto3").write_bytes(CONTENT)
    assert get() == Fetched("cyto3", str(cache / "cyto3"), len(CONTENT), SHA256, new=False)
    assert left(cache) == ["cyto3", "cyto3.json"]
    (cache / "cyto3.json").unlink()
    (cache / "cyto3").write_bytes(weights(1))
    with pytest.raises(WeightsError, match="is not the published file"):
        get()


# Source packages.


def packed(**contents: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as made:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name.replace("__", "/"))
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def archive(server: Server, publish: Publish) -> Archive:
    """Source package `net-1.0` with weights in it, and a setup.py that must not run."""
    setup = b"open('canary', 'w')"
    server.content = packed(**{"net-1.0__setup.py": setup, "net-1.0__net__weights": CONTENT})
    sha256 = hashlib.sha256(server.content).hexdigest()
    made = Archive("net==1.0", f"{server.url}/net-1.0.tar.gz", sha256, len(server.content))
    publish("scellseg", source="net/weights", archive=made)
    return made


@pytest.mark.usefixtures("archive")
def test_one_file_is_taken_from_a_source_package(server: Server, cache: Path) -> None:
    server.cuts = [1000]
    assert get("scellseg").sha256 == SHA256
    assert (cache / "scellseg").read_bytes() == CONTENT
    assert left(cache) == ["net-1.0.tar.gz", "scellseg", "scellseg.json"]
    (cache / "scellseg").unlink()
    get("scellseg")
    assert server.asked == [None, "bytes=1000-"], "the package is downloaded once"


@pytest.mark.usefixtures("archive")
def test_a_source_package_is_taken_from_where_it_is(server: Server, tmp_path: Path) -> None:
    (tmp_path / "net-1.0.tar.gz").write_bytes(server.content)
    for place in (tmp_path, tmp_path / "net-1.0.tar.gz"):
        assert get("scellseg", given=str(place)).sha256 == SHA256
        files.remove(str(cached("scellseg")))
    assert server.asked == []


@pytest.mark.usefixtures("archive")
@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (packed(**{"net-1.0__net__other": CONTENT}), NotFound, "holds no net-1.0/net/weights"),
        (packed(**{"net-1.0__net__weights": b"no"}), WeightsError, "2 bytes, and 1,2"),
        (packed(**{"net-1.0__net__weights": CONTENT})[:5000], WeightsError, "damaged"),
        (b"no archive", WeightsError, "is no source package or damaged"),
    ],
)
def test_a_wrong_source_package_is_refused(
    tmp_path: Path, content: bytes, error: type[Exception], message: str
) -> None:
    (tmp_path / "net-1.0.tar.gz").write_bytes(content)
    with pytest.raises(error, match=message):
        get("scellseg", given=str(tmp_path))


def test_a_size_model_is_fetched(server: Server, publish: Publish) -> None:
    file = io.BytesIO()
    values = {"A": np.zeros(256), "smean": np.zeros(256), "diam_mean": 30.0, "ymean": 0.0}
    np.save(file, np.array(values, dtype=object), allow_pickle=True)
    server.content = file.getvalue()
    publish("size_cyto3", bytes=None, sha256=None)
    assert get("size_cyto3").bytes == len(server.content)


def test_unknown_names_are_told_similar_ones() -> None:
    with pytest.raises(NotFound, match=r"No model 'cito3' is published; .* mean 'cyto3'"):
        get("cito3")
    with pytest.raises(NotFound, match="comes with bigseg"):
        get("nuclei")
