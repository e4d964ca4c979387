"""From links to tracks and lineages: ids, tables, and which object of a frame has which id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from bigseg import files
from bigseg.core.objects import Table
from bigseg.core.tracking.blocks import Links, stitch
from bigseg.core.tracking.descent import detection_table, track_table
from bigseg.core.tracking.edits import Edits
from bigseg.core.tracking.filling import gaps
from bigseg.core.tracking.lineage import Lineages, lineages
from bigseg.core.tracking.rivals import explained, settled
from bigseg.errors import ImageError, NotFound
from bigseg.grid import Block, Grid
from bigseg.io.tables import read_table, write_table
from bigseg.stages import detections, learn, link, track_edits
from bigseg.types import Facts, StageSpec

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
MADE_BY = {
    "learn": ("model.json", "cores.json"),
    "edits": ("edits.json",),
    "link": ("links", "rejected"),
    "lineages": ("ids", "gaps", "total.parquet"),
    "write-tracks": ("drawn.parquet",),
}
"""What steps write into `RUN/tracking/`, besides solutions."""
BOX = ("z0", "y0", "x0", "z1", "y1", "x1")
KEPT = ("source", "id", "voxels", "intensity", "touches_border", *BOX)
"""Columns of detections that their final table has, too."""


class Spec(StageSpec):
    """Whose links are put together."""

    linked: link.Spec
    min_length: int = 1
    """Shorter tracks without relatives are dropped, frames."""
    fill_gaps: bool = False
    """Note what objects look like before and after frames in which they were missed."""

    @property
    def grid(self) -> Grid:
        """One block: ids are given once."""
        return Grid((1, 1, 1, 1), (1, 1, 1, 1), (0, 0, 0, 0))

    @property
    def run(self) -> str:
        """The run's folder."""
        return self.linked.run


def tracks_url(run: str) -> str:
    """Where the table of tracks is: a row for each."""
    return files.join(run, "tables", "tracks.parquet")


def detections_url(run: str) -> str:
    """Where the table of tracked objects is: a row for each frame of each track."""
    return files.join(run, "tables", "detections.parquet")


def links_url(run: str) -> str:
    """Where the table of links is: frame and label of both ends."""
    return files.join(run, "tables", "links.parquet")


def ids_url(run: str, frame: int) -> str:
    """Where it is which object of a frame belongs to which track; 0: it was dropped."""
    return files.join(run, "tracking", "ids", f"{frame}.parquet")


def gaps_url(run: str, frame: int) -> str:
    """Where it is which tracks miss their object in a frame, and where it was before and after."""
    return files.join(run, "tracking", "gaps", f"{frame}.parquet")


def total_url(run: str) -> str:
    """Where the number of tracks is."""
    return files.join(run, "tracking", "total.parquet")


@dataclass(frozen=True)
class Found:
    """Objects, and the links between them."""

    table: Table
    """Of all detections, sorted by frame and label."""
    links: Ints
    """(m, 2) rows: source and target."""
    gain: NDArray[np.float64]
    keep: Bools
    """(n,) False for objects that were taken for false."""
    dropped: int
    """Links at faces of parts that disagreed."""
    given: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """Objects that corrections speak of links of."""
    deleted: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    """Objects that corrections say are none."""
    rivals: int = 0
    """Objects that are not kept as others that they compete with are."""

    def some(self, keep: Bools) -> Found:
        """Only some objects, and the links between them."""
        inner = keep[self.links].all(axis=1)
        return replace(self, links=self.links[inner], gain=self.gain[inner], keep=keep)


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


def read(spec: Spec, block: Block) -> Found:
    """All detections and links."""
    tables = list(detections.read_frames(spec.run, range(spec.linked.learned.frames)))
    table = {name: np.concatenate([t[name] for t in tables]) for name in tables[0]}
    links, rejected = link.read_links(spec.run, spec.linked.packs)
    rows = _Rows(table["frame"], table["label"])
    ends = [
        rows.of(links[f"{side}_frame"], links[f"{side}_label"]) for side in ("source", "target")
    ]
    whole, dropped = stitch([Links(ends[0], ends[1], links["division"], links["gain"])])
    keep = np.ones(len(table["frame"]), np.bool_)
    keep[rows.of(rejected["frame"], rejected["label"])] = False
    found = Found(table, np.stack([whole.source, whole.target], 1), whole.gain, keep, dropped)
    if spec.linked.edited is not None:
        found = _corrected(found, rows, track_edits.read_edits(spec.run))
    sets = learn.read_sets(spec.linked.learned, range(len(tables)), [t["label"] for t in tables])
    return found if sets is None else _settled(found, sets)


def _settled(found: Found, sets: Ints) -> Found:
    """Keep one of those that compete, where parts have kept several; given links come first."""
    worth = np.zeros(len(found.keep))
    for ends in found.links.T:
        np.add.at(worth, ends, found.gain)
    worth[found.given] = -np.inf
    keep = settled(found.keep, worth, sets)
    rivals = explained(keep, sets)
    rivals[found.deleted] = False
    return replace(found.some(keep), rivals=int(rivals.sum()))


def _corrected(found: Found, rows: _Rows, edits: Edits) -> Found:
    """Add the links that are given, and drop what is deleted; parts have made room for both."""
    given = np.stack([rows.of(*edits.links[:, k : k + 2].T) for k in (0, 2)], axis=1)
    gone = np.unique(rows.of(*edits.deleted.T))
    keep = found.keep.copy()
    keep[gone] = False
    return replace(
        found,
        links=np.concatenate([found.links, given]),
        gain=np.concatenate([found.gain, np.zeros(len(given))]),
        keep=keep,
        given=np.unique(given),
        deleted=gone,
    )


