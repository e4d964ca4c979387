"""Run a restoration: plan it, open or continue its folder, do its steps, tidy up."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from bigseg import files
from bigseg.budget import PROCESS
from bigseg.claim import Claim, Way, check_run_folder, is_finished, remove_run
from bigseg.errors import ImageError, OutputExists, SpecError
from bigseg.events import Listener, ignore
from bigseg.grid import size
from bigseg.io.volume import Volume
from bigseg.nets.published import PUBLISHED
from bigseg.nets.weights import bundled
from bigseg.pipeline import Interrupted, widest
from bigseg.restoration_plan import RestoreSpec, plan_restore
from bigseg.run.cluster import open_cluster, workers_here
from bigseg.run.execute import run_steps
from bigseg.run.folder import Run, is_run, make_steps, open_run
from bigseg.run.ledger import Ledger
from bigseg.run.machine import memory
from bigseg.spec import parse_as
from bigseg.stages import restore as stage
from bigseg.steps import Step
from bigseg.version import VERSION

NETWORK = 350_000_000
"""Bytes of a network of the published width at work on a tile."""
PER_PIXEL = 48
"""Bytes for each pixel of a plane at work: resized, framed, blended, and as doubles."""


@dataclass(frozen=True)
class Restored:
    """Where the restored image is."""

    image: str
    shape: tuple[int, ...]
    """Of its finest level, (t, c, z, y, x)."""
    run: str
    seconds: float

    def text(self) -> str:
        """Say it to a person."""
        shape = " x ".join(map(str, self.shape))
        return (
            f"{shape} (t, c, z, y, x) restored in {self.seconds:.1f} s\n"
            f"image  {self.image}\n"
            f"run    {self.run}"
        )


@dataclass(frozen=True)
class RestorePlan:
    """What a restoration would do."""

    run: str
    image: str
    steps: tuple[tuple[str, int, tuple[int, ...]], ...]
    """Name, number of blocks and block shape (t, z, y, x)."""
    output_bytes: int
    """Size of the finest level of the result before compression."""
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
        lines.append(f"output      {self.output_bytes / 1e9:.2f} GB before compression")
        lines.append(f"memory      {self.worker_bytes / 1e9:.2f} GB for each worker")
        lines.append(f"image       {self.image}")
        lines.append(f"run folder  {self.run}")
        return "\n".join(lines)


def restore(
    image: str,
    output: str,
    *,
    run: str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    listener: Listener = ignore,
    **settings: Any,
) -> Restored:
    """Restore an OME-Zarr image into another, block by block, without seams.

    Every plane of every channel is restored by itself. Values are on the scale of the image and in
    its type, unless `values="network"`.

    Parameters
    ----------
    image, output
        Paths or URLs: an OME-Zarr image, and the one to create.
    run
        Run folder; None: beside the output. An interrupted run is continued.
    cluster, workers
        See `bigseg.run.cluster.open_cluster`.
    overwrite
        Replace the result of a former restoration of the same run folder.
    listener
        Is told how it goes; see `bigseg.events`.
    settings
        Fields of `RestoreSpec`; `model` is needed. Unknown ones are refused by name.

    Raises
    ------
    BigsegError
        In a sentence: before anything is written if something does not fit, or afterwards if
        blocks failed.
    """
    spec = parse_as(RestoreSpec, {**settings, "image": image, "output": output})
    return execute(
        spec, run=run, cluster=cluster, workers=workers, overwrite=overwrite, listener=listener
    )


def execute(
    spec: RestoreSpec,
    *,
    run: str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    listener: Listener = ignore,
) -> Restored:
    """Do what a specification says; see `restore`."""
    spec, url = _absolute(spec, run)
    planned = plan_restore(spec, url)
    steps = make_steps([(step.name, step.stage, step.spec) for step in planned])
    for step in steps:
        step.module.check(step.spec)
    made = Run(url, VERSION, spec.model_dump(mode="json"), steps)
    _check_memory(planned, workers_here(cluster, workers, widest(made.steps)))
    return _do(_claim(made, spec, overwrite), cluster, workers, listener)


def resume(
    run: str,
    *,
    cluster: str | None = None,
    workers: int | None = None,
    listener: Listener = ignore,
) -> Restored:
    """Continue an interrupted restoration, with the settings it was started with."""
    found = open_run(files.absolute(run))
    for step in found.steps:
        if not Ledger.of(found, step).tally().finished:
            step.module.check(step.spec)
    target = parse_as(RestoreSpec, found.settings).target
    return _do(Claim(found, target, Way.CONTINUE), cluster, workers, listener)


def is_restoration(run: Run) -> bool:
    """Whether a run restores an image."""
    return any(step.stage == "restore" for step in run.steps)


def dry_run(spec: RestoreSpec, run: str | None = None) -> RestorePlan:
    """Check everything and say what would be done; nothing is written."""
    spec, url = _absolute(spec, run)
    steps = plan_restore(spec, url)
    rows = tuple((s.name, len(s.spec.grid), s.spec.grid.block) for s in steps)
    restored = _restored(steps)
    itemsize = stage.restored_image(restored).dtype.itemsize
    voxels = prod(restored.shape) * len(restored.channels)
    return RestorePlan(url, spec.target, rows, voxels * itemsize, worker_bytes(restored))


def worker_bytes(spec: stage.Spec) -> int:
    """Memory of a worker: a block and the next one as stored, a channel before and after."""
    inner = spec.grid.block_at(tuple(count // 2 for count in spec.grid.counts)).write
    read, written = prod(size(stage.source_box(spec.plane, inner))), prod(size(inner))
    stored = Volume.open(spec.image, spec.level).dtype.itemsize
    planes = prod(size(inner)[2:]) * PER_PIXEL
    kept = read * (2 * stored * len(spec.channels) + 4) + written * (4 + stored)
    return PROCESS + NETWORK + kept + planes


def _check_memory(planned: list[Step], workers: int) -> None:
    each, available = worker_bytes(_restored(planned)), memory()
    if each * workers > available:
        raise SpecError(
            f"Step 'restore' needs about {each / 1e9:.1f} GB of memory for each of {workers} "
            f"worker(s), but {available / 1e9:.1f} GB are available; use fewer --workers."
        )


def _restored(planned: list[Step]) -> stage.Spec:
    return next(step.spec for step in planned if isinstance(step.spec, stage.Spec))


def _absolute(spec: RestoreSpec, run: str | None) -> tuple[RestoreSpec, str]:
    """Give all URLs a form that workers understand."""
    places = {"image": files.absolute(spec.image), "output": files.absolute(spec.output)}
    named = spec.model in bundled() or spec.model in PUBLISHED
    if not named and files.exists(spec.model):
        places["model"] = files.absolute(spec.model)
    spec = spec.model_copy(update=places)
    return spec, files.absolute(run or spec.run)


def _claim(run: Run, spec: RestoreSpec, overwrite: bool) -> Claim:
    """Decide how a run begins; nothing is written."""
    former = open_run(run.url) if is_run(run.url) else None
    way = Way.NEW
    if former is not None:
        if not is_restoration(former):
            raise SpecError(f"{run.url} holds a run that segments; choose another with --run.")
        same = former.steps[-1].fingerprint == run.steps[-1].fingerprint
        way = Way.CONTINUE if same and not is_finished(former) else Way.ANEW
        if way is Way.ANEW and not overwrite:
            what = "is finished already" if same else "holds a restoration with other settings"
            raise OutputExists(
                f"{run.url} {what}; choose another output, or replace it with --overwrite."
            )
    if way is not Way.CONTINUE:
        _check_target(spec.target, former)
        check_run_folder(run.url, spec.image, spec.target, way)
    for url in (run.url, spec.target):
        files.check_writable(url)
    return Claim(run, spec.target, way)


def _check_target(target: str, former: Run | None) -> None:
    """Refuse to replace anything but what the former run has made."""
    ours = former is not None and former.settings.get("output") == target
    if files.names(target) and not ours:
        raise OutputExists(
            f"{target} exists already, and no restoration beside it says that it made it; "
            "choose another output."
        )


def _do(claimed: Claim, cluster: str | None, workers: int | None, listener: Listener) -> Restored:
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
    except ImageError:
        if not Ledger.of(run, run.step("restore")).tally().done:
            remove_run(run.url)
        raise
    files.remove(files.join(run.url, "scratch"))
    shape = Volume.open(claimed.target).shape
    return Restored(claimed.target, shape, run.url, round(time.monotonic() - started, 2))
