"""Make objects of maps: plan it, open or continue its folder, do its steps, tidy up."""

from __future__ import annotations

from dataclasses import dataclass

from bigseg import files
from bigseg.errors import ImageError
from bigseg.events import Listener, ignore
from bigseg.jobs import begin
from bigseg.jobs.begin import (
    Prepared,
    carry_out,
    check_unfinished,
    claim_result,
    plan_run,
    published,
    room_for,
)
from bigseg.jobs.budget import check_memory, worker_bytes
from bigseg.jobs.claim import Claim, Way, remove_run
from bigseg.plans.maps import plan_em
from bigseg.plans.steps import Step
from bigseg.run.folder import Run, open_run
from bigseg.run.ledger import Ledger
from bigseg.specs.maps import EmSpec
from bigseg.specs.segment import parse_as
from bigseg.stages import publish, report

REMEDY = "a smaller --block and --halo"


@dataclass(frozen=True)
class Segmented:
    """Where everything is."""

    labels: str
    """URL of the label image."""
    objects: int
    supervoxels: int
    """Those that a face of a block cuts count on both sides of it."""
    table: str
    """URL of the object table."""
    report: str
    run: str
    seconds: float

    def text(self) -> str:
        """Say it to a person."""
        return (
            f"{self.objects} objects of {self.supervoxels} supervoxels in {self.seconds:.1f} s\n"
            f"labels  {self.labels}\n"
            f"table   {self.table}\n"
            f"report  {self.report}\n"
            f"run     {self.run}"
        )


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
    spec, claimed = _claimed(spec, run, overwrite)
    _check_memory(claimed.run, cluster, workers)
    return _do(claimed, spec, cluster, workers, listener)


def prepare(spec: EmSpec, *, run: str | None = None, overwrite: bool = False) -> Prepared:
    """Check everything and write the run folder; job arrays, or `resume`, do the rest."""
    return begin.prepare(_claimed(spec, run, overwrite)[1])


def _claimed(spec: EmSpec, run: str | None, overwrite: bool) -> tuple[EmSpec, Claim]:
    """Plan a run and decide how it begins; nothing is written."""
    spec, url = absolute(spec, run)
    made = plan_run(url, spec, plan_em(spec, url))
    claimed = claim_result(made, spec.target, [spec.image], overwrite=overwrite, is_kind=is_em)
    return spec, claimed


def resume(
    run: str,
    *,
    cluster: str | None = None,
    workers: int | None = None,
    listener: Listener = ignore,
) -> Segmented:
    """Continue an interrupted run, with the settings it was started with."""
    found = open_run(files.absolute(run))
    check_unfinished(found)
    _check_memory(found, cluster, workers)
    spec = parse_as(EmSpec, found.settings)
    return _do(Claim(found, spec.target, Way.CONTINUE), spec, cluster, workers, listener)


def is_em(run: Run) -> bool:
    """Whether a run makes objects of maps."""
    return any(step.stage == "supervoxels" for step in run.steps)


def _check_memory(run: Run, cluster: str | None, workers: int | None) -> None:
    """Refuse blocks that do not fit in memory."""
    steps = [Step(step.name, step.stage, step.spec) for step in run.steps]
    check_memory(worker_bytes(steps), room_for(run, cluster, workers), REMEDY)


def absolute(spec: EmSpec, run: str | None) -> tuple[EmSpec, str]:
    """Give all URLs a form that workers understand."""
    places = {"image": files.absolute(spec.image)}
    if spec.output is not None:
        places["output"] = files.absolute(spec.output)
    spec = spec.model_copy(update=places)
    return spec, files.absolute(run or spec.run)


def _do(
    claimed: Claim, spec: EmSpec, cluster: str | None, workers: int | None, listener: Listener
) -> Segmented:
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
        if not Ledger.of(run, run.step("supervoxels")).has_records():
            remove_run(run.url)
        raise
    made = Ledger.of(run, run.step("supervoxels")).finished() or {}
    return Segmented(
        labels=spec.target,
        objects=published(run),
        supervoxels=int(made["objects"]),
        table=publish.table_url(spec.target),
        report=report.url(run.url),
        run=run.url,
        seconds=seconds,
    )
