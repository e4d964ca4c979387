"""What a run may write: a new folder, one that was interrupted, or one whose predictions serve.

Everything is decided first, and nothing is written or removed before a claim is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import prod

from bigseg import files
from bigseg.errors import NotFound, OutputExists, SpecError
from bigseg.io.labels import unregister_labels
from bigseg.io.store import read_node
from bigseg.plans.steps import Step as PlannedStep
from bigseg.run import lease
from bigseg.run.folder import Run, is_run, open_run
from bigseg.run.ledger import Ledger
from bigseg.run.machine import free_disk
from bigseg.specs.segment import SegmentSpec
from bigseg.stages import graph, label, lineages, predict

COMPRESSED = 0.5
"""Share of the raw size that scratch is reckoned to take on disk."""
PARTS = (
    "ledger",
    "scratch",
    "graph",
    "slices",
    "detections",
    "tracking",
    "tables",
    "report",
    "run.json",
)
"""What a run folder holds. Records go first: without them nothing that is left is believed."""


class Way(Enum):
    """How a run begins."""

    NEW = "new"
    CONTINUE = "continue"
    ANEW = "anew"
    """Replaces a former run, perhaps a damaged one, and its result."""
    REUSE = "reuse"
    """Replaces them too, but the predictions of the former run serve again."""


@dataclass(frozen=True)
class Claim:
    """A run that may begin, and how."""

    run: Run
    target: str
    way: Way
    besides: tuple[str, ...] = ()
    """More that the run makes, and makes anew."""

    def take(self) -> Run:
        """Clear what is replaced, and write `run.json`."""
        if self.way is Way.CONTINUE:
            return self.run
        for target in (self.target, *self.besides):
            _discard(target)
        if self.way is Way.REUSE:
            _forget(open_run(self.run.url), self.run)
        elif self.way is Way.ANEW:
            remove_run(self.run.url)
        try:
            self.run.save()
        except OSError as error:
            raise SpecError(
                f"The run folder {self.run.url} cannot be written ({error.strerror or error}); "
                "choose another with --run."
            ) from None
        return self.run


def claim(run: Run, spec: SegmentSpec, planned: Sequence[PlannedStep], overwrite: bool) -> Claim:
    """Decide how a run begins; nothing is written.

    Raises
    ------
    OutputExists
        If there is a result already and `overwrite` is false, or if what is there is not ours.
    SpecError
        If the folder holds another run, or scratch does not fit on the disk.
    Unreachable
        If the run or the labels cannot be written.
    """
    way, former = _way(run, overwrite)
    if way is not Way.CONTINUE:
        if former is not None and not overwrite:
            raise _refusal(former, run, spec.target)
        if files.names(spec.target):
            _check_result(spec.target, overwrite)
        check_run_folder(run.url, spec.image, spec.target, way)
        check_space(run.url, planned)
    else:
        check_predictions(run)
    for url in (run.url, spec.target):
        files.check_writable(url)
    return Claim(run, spec.target, way)


def _way(run: Run, overwrite: bool) -> tuple[Way, Run | None]:
    """How `run` begins, and the run that is in its place already."""
    if not is_run(run.url):
        return Way.NEW, None
    try:
        former = open_run(run.url)
    except SpecError:
        if overwrite:
            return Way.ANEW, None
        raise
    if _is_same(former, run):
        anew = is_finished(former) or (overwrite and not _has_usable_predictions(former, overwrite))
        return Way.ANEW if anew else Way.CONTINUE, former
    # Predictions are there while a run goes on, and afterwards if they were to be kept.
    kept = former.settings.get("keep_scratch") or not is_finished(former)
    reuse = kept and _has_usable_predictions(former, overwrite)
    return Way.REUSE if reuse else Way.ANEW, former


def _has_usable_predictions(former: Run, overwrite: bool) -> bool:
    """Whether predictions can be taken over; those of another version of bigseg cannot."""
    try:
        return has_predictions(former)
    except SpecError:
        if overwrite:
            return False
        raise


def _is_same(former: Run, run: Run) -> bool:
    return former.steps[-1].fingerprint == run.steps[-1].fingerprint


def is_finished(run: Run) -> bool:
    """Whether nothing is left to do."""
    return Ledger.of(run, run.steps[-1]).is_finished()


def _refusal(former: Run, run: Run, target: str) -> OutputExists | SpecError:
    if _is_same(former, run):
        return OutputExists(
            f"{target} is finished already, in the run {run.url}; replace it with --overwrite."
        )
    return SpecError(
        f"{run.url} holds a run with other settings ({_difference(former, run)}); choose another "
        "--run or --name, or replace it with --overwrite."
    )


def _difference(former: Run, run: Run) -> str:
    changed = [
        f"{key} was {former.settings.get(key)!r}, now {value!r}"
        for key, value in run.settings.items()
        if former.settings.get(key) != value
    ]
    return "; ".join(changed) or "another image, other weights or another version of bigseg"


def check_run_folder(url: str, image: str, target: str, way: Way) -> None:
    """Refuse to mix a run with files that are not its own."""
    for place in (image, target):
        if f"{url}/".startswith(f"{place}/") or f"{place}/".startswith(f"{url}/"):
            raise SpecError(
                f"The run folder {url} and {place} must not lie in each other; "
                "choose another with --run."
            )
    names = [name for name in files.names(url) if name != lease.NAME] if way is Way.NEW else []
    if names:
        raise OutputExists(
            f"The run folder {url} is not empty (it holds '{names[0]}') and not a run; "
            "choose another with --run."
        )


def check_still_free(claim: Claim) -> None:
    """Refuse if another driver has begun, and perhaps ended, a run since the claim was made."""
    if claim.way is Way.NEW and is_run(claim.run.url):
        raise OutputExists(
            f"Another process has begun a run in {claim.run.url} at this moment; see 'bigseg "
            f"status {claim.run.url}'."
        )


def _check_result(target: str, overwrite: bool) -> None:
    """Refuse to replace a label image unasked, and anything else in any case."""
    if not overwrite:
        raise OutputExists(
            f"{target} exists already; choose another --name or output, "
            "or replace it with --overwrite."
        )
    node = read_node(target)
    attributes = {} if node is None else node.attributes.get("ome") or node.attributes
    if "image-label" in attributes:
        return
    names = files.names(target)
    strange = [name for name in names if not _is_part(target, name)]
    if "multiscales" in attributes or strange:
        what = f"holds '{strange[0]}'" if strange else "is an image"
        raise OutputExists(
            f"{target} is not a label image ({what}), so --overwrite does not replace it; "
            "choose another output."
        )


def _is_part(target: str, name: str) -> bool:
    """Whether an entry may belong to a label image without metadata: a level, or a zarr group."""
    if name in {"zarr.json", ".zgroup", ".zattrs", ".zmetadata"}:
        return True
    return name.isdecimal() and read_node(files.join(target, name)) is not None


def scratch_bytes(steps: Sequence[PlannedStep]) -> int:
    """Size of predictions and of the blocks' labels before compression."""
    total = 0
    for step in steps:
        if isinstance(step.spec, predict.Spec):
            total += step.spec.dtype.itemsize * step.spec.maps * prod(step.spec.shape)
        elif isinstance(step.spec, label.Spec):
            total += 4 * prod(step.spec.shape)
    return total


