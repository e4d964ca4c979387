"""Plan a run, open or continue its folder, do its steps, tidy up."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from math import prod
from typing import Any

from bigseg import files
from bigseg.errors import BigsegError, OutputExists, SpecError
from bigseg.events import Listener, ignore
from bigseg.io.labels import unregister_labels
from bigseg.plan import Step as PlannedStep
from bigseg.plan import plan_segment
from bigseg.run.cluster import open_cluster
from bigseg.run.execute import run_steps
from bigseg.run.folder import Run, is_run, make_steps, open_run
from bigseg.run.ledger import Ledger
from bigseg.spec import SegmentSpec, parse
from bigseg.stages import label, predict, report
from bigseg.version import VERSION

COMPRESSED = 0.5
"""Share of the raw size that scratch is reckoned to take on disk."""


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

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        steps = [{"step": n, "blocks": b, "block": list(shape)} for n, b, shape in self.steps]
        return {
            "run": self.run,
            "labels": self.labels,
            "steps": steps,
            "scratch_bytes": self.scratch_bytes,
        }

    def text(self) -> str:
        """Say it to a person."""
        lines = [f"{'step':<12}{'blocks':>8}  block (t, z, y, x)"]
        lines += [f"{n:<12}{b:>8}  {', '.join(map(str, shape))}" for n, b, shape in self.steps]
        lines.append(f"scratch     {self.scratch_bytes / 1e9:.2f} GB before compression")
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
        Fields of `bigseg.SegmentSpec`; `model` is needed. Unknown ones are refused by name.

    Raises
    ------
    BigsegError
        In a sentence: before anything is written if something does not fit, or afterwards if
        blocks failed.
    """
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
    steps = plan_segment(spec, url)
    return _do(_claim(spec, url, steps, overwrite), spec, cluster, workers, listener)


def resume(
    run: str,
    *,
    cluster: str | None = None,
    workers: int | None = None,
    listener: Listener = ignore,
) -> Result:
    """Continue an interrupted run, with the settings it was started with."""
    found = open_run(files.absolute(run))
    return _do(found, parse(found.settings), cluster, workers, listener)


def dry_run(spec: SegmentSpec, run: str | None = None) -> DryRun:
    """Check everything and say what would be done; nothing is written."""
    spec, url = _absolute(spec, run)
    steps = plan_segment(spec, url)
    rows = tuple((s.name, len(s.spec.grid), s.spec.grid.block) for s in steps)
    return DryRun(url, spec.target, rows, scratch_bytes(steps))


def scratch_bytes(steps: list[PlannedStep]) -> int:
    """Size of predictions and of the blocks' labels before compression."""
    total = 0
    for step in steps:
        if isinstance(step.spec, predict.Spec):
            total += (step.spec.ndim + 1) * prod(step.spec.shape)
        elif isinstance(step.spec, label.Spec):
            total += 4 * prod(step.spec.shape)
    return total


def _absolute(spec: SegmentSpec, run: str | None) -> tuple[SegmentSpec, str]:
    """Give all URLs a form that workers understand."""
    places = {"image": files.absolute(spec.image)}
    if spec.output is not None:
        places["output"] = files.absolute(spec.output)
    if files.exists(spec.model):
        places["model"] = files.absolute(spec.model)
    spec = spec.model_copy(update=places)
    return spec, files.absolute(run or spec.run)


