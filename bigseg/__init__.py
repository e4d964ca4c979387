"""Segment microscopy that does not fit in memory, block by block, on a Dask cluster."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bigseg.corrections.correct import Corrected, correct
    from bigseg.io.arrays import open_image, open_labels
    from bigseg.jobs.restore import restore
    from bigseg.jobs.segment import Result, segment
    from bigseg.jobs.tiles import merge
    from bigseg.jobs.track import Tracked, track
    from bigseg.jobs.track_many import Batch, track_many
    from bigseg.specs.segment import SegmentSpec
    from bigseg.specs.track import TrackSpec
    from bigseg.stages.evaluate import evaluate
    from bigseg.version import VERSION as __version__

__all__ = [
    "Batch",
    "Corrected",
    "Result",
    "SegmentSpec",
    "TrackSpec",
    "Tracked",
    "__version__",
    "correct",
    "evaluate",
    "merge",
    "open_image",
    "open_labels",
    "restore",
    "segment",
    "track",
    "track_many",
]

_HOMES = {
    "Corrected": ("bigseg.corrections.correct", "Corrected"),
    "correct": ("bigseg.corrections.correct", "correct"),
    "Result": ("bigseg.jobs.segment", "Result"),
    "SegmentSpec": ("bigseg.specs.segment", "SegmentSpec"),
    "__version__": ("bigseg.version", "VERSION"),
    "evaluate": ("bigseg.stages.evaluate", "evaluate"),
    "merge": ("bigseg.jobs.tiles", "merge"),
    "open_image": ("bigseg.io.arrays", "open_image"),
    "open_labels": ("bigseg.io.arrays", "open_labels"),
    "restore": ("bigseg.jobs.restore", "restore"),
    "segment": ("bigseg.jobs.segment", "segment"),
    "Tracked": ("bigseg.jobs.track", "Tracked"),
    "TrackSpec": ("bigseg.specs.track", "TrackSpec"),
    "track": ("bigseg.jobs.track", "track"),
    "Batch": ("bigseg.jobs.track_many", "Batch"),
    "track_many": ("bigseg.jobs.track_many", "track_many"),
}


def __getattr__(name: str) -> Any:
    """Import public names when they are used: workers and `--help` need few of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'bigseg' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    return getattr(importlib.import_module(module), attribute)
