"""Merge tiles that are labelled already: plan it, open or continue its folder, do its steps."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from bigseg import files
from bigseg.budget import PROCESS
from bigseg.claim import Claim, Way, check_run_folder, is_finished
from bigseg.errors import OutputExists, SpecError
from bigseg.events import Listener, ignore
from bigseg.merge_plan import MergePlan, plan_merge
from bigseg.merge_spec import MergeSpec
from bigseg.pipeline import Interrupted, widest
from bigseg.run.cluster import open_cluster, workers_here
from bigseg.run.execute import run_steps
from bigseg.run.folder import Run, is_run, make_steps, open_run
from bigseg.run.ledger import Ledger
from bigseg.run.machine import memory
from bigseg.spec import parse_as
from bigseg.stages import tile_publish, tiles, write_tiles
from bigseg.stages.publish import table_url
from bigseg.version import VERSION

OWNING, WRITING = 24, 40
"""Bytes for each voxel of a tile while its owner is sought, and of a block that is put together."""


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
    run: str
    seconds: float

    def text(self) -> str:
        """Say it to a person."""
        return (
            f"{self.objects} objects of {self.tiles} tiles in {self.seconds:.1f} s\n"
            f"labels  {self.labels}\n"
            f"table   {self.table}\n"
            f"ids     {self.ids}\n"
            f"run     {self.run}"
        )


@dataclass(frozen=True)
class MergeDryRun:
    """What a merge would do."""

    run: str
    labels: str
    tiles: int
    shape: tuple[int, ...]
    """Of the whole, (t, z, y, x)."""
    steps: tuple[tuple[str, int, tuple[int, ...]], ...]
    """Name, number of blocks and block shape (t, z, y, x)."""
    worker_bytes: int
    """Memory that one worker needs."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        steps = [{"step": n, "blocks": b, "block": list(shape)} for n, b, shape in self.steps]
        return asdict(self) | {"steps": steps}

    def text(self) -> str:
        """Say it to a person."""
        shape = " x ".join(map(str, self.shape))
        lines = [f"{self.tiles} tiles make {shape} voxels (t, z, y, x)"]
        lines += [f"{'step':<12}{'blocks':>8}"]
        lines += [f"{name:<12}{blocks:>8}" for name, blocks, _ in self.steps]
        lines.append(f"memory      {self.worker_bytes / 1e9:.2f} GB for each worker")
        lines.append(f"labels      {self.labels}")
        lines.append(f"run folder  {self.run}")
        return "\n".join(lines)


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
    spec, url = _absolute(spec, run)
    planned = plan_merge(spec, url)
    steps = make_steps([(step.name, step.stage, step.spec) for step in planned.steps])
    made = Run(url, VERSION, spec.model_dump(mode="json"), steps)
    _check_memory(planned, workers_here(cluster, workers, widest(made.steps)))
    claimed = _claim(made, spec, planned, overwrite)
    return _do(claimed, planned, cluster, workers, listener)


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


def dry_run(spec: MergeSpec, run: str | None = None) -> MergeDryRun:
    """Check everything and say what would be done; nothing is written."""
    spec, url = _absolute(spec, run)
    planned = plan_merge(spec, url)
    rows = tuple((s.name, len(s.spec.grid), s.spec.grid.block) for s in planned.steps)
    taken = _taken(planned)
    return MergeDryRun(url, spec.target, taken.count, taken.shape, rows, worker_bytes(planned))


def worker_bytes(planned: MergePlan) -> int:
    """Memory of a worker: a tile with the next one, or a block of the whole."""
    tile = prod(_taken(planned).largest) * (2 * planned.itemsize + OWNING)
    written = next(s.spec for s in planned.steps if isinstance(s.spec, write_tiles.Spec))
    return PROCESS + max(tile, prod(written.block) * WRITING)


def _taken(planned: MergePlan) -> tiles.Spec:
    return next(step.spec for step in planned.steps if isinstance(step.spec, tiles.Spec))


def _check_memory(planned: MergePlan, workers: int) -> None:
    each, available = worker_bytes(planned), memory()
    if each * workers > available:
        raise SpecError(
            f"Merging needs about {each / 1e9:.1f} GB of memory for each of {workers} worker(s), "
            f"but {available / 1e9:.1f} GB are available; use fewer --workers, or smaller tiles."
        )


def _absolute(spec: MergeSpec, run: str | None) -> tuple[MergeSpec, str]:
    """Give all URLs a form that workers understand."""
    places: dict[str, Any] = {
        "tiles": tuple(map(files.absolute, spec.tiles)),
        "output": files.absolute(spec.output),
    }
    if spec.positions is not None:
        places["positions"] = files.absolute(spec.positions)
    spec = spec.model_copy(update=places)
    return spec, files.absolute(run or spec.run)


def _claim(run: Run, spec: MergeSpec, planned: MergePlan, overwrite: bool) -> Claim:
    """Decide how a run begins; nothing is written."""
    former = open_run(run.url) if is_run(run.url) else None
    way = Way.NEW
    if former is not None:
        if not is_merging(former):
            raise SpecError(f"{run.url} holds a run of another kind; choose another with --run.")
        same = former.steps[-1].fingerprint == run.steps[-1].fingerprint
        way = Way.CONTINUE if same and not is_finished(former) else Way.ANEW
        if way is Way.ANEW and not overwrite:
            what = "is finished already" if same else "holds a merge of other tiles or settings"
            raise OutputExists(
                f"{run.url} {what}; choose another output, or replace it with --overwrite."
            )
    if way is not Way.CONTINUE:
        _check_target(spec.target, former)
        for url in sorted({*map(str, planned.table["file"])}):
            check_run_folder(run.url, url, spec.target, way)
    for url in (run.url, spec.target):
        files.check_writable(url)
    return Claim(run, spec.target, way)


def _check_target(target: str, former: Run | None) -> None:
    """Refuse to replace anything but what the former run has made."""
    ours = former is not None and former.settings.get("output") == target
    if files.names(target) and not ours:
        raise OutputExists(
            f"{target} exists already, and no merge beside it says that it made it; "
            "choose another output."
        )


def _do(
    claimed: Claim,
    planned: MergePlan | None,
    cluster: str | None,
    workers: int | None,
    listener: Listener,
) -> Merged:
    started, run = time.monotonic(), claimed.run
    # What has to be started may be refused, too, so nothing is written before.
    where = "serial" if claimed.way is Way.CONTINUE and is_finished(run) else cluster
    try:
        with open_cluster(where, workers, widest(run.steps)) as opened:
            claimed.take()
            if planned is not None:
                tiles.write_tiles(run.url, planned.table)
            run_steps(run, opened.execute, opened.workers, cores=opened.cores, listen=listener)
    except KeyboardInterrupt:
        remedy = f"'bigseg run {run.url}' continues." if is_run(run.url) else "Nothing is written."
        raise Interrupted(f"Interrupted. {remedy}") from None
    files.remove(files.join(run.url, "scratch"))
    published = Ledger.of(run, run.step("publish")).finished() or {}
    return Merged(
        labels=claimed.target,
        objects=int(published["objects"]),
        tiles=len(run.step("tiles").spec.grid),
        table=table_url(claimed.target),
        ids=tile_publish.origins_url(claimed.target),
        run=run.url,
        seconds=round(time.monotonic() - started, 2),
    )
