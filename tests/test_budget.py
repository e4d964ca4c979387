"""Blocks that do not fit in memory are refused before anything is started."""

import pytest

from bigseg.budget import PROCESS, check_memory, worker_bytes
from bigseg.errors import SpecError
from bigseg.plan import Step
from bigseg.stages import label


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


def test_needs_grow_with_the_block_and_its_halo_alone() -> None:
    (_, small), (name, large) = (worker_bytes([labelling((1, n, n, n))]) for n in (128, 256))
    assert name == "label"
    assert (large - PROCESS) / (small - PROCESS) == (256 + 68) ** 3 / (128 + 68) ** 3


def test_what_does_not_fit_is_refused_with_the_remedy() -> None:
    steps = [labelling((1, 256, 256, 256))]
    check_memory(steps, 2, 8_000_000_000)
    with pytest.raises(SpecError, match=r"'label' needs about 1\.\d GB .* 8 worker\(s\), but 8\.0"):
        check_memory(steps, 8, 8_000_000_000)
