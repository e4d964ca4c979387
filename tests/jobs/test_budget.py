"""Blocks that do not fit in memory are refused before anything is started."""

from pathlib import Path

import pytest

from bigseg.errors import SpecError
from bigseg.jobs.budget import PROCESS, check_memory, worker_bytes
from bigseg.jobs.claim import scratch_bytes
from bigseg.jobs.memory import SMALL
from bigseg.plans.steps import Step
from bigseg.run.cluster import Room
from bigseg.stages import label, predict


def labelling(block: tuple[int, ...]) -> Step:
    spec = label.Spec(
        run="run",
        shape=(1, 2000, 2000, 2000),
        block=block,
        halo=(0, 34, 34, 34),
        band=(0, 8, 8, 8),
        ndim=3,
        cellprob_threshold=0,
        judge=True,
        min_size=15,
        steps=200,
    )
    return Step("label", "label", spec)


def predicting() -> predict.Spec:
    return predict.Spec(
        run="run",
        image="image",
        level=0,
        channels=(0,),
        shape=(1, 1, 64, 64),
        block=(1, 1, 64, 64),
        halo=(0, 0, 24, 24),
        ndim=2,
        models=("nuclei",),
        digests=("",),
        scale=(1.0, 1.0, 1.0),
        tile=512,
        margin=24,
    )


def test_needs_grow_with_the_block_and_its_halo_alone() -> None:
    (_, small), (name, large) = (worker_bytes([labelling((1, n, n, n))]) for n in (128, 256))
    assert name == "label"
    assert (large - PROCESS) / (small - PROCESS) == (256 + 68) ** 3 / (128 + 68) ** 3


def test_what_does_not_fit_is_refused_with_the_remedy() -> None:
    steps = [labelling((1, 256, 256, 256))]
    check_memory(worker_bytes(steps), Room(2, 8_000_000_000))
    with pytest.raises(SpecError, match=r"'label' needs about 1\.\d GB .* 8 worker\(s\), but 8\.0"):
        check_memory(worker_bytes(steps), Room(8, 8_000_000_000))
    check_memory(worker_bytes(steps), Room(8, None))  # nobody knows


def test_large_weights_count(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(50_000_000))
    spec = predicting()
    large = spec.model_copy(update={"models": (str(tmp_path / "large"),)})
    needs = [worker_bytes([Step("predict", "predict", one)])[1] for one in (spec, large)]
    assert needs[1] - needs[0] == 50_000_000 - SMALL


def test_maps_that_are_kept_as_they_are_take_four_times_the_scratch_and_more_memory() -> None:
    plain, parity = labelling((1, 128, 128, 128)), labelling((1, 128, 128, 128))
    exact = parity.spec.model_copy(update={"parity": True})
    needs = [worker_bytes([Step("label", "label", one)])[1] for one in (plain.spec, exact)]
    assert needs[1] - needs[0] == 3 * 4 * (128 + 68) ** 3
    for published, each in ((False, 1), (True, 4)):
        step = Step("predict", "predict", predicting().model_copy(update={"published": published}))
        assert scratch_bytes([step]) == 3 * each * 64 * 64
