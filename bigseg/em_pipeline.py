"""Make objects of maps: plan it, open or continue its folder, do its steps, tidy up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from bigseg import files
from bigseg.budget import PROCESS
from bigseg.claim import Claim, Way, check_run_folder, is_finished
from bigseg.em_plan import plan_em
from bigseg.em_spec import EmSpec
from bigseg.errors import OutputExists, SpecError
from bigseg.events import Listener, ignore
from bigseg.pipeline import Interrupted, widest
from bigseg.run.cluster import open_cluster, workers_here
from bigseg.run.execute import run_steps
from bigseg.run.folder import Run, is_run, make_steps, open_run
from bigseg.run.ledger import Ledger
from bigseg.run.machine import memory
from bigseg.spec import parse_as
from bigseg.stages import publish, supervoxels
from bigseg.steps import Step
from bigseg.version import VERSION

PER_VOXEL, PER_MAP = 64, 48
"""Bytes for each voxel of a block with its halo: of a watershed, and of each channel of a mutex
watershed besides."""


@dataclass(frozen=True)
class Segmented:
    """Where everything is."""

    labels: str
    """URL of the label image."""
    objects: int
    supervoxels: int
    table: str
    """URL of the object table."""
    run: str
    seconds: float

    def text(self) -> str:
        """Say it to a person."""
        return (
            f"{self.objects} objects of {self.supervoxels} supervoxels in {self.seconds:.1f} s\n"
            f"labels  {self.labels}\n"
            f"table   {self.table}\n"
            f"run     {self.run}"
        )


@dataclass(frozen=True)
class EmDryRun:
    """What a run would do."""

    run: str
    labels: str
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
        lines = [f"{'step':<12}{'blocks':>8}  block (t, z, y, x)"]
        lines += [f"{n:<12}{b:>8}  {', '.join(map(str, shape))}" for n, b, shape in self.steps]
        lines.append(f"memory      {self.worker_bytes / 1e9:.2f} GB for each worker")
        lines.append(f"labels      {self.labels}")
        lines.append(f"run folder  {self.run}")
        return "\n".join(lines)


def segment_maps(
    spec: EmSpec,
    *,
    run: str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    listener: Listener = ignore,
) -> Segmented:
    """Make objects of maps of boundaries or affinities, block by block.

    Parameters
    ----------
    spec
        Where the maps are and what they mean.
    run
        Run folder; None: beside the output. An interrupted run is continued.
    cluster, workers
        See `bigseg.run.cluster.open_cluster`.
    overwrite
        Replace the result of a former run of the same folder.
    listener
        Is told how it goes; see `bigseg.events`.

    Raises
    ------
    BigsegError
        In a sentence: before anything is written if something does not fit, or afterwards if
        blocks failed.
    """
    spec, url = _absolute(spec, run)
    planned = plan_em(spec, url)
    steps = make_steps([(step.name, step.stage, step.spec) for step in planned])
    for step in steps:
        step.module.check(step.spec)
    made = Run(url, VERSION, spec.model_dump(mode="json"), steps)
    _check_memory(planned, workers_here(cluster, workers, widest(made.steps)))
    return _do(_claim(made, spec, overwrite), spec, cluster, workers, listener)


def resume(
    run: str,
    *,
    cluster: str | None = None,
    workers: int | None = None,
    listener: Listener = ignore,
) -> Segmented:
    """Continue an interrupted run, with the settings it was started with."""
    found = open_run(files.absolute(run))
    spec = parse_as(EmSpec, found.settings)
    return _do(Claim(found, spec.target, Way.CONTINUE), spec, cluster, workers, listener)


def is_em(run: Run) -> bool:
    """Whether a run makes objects of maps."""
    return any(step.stage == "supervoxels" for step in run.steps)


def dry_run(spec: EmSpec, run: str | None = None) -> EmDryRun:
    """Check everything and say what would be done; nothing is written."""
    spec, url = _absolute(spec, run)
    steps = plan_em(spec, url)
    rows = tuple((s.name, len(s.spec.grid), s.spec.grid.block) for s in steps)
    return EmDryRun(url, spec.target, rows, worker_bytes(steps))


def worker_bytes(steps: Sequence[Step]) -> int:
    """Memory of a worker: a block with its halo, flooded."""
    pieces = next(s.spec for s in steps if isinstance(s.spec, supervoxels.Spec))
    sides = zip(pieces.block, pieces.halo, pieces.shape, strict=True)
    voxels = prod(min(b + 2 * h, n) for b, h, n in sides)
    maps = len(pieces.maps.channels)
    many = maps * PER_MAP if pieces.method == "mutex-watershed" else 2 * maps
    return PROCESS + voxels * (PER_VOXEL + many)


def _check_memory(planned: Sequence[Step], workers: int) -> None:
    each, available = worker_bytes(planned), memory()
    if each * workers > available:
        raise SpecError(
            f"Step 'supervoxels' needs about {each / 1e9:.1f} GB of memory for each of {workers} "
            f"worker(s), but {available / 1e9:.1f} GB are available; use fewer --workers, or a "
            "smaller --block and --halo."
        )


def _absolute(spec: EmSpec, run: str | None) -> tuple[EmSpec, str]:
    """Give all URLs a form that workers understand."""
    places = {"image": files.absolute(spec.image)}
    if spec.output is not None:
        places["output"] = files.absolute(spec.output)
    spec = spec.model_copy(update=places)
    return spec, files.absolute(run or spec.run)


def _claim(run: Run, spec: EmSpec, overwrite: bool) -> Claim:
    """Decide how a run begins; nothing is written."""
    former = open_run(run.url) if is_run(run.url) else None
    way = Way.NEW
    if former is not None:
        if not is_em(former):
            raise SpecError(f"{run.url} holds a run of another kind; choose another with --run.")
        same = former.steps[-1].fingerprint == run.steps[-1].fingerprint
        way = Way.CONTINUE if same and not is_finished(former) else Way.ANEW
        if way is Way.ANEW and not overwrite:
            what = "is finished already" if same else "holds a run of other maps or settings"
            raise OutputExists(
                f"{run.url} {what}; choose another --name or output, or replace it with "
                "--overwrite."
            )
    if way is not Way.CONTINUE:
        _check_free(spec.target, former)
        check_run_folder(run.url, spec.image, spec.target, way)
    for url in (run.url, spec.target):
        files.check_writable(url)
    return Claim(run, spec.target, way)


def _check_free(target: str, former: Run | None) -> None:
    """Refuse to replace anything but what the former run has made."""
    ours = former is not None and parse_as(EmSpec, former.settings).target == target
    if files.names(target) and not ours:
        raise OutputExists(
            f"{target} exists already, and no run beside it says that it made it; choose another "
            "--name or output."
        )


def _do(
    claimed: Claim, spec: EmSpec, cluster: str | None, workers: int | None, listener: Listener
) -> Segmented:
    started, run = time.monotonic(), claimed.run
    # What has to be started may be refused, too, so nothing is written before.
    where = "serial" if claimed.way is Way.CONTINUE and is_finished(run) else cluster
    try:
        with open_cluster(where, workers, widest(run.steps)) as opened:
            claimed.take()
            run_steps(run, opened.execute, opened.workers, cores=opened.cores, listen=listener)
    except KeyboardInterrupt:
        remedy = f"'bigseg run {run.url}' continues." if is_run(run.url) else "Nothing is written."
        raise Interrupted(f"Interrupted. {remedy}") from None
    if not spec.keep_scratch:
        files.remove(files.join(run.url, "scratch"))
    published = Ledger.of(run, run.step("publish")).finished() or {}
    made = Ledger.of(run, run.step("supervoxels")).finished() or {}
    return Segmented(
        labels=spec.target,
        objects=int(published["objects"]),
        supervoxels=int(made["objects"]),
        table=publish.table_url(spec.target),
        run=run.url,
        seconds=round(time.monotonic() - started, 2),
    )
