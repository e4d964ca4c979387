"""Plan a run, open or continue its folder, do its steps, tidy up."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bigseg import files
from bigseg.budget import check_memory, worker_bytes
from bigseg.channels import resolve_channels
from bigseg.claim import (
    Claim,
    Way,
    check_predictions,
    check_space,
    claim,
    is_finished,
    remove_run,
    scratch_bytes,
)
from bigseg.diameter import estimate_diameter
from bigseg.errors import ImageError, SpecError
from bigseg.events import Listener, ignore
from bigseg.io.volume import Volume
from bigseg.nets.catalogue import cached
from bigseg.nets.functions import is_function, name_of
from bigseg.nets.published import PUBLISHED
from bigseg.nets.weights import bundled
from bigseg.plan import describe_models, plan_segment
from bigseg.run.cluster import open_cluster, workers_here
from bigseg.run.execute import run_steps
from bigseg.run.folder import Run, is_run, make_steps, open_run
from bigseg.run.folder import Step as RunStep
from bigseg.run.ledger import Ledger
from bigseg.run.machine import memory
from bigseg.sampling import View
from bigseg.spec import SegmentSpec, parse
from bigseg.stages import publish, report
from bigseg.stages.normalize import Sight
from bigseg.version import VERSION


@dataclass(frozen=True)
class Result:
    """Where everything is."""

    labels: str
    """URL of the label image."""
    objects: int
    table: str
    """URL of the object table."""
    report: str
    run: str
    seconds: float

    def text(self) -> str:
        """Say it to a person."""
        return (
            f"{self.objects} objects in {self.seconds:.1f} s\n"
            f"labels  {self.labels}\n"
            f"table   {self.table}\n"
            f"report  {self.report}"
        )


@dataclass(frozen=True)
class DryRun:
    """What a run would do."""

    run: str
    labels: str
    steps: tuple[tuple[str, int, tuple[int, ...]], ...]
    """Name, number of blocks and block shape (t, z, y, x)."""
    scratch_bytes: int
    """Scratch space before compression."""
    worker_bytes: int
    """Memory that one worker needs."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        steps = [{"step": n, "blocks": b, "block": list(shape)} for n, b, shape in self.steps]
        return {
            "run": self.run,
            "labels": self.labels,
            "steps": steps,
            "scratch_bytes": self.scratch_bytes,
            "worker_bytes": self.worker_bytes,
        }

    def text(self) -> str:
        """Say it to a person."""
        lines = [f"{'step':<12}{'blocks':>8}  block (t, z, y, x)"]
        lines += [f"{n:<12}{b:>8}  {', '.join(map(str, shape))}" for n, b, shape in self.steps]
        lines.append(f"scratch     {self.scratch_bytes / 1e9:.2f} GB before compression")
        lines.append(f"memory      {self.worker_bytes / 1e9:.2f} GB for each worker")
        lines.append(f"labels      {self.labels}")
        lines.append(f"run folder  {self.run}")
        return "\n".join(lines)


def segment(
    image: str,
    output: str | None = None,
    *,
    run: str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    listener: Listener = ignore,
    **settings: Any,
) -> Result:
    """Segment an OME-Zarr image into labels, block by block.

    Parameters
    ----------
    image
        Path or URL of an OME-Zarr image, axes any subset of t, c, z, y, x.
    output
        OME-Zarr to create; None: `IMAGE/labels/NAME`.
    run
        Run folder; None: beside the output. An interrupted run is continued.
    cluster, workers
        See `bigseg.run.cluster.open_cluster`.
    overwrite
        Replace labels and run of the same name.
    listener
        Is told how it goes; see `bigseg.events`.
    settings
        Fields of `bigseg.SegmentSpec`; `model` is needed, and may be a function of a module that
        workers can import. Unknown ones are refused by name.

    Raises
    ------
    BigsegError
        In a sentence: before anything is written if something does not fit, or afterwards if
        blocks failed.
    """
    model = settings.get("model")
    if callable(model):
        settings["model"] = name_of(model)
    spec = parse({**settings, "image": image, "output": output})
    return execute(
        spec, run=run, cluster=cluster, workers=workers, overwrite=overwrite, listener=listener
    )


def execute(
    spec: SegmentSpec,
    *,
    run: str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    listener: Listener = ignore,
) -> Result:
    """Do what a specification says; see `segment`."""
    spec, url = _absolute(spec, run)
    spec = _measured(spec)
    planned = plan_segment(spec, url)
    steps = make_steps([(step.name, step.stage, step.spec) for step in planned])
    for step in steps:
        step.module.check(step.spec)
    check_memory(planned, workers_here(cluster, workers, widest(steps)), memory())
    claimed = claim(
        Run(url, VERSION, spec.model_dump(mode="json"), steps), spec, planned, overwrite
    )
    return _do(claimed, spec, cluster, workers, listener)


