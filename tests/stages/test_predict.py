"""Predictions know where the image ends, and ask no more of memory than they gain."""

from pathlib import Path

import pytest

from bigseg.io.scratch import scratch
from bigseg.stages import predict


def spec_of(tile: int = 288) -> predict.Spec:
    return predict.Spec(
        run="run",
        image="image",
        level=0,
        channels=(0,),
        shape=(1, 40, 600, 700),
        block=(1, 40, 304, 352),
        halo=(0, 16, 16, 16),
        ndim=3,
        models=("model",),
        digests=("",),
        scale=(1.0, 1.0, 1.0),
        tile=tile,
        margin=16,
    )


def test_zeros_are_added_where_the_image_ends_and_nowhere_else() -> None:
    spec = spec_of()
    first, last = spec.grid[0], spec.grid[len(spec.grid) - 1]
    assert predict._borders(spec, first, (1, 1, 1)) == [(8, 8), (8, 0), (8, 0)]
    assert predict._borders(spec, last, (1, 1, 1)) == [(8, 8), (0, 8), (0, 8)]


def test_a_border_never_costs_a_further_tile() -> None:
    spec = spec_of()
    for block in spec.grid:
        for axis, border in enumerate(predict._borders(spec, block, (1, 1, 1)), 1):
            read = block.read[axis].stop - block.read[axis].start
            assert len(spec.tiling.edges(read + sum(border))[1]) <= -(-spec.block[axis] // 256)


def test_for_parity_planes_are_padded_and_cut_as_cellpose_does() -> None:
    spec = spec_of(224).model_copy(update={"published": True, "shape": (1, 1, 300, 340)})
    (block, *_) = spec.grid
    assert predict._borders(spec, block, (1, 300, 340)) == [(15, 16), (10, 10), (14, 14)]
    assert spec.tiling.edges(320) == (224, [0, 96])
    assert spec.tiling.edges(448) == (224, [0, 112, 224])
    assert spec.tiling.edges(208) == (208, [0])


@pytest.mark.parametrize(("published", "dtype", "empty"), [(False, "int8", 0), (True, "f4", -100)])
def test_for_parity_maps_are_kept_as_they_are(
    tmp_path: Path, published: bool, dtype: str, empty: int
) -> None:
    spec = spec_of().model_copy(update={"run": str(tmp_path), "published": published})
    predict.prepare(spec)
    predict.block(spec, spec.grid[0], None)  # a constant image, of which nothing is written
    kept = scratch(predict.predictions_url(spec.run))
    assert kept.dtype == dtype
    assert (kept[0, :, 0, 0] == empty).all()
