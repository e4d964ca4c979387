"""Plan a run, open or continue its folder, do its steps, tidy up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigseg import files
from bigseg.errors import ImageError, SpecError
from bigseg.events import Listener, ignore
from bigseg.io.volume import Volume
from bigseg.jobs import begin
from bigseg.jobs.begin import (
    Prepared,
    carry_out,
    check_unfinished,
    plan_run,
    published,
    room_for,
)
from bigseg.jobs.budget import check_memory, worker_bytes
from bigseg.jobs.claim import (
    Claim,
    Way,
    check_predictions,
    claim,
    remove_run,
)
from bigseg.jobs.diameter import estimate_diameter
from bigseg.jobs.sampling import View
from bigseg.nets import weights
from bigseg.nets.catalogue import cached
from bigseg.nets.functions import name_of
from bigseg.plans.channels import resolve_channels
from bigseg.plans.segment import describe_models, plan_segment
from bigseg.plans.steps import Step
from bigseg.run.folder import Run, open_run
from bigseg.run.ledger import Ledger
from bigseg.specs.segment import SegmentSpec, parse
from bigseg.stages import publish, report
from bigseg.stages.normalize import Sight

REMEDY, AGAIN = "a smaller --block and --halo", "start it again with a smaller --block and --halo"


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
    spec, planned, made = _planned(spec, run)
    check_memory(worker_bytes(planned), room_for(made, cluster, workers), REMEDY)
    claimed = claim(made, spec, planned, overwrite)
    return _do(claimed, spec, cluster, workers, listener)


def prepare(spec: SegmentSpec, *, run: str | None = None, overwrite: bool = False) -> Prepared:
    """Check everything and write the run folder; job arrays, or `resume`, do the rest."""
    spec, planned, made = _planned(spec, run)
    return begin.prepare(claim(made, spec, planned, overwrite))


def _planned(spec: SegmentSpec, run: str | None) -> tuple[SegmentSpec, list[Step], Run]:
    """Plan a run of a specification, whose places are made absolute and its guesses numbers."""
    spec, url = absolute(spec, run)
    spec = measured(spec)
    planned = plan_segment(spec, url)
    return spec, planned, plan_run(url, spec, planned)


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
    check_unfinished(found)
    left = [Step(step.name, step.stage, step.spec) for step in found.steps]
    check_memory(worker_bytes(left), room_for(found, cluster, workers), AGAIN)
    return _do(Claim(found, spec.target, Way.CONTINUE), spec, cluster, workers, listener)


def measured(spec: SegmentSpec) -> SegmentSpec:
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
            window=spec.window,
            restore=spec.restore,
        ),
        cellprob_threshold=spec.cellprob_threshold,
    )
    return spec.model_copy(update={"diameter": round(found.diameter, 1)})


def absolute(spec: SegmentSpec, run: str | None) -> tuple[SegmentSpec, str]:
    """Give all URLs a form that workers understand."""
    places = {"image": files.absolute(spec.image)}
    if spec.output is not None:
        places["output"] = files.absolute(spec.output)
    places["model"] = ",".join(weights.absolute(model) for model in spec.models)
    if spec.mask is not None:
        places["mask"] = files.absolute(spec.mask)
    if spec.evidence is not None:
        places["evidence"] = files.absolute(spec.evidence)
    if spec.restore is not None:
        places["restore"] = weights.absolute(spec.restore)
    spec = spec.model_copy(update=places)
    return spec, files.absolute(run or spec.run)


def _do(
    claimed: Claim, spec: SegmentSpec, cluster: str | None, workers: int | None, listener: Listener
) -> Result:
    run = claimed.run
    try:
        seconds = carry_out(
            claimed,
            cluster=cluster,
            workers=workers,
            listener=listener,
            keep_scratch=spec.keep_scratch,
        )
    except ImageError:
        _withdraw(run)
        raise
    return Result(
        labels=spec.target,
        objects=published(run),
        table=publish.table_url(spec.target),
        report=report.url(run.url),
        run=run.url,
        seconds=seconds,
    )


def _withdraw(run: Run) -> None:
    """Leave no trace of a run whose image turned out to be impossible to segment."""
    first = next(step for step in run.steps if step.name in ("predict", "label"))
    ledger = Ledger.of(run, first)
    if not ledger.has_records() and not ledger.failed(1):
        remove_run(run.url)
