"""Segment microscopy that does not fit in memory, block by block, on a Dask cluster."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bigseg.corrections.correct import Corrected, correct
    from bigseg.io.arrays import open_image, open_labels
    from bigseg.merging import merge
    from bigseg.pipeline import Result, segment
    from bigseg.restoration import restore
    from bigseg.spec import SegmentSpec
    from bigseg.stages.evaluate import evaluate
    from bigseg.version import VERSION as __version__

__all__ = [
    "Corrected",
    "Result",
    "SegmentSpec",
    "__version__",
    "correct",
    "evaluate",
    "merge",
    "open_image",
    "open_labels",
    "restore",
    "segment",
]

_HOMES = {
    "Corrected": ("bigseg.corrections.correct", "Corrected"),
    "correct": ("bigseg.corrections.correct", "correct"),
    "Result": ("bigseg.pipeline", "Result"),
    "SegmentSpec": ("bigseg.spec", "SegmentSpec"),
    "__version__": ("bigseg.version", "VERSION"),
    "evaluate": ("bigseg.stages.evaluate", "evaluate"),
    "merge": ("bigseg.merging", "merge"),
    "open_image": ("bigseg.io.arrays", "open_image"),
    "open_labels": ("bigseg.io.arrays", "open_labels"),
    "restore": ("bigseg.restoration", "restore"),
    "segment": ("bigseg.pipeline", "segment"),
}


def __getattr__(name: str) -> Any:
    """Import public names when they are used: workers and `--help` need few of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bigseg' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
