"""Labels that compete with those that are tracked: given ones, and ones that the run makes, too."""

from __future__ import annotations

import hashlib

from bigseg import files
from bigseg.errors import ImageError, SpecError
from bigseg.io.series import Series, check_series, open_series
from bigseg.io.volume import Volume
from bigseg.plans.segment import plan_segment
from bigseg.plans.steps import Step
from bigseg.specs.segment import SegmentSpec
from bigseg.specs.track import TrackSpec
from bigseg.stages import detect
from bigseg.stages.predict import Spec as Predict

_MADE_TWICE = {"seams", "report"}
"""What is told of the first segmentation only."""


def plan_alternatives(
    spec: TrackSpec, run: str, series: Series, before: list[Step]
) -> tuple[list[Step], tuple[detect.Source, ...]]:
    """Steps that make alternatives, and what they are.

    Parameters
    ----------
    series
        The labels that they compete with.
    before
        Steps that make those, if any: predictions are not made again.

    Raises
    ------
    SpecError, ImageError
        Labels of other voxels, or that are there already; settings that change predictions.
    """
    steps: list[Step] = []
    found = []
    seen = {files.absolute(series.url)}
    for number, one in enumerate(spec.competing, 1):
        if isinstance(one, SegmentSpec):
            more = _again(one, spec.alternatives[number - 1], run, before)
            steps += [Step(f"alternative-{number}-{s.name}", s.stage, s.spec) for s in more]
            unit = series.unit
            found.append(detect.Source(labels=one.target, ngff=True, unit=unit, made=True))
            continue
        if files.absolute(one) in seen:
            raise SpecError(f"{one} is given twice; alternatives are other labels.")
        seen.add(files.absolute(one))
        found.append(_given(one, series))
    return steps, tuple(found)


def _given(url: str, series: Series) -> detect.Source:
    """Labels that are there."""
    other = open_series(url)
    if other.shape != series.shape:
        raise ImageError(
            f"The alternative {url} has (t, z, y, x) = {other.shape} voxels, but {series.url} has "
            f"{series.shape}; alternatives are other labels of the same voxels in the same frames."
        )
    check_series(other, url)
    ngff = other.image is not None
    return detect.Source(labels=other.url, frames=other.frames, ngff=ngff, unit=other.unit)


def _again(one: SegmentSpec, settings: str, run: str, before: list[Step]) -> list[Step]:
    """Steps from predictions that are there to other labels."""
    if all(not isinstance(step.spec, Predict) for step in before):
        raise SpecError(
            f"The model makes labels itself, so the alternative '{settings}' has no predictions to "
            "be made of; segment once more, and give the labels as an alternative."
        )
    if one.dims == "slices":
        raise SpecError("Objects that are put together from slices cannot be tracked in one run.")
    Volume.open(one.image, one.level)
    # A folder for each set of settings: nothing of others is ever believed.
    digest = hashlib.sha256(one.model_dump_json().encode()).hexdigest()[:12]
    steps = plan_segment(one, run, files.join(run, "scratch", "alternatives", digest))
    names = [step.name for step in steps]
    shared = names.index("label")
    if [(s.name, s.spec) for s in steps[:shared]] != [(s.name, s.spec) for s in before[:shared]]:
        raise SpecError(
            f"The alternative '{settings}' changes what the network is shown, or which; only what "
            "is made of its outputs may differ, such as cellprob_threshold, flow_threshold or "
            "min_size. Or segment once more, and give the labels as an alternative."
        )
    return [step for step in steps[shared:] if step.name not in _MADE_TWICE]
