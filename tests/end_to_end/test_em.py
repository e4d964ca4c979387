"""Dense EM in blocks is as good as in memory, and the same."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from benchmarks.em import SETS, in_blocks, in_memory, ridges, store
from bigseg.core.metrics import adapted_rand_error, variation_of_information
from bigseg.core.overlap import contingency

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(
        not DATA.is_dir(), reason="the development data are not beside the checkout"
    ),
]


@pytest.mark.parametrize("edge", [40, 64])
def test_neurites_are_those_of_the_whole_volume(tmp_path: Path, edge: int) -> None:
    image, truth = (
        tifffile.imread(DATA / f"{SETS['gala']}_{what}.tif")[:, :, :110] for what in ("img", "mask")
    )
    store(str(tmp_path), ridges(image))
    whole, _ = in_memory(np.load(tmp_path / "maps.npy"), 0.65)
    cut, _ = in_blocks(f"{tmp_path}/maps.zarr", edge, 0.65)
    assert sum(variation_of_information(*contingency(cut, whole))) < 0.02
    tables = [contingency(labels, truth.astype(np.uint32)) for labels in (whole, cut)]
    one, other = (sum(variation_of_information(*table)) for table in tables)
    assert abs(one - other) < 0.02
    assert other < 0.9
    assert abs(adapted_rand_error(*tables[0]) - adapted_rand_error(*tables[1])) < 0.01
