"""Keys for what scheduler, workers and this process say to each other."""

from __future__ import annotations

from pathlib import Path

from distributed.security import Security

from bigseg.errors import NotFound, SpecError
from bigseg.specs.cluster import Tls


def of_files(tls: Tls) -> Security:
    """Keys in files; everybody shows the same certificate, and nobody speaks without."""
    for name, path in tls.model_dump().items():
        if not Path(path).is_file():
            raise NotFound(f"tls {name} is {path}, which does not exist; give a file in PEM.")
    roles = ("scheduler", "worker", "client")
    return Security(
        require_encryption=True,
        tls_ca_file=tls.ca,
        **{f"tls_{role}_cert": tls.cert for role in roles},
        **{f"tls_{role}_key": tls.key for role in roles},
    )


def fresh() -> Security:
    """New keys, for one cluster."""
    try:
        keys: Security = Security.temporary()
    except ImportError:
        raise SpecError(
            "tls = true makes new keys with the library cryptography, which is missing; install "
            "it, or name the files of your keys."
        ) from None
    return keys
