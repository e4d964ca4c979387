"""Steps of tracking that look at voxels; all that link look at rows."""

from __future__ import annotations

from math import prod

from bigseg.grid import Grid
from bigseg.io.volume import Volume
from bigseg.plans.counts.images import image_store, level_store
from bigseg.plans.counts.labels import series
from bigseg.plans.counts.traffic import (
    Counted,
    Share,
    Store,
    Traffic,
    boxes_of,
    traffic,
)
from bigseg.stages import detect, overlap, track_challenge, write_tracks

MOSTLY = 2
"""Bytes of a label in a file."""


def detecting(spec: detect.Spec, share: Share) -> Counted:
    """Labels, and the image if it is given, become rows."""
    own = boxes_of(spec.grid)
    reads = [_read(spec, share, source) for source in range(len(spec.sources))]
    if spec.image is not None:
        image = image_store(Volume.open(spec.image, spec.level), (spec.channel,))
        reads.append(traffic(image, own))
    return Counted(float(prod(spec.shape)), tuple(reads))


def comparing(spec: overlap.Spec, share: Share) -> Counted:
    """Labels of a frame are laid over those of the next; files stay in memory for both."""
    reads = []
    for source in range(len(spec.found.sources)):
        one = _read(spec.found, share, source)
        times = 1 if series(spec.found, share, source).image is None else 2
        reads += [one] * times
    return Counted(float(prod(spec.grid.shape)), tuple(reads))


def numbering(spec: write_tracks.Spec, share: Share) -> Counted:
    """Labels become those of tracks; what is drawn where objects were missed is not known."""
    plan = write_tracks.planned_image(spec, 1, series(spec.found, share))
    written = traffic(level_store(plan, 0, "tracks"), boxes_of(spec.grid))
    return Counted(float(prod(spec.found.shape)), (_read(spec.found, share),), (written,))


def exporting(spec: track_challenge.Spec, share: Share) -> Counted:
    """A file for each frame, with 16 bits for each voxel."""
    plan = write_tracks.planned_image(spec.write, 1, series(spec.write.found, share))
    store, shape = level_store(plan, 0, "tracks"), spec.write.found.shape
    frames = boxes_of(Grid(shape, (1, *shape[1:]), (0, 0, 0, 0)))
    written = Traffic("result folder", shape[0], MOSTLY * prod(shape))
    return Counted(float(prod(shape)), (traffic(store, frames),), (written,))


def _read(spec: detect.Spec, share: Share, source: int = 0) -> Traffic:
    """Labels: a request for each stored object, or for each file, which is read as a whole."""
    found = series(spec, share, source)
    if found.image is None:
        unit = (1, *spec.shape[1:])
        frames = boxes_of(Grid(spec.shape, unit, (0, 0, 0, 0)))
        return traffic(Store("given labels", spec.shape, unit, unit, MOSTLY), frames)
    name = "labels 0" if spec.sources[source].made else "given labels"
    return traffic(image_store(Volume(found.image, 0), (0,), name), boxes_of(spec.grid))