def resume(
    run: str,
    *,
    cluster: str | None = None,
    workers: int | None = None,
    listener: Listener = ignore,
) -> Result:
    """Continue an interrupted run, with the settings it was started with."""
    found = open_run(files.absolute(run))
    spec = parse(found.settings)
    check_predictions(found)
    for step in found.steps:
        if not Ledger.of(found, step).tally().finished:
            step.module.check(step.spec)
    return _do(Claim(found, spec.target, Way.CONTINUE), spec, cluster, workers, listener)


def dry_run(spec: SegmentSpec, run: str | None = None) -> DryRun:
    """Check everything and say what would be done; nothing is written."""
    spec, url = _absolute(spec, run)
    spec = _measured(spec)
    steps = plan_segment(spec, url)
    for step in make_steps([(step.name, step.stage, step.spec) for step in steps]):
        step.module.check(step.spec)
    check_space(url, steps)
    rows = tuple((s.name, len(s.spec.grid), s.spec.grid.block) for s in steps)
    return DryRun(url, spec.target, rows, scratch_bytes(steps), worker_bytes(steps)[1])


def _measured(spec: SegmentSpec) -> SegmentSpec:
    """Put a number in the place of `diameter="auto"`."""
    if spec.diameter != "auto":
        return spec
    model = describe_models(spec)[0]
    volume = Volume.open(spec.image, spec.level)
    channels, mix = resolve_channels(spec.channels, volume, model)
    if model.representation != "flows":
        raise SpecError(
            "--diameter auto needs a model of flows; give the width of a typical object in pixels."
        )
    for option, chosen in (("--restore", spec.restore), ("--window", spec.window)):
        if chosen is not None:
            raise SpecError(
                f"--diameter auto measures samples of the image without {option}; give the width "
                "of a typical object in pixels."
            )
    found = estimate_diameter(
        spec.image,
        spec.model,
        channels,
        level=spec.level,
        size_model=cached(model.size_model) if model.size_model else None,
        view=View(
            sight=Sight(mix=mix, smooth=spec.smooth, sharpen=spec.sharpen),
            percentiles=spec.percentiles,
            per=spec.normalize_per,
            intensity=spec.intensity,
            invert=spec.invert,
        ),
        cellprob_threshold=spec.cellprob_threshold,
    )
    return spec.model_copy(update={"diameter": round(found.diameter, 1)})


def _absolute(spec: SegmentSpec, run: str | None) -> tuple[SegmentSpec, str]:
    """Give all URLs a form that workers understand."""
    places = {"image": files.absolute(spec.image)}
    if spec.output is not None:
        places["output"] = files.absolute(spec.output)
    places["model"] = ",".join(_absolute_model(model) for model in spec.models)
    if spec.restore is not None:
        places["restore"] = _absolute_model(spec.restore)
    spec = spec.model_copy(update=places)
    return spec, files.absolute(run or spec.run)


def _absolute_model(model: str) -> str:
    """Give a path of weights a form that workers understand; names and functions stay."""
    known = is_function(model) or model in bundled() or model in PUBLISHED
    return files.absolute(model) if not known and files.exists(model) else model


class Interrupted(KeyboardInterrupt):
    """Somebody pressed Ctrl-C; the message says how to go on. No `Exception`, as its base."""

    exit_code = 130


def _do(
    claimed: Claim, spec: SegmentSpec, cluster: str | None, workers: int | None, listener: Listener
) -> Result:
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
        _withdraw(run)
        raise
    if not spec.keep_scratch:
        files.remove(files.join(run.url, "scratch"))
    published = Ledger.of(run, run.step("publish")).finished() or {}
    return Result(
        labels=spec.target,
        objects=int(published["objects"]),
        table=publish.table_url(spec.target),
        report=report.url(run.url),
        run=run.url,
        seconds=round(time.monotonic() - started, 2),
    )


def widest(steps: Sequence[RunStep]) -> int:
    """Most blocks of a step."""
    return max(len(step.spec.grid) for step in steps)


def _withdraw(run: Run) -> None:
    """Leave no trace of a run whose image turned out to be impossible to segment."""
    first = next(step for step in run.steps if step.name in ("predict", "label"))
    tally = Ledger.of(run, first).tally()
    if not tally.done and not tally.failed:
        remove_run(run.url)
