"""Keys for what scheduler, workers and this process say to each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

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


@contextmanager
def fresh(folder: Path) -> Iterator[Tls]:
    """New keys for one cluster, in files that nobody but the user can read, for as long as it is.

    Workers find them there, so the folder lies on a file system that they share.
    """
    try:
        keys = Security.temporary()
    except ImportError:
        raise SpecError(
            "tls = true makes new keys with the library cryptography, which is missing; install "
            "it, or name the files of your keys."
        ) from None
    texts = {"ca": keys.tls_ca_file, "cert": keys.tls_worker_cert, "key": keys.tls_worker_key}
    with TemporaryDirectory(prefix=".keys-", dir=folder) as place:  # of mode 0700
        for name, text in texts.items():
            path = Path(place, name)
            path.touch(mode=0o600)
            path.write_text(text)
        yield Tls(**{name: str(Path(place, name)) for name in texts})
