"""Link the objects of a series, part by part: each is some frames and a region, with a halo.

A part is solved once: its solution is kept by what it consists of, so that after a correction, or
in a run with other exports, only what has changed is solved again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from pydantic import TypeAdapter

from bigseg import files
from bigseg.core.objects import Table
from bigseg.core.tracking import link
from bigseg.core.tracking.blocks import Core
from bigseg.core.tracking.costs import Model
from bigseg.core.tracking.detections import Detections
from bigseg.errors import NotFound
from bigseg.grid import Block, Grid
from bigseg.io.tables import read_table, write_table
from bigseg.stages import learn
from bigseg.types import Facts, StageSpec


class Spec(StageSpec):
    """What is linked, among how many tasks it is shared out."""

    learned: learn.Spec
    packs: int

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


def read(spec: Spec, block: Block) -> list[tuple[Core, Model]]:
    """Parts of a pack, and what was learned."""
    cores = learn.read_cores(spec.run)[block.index[-1] :: spec.packs]
    if not cores:
        return []
    model = learn.read_model(spec.run)
    return [(core, model) for core in cores]


def block(spec: Spec, block: Block, data: list[tuple[Core, Model]]) -> Facts:
    """Link the parts of a pack, each from the detections that it needs."""
    solved = [_part(spec, core, model) for core, model in data]
    write_table(links_url(spec.run, block.index[-1]), _together([s[0] for s in solved], LINKS))
    write_table(rejected_url(spec.run, block.index[-1]), _together([s[1] for s in solved], NODES))
    facts = [s[2] for s in solved]
    return {
        "parts": len(data),
        "links": sum(len(s[0]["source_frame"]) for s in solved),
        "rejected": sum(len(s[1]["frame"]) for s in solved),
        "kept": sum(fact["kept"] for fact in facts),
        "value": sum(fact["value"] for fact in facts),
        "bound": sum(fact["bound"] for fact in facts),
        "fractional": sum(fact["fractional"] for fact in facts),
        "worst_gap": max((fact["gap"] for fact in facts), default=0.0),
    }


def finish(spec: Spec, facts: Sequence[Facts]) -> Facts:
    """Say how sure it is that the links are the best ones."""
    totals = ("parts", "links", "rejected", "kept", "value", "bound", "fractional")
    worst = max((fact["worst_gap"] for fact in facts), default=0.0)
    return {name: sum(fact[name] for fact in facts) for name in totals} | {"worst_gap": worst}


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


def _part(spec: Spec, core: Core, model: Model) -> Solved:
    """Links into what a part owns, what it rejects, and how the program ended."""
    d = _around(spec, core, model)
    key = _key(spec, core, model, d)
    url = files.join(spec.run, "tracking", "solutions", key)
    try:
        links, nodes = read_table(f"{url}-links.parquet"), read_table(f"{url}-rejected.parquet")
        facts = TypeAdapter(Facts).validate_json(files.get(f"{url}.json"))
        return links, nodes, {**facts, "kept": 1}
    except (NotFound, FileNotFoundError):
        pass
    ends = (0, spec.learned.frames - 1)
    found = link.link_part(d, core, model, spec.learned.settings, ends)
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
    facts = {
        "value": found.value,
        "bound": found.bound,
        "gap": found.gap,
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
    d = learn.load(spec.learned, range(first, last + 1))
    return d.take(np.flatnonzero(core.holds(d, frames, distance)))


def _key(spec: Spec, core: Core, model: Model, d: Detections) -> str:
    """Name of a solution: what it follows from."""
    digest = hashlib.sha256()
    for value in (core, model, spec.learned.settings, spec.learned.frames):
        digest.update(repr(value).encode())
    for column in (d.frame, d.label, d.position, d.size, d.intensity, d.border, d.score):
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