def block(spec: Spec, block: Block, data: Found) -> Facts:
    """Number tracks and lineages, and write their tables."""
    others = len(data.deleted) + data.rivals
    rejected = int((~data.keep).sum()) - others
    merging = spec.linked.learned.settings.merging
    found = _lineages(data, merging)
    if spec.min_length > 1:
        data = data.some(_long_enough(data.keep, found, spec.min_length))
        found = _lineages(data, merging)
    _write_tables(spec, data, found)
    _write_ids(spec, data, found)
    if spec.fill_gaps:
        _write_gaps(spec, {name: column[data.keep] for name, column in data.table.items()}, found)
    return {
        "detections": len(data.keep),
        "rejected": rejected,
        "deleted": len(data.deleted),
        "rivals": data.rivals,
        "short": int((~data.keep).sum()) - rejected - others,
        "sources": _from_each(spec, data),
        "tracks": len(found),
        "lineages": int(found.lineage.max(initial=0)),
        "divisions": int((found.daughters > 1).sum()),
        "merges": int((found.other_parent > 0).sum()),
        "links": len(data.links),
        "dropped_links": data.dropped,
    }


def _from_each(spec: Spec, data: Found) -> list[int]:
    """How many objects are taken from each source."""
    if "source" not in data.table:
        return [int(data.keep.sum())]
    source, count = data.table["source"][data.keep], spec.linked.learned.sources
    return [int(n) for n in np.bincount(source, minlength=count)]


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Pass on what the one block counted."""
    return facts[0]


class _Rows:
    """Rows of detections by frame and label."""

    def __init__(self, frame: NDArray[np.int32], label: NDArray[np.uint64]) -> None:
        self.names = np.unique(label)
        self.keys = self._key(frame, np.searchsorted(self.names, label))

    def of(self, frame: NDArray[np.int32], label: Ints) -> Ints:
        """Rows of some of them."""
        name = np.searchsorted(self.names, label.astype(self.names.dtype))
        return np.searchsorted(self.keys, self._key(frame, name)).astype(np.int64)

    def _key(self, frame: NDArray[np.int32], name: NDArray[np.intp]) -> Ints:
        return frame.astype(np.int64) * max(len(self.names), 1) + name


def _lineages(data: Found, merging: bool) -> Lineages:
    """Lineages of the objects that are kept."""
    row = np.cumsum(data.keep) - 1
    links = row[data.links[data.keep[data.links].all(axis=1)]]
    frame, label = (data.table[name][data.keep] for name in ("frame", "label"))
    return lineages(frame, label, links, merging=merging)


def _long_enough(keep: Bools, found: Lineages, least: int) -> Bools:
    """Objects but for those of tracks that are short and have no relatives."""
    alone = (found.parent == 0) & (found.daughters == 0)
    short = alone & (found.end - found.begin + 1 < least)
    longer = keep.copy()
    longer[keep] = ~short[found.track - 1]
    return longer


def _write_tables(spec: Spec, data: Found, found: Lineages) -> None:
    kept = {name: column[data.keep] for name, column in data.table.items()}
    position = np.stack([kept[name] for name in learn.POSITION], axis=1)
    rows = detection_table(found, kept["label"], position)
    more = {name: kept[name] for name in KEPT if name in kept}
    write_table(detections_url(spec.run), rows | more)
    write_table(tracks_url(spec.run), track_table(found, position))
    source, target = data.links.T
    ends = {"source": source, "target": target}
    named = {
        f"{side}_{name}": data.table[name][row]
        for side, row in ends.items()
        for name in ("frame", "label")
    }
    write_table(links_url(spec.run), named | {"gain": data.gain})
    write_table(total_url(spec.run), {"tracks": np.array([len(found)])})


def _write_ids(spec: Spec, data: Found, found: Lineages) -> None:
    """Table of each frame, of which a block that is written reads one."""
    track = np.zeros(len(data.keep), np.int64)
    track[data.keep] = found.track
    frames = spec.linked.learned.frames
    starts = np.searchsorted(data.table["frame"], np.arange(frames + 1))
    for frame in range(frames):
        rows = slice(starts[frame], starts[frame + 1])
        columns = {"label": data.table["label"][rows], "track": track[rows]}
        write_table(ids_url(spec.run, frame), columns)


def _write_gaps(spec: Spec, table: Table, found: Lineages) -> None:
    """Table of each frame that tracks miss: which, and both of its neighbours."""
    missed = gaps(found)
    for frame in np.unique(missed.frame).tolist():
        here = missed.frame == frame
        columns: Table = {"track": missed.track[here], "part": missed.part[here]}
        for side, row in (("before", missed.before[here]), ("after", missed.after[here])):
            names = ("frame", "label", "source", "id", *BOX)
            columns |= {f"{side}_{name}": table[name][row] for name in names if name in table}
        write_table(gaps_url(spec.run, frame), columns)


def read_gaps(run: str, frame: int) -> Table | None:
    """What tracks miss in a frame; None if nothing."""
    try:
        return read_table(gaps_url(run, frame))
    except NotFound:
        return None


def read_lineages(run: str) -> tuple[Table, Lineages]:
    """Tracked objects, and their lineages.

    Raises
    ------
    ImageError
        The tables do not fit each other.
    """
    table, links = read_table(detections_url(run)), read_table(links_url(run))
    rows = _Rows(table["frame"], table["label"])
    ends = [
        rows.of(links[f"{side}_frame"], links[f"{side}_label"]) for side in ("source", "target")
    ]
    found = lineages(table["frame"], table["label"], np.stack(ends, axis=1), merging=True)
    if not np.array_equal(found.track, table["track"]):
        raise ImageError(f"The tables of tracks in {run} do not fit each other; track again.")
    return table, found
