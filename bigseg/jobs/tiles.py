"""Merge tiles that are labelled already: plan it, open or continue its folder, do its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from operator import itemgetter
from typing import Any

from bigseg import files
from bigseg.errors import SpecError
from bigseg.events import Listener, ignore
from bigseg.jobs import begin
from bigseg.jobs.begin import (
    Prepared,
    carry_out,
    claim_result,
    plan_run,
    published,
    room_for,
)
from bigseg.jobs.budget import PROCESS, check_memory, worker_bytes
from bigseg.jobs.claim import Claim, Way
from bigseg.plans.tiles import MergePlan, plan_merge
from bigseg.run.folder import Run, open_run
from bigseg.specs.segment import parse_as
from bigseg.specs.tiles import MergeSpec
from bigseg.stages import report, tile_publish, tiles
from bigseg.stages.publish import table_url

OWNING = 24
"""Bytes for each voxel of a tile while its owner is sought."""


@dataclass(frozen=True)
class Merged:
    """Where everything is."""

    labels: str
    """URL of the label image."""
    objects: int
    tiles: int
    """Frames of tiles."""
    table: str
    """URL of the object table."""
    ids: str
    """URL of the table that says what became of each id of each tile."""
    report: str
    run: str
    seconds: float

    def text(self) -> str:
        """Say it to a person."""
        return (
            f"{self.objects} objects of {self.tiles} tiles in {self.seconds:.1f} s\n"
            f"labels  {self.labels}\n"
            f"table   {self.table}\n"
            f"ids     {self.ids}\n"
            f"report  {self.report}\n"
            f"run     {self.run}"
        )


def merge(
    tiles: str | Sequence[str],
    output: str,
    *,
    run: str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    listener: Listener = ignore,
    **settings: Any,
) -> Merged:
    """Merge tiles of labels, each with ids of its own, into one label image.

    Objects that two tiles saw in their overlap, or that go on over a face at which tiles abut, get
    one id. Frames never merge, and planes of two-dimensional tiles do not, either.

    Parameters
    ----------
    tiles
        Files (TIFF, PNG, npy), zarr or OME-Zarr label images of two or three dimensions, and time:
        paths, URLs, folders, patterns. Any integer ids; 0 is background.
    output
        OME-Zarr label image to create.
    run
        Run folder; None: beside the output. An interrupted run is continued.
    cluster, workers
        See `bigseg.run.cluster.open_cluster`.
    overwrite
        Replace the result of a former merge of the same run folder.
    listener
        Is told how it goes; see `bigseg.events`.
    settings
        Fields of `MergeSpec`: where tiles lie (`positions`, `pattern`, `grid`; else their metadata
        say so) and how they are merged. Unknown ones are refused by name.

    Raises
    ------
    BigsegError
        In a sentence: before anything is written if something does not fit, or afterwards if
        blocks failed.
    """
    named = (tiles,) if isinstance(tiles, str) else tuple(map(str, tiles))
    spec = parse_as(MergeSpec, {**settings, "tiles": named, "output": output})
    return execute(
        spec, run=run, cluster=cluster, workers=workers, overwrite=overwrite, listener=listener
    )


def execute(
    spec: MergeSpec,
    *,
    run: str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    listener: Listener = ignore,
) -> Merged:
    """Do what a specification says; see `merge`."""
    planned, claimed = _claimed(spec, run, overwrite)
    need = max(worker_bytes(planned.steps), ("tiles", tile_bytes(planned)), key=itemgetter(1))
    check_memory(need, room_for(claimed.run, cluster, workers), "smaller tiles")
    return _do(claimed, planned, cluster, workers, listener)


def prepare(spec: MergeSpec, *, run: str | None = None, overwrite: bool = False) -> Prepared:
    """Check everything and write the run folder; job arrays, or `resume`, do the rest."""
    planned, claimed = _claimed(spec, run, overwrite)
    return begin.prepare(claimed, first=lambda: tiles.write_tiles(claimed.run.url, planned.table))


def _claimed(spec: MergeSpec, run: str | None, overwrite: bool) -> tuple[MergePlan, Claim]:
    """Plan a run and decide how it begins; nothing is written."""
    spec, url = absolute(spec, run)
    planned = plan_merge(spec, url)
    made = plan_run(url, spec, planned.steps)
    sources = sorted({*map(str, planned.table["file"])})
    claimed = claim_result(made, spec.target, sources, overwrite=overwrite, is_kind=is_merging)
    return planned, claimed


def resume(
    run: str,
    *,
    cluster: str | None = None,
    workers: int | None = None,
    listener: Listener = ignore,
) -> Merged:
    """Continue an interrupted merge, with the settings it was started with."""
    found = open_run(files.absolute(run))
    spec = parse_as(MergeSpec, found.settings)
    taken = found.step("tiles")
    planned = None
    if not files.exists(tiles.tiles_url(found.url)):  # killed before it was written
        planned = plan_merge(spec, found.url)
        if planned.steps[0].spec != taken.spec:
            raise SpecError(
                f"The tiles of {found.url} have changed; start it again with --overwrite."
            )
    return _do(Claim(found, spec.target, Way.CONTINUE), planned, cluster, workers, listener)


def is_merging(run: Run) -> bool:
    """Whether a run merges tiles."""
    return any(step.stage == "tiles" for step in run.steps)


def tile_bytes(planned: MergePlan) -> int:
    """Memory of a worker that takes a tile in, and has read the next one."""
    return PROCESS + prod(_taken(planned).largest) * (2 * planned.itemsize + OWNING)


def _taken(planned: MergePlan) -> tiles.Spec:
    return next(step.spec for step in planned.steps if isinstance(step.spec, tiles.Spec))


def absolute(spec: MergeSpec, run: str | None) -> tuple[MergeSpec, str]:
    """Give all URLs a form that workers understand."""
    places: dict[str, Any] = {
        "tiles": tuple(map(files.absolute, spec.tiles)),
        "output": files.absolute(spec.output),
    }
    if spec.positions is not None:
        places["positions"] = files.absolute(spec.positions)
    spec = spec.model_copy(update=places)
    return spec, files.absolute(run or spec.run)


def _do(
    claimed: Claim,
    planned: MergePlan | None,
    cluster: str | None,
    workers: int | None,
    listener: Listener,
) -> Merged:
    run = claimed.run

    def keep_tiles() -> None:
        if planned is not None:
            tiles.write_tiles(run.url, planned.table)

    seconds = carry_out(
        claimed, cluster=cluster, workers=workers, listener=listener, first=keep_tiles
    )
    return Merged(
        labels=claimed.target,
        objects=published(run),
        tiles=len(run.step("tiles").spec.grid),
        table=table_url(claimed.target),
        ids=tile_publish.origins_url(claimed.target),
        report=report.url(run.url),
        run=run.url,
        seconds=seconds,
    )
