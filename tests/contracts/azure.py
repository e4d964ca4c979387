"""Microsoft's emulator of Azure's blobs, which checks signatures as Azure does."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

EMULATORS = Path(__file__).parents[2] / ".emulators"
PROGRAM = EMULATORS / "node_modules" / ".bin" / "azurite-blob"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account and key that Microsoft publishes for it."""


@contextmanager
def azurite(folder: Path, container: str) -> Iterator[str]:
    """Serve a container; gives the address of the account."""
    if shutil.which("node") is None or not PROGRAM.exists():
        pytest.skip("Azurite is not installed: make emulators, which needs npm")
    port = _free_port()
    server = subprocess.Popen(
        ["node", str(PROGRAM), "--silent", "--inMemoryPersistence", "--disableTelemetry",
         "--skipApiVersionCheck", "--blobHost", "127.0.0.1", "--blobPort", str(port)],
        cwd=folder, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    address = f"http://127.0.0.1:{port}/{ACCOUNT}"
    try:
        _until_it_answers(server, port)
        _create_container(address, container)
        yield address
    finally:
        server.terminate()
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _until_it_answers(server: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(300):
        assert server.poll() is None, "Azurite did not start"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("Azurite does not answer")


def _create_container(address: str, name: str) -> None:
    """Send a request signed by hand, as obstore makes no containers."""
    date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    kind, version = "application/octet-stream", "2021-08-06"
    what = f"x-ms-date:{date}\nx-ms-version:{version}\n/{ACCOUNT}/{ACCOUNT}/{name}"
    text = f"PUT\n\n\n\n\n{kind}\n\n\n\n\n\n\n{what}\nrestype:container"
    signature = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    headers = {
        "x-ms-date": date,
        "x-ms-version": version,
        "Content-Type": kind,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}",
    }
    request = urllib.request.Request(
        f"{address}/{name}?restype=container", data=b"", headers=headers, method="PUT"
    )
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 201
