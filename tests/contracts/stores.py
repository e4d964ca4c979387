"""Stores of all kinds, on this machine, with credentials as users have them."""

from __future__ import annotations

import base64
import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.contracts.azure import ACCOUNT, KEY, azurite
from tests.contracts.gcs import cloud
from tests.contracts.s3 import s3

CANARY = "canary0secret0canary0secret0canary000000"
"""A secret that is wrong, and must never be seen again."""


@dataclass(frozen=True)
class Store:
    """A place to write to."""

    url: str
    endpoint: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    """Variables that make the credentials wrong."""
    shared: bool = True
    """Whether other processes see it."""


@contextmanager
def store(kind: str, folder: Path) -> Iterator[Store]:
    """Serve a store, of which the environment of this process holds the credentials."""
    clear = [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "AZURE_"))]
    serve = {"s3": _s3, "az": _az, "gs": _gs}.get(kind, _here)
    with serve(kind, folder) as made, pytest.MonkeyPatch.context() as patch:
        for name in clear:
            patch.delenv(name)
        if made.endpoint:
            patch.setenv("BIGSEG_ENDPOINT", made.endpoint)
        for name, value in made.environment.items():
            patch.setenv(name, value)
        yield made


@contextmanager
def _here(kind: str, folder: Path) -> Iterator[Store]:
    if kind == "memory":
        yield Store(f"memory://{folder.name}", shared=False)
    else:
        yield Store(str(folder))


@contextmanager
def _s3(kind: str, folder: Path) -> Iterator[Store]:
    with s3("microscopy") as (address, key, secret):
        region = {"AWS_DEFAULT_REGION": "us-east-1", "AWS_CONFIG_FILE": str(folder / "none")}
        yield Store(
            "s3://microscopy/lab",
            address,
            {**region, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret},
            {"AWS_SECRET_ACCESS_KEY": CANARY},
        )


@contextmanager
def _az(kind: str, folder: Path) -> Iterator[Store]:
    with azurite(folder, "microscopy") as address:
        wrong = base64.b64encode(CANARY.encode()).decode()
        yield Store(
            "az://microscopy/lab",
            address,
            {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": KEY},
            {"AZURE_STORAGE_ACCOUNT_KEY": wrong},
        )


@contextmanager
def _gs(kind: str, folder: Path) -> Iterator[Store]:
    with cloud("microscopy") as (server, address):
        right, wrong = folder / "account.json", folder / "other.json"
        server.account(right)
        server.account(wrong, rsa.generate_private_key(65537, 2048))
        yield Store(
            "gs://microscopy/lab",
            address,
            {"GOOGLE_APPLICATION_CREDENTIALS": str(right)},
            {"GOOGLE_APPLICATION_CREDENTIALS": str(wrong)},
        )


@contextmanager
def web(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP, to read."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
