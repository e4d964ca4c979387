"""Track a series: plan it, open or continue its folder, do its steps, tidy up."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bigseg import files
from bigseg.errors import OutputExists
from bigseg.events import Listener, ignore
from bigseg.jobs import begin
from bigseg.jobs.begin import (
    Prepared,
    carry_out,
    check_unfinished,
    claim_result,
    plan_run,
)
from bigseg.jobs.claim import Claim, Way, check_space, is_finished, kept_steps, labels_stay
from bigseg.nets import weights
from bigseg.plans.track import plan_track
from bigseg.run.execute import Groups
from bigseg.run.folder import Run, is_run, open_run
from bigseg.run.ledger import Ledger
from bigseg.specs.segment import SegmentSpec, parse_as
from bigseg.specs.track import TrackSpec
from bigseg.stages import report, track_edits, track_publish


@dataclass(frozen=True)
class Tracked:
    """Where everything is."""

    labels: str
    """URL of the label image, whose objects are numbered by track; where points are tracked, of the
    folder of their tables."""
    tracks: int
    lineages: int
    divisions: int
    table: str
    """URL of the table of tracks."""
    report: str
    run: str
    seconds: float
    parts: int = 0
    """Parts that the series was linked in."""
    solved: int = 0
    """Of these, how many were solved; solutions of the others were there."""
    sources: tuple[int, ...] = ()
    """Objects that were taken from the labels, and from each alternative."""
    merges: int = 0
    """Tracks that two others became, where that was asked for."""

    def text(self) -> str:
        """Say it to a person."""
        counts = ", ".join(map(str, self.sources[1:]))
        taken = f"{self.sources[0]} objects of the labels, {counts} of alternatives\n"
        merges = f"{self.merges} merges, " if self.merges else ""
        return (
            f"{self.tracks} tracks in {self.lineages} lineages, {self.divisions} divisions, "
            f"{merges}in {self.seconds:.1f} s\n"
            f"{taken if counts else ''}"
            f"{self.solved} of {self.parts} parts linked anew\n"
            f"result  {self.labels}\n"
            f"table   {self.table}\n"
            f"report  {self.report}\n"
            f"run     {self.run}"
        )


def track(
    labels: str,
    output: str | None = None,
    *,
    run: str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    listener: Listener = ignore,
    **settings: Any,
) -> Tracked:
    """Follow the objects of a series of label images through time, with divisions.

    Parameters
    ----------
    labels
        Label image with a time axis, file, or folder of one file per frame; see
        `bigseg.io.series.open_series`.
    output
        OME-Zarr label image to create, numbered by track; None: beside the labels.
    run
        Run folder; None: beside the output. An interrupted run is continued.
    cluster, workers
        See `bigseg.run.cluster.open_cluster`.
    overwrite
        Replace the result of a former run of the same folder.
    listener
        Is told how it goes; see `bigseg.events`.
    settings
        Fields of `bigseg.TrackSpec`. Unknown ones are refused by name.

    Raises
    ------
    BigsegError
        In a sentence: before anything is written if something does not fit, or afterwards if
        blocks failed.
    """
    spec = parse_as(TrackSpec, {**settings, "labels": labels, "output": output})
    return execute(
        spec, run=run, cluster=cluster, workers=workers, overwrite=overwrite, listener=listener
    )


def execute(
    spec: TrackSpec,
    *,
    run: str | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    listener: Listener = ignore,
    groups: Groups | None = None,
) -> Tracked:
    """Do what a specification says; see `track`.

    Parameters
    ----------
    groups
        Workers that are there already; None: those that `cluster` and `workers` speak of.
    """
    claimed = _claimed(spec, run, overwrite)
    seconds = carry_out(claimed, cluster=cluster, workers=workers, listener=listener, groups=groups)
    return _result(claimed.run, claimed.target, seconds)


def finished(spec: TrackSpec) -> Tracked | None:
    """What a former run with the same settings has made; None if nothing is ready."""
    spec, url = absolute(spec, None)
    if not is_run(url):
        return None
    former, made = open_run(url), plan_run(url, spec, plan_track(spec, url))
    same = former.steps[-1].fingerprint == made.steps[-1].fingerprint
    return _result(former, spec.target, 0.0) if same and is_finished(former) else None


def prepare(spec: TrackSpec, *, run: str | None = None, overwrite: bool = False) -> Prepared:
    """Check everything and write the run folder; job arrays, or `resume`, do the rest."""
    return begin.prepare(_claimed(spec, run, overwrite))


def resume(
    run: str,
    *,
    cluster: str | None = None,
    workers: int | None = None,
    listener: Listener = ignore,
) -> Tracked:
    """Continue an interrupted run, with the settings it was started with."""
    found = open_run(files.absolute(run))
    check_unfinished(found)
    target = parse_as(TrackSpec, found.settings).target
    claimed = Claim(found, target, Way.CONTINUE)
    seconds = carry_out(claimed, cluster=cluster, workers=workers, listener=listener)
    return _result(found, target, seconds)


def is_tracking(run: Run) -> bool:
    """Whether a run tracks."""
    return any(step.stage == "lineages" for step in run.steps)


def _claimed(spec: TrackSpec, run: str | None, overwrite: bool) -> Claim:
    """Plan a run and decide how it begins; nothing is written."""
    spec, url = absolute(spec, run)
    planned = plan_track(spec, url)
    made = plan_run(url, spec, planned)
    again = [one.target for one in spec.competing if isinstance(one, SegmentSpec)]
    sources = [spec.labels, *(one for one in spec.competing if isinstance(one, str))]
    claimed = claim_result(
        made, spec.target, sources, overwrite=overwrite, is_kind=is_tracking, keeps=True
    )
    _check_edits(claimed)
    if spec.segmentation is None:
        return claimed
    there = next((url for url in (spec.source, *again) if files.names(url)), None)
    if claimed.way is Way.NEW and there is not None:
        raise OutputExists(
            f"{there} exists already; track it without a model, or choose another name for "
            "the labels that are made."
        )
    if claimed.way is Way.REUSE and labels_stay(open_run(url), made):
        return claimed
    check_space(url, planned)
    return replace(claimed, besides=(spec.source, *again))


def _check_edits(claimed: Claim) -> None:
    """Refuse corrections of what is not there before a former result is replaced."""
    run = claimed.run
    edited = next((s.spec for s in run.steps if isinstance(s.spec, track_edits.Spec)), None)
    if edited is None or claimed.way is not Way.REUSE:
        return
    if {"detections", "points"} & kept_steps(open_run(run.url), run):
        track_edits.looked_up(edited)


def absolute(spec: TrackSpec, run: str | None) -> tuple[TrackSpec, str]:
    """Give all URLs a form that workers understand."""
    names = ("labels", "output", "image", "edits", "costs", "ctc")
    given = {name: getattr(spec, name) for name in names}
    places = {name: files.absolute(url) for name, url in given.items() if url is not None}
    if spec.model is not None:
        models = [weights.absolute(model) for model in spec.model.split(",")]
        places["model"] = ",".join(models)
    url = files.absolute(run or spec.run)
    # Also where none is given: a former run must know what it has made.
    places["output"] = files.absolute(spec.target)
    alternatives = tuple(
        one if isinstance(how, SegmentSpec) else files.absolute(one)
        for one, how in zip(spec.alternatives, spec.competing, strict=True)
    )
    return spec.model_copy(update=places | {"alternatives": alternatives}), url


def _result(run: Run, target: str, seconds: float) -> Tracked:
    """What a run that is finished has made."""
    facts = Ledger.of(run, run.step("lineages")).finished() or {}
    linked = Ledger.of(run, run.step("link")).finished() or {}
    return Tracked(
        labels=target,
        tracks=int(facts["tracks"]),
        lineages=int(facts["lineages"]),
        divisions=int(facts["divisions"]),
        table=track_publish.table_url(target, "tracks"),
        report=report.url(run.url),
        run=run.url,
        seconds=seconds,
        parts=int(linked["parts"]),
        solved=int(linked["parts"]) - int(linked["kept"]),
        sources=tuple(facts.get("sources", ())),
        merges=int(facts.get("merges", 0)),
    )
