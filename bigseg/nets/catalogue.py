"""Where published models lie once they are fetched, and how they come there.

Only `bigseg models fetch` downloads (fetch.py). Everything else, the driver of a run and its
workers, reads what lies in the cache, so that a thousand workers never download at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bigseg import files
from bigseg.nets.published import PUBLISHED


def cache() -> str:
    """Folder or bucket that holds fetched models: BIGSEG_MODELS, or this user's cache folder."""
    chosen = os.environ.get("BIGSEG_MODELS")
    return files.absolute(chosen) if chosen else str(user_cache())


def user_cache() -> Path:
    """Where this platform keeps what can be downloaded again."""
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "bigseg" / "models"


def place(name: str) -> str:
    """URL of a model in the cache, whether or not it has been fetched."""
    return files.join(cache(), name)


def cached(name: str) -> str | None:
    """URL of a published model in the cache; None if it is unknown or not fetched."""
    if name not in PUBLISHED:
        return None
    url = place(name)
    return url if files.exists(url) else None


def how_to_fetch(name: str) -> str:
    """Say, in a sentence for an error, how a published model comes into the cache."""
    return (
        f"Model '{name}' is published but not in {cache()}; 'bigseg models fetch {name}' "
        f"downloads it there from {PUBLISHED[name].origin}."
    )
