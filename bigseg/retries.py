"""Requests that fail are sent again, within bounds, and what ends them is a sentence.

Back-off is exponential with full jitter, so that a thousand workers whose store said "slow down"
do not come back together (Brooker, "Exponential backoff and jitter", AWS Architecture Blog 2015).
"""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)

from bigseg.errors import BigsegError
from bigseg.storage import Unreachable, current

T = TypeVar("T")

FIRST_WAIT = 0.2
"""Seconds, at most, before the second try; doubled each time."""
LONGEST_WAIT = 20.0
TRIES_TO_CONNECT = 4
"""Where nobody listens, more than a restarting server would need helps nobody."""

_FINAL = (
    BigsegError,
    AlreadyExistsError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    ImportError,
    TypeError,
    ValueError,
    NotImplementedError,
)
_ONES_OWN = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")
"""Where clouds give machines of theirs credentials; asked when there are no others."""


@dataclass
class Tries:
    """How one request went so far."""

    url: str
    failed: int = 0
    since: float = field(default_factory=time.monotonic)

    def wait(self, error: Exception) -> float:
        """Seconds to wait after a failure; raises what it means if there is no use in waiting."""
        self.failed += 1
        options = current()
        most = min(TRIES_TO_CONNECT - 1, options.retries) if _refused(error) else options.retries
        longest = min(FIRST_WAIT * 2 ** (self.failed - 1), LONGEST_WAIT)
        spent = time.monotonic() - self.since
        if not is_transient(error):
            raise meaning(self.url, error) from None
        if self.failed > most or spent + longest > options.patience:
            raise meaning(self.url, error, self.failed, spent) from None
        _count()
        return random.uniform(0, longest)


_lock = threading.Lock()
_repeated = 0


def repeated() -> int:
    """Requests that this process has sent again, since it began."""
    return _repeated


def _count() -> None:
    global _repeated
    with _lock:
        _repeated += 1


def retried(url: str, request: Callable[[], T]) -> T:
    """Do a request until it succeeds, or it is no use; bounded by the options of the process.

    Raises
    ------
    Unreachable
        If it keeps failing, or access is denied.
    FileNotFoundError, FileExistsError, PreconditionError
        As the request does; these are answers, not failures.
    """
    tries = Tries(url)
    while True:
        try:
            return request()
        except Exception as error:
            seconds = tries.wait(error)
        time.sleep(seconds)


async def retried_async(url: str, request: Callable[[], Awaitable[T]]) -> T:
    """Do `retried` for a request of asyncio."""
    tries = Tries(url)
    while True:
        try:
            return await request()
        except Exception as error:
            seconds = tries.wait(error)
        await asyncio.sleep(seconds)


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, _FINAL) or not _of_a_driver(error):
        return False
    text = str(error)
    if any(host in text for host in _ONES_OWN) or "NoSuchBucket" in text:
        return False
    status = _status(text, error)
    return status is None or status >= 500 or status in (408, 425, 429)


def meaning(url: str, error: Exception, tries: int = 1, seconds: float = 0.0) -> Exception:
    """Say what an error of a driver means; answers, as that there is no such object, stay.

    The driver's own words are left out: they quote requests and answers, and these can hold
    access keys and signatures.
    """
    text = str(error)
    status, code = _status(text, error), _code(text)
    reason = " ".join(filter(None, [f"HTTP {status}" if status else "", code]))
    if (known := _known(url, text, code)) is not None:
        return Unreachable(known)
    denied = isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError)
    if denied or status in (401, 403):
        return Unreachable(
            f"Access to {url} is denied ({reason or type(error).__name__}); check that the "
            "credentials are right and allow it."
        )
    if isinstance(error, _FINAL) or not _of_a_driver(error):
        missing = isinstance(error, FileNotFoundError)
        return FileNotFoundError(f"{url} does not exist.") if missing else error
    if _refused(error):
        return Unreachable(
            f"{url} cannot be reached: nobody answers there; check the address, the endpoint and "
            "the network."
        )
    if status is not None and status < 500 and status != 429:
        return Unreachable(f"{url} is refused ({reason}); check the address and the credentials.")
    return Unreachable(
        f"{url} failed {tries} times in {seconds:.0f} s, the last time by "
        f"{reason or _kind(text, error)}; continue when the store is well again."
    )


def _of_a_driver(error: Exception) -> bool:
    """Whether an error came from a store; all others are mistakes in programs."""
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, BaseError | OSError | EOFError) or package in _DRIVERS


_DRIVERS = ("aiohttp", "paramiko", "requests", "urllib3")


def _known(url: str, text: str, code: str) -> str | None:
    """Sentences for what clouds say in words."""
    if any(host in text for host in _ONES_OWN):
        return (
            f"There are no credentials for {url}; {_remedy(url)}, or say --anonymous if it is "
            "public."
        )
    if code in ("NoSuchBucket", "ContainerNotFound") or "bucket does not exist" in text:
        return (
            f"The bucket of {url} does not exist; check its name, and the endpoint if it is not "
            "the cloud's own."
        )
    if "Received redirect without LOCATION" in text:
        return f"The bucket of {url} is in another region; name it in AWS_REGION."
    return None


def _remedy(url: str) -> str:
    if url.startswith(("gs", "gcs")):
        return "set GOOGLE_APPLICATION_CREDENTIALS, or run 'gcloud auth application-default login'"
    if url.startswith("s3"):
        return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with --profile"
    return "set AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_CONNECTION_STRING"


def _refused(error: Exception) -> bool:
    return "kind: Connect" in str(error) or isinstance(error, ConnectionRefusedError)


def _kind(text: str, error: Exception) -> str:
    if "kind: Timeout" in text or "timed out" in text or isinstance(error, TimeoutError):
        return "taking too long"
    if "kind: Decode" in text or "kind: Interrupted" in text or "body" in text:
        return "an answer that broke off"
    if isinstance(error, BaseError):
        return "a connection that broke"
    return type(error).__name__


def _status(text: str, error: Exception) -> int | None:
    known = getattr(error, "status", None)  # of aiohttp
    if isinstance(known, int):
        return known
    found = re.search(r"status(?: code)?: (\d{3})", text)
    return int(found.group(1)) if found else None


def _code(text: str) -> str:
    found = re.search(r"<Code>([A-Za-z]{1,60})</Code>", text)
    return found.group(1) if found else ""
