"""A small Google Cloud Storage on this machine: its XML interface, and its check of tokens.

The emulators on PyPI speak Google's other interface only, or download their server at run time.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

WHEN = "Sat, 21 Nov 2026 12:00:00 GMT"


class Cloud(ThreadingHTTPServer):
    """Buckets in memory, open to those who sign with the right key."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.objects: dict[str, tuple[bytes, int]] = {}
        self.buckets: set[str] = set()
        self.generation = 0
        self.lock = threading.Lock()
        self.key = rsa.generate_private_key(65537, 2048)

    def account(self, path: Path, key: rsa.RSAPrivateKey | None = None) -> None:
        """Write the file of a service account."""
        pem = (key or self.key).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        account = {
            "type": "service_account",
            "client_email": "tests@example.org",
            "private_key": pem.decode(),
            "private_key_id": "1",
        }
        path.write_text(json.dumps(account))


@contextmanager
def cloud(*buckets: str) -> Iterator[tuple[Cloud, str]]:
    """Serve buckets; gives the server and its address."""
    server = Cloud()
    server.buckets |= set(buckets)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer is sent at once
    disable_nagle_algorithm = True
    server: Cloud

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer_to("GET")

    def do_HEAD(self) -> None:
        self._answer_to("HEAD")

    def do_PUT(self) -> None:
        self._answer_to("PUT")

    def do_DELETE(self) -> None:
        self._answer_to("DELETE")

    def _answer_to(self, method: str) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
        if not self._signed():
            self._answer(401, _error("AuthenticationRequired"))
        elif bucket not in self.server.buckets:
            self._answer(404, _error("NoSuchBucket"))
        elif not key:
            self._list(bucket, parse_qs(parts.query))
        else:
            with self.server.lock:
                {"PUT": self._put, "DELETE": self._delete}.get(method, self._get)(
                    f"{bucket}/{key}", body
                )

    def _signed(self) -> bool:
        """Whether the bearer token is signed with the key of the account, RFC 7519."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if token.count(".") != 2:
            return False
        said, _, signature = token.rpartition(".")
        raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        try:
            self.server.key.public_key().verify(
                raw, said.encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            return False
        return True

    def _put(self, name: str, body: bytes) -> None:
        there = self.server.objects.get(name, (b"", 0))[1]
        wanted = self.headers.get("x-goog-if-generation-match")
        if wanted is not None and int(wanted) != there:
            self._answer(412, _error("PreconditionFailed"))
            return
        self.server.generation += 1
        self.server.objects[name] = body, self.server.generation
        self._answer(200, b"", generation=self.server.generation)

    def _get(self, name: str, _: bytes) -> None:
        if name not in self.server.objects:
            self._answer(404, _error("NoSuchKey"))
            return
        data, generation = self.server.objects[name]
        said = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if said is None:
            self._answer(200, data, generation=generation)
            return
        first, last = said.groups()
        start = int(first) if first else max(len(data) - int(last), 0)
        end = min(int(last) + 1, len(data)) if first and last else len(data)
        whole = f"bytes {start}-{end - 1}/{len(data)}"
        self._answer(206, data[start:end], generation=generation, part=whole)

    def _delete(self, name: str, _: bytes) -> None:
        there = self.server.objects.pop(name, None)
        self._answer(404 if there is None else 204, b"" if there else _error("NoSuchKey"))

    def _list(self, bucket: str, query: dict[str, list[str]]) -> None:
        prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
        objects, folders = [], set()
        for name, (data, _) in sorted(self.server.objects.items()):
            key = name.removeprefix(f"{bucket}/")
            if not (name.startswith(f"{bucket}/") and key.startswith(prefix)):
                continue
            head, found, _tail = key[len(prefix) :].partition(delimiter or "\0")
            if found:
                folders.add(prefix + head + delimiter)
                continue
            objects.append(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
                '<LastModified>2026-11-21T12:00:00Z</LastModified><ETag>"1"</ETag></Contents>'
            )
        common = [f"<CommonPrefixes><Prefix>{escape(f)}</Prefix></CommonPrefixes>" for f in folders]
        text = f"<ListBucketResult>{''.join(objects + common)}</ListBucketResult>"
        self._answer(200, text.encode())

    def _answer(self, status: int, body: bytes, *, generation: int = 0, part: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if generation:
            self.send_header("ETag", f'"{generation}"')
            self.send_header("x-goog-generation", str(generation))
            self.send_header("Last-Modified", WHEN)
        if part:
            self.send_header("Content-Range", part)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code></Error>".encode()
