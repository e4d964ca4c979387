"""How buckets and servers are reached: endpoint, profile, anonymous access, patience.

These are environment variables of the process, so that worker processes and job arrays inherit
them; `carried` hands them to workers that were started elsewhere. Secrets are not among them: they
come from the environment or the cloud's own files, are read here only, and stored nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Generic, ParamSpec, TypeVar
from urllib.parse import urlsplit

from obstore.store import AzureStore, GCSStore, HTTPStore, S3Store

from bigseg.errors import BigsegError, SpecError

P = ParamSpec("P")
T = TypeVar("T")
Bucket = S3Store | GCSStore | AzureStore | HTTPStore

KINDS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gs"),
    **dict.fromkeys(("az", "azure", "adl", "abfs", "abfss"), "az"),
    **dict.fromkeys(("http", "https"), "http"),
}
"""Protocols that go through obstore; all others through fsspec."""


class Unreachable(BigsegError, OSError):
    """A URL's file system cannot be reached: driver, address or credentials are missing."""


@dataclass(frozen=True)
class Options:
    """What can be said about all buckets and servers of a process."""

    endpoint: str | None = None
    """Address of the S3, GCS or Azure service, if it is not the cloud's own."""
    profile: str | None = None
    """Profile in AWS' configuration files."""
    anonymous: bool = False
    """Send no credentials."""
    retries: int = 8
    """How often a request that failed is sent again."""
    patience: float = 120.0
    """Seconds after which a request that keeps failing is given up."""
    timeout: float = 60.0
    """Seconds that one request may take."""

    def __post_init__(self) -> None:
        if self.endpoint is not None:
            parts = urlsplit(self.endpoint)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise SpecError("The endpoint must be an address as https://host:port.")
            if parts.username or parts.password or parts.query:
                raise SpecError(
                    "The endpoint must hold no credentials; give those in environment variables "
                    "(AWS_ACCESS_KEY_ID and so on)."
                )
        if self.retries < 0 or self.patience <= 0 or self.timeout <= 0:
            raise SpecError("Retries must be 0 or more, patience and timeout above 0 seconds.")

    def environment(self) -> dict[str, str]:
        """Environment variables that say the same, for processes elsewhere."""
        said = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen = {name: value for name, value in said.items() if value != _DEFAULTS[name]}
        return {_variable(n): "1" if v is True else str(v) for n, v in chosen.items()}


_DEFAULTS = {field.name: field.default for field in fields(Options)}


def _variable(name: str) -> str:
    return f"BIGSEG_{name.upper()}"


def current() -> Options:
    """Options of this process, from BIGSEG_ENDPOINT, BIGSEG_PROFILE, BIGSEG_ANONYMOUS and so on.

    Raises
    ------
    SpecError
        If a variable makes no sense.
    """
    said = {name: os.environ.get(_variable(name), "") for name in _DEFAULTS}
    values: dict[str, Any] = {}
    for name, kind in (("retries", int), ("patience", float), ("timeout", float)):
        if said[name]:
            try:
                values[name] = kind(said[name])
            except ValueError:
                raise SpecError(
                    f"{_variable(name)} is '{said[name]}', which is no number; correct or unset it."
                ) from None
    return Options(
        endpoint=said["endpoint"] or None,
        profile=said["profile"] or None,
        anonymous=said["anonymous"].lower() not in ("", "0", "false", "no"),
        **values,
    )


def use(options: Options) -> None:
    """Make `options` those of this process and of all that it starts."""
    for name in _DEFAULTS:
        os.environ.pop(_variable(name), None)
    os.environ.update(options.environment())


@dataclass(frozen=True)
class Carried(Generic[P, T]):
    """A function that takes the options of the process that made it along to where it is called."""

    function: Callable[P, T]
    options: Options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        if current() != self.options:
            use(self.options)
        return self.function(*args, **kwargs)


def carried(function: Callable[P, T]) -> Callable[P, T]:
    """Bind the options of this process to a function that is called in another."""
    return Carried(function, current())


def kind(url: str) -> str | None:
    """What serves `url`: s3, gs, az, http; None if not obstore."""
    scheme, parted, _ = url.partition("://")
    if not parted or (scheme in ("http", "https") and "?" in url):  # signed; obstore has paths only
        return None
    return KINDS.get(scheme)


