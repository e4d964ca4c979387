"""One file over HTTP, resumed where it was cut off, and held against what is known of it."""

from __future__ import annotations

import hashlib
import re
import time
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from bigseg import files
from bigseg.errors import NotFound, WeightsError
from bigseg.files import Unreachable

CHUNK = 1 << 20
TRIES = 4
"""Attempts in a row that bring nothing before a download is given up."""

Progress = Callable[[int, int | None], None]
"""Told how many bytes there are, and of how many if that is known."""


@dataclass(frozen=True)
class Facts:
    """What is known of a file beforehand."""

    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def can_verify(self) -> bool:
        return self.sha256 is not None or self.md5 is not None


@dataclass(frozen=True)
class Patience:
    """How long to wait: seconds without a byte, and seconds before the first new attempt."""

    timeout: float = 60.0
    pause: float = 1.0


def download(url: str, part: Path, facts: Facts, progress: Progress, patience: Patience) -> str:
    """Download `url` into the file `part`, going on where it ends; return its SHA-256.

    A part is only continued if a checksum, ours or the server's, can tell that the whole is right.

    Raises
    ------
    NotFound
        If the server has no such file, or none for us.
    Unreachable
        If the server does not answer or breaks off again and again; the part is kept.
    WeightsError
        If what arrived is not what it should be; the part is deleted.
    """
    failures = 0
    while facts.bytes is None or _size(part) != facts.bytes:
        before = _size(part)
        try:
            facts = _go_on(url, part, facts, progress, patience.timeout)
            break
        except HTTPError as error:
            error.close()
            if error.code == 416:  # our part is longer than their file
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise NotFound(
                    f"{url} cannot be had: the server says {error.code} {error.reason}."
                ) from error
            reason = f"{error.code} {error.reason}"
        except _Broken as error:
            reason = str(error)
        failures = 0 if _size(part) > before else failures + 1
        if failures >= TRIES:
            raise Unreachable(
                f"{url} cannot be downloaded ({reason}); {_size(part):,} bytes are kept, and the "
                "same command goes on from there. Without internet, give --from a copy."
            )
        time.sleep(patience.pause * 2 ** max(failures - 1, 0))
    try:
        return verify(str(part), facts, url)
    except WeightsError:
        part.unlink(missing_ok=True)
        raise


class _Broken(Exception):
    """The connection failed, which may pass."""


@contextmanager
def _connection() -> Iterator[None]:
    """Tell errors of the connection from those of the disk, which a new attempt does not mend."""
    try:
        yield
    except HTTPError:
        raise
    except (OSError, HTTPException) as error:
        raise _Broken(str(getattr(error, "reason", error)) or type(error).__name__) from error


def _go_on(url: str, part: Path, facts: Facts, progress: Progress, timeout: float) -> Facts:
    """Ask for what is missing and append it; return what is known of the file now."""
    start = _size(part)
    headers = {"User-Agent": "bigseg", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    redirects = _Redirects()
    request = urllib.request.Request(url, headers=headers)
    with _connection():
        answer = urllib.request.build_opener(redirects).open(request, timeout=timeout)
    with answer:
        total, begin = _extent(answer.headers, answer.status)
        if "text/html" in (answer.headers.get("Content-Type") or ""):
            raise WeightsError(f"{url} is a web page, not weights.")
        if facts.bytes is not None and total is not None and total != facts.bytes:
            raise WeightsError(f"{url} has {total:,} bytes, and {facts.bytes:,} are published.")
        stated = _stated(answer.headers, redirects.seen)
        facts = Facts(total or facts.bytes, facts.sha256 or stated.sha256, facts.md5 or stated.md5)
        if start and (begin != start or not facts.can_verify):
            part.unlink(missing_ok=True)
            if begin:
                raise _Broken("the download begins anew")
        _append(answer, part, facts.bytes, progress)
    return facts


def _append(answer: HTTPResponse, part: Path, total: int | None, progress: Progress) -> None:
    with part.open("ab") as file:
        done = file.tell()
        while True:
            with _connection():
                # As it comes: of what waits to be a whole chunk, a stall would lose all.
                chunk = answer.read1(CHUNK)
            if not chunk:
                break
            file.write(chunk)
            done += len(chunk)
            progress(done, total)
    if total is not None and done < total:
        raise _Broken(f"the connection ended after {done:,} of {total:,} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Keeps the headers of redirects: Hugging Face states a checksum only there."""

    def __init__(self) -> None:
        self.seen: list[Message] = []

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        self.seen.append(headers)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _stated(last: Message, redirects: list[Message]) -> Facts:
    """Checksums that a server states.

    Hugging Face: `X-Linked-Etag` is the SHA-256 of a file in Git LFS. Google Cloud Storage:
    `x-goog-hash` holds the MD5 in base 64.
    """
    sha256 = md5 = None
    for headers in (*redirects, last):
        etag = (headers.get("X-Linked-Etag") or "").removeprefix("W/").strip('"')
        if re.fullmatch("[0-9a-f]{64}", etag):
            sha256 = etag
        # A header may come twice, once for each kind of checksum.
        every = ",".join(headers.get_all("x-goog-hash") or [])
        found = re.search(r"md5=([A-Za-z0-9+/]{22}==)", every)
        if found:
            md5 = b64decode(found[1]).hex()
    return Facts(sha256=sha256, md5=md5)


def _extent(headers: Message, status: int) -> tuple[int | None, int]:
    """Bytes of the whole file if they are stated, and the byte at which the answer begins."""
    if status == 206:
        found = re.match(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range") or "")
        if found is None:
            raise _Broken("the server does not say which part it sends")
        return (None if found[2] == "*" else int(found[2])), int(found[1])
    length = headers.get("Content-Length")
    return (None if length is None else int(length)), 0


def verify(place: str, facts: Facts, called: str) -> str:
    """SHA-256 of the file at a path or URL, which is what is known of it.

    Raises
    ------
    WeightsError
        If it is not; the message says in what.
    """
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    hashes = [sha256] if facts.md5 is None else [sha256, md5]
    size = 0
    with files.open_read(place) as file:
        while chunk := file.read(CHUNK):
            size += len(chunk)
            for one in hashes:
                one.update(chunk)
    if facts.bytes is not None and size != facts.bytes:
        raise WeightsError(f"{called} has {size:,} bytes, and {facts.bytes:,} are published.")
    for name, known, found in (("SHA-256", facts.sha256, sha256), ("MD5", facts.md5, md5)):
        if known is not None and found.hexdigest() != known:
            raise WeightsError(
                f"{called} is not the published file: its {name} is {found.hexdigest()}, "
                f"published is {known}."
            )
    return sha256.hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
