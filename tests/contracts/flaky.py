"""A proxy in front of a store that fails, stalls, breaks off and says "slow down", and counts."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
HOP = {"connection", "transfer-encoding", "keep-alive", "content-length"}


class Proxy(ThreadingHTTPServer):
    """Passes requests on, but for a share of them."""

    daemon_threads = True

    def __init__(self, store: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.store = urlsplit(store).netloc
        self.faults: dict[str, float] = {}
        """Share of the requests that suffer each fault."""
        self.stall = 30.0
        """Seconds of a request that stalls."""
        self.rate: float | None = None
        """Requests per second that are let through; None: all."""
        self.random = random.Random(0)
        self.lock = threading.Lock()
        self.begin()

    def begin(self) -> None:
        """Count anew."""
        with self.lock:
            self.requests: Counter[tuple[str, str]] = Counter()
            """How often each method was used on each path."""
            self.suffered: Counter[str] = Counter()
            self.admitted: list[float] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def total(self, method: str, part: str = "") -> int:
        """Requests of a method whose path holds `part`."""
        with self.lock:
            return sum(n for (m, path), n in self.requests.items() if m == method and part in path)

    def fault(self, method: str, path: str) -> str | None:
        """Decide what becomes of a request."""
        with self.lock:
            self.requests[method, path] += 1
            if self.rate is not None:
                now = time.monotonic()
                self.admitted = [t for t in self.admitted if now - t < 1]
                if len(self.admitted) >= self.rate:
                    self.suffered["throttle"] += 1
                    return "slow down"
                self.admitted.append(now)
            drawn = self.random.random()
            for name, share in self.faults.items():
                if drawn < share:
                    self.suffered[name] += 1
                    return name
                drawn -= share
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Proxy

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        name = unquote(parts.path) + (f"?{parts.query}" if parts.query else "")
        fault = self.server.fault(self.command, name)
        if fault == "error":
            self._answer(500, {}, b"")
            return
        if fault == "slow down":
            self._answer(503, {}, SLOW_DOWN)
            return
        if fault == "stall":
            time.sleep(self.server.stall)
            self.close_connection = True
            return
        store = http.client.HTTPConnection(self.server.store, timeout=60)
        store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for header, value in self.headers.items():
            if header.lower() not in ("connection", "transfer-encoding"):
                store.putheader(header, value)
        store.endheaders(body)
        answer = store.getresponse()
        data = answer.read()
        headers = {k: v for k, v in answer.getheaders() if k.lower() not in HOP}
        store.close()
        if fault == "lose":  # it is done, but nobody hears of it
            self.close_connection = True
            return
        self._answer(answer.status, headers, data, truncate=fault == "truncate")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _pass_on

    def _answer(
        self, status: int, headers: dict[str, str], data: bytes, *, truncate: bool = False
    ) -> None:
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if truncate and data:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(data)


@contextmanager
def proxy(store: str) -> Iterator[Proxy]:
    """Serve a proxy in front of a store."""
    with Proxy(store) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