def bucket(url: str) -> tuple[Bucket, str] | None:
    """Bucket of `url` and the key in it, or None if it is not in one that obstore knows.

    Raises
    ------
    Unreachable
        If credentials are needed that are not there.
    """
    served = kind(url)
    if served is None:
        return None
    scheme, _, rest = url.partition("://")
    name, _, path = rest.partition("/")
    if served == "http":
        name = f"{scheme}://{name}"
    options = current()
    secrets = tuple(
        sorted((k, v) for k, v in os.environ.items() if k.startswith(("AWS_", "GOOGLE_", "AZURE_")))
    )
    return _bucket(served, name, options, secrets), path.strip("/")


@lru_cache(maxsize=64)
def _bucket(
    served: str, name: str, options: Options, secrets: tuple[tuple[str, str], ...]
) -> Bucket:
    """One connection pool for each bucket and process. Retries are made by `bigseg.retries`."""
    client: Any = {
        "allow_http": True,  # an endpoint, or a file server, says itself whether it is encrypted
        "timeout": f"{options.timeout:g}s",
        "connect_timeout": f"{min(options.timeout, 10):g}s",
    }
    once: Any = {"max_retries": 0}
    made: dict[str, Callable[..., Bucket]] = {"s3": _s3, "gs": _gs, "az": _az}
    try:
        if served == "http":
            return HTTPStore(name, client_options=client, retry_config=once)
        return made[served](name, options, client, once)
    except BigsegError:
        raise
    except Exception as error:  # its text may hold what a file of credentials holds
        raise Unreachable(
            f"{served}://{name} cannot be opened ({type(error).__name__}); check the credentials "
            "in the environment and in the cloud's configuration files."
        ) from None


def _s3(name: str, options: Options, client: Any, once: Any) -> S3Store:
    config: Any = {"skip_signature": True} if options.anonymous else {}
    if options.endpoint:
        config["endpoint"] = options.endpoint
    provider = None
    if not options.anonymous and (options.profile or "AWS_ACCESS_KEY_ID" not in os.environ):
        provider = _aws_files(name, options.profile)
    return S3Store(
        name,
        config=config,
        client_options=client,
        retry_config=once,
        credential_provider=provider,
    )


def _aws_files(name: str, profile: str | None) -> Any:
    """Credentials from AWS' own files, which obstore cannot read; None if there are no files."""
    files = [
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
    ]
    if not profile and not any(os.path.exists(os.path.expanduser(file)) for file in files):
        return None
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        raise Unreachable(
            f"s3://{name} needs a package that reads AWS profiles: pip install 'bigseg[s3]'."
        ) from None
    try:
        session = boto3.Session(profile_name=profile)
        if session.get_credentials() is not None:
            return Boto3CredentialProvider(session)
    except BotoCoreError as error:
        raise Unreachable(
            f"s3://{name} cannot be opened with profile '{profile}' ({type(error).__name__}); "
            "'aws configure list-profiles' shows those there are."
        ) from None
    if profile:
        raise Unreachable(f"The AWS profile '{profile}' holds no credentials; add them to it.")
    return None


def _gs(name: str, options: Options, client: Any, once: Any) -> GCSStore:
    config: Any = {"skip_signature": True} if options.anonymous else {}
    if options.endpoint:
        config["base_url"] = options.endpoint.rstrip("/")
    return GCSStore(name, config=config, client_options=client, retry_config=once)


def _az(name: str, options: Options, client: Any, once: Any) -> AzureStore:
    container, _, host = name.partition("@")
    config: Any = _connection_string(os.environ.get("AZURE_STORAGE_CONNECTION_STRING", ""))
    if host:  # abfss://container@account.dfs.core.windows.net
        config["account_name"] = host.partition(".")[0]
    if options.endpoint:
        config["endpoint"] = options.endpoint
    if options.anonymous:
        config = {k: v for k, v in config.items() if k not in ("account_key", "sas_key")}
        config["skip_signature"] = True
    if "account_name" not in config and "AZURE_STORAGE_ACCOUNT_NAME" not in os.environ:
        raise Unreachable(
            f"az://{name} has no account; set AZURE_STORAGE_ACCOUNT_NAME, or "
            "AZURE_STORAGE_CONNECTION_STRING."
        )
    return AzureStore(container, config=config, client_options=client, retry_config=once)


def _connection_string(text: str) -> dict[str, Any]:
    """Azure's `AccountName=…;AccountKey=…`, as its portal gives it."""
    known = {
        "AccountName": "account_name",
        "AccountKey": "account_key",
        "BlobEndpoint": "endpoint",
        "SharedAccessSignature": "sas_key",
    }
    parts = dict(part.partition("=")[::2] for part in text.split(";") if "=" in part)
    return {known[name]: value for name, value in parts.items() if name in known}
