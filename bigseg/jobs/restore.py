"""Run a restoration: plan it, open or continue its folder, do its steps, tidy up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bigseg import files
from bigseg.errors import ImageError
from bigseg.events import Listener, ignore
from bigseg.io.volume import Volume
from bigseg.jobs import begin
from bigseg.jobs.begin import (
    Prepared,
    carry_out,
    check_unfinished,
    claim_result,
    plan_run,
    room_for,
)
from bigseg.jobs.budget import check_memory, worker_bytes
from bigseg.jobs.claim import Claim, Way, remove_run
from bigseg.nets import weights
from bigseg.plans.restore import RestoreSpec, plan_restore
from bigseg.plans.steps import Step
from bigseg.run.folder import Run, open_run
from bigseg.run.ledger import Ledger
from bigseg.specs.segment import parse_as

REMEDY = "a coarser --level"


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
    claimed = _claimed(spec, run, overwrite)
    steps = [Step(step.name, step.stage, step.spec) for step in claimed.run.steps]
    check_memory(worker_bytes(steps), room_for(claimed.run, cluster, workers), REMEDY)
    return _do(claimed, cluster, workers, listener)


def prepare(spec: RestoreSpec, *, run: str | None = None, overwrite: bool = False) -> Prepared:
    """Check everything and write the run folder; job arrays, or `resume`, do the rest."""
    return begin.prepare(_claimed(spec, run, overwrite))


def _claimed(spec: RestoreSpec, run: str | None, overwrite: bool) -> Claim:
    """Plan a run and decide how it begins; nothing is written."""
    spec, url = absolute(spec, run)
    made = plan_run(url, spec, plan_restore(spec, url))
    return claim_result(
        made, spec.target, [spec.image], overwrite=overwrite, is_kind=is_restoration
    )


def resume(
    run: str,
    *,
    cluster: str | None = None,
    workers: int | None = None,
    listener: Listener = ignore,
) -> Restored:
    """Continue an interrupted restoration, with the settings it was started with."""
    found = open_run(files.absolute(run))
    check_unfinished(found)
    target = parse_as(RestoreSpec, found.settings).target
    return _do(Claim(found, target, Way.CONTINUE), cluster, workers, listener)


def is_restoration(run: Run) -> bool:
    """Whether a run restores an image."""
    return any(step.stage == "restore" for step in run.steps)


def absolute(spec: RestoreSpec, run: str | None) -> tuple[RestoreSpec, str]:
    """Give all URLs a form that workers understand."""
    places = {"image": files.absolute(spec.image), "output": files.absolute(spec.output)}
    places["model"] = weights.absolute(spec.model)
    spec = spec.model_copy(update=places)
    return spec, files.absolute(run or spec.run)


def _do(claimed: Claim, cluster: str | None, workers: int | None, listener: Listener) -> Restored:
    run = claimed.run
    try:
        seconds = carry_out(claimed, cluster=cluster, workers=workers, listener=listener)
    except ImageError:
        if not Ledger.of(run, run.step("restore")).has_records():
            remove_run(run.url)
        raise
    return Restored(claimed.target, Volume.open(claimed.target).shape, run.url, seconds)