def check_space(url: str, steps: Sequence[PlannedStep]) -> None:
    """Refuse a run whose scratch does not fit on the disk."""
    free, needed = free_disk(url), int(COMPRESSED * scratch_bytes(steps))
    if free is not None and needed > free:
        raise SpecError(
            f"The run needs about {needed / 1e9:.1f} GB of scratch space for {url}, where "
            f"{free / 1e9:.1f} GB are free; put the run elsewhere with --run."
        )


def remove_run(url: str) -> None:
    """Remove a run, and nothing else that somebody put into its folder."""
    for part in PARTS:
        files.remove(files.join(url, part))
    if files.is_local(url) and files.local_path(url).is_dir() and not files.names(url):
        files.remove(url)


def _discard(target: str) -> None:
    """Remove a former result."""
    if not files.names(target):
        return
    parent, _, name = target.rstrip("/").rpartition("/")
    if parent.endswith("/labels"):
        unregister_labels(parent, name)
    files.remove(target)


def _forget(former: Run, run: Run) -> None:
    """Drop what the new settings change; predictions and detections that still serve stay."""
    kept = kept_steps(former, run)
    for name in files.names(files.join(run.url, "ledger")):
        if name not in kept:
            files.remove(files.join(run.url, "ledger", name))
    # Blocks without anything to store leave what is there, which must be empty then.
    if "predict" not in kept:
        files.remove(files.join(run.url, "scratch"))
    # Solutions stay: they are named by what they solve.
    for folder, made_by in (("graph", graph.MADE_BY), ("tracking", lineages.MADE_BY)):
        for step, names in made_by.items():
            if step not in kept:
                for name in names:
                    files.remove(files.join(run.url, folder, name))
    if "volumes" not in kept:  # as it is where nothing is made of slices
        files.remove(files.join(run.url, "slices"))
    if "objects" not in kept and "lineages" not in kept:
        files.remove(files.join(run.url, "tables"))


def kept_steps(former: Run, run: Run) -> set[str]:
    """Steps of a former run that serve again: the same ones, before the result is written.

    The result itself is removed, so whatever writes it is done again. Labels that were made only to
    be tracked are no result; they stay if they are finished and would be the same.
    """
    steps = {step.name: step for step in former.steps}
    stay = labels_stay(former, run)
    kept = set()
    for step in run.steps:
        if step.name in ("write-tracks", "publish-tracks") or (step.name == "write" and not stay):
            break
        if steps.get(step.name) == step:
            kept.add(step.name)
    # What is written anew is made of scratch, which a run that has ended has removed.
    return kept if stay or "predict" not in kept or has_predictions(former) else set()


def labels_stay(former: Run, run: Run) -> bool:
    """Whether labels that a run makes and then tracks are there already."""
    made = [step for step in run.steps if step.stage == "publish"]
    if not made or all(step.name != "write-tracks" for step in run.steps):
        return False
    return all(step in former.steps and Ledger.of(former, step).is_finished() for step in made)


def has_predictions(run: Run) -> bool:
    """Whether there is what the records of `predict` speak of."""
    if all(step.name != "predict" for step in run.steps):  # a function makes labels itself
        return True
    started = Ledger.of(run, run.step("predict")).has_records()
    return not started or read_node(predict.predictions_url(run.url)) is not None


def check_predictions(run: Run) -> None:
    """Refuse to go on if somebody has removed scratch that is still needed."""
    if not is_finished(run) and not has_predictions(run):
        raise NotFound(
            f"The predictions of {run.url} are gone, although the run is not finished; "
            "start it again with --overwrite."
        )