def _claim(spec: SegmentSpec, url: str, planned: list[PlannedStep], overwrite: bool) -> Run:
    """Open the run folder: a new one, an interrupted one, or one whose predictions still serve."""
    steps = make_steps([(step.name, step.stage, step.spec) for step in planned])
    run = Run(url, VERSION, spec.model_dump(mode="json"), steps)
    if not is_run(url):
        if files.names(spec.target):
            if not overwrite:
                raise OutputExists(
                    f"{spec.target} exists already; choose another --name or output, "
                    "or replace it with --overwrite."
                )
            _discard(spec.target)
        check_space(url, planned)
        _save(run)
        return run
    former = open_run(url)
    same = former.steps[-1].fingerprint == steps[-1].fingerprint
    if same and not _is_finished(former):
        return former
    if not overwrite:
        if same:
            raise OutputExists(
                f"{spec.target} is finished already, in the run {url}; replace it with --overwrite."
            )
        raise SpecError(
            f"{url} holds a run with other settings ({_difference(former, run)}); choose another "
            "--run or --name, or replace it with --overwrite."
        )
    _discard(spec.target)
    if same or not former.settings.get("keep_scratch"):
        files.remove(url)
    else:
        _forget(former, run)
    _save(run)
    return run


def _save(run: Run) -> None:
    try:
        run.save()
    except OSError as error:
        raise SpecError(
            f"The run folder {run.url} cannot be written ({error.strerror or error}); choose "
            "another with --run."
        ) from None


def _discard(target: str) -> None:
    """Remove a former result, and nothing that does not look like one."""
    parent, _, name = target.rstrip("/").rpartition("/")
    if parent.endswith("/labels"):
        unregister_labels(parent, name)
    files.remove(target)


def _forget(former: Run, run: Run) -> None:
    """Drop what the new settings change; predictions that still serve stay."""
    kept = {step.name for step, new in zip(former.steps, run.steps, strict=False) if step == new}
    for step in former.steps:
        if step.name not in kept:
            files.remove(files.join(run.url, "ledger", step.name))
    for name in ("opinions", "objects"):
        files.remove(files.join(run.url, "scratch", name))
    for name in ("edges", "ids", "offsets.parquet", "objects.parquet"):
        files.remove(files.join(run.url, "tables", name))


def _difference(former: Run, run: Run) -> str:
    changed = [
        f"{key} was {former.settings.get(key)!r}, now {value!r}"
        for key, value in run.settings.items()
        if former.settings.get(key) != value
    ]
    return "; ".join(changed) or "another image, or other weights"


def _is_finished(run: Run) -> bool:
    return Ledger.of(run, run.steps[-1]).finished() is not None


def check_space(url: str, steps: list[PlannedStep]) -> None:
    """Refuse a run whose scratch does not fit on the disk."""
    if not files.is_local(url):
        return
    folder = files.local_path(url)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    needed = int(COMPRESSED * scratch_bytes(steps))
    if needed > free:
        raise SpecError(
            f"The run needs about {needed / 1e9:.1f} GB of scratch space in {folder}, where "
            f"{free / 1e9:.1f} GB are free; put the run elsewhere with --run."
        )


def _do(
    run: Run, spec: SegmentSpec, cluster: str | None, workers: int | None, listener: Listener
) -> Result:
    started = time.monotonic()
    fresh = not files.names(files.join(run.url, "ledger"))
    for step in run.steps:
        if Ledger.of(run, step).finished() is None:
            step.module.check(step.spec)
    try:
        with open_cluster(cluster, workers) as opened:
            run_steps(run, opened.execute, opened.workers, listen=listener)
    except BigsegError:
        _withdraw(run, fresh)
        raise
    if not spec.keep_scratch:
        files.remove(files.join(run.url, "scratch"))
    published = Ledger.of(run, run.step("publish")).finished() or {}
    return Result(
        labels=spec.target,
        objects=int(published["objects"]),
        table=files.join(spec.target, "objects.parquet"),
        report=report.url(run.url),
        run=run.url,
        seconds=round(time.monotonic() - started, 2),
    )


def _withdraw(run: Run, fresh: bool) -> None:
    """Leave no trace of a run that turned out to be impossible before anything was predicted."""
    first = next(step for step in run.steps if step.name == "predict")
    if fresh and not Ledger.of(run, first).done() and not Ledger.of(run, first).failed():
        blocked = [step for step in run.steps if Ledger.of(run, step).failed()]
        if not blocked:
            files.remove(run.url)
