"""Link the objects of a series, part by part: each is some frames and a region, with a halo.

A part is solved once: its solution is kept by what it consists of, so that after a correction, or
in a run with other exports, only what has changed is solved again.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter

from bigseg import files
from bigseg.core.objects import Table
from bigseg.core.tracking import link
from bigseg.core.tracking.blocks import Core
from bigseg.core.tracking.costs import Model
from bigseg.core.tracking.detections import Detections
from bigseg.core.tracking.edits import Bans, Edits, bans, cleared
from bigseg.errors import NotFound
from bigseg.grid import Block, Grid
from bigseg.io.tables import read_table, write_table
from bigseg.stages import learn, track_edits
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """What is linked, among how many tasks it is shared out."""

    learned: learn.Spec
    packs: int
    edited: track_edits.Spec | None = None
    """Corrections that are respected."""

    @property
    def grid(self) -> Grid:
        """Packs of parts; which, is settled once objects are known."""
        return Grid((1, 1, 1, self.packs), (1, 1, 1, 1), (0, 0, 0, 0))

    @property
    def run(self) -> str:
        """The run's folder."""
        return self.learned.run


def links_url(run: str, pack: int) -> str:
    """Where the links of a pack of parts are: frame and label of both ends."""
    return files.join(run, "tracking", "links", f"{pack}.parquet")


def rejected_url(run: str, pack: int) -> str:
    """Where the detections are that a pack takes for false."""
    return files.join(run, "tracking", "rejected", f"{pack}.parquet")


def check(spec: Spec) -> None:
    """Nothing can be wrong that the plan has not found."""


def prepare(spec: Spec) -> None:
    """Tables are small objects; nothing has to be created."""


@dataclass(frozen=True)
class Loaded:
    """What a pack is linked by."""

    cores: tuple[Core, ...]
    model: Model | None
    """What was learned; None if there is nothing to link."""
    edits: Edits | None


def read(spec: Spec, block: Block) -> Loaded:
    """Parts of a pack, what was learned, and corrections."""
    cores = learn.read_cores(spec.run)[block.index[-1] :: spec.packs]
    if not cores:
        return Loaded((), None, None)
    edits = track_edits.read_edits(spec.run) if spec.edited else None
    return Loaded(tuple(cores), learn.read_model(spec.run), edits)


def block(spec: Spec, block: Block, data: Loaded) -> Facts:
    """Link the parts of a pack, each from the detections that it needs."""
    solved = [_part(spec, core, data) for core in data.cores]
    write_table(links_url(spec.run, block.index[-1]), _together([s[0] for s in solved], LINKS))
    write_table(rejected_url(spec.run, block.index[-1]), _together([s[1] for s in solved], NODES))
    facts = [s[2] for s in solved]
    return {
        "parts": len(data.cores),
        "links": sum(len(s[0]["source_frame"]) for s in solved),
        "rejected": sum(len(s[1]["frame"]) for s in solved),
        "kept": sum(fact["kept"] for fact in facts),
        **_sureness(facts, "gap"),
    }


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Say how sure it is that the links are the best ones."""
    totals = ("parts", "links", "rejected", "kept")
    return {name: sum(f[name] for f in facts) for name in totals} | _sureness(facts, "worst_gap")


def _sureness(facts: Sequence[Facts], gap: str) -> Facts:
    """Value of some solutions, and how far from the best: None where that is not known."""
    bounds, gaps = [fact["bound"] for fact in facts], [fact[gap] for fact in facts]
    return {
        "value": sum(fact["value"] for fact in facts),
        "bound": None if None in bounds else sum(bounds),
        "fractional": sum(fact["fractional"] for fact in facts),
        "worst_gap": None if None in gaps else max(gaps, default=0.0),
    }


LINKS: dict[str, type[np.generic]] = {
    "source_frame": np.int32,
    "source_label": np.int64,
    "target_frame": np.int32,
    "target_label": np.int64,
    "division": np.bool_,
    "gain": np.float64,
}
NODES: dict[str, type[np.generic]] = {"frame": np.int32, "label": np.int64}
Solved = tuple[Table, Table, Facts]


def _part(spec: Spec, core: Core, data: Loaded) -> Solved:
    """Links into what a part owns, what it rejects, and how the program ended."""
    model, banned = data.model, None
    assert model is not None
    d = _around(spec, core, model)
    if data.edits is not None:
        d = cleared(d, data.edits)
        banned = bans(d, data.edits) or None
    key = _key(spec, core, model, d, banned)
    url = files.join(spec.run, "tracking", "solutions", key)
    try:
        links, nodes = read_table(f"{url}-links.parquet"), read_table(f"{url}-rejected.parquet")
        facts = TypeAdapter(Facts).validate_json(files.get(f"{url}.json"))
        return links, nodes, {**facts, "kept": 1}
    except (NotFound, FileNotFoundError):
        pass
    ends = (0, spec.learned.frames - 1)
    found = link.link_part(d, core, model, spec.learned.settings, ends, banned)
    a, b = found.links.source, found.links.target
    links = {
        "source_frame": d.frame[a],
        "source_label": d.label[a],
        "target_frame": d.frame[b],
        "target_label": d.label[b],
        "division": found.links.division,
        "gain": found.links.gain,
    }
    nodes = {"frame": d.frame[found.rejected], "label": d.label[found.rejected]}
    bounded = math.isfinite(found.bound)  # the fast mode knows of no bound
    facts = {
        "value": found.value,
        "bound": found.bound if bounded else None,
        "gap": found.gap if bounded else None,
        "fractional": found.fractional,
    }
    write_table(f"{url}-links.parquet", links)
    write_table(f"{url}-rejected.parquet", nodes)
    files.put(f"{url}.json", TypeAdapter(Facts).dump_json(facts))
    return links, nodes, {**facts, "kept": 0}


def _around(spec: Spec, core: Core, model: Model) -> Detections:
    """Detections of a part and its halo."""
    frames, distance = link.halo(model, spec.learned.settings)
    first, last = max(core.first - frames, 0), min(core.last + frames, spec.learned.frames - 1)
    d = link.steady(learn.load(spec.learned, range(first, last + 1)), model.drift)
    return d.take(np.flatnonzero(core.holds(d, frames, distance)))


def _key(spec: Spec, core: Core, model: Model, d: Detections, banned: Bans | None) -> str:
    """Name of a solution: what it follows from, corrections of its own detections among it."""
    digest = hashlib.sha256()
    for value in (core, model, spec.learned.settings, spec.learned.frames):
        digest.update(repr(value).encode())
    columns = [d.frame, d.label, d.position, d.size, d.intensity, d.border, d.score, d.conflicts]
    if d.overlaps is not None:
        columns += [d.overlaps.source, d.overlaps.target, d.overlaps.voxels]
    if banned is not None:
        columns += [banned.out, banned.into, banned.pairs]
    for column in columns:
        if column is not None:
            digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:32]


def _together(tables: Sequence[Table], columns: dict[str, type[np.generic]]) -> Table:
    """Rows of all tables."""
    return {
        name: np.concatenate([np.zeros(0, dtype), *(table[name] for table in tables)])
        for name, dtype in columns.items()
    }


def read_links(run: str, packs: int) -> tuple[Table, Table]:
    """Links of all packs, and the detections that were rejected."""
    links = [read_table(links_url(run, pack)) for pack in range(packs)]
    nodes = [read_table(rejected_url(run, pack)) for pack in range(packs)]
    return _together(links, LINKS), _together(nodes, NODES)
