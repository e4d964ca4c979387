"""Plans of images: chunks fit blocks, labels mirror their image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bigseg.errors import ImageError, NotFound
from bigseg.io.ome import Image, Level
from bigseg.io.plan import plan_image, plan_labels, storage_shapes, with_version

ZYX = ("z", "y", "x")


def image(*shapes: tuple[int, ...], axes: str = "zyx") -> Image:
    """With levels of these shapes, halving the scale of the first."""
    levels = tuple(
        Level(str(i), shape, shape, None, (2.0**i,) * len(axes), (0.0,) * len(axes))
        for i, shape in enumerate(shapes)
    )
    return Image("a.zarr", "0.5", tuple(axes), {"x": "micrometer"}, levels, np.dtype("u1"))


@pytest.mark.parametrize(
    ("shape", "block", "chunks", "shards"),
    [
        ((512, 512, 512), (256, 256, 256), (64, 64, 64), (256, 256, 256)),
        ((1, 8000, 8000), (1, 2048, 2048), (1, 512, 512), (1, 2048, 2048)),
        ((512, 512, 512), (100, 100, 100), (50, 50, 50), (100, 100, 100)),
        ((512, 512, 512), (97, 97, 97), (97, 97, 97), None),
        ((100, 100, 100), (256, 256, 256), (64, 64, 64), (128, 128, 128)),
        ((20, 30, 40), (256, 256, 256), (20, 30, 40), None),
        ((1, 1, 1), (256, 256, 256), (1, 1, 1), None),
        ((300, 4000, 4000), (1, 1000, 1000), (1, 500, 500), (1, 1000, 1000)),
    ],
)
def test_chunks_and_shards(
    shape: tuple[int, ...],
    block: tuple[int, ...],
    chunks: tuple[int, ...],
    shards: tuple[int, ...] | None,
) -> None:
    assert storage_shapes(ZYX, shape, block, "0.5") == (chunks, shards)
    assert storage_shapes(ZYX, shape, block, "0.4") == (chunks, None)


edges = st.tuples(*[st.integers(1, 1200)] * 3)


@given(edges, edges)
def test_blocks_never_share_a_stored_object(shape: tuple[int, ...], block: tuple[int, ...]) -> None:
    chunks, shards = storage_shapes(ZYX, shape, block, "0.5")
    for n, b, c, s in zip(shape, block, chunks, shards or chunks, strict=True):
        assert s % c == 0
        assert b % s == 0 or b >= n  # otherwise one block is all there is along the axis
        assert s >= n or b % s == 0


def test_levels_of_an_image() -> None:
    plan = plan_image("a.zarr", ("c", "y", "x"), (2, 1000, 401), "u2", (1, 0.5, 0.5), (1, 512, 512))
    assert [level.shape for level in plan.levels] == [(2, 1000, 401), (2, 500, 201), (2, 250, 101)]
    assert [level.scale[1:] for level in plan.levels] == [(0.5, 0.5), (1, 1), (2, 2)]
    assert [level.translation[1] for level in plan.levels] == [0, 0.25, 0.75]


def test_big_endian_is_planned_native() -> None:
    assert plan_image("a", ("y", "x"), (2, 2), ">u2", (1, 1), (1, 2, 2)).dtype.isnative


@pytest.mark.parametrize("axes", ["xc", "zy", "ytx", "yxq", "yyx", "zcyx"])
def test_impossible_axes(axes: str) -> None:
    with pytest.raises(ImageError, match=r"not possible for a\.zarr: NGFF wants t, then c"):
        plan_image("a.zarr", tuple(axes), (2,) * len(axes), "u1", (1,) * len(axes), (2, 2, 2))


def test_labels_mirror_even_foreign_levels() -> None:
    source = image((3, 9, 301, 301), (3, 9, 150, 150), (3, 4, 75, 75), axes="czyx")
    labels = plan_labels(source, "a.zarr/labels/n", "u4", (9, 64, 64))
    assert labels.axes == ZYX
    assert [level.shape for level in labels.levels] == [(9, 301, 301), (9, 150, 150), (4, 75, 75)]
    assert [level.scale for level in labels.levels] == [(1,) * 3, (2,) * 3, (4,) * 3]
    assert (labels.name, labels.units, labels.dtype) == ("n", {"x": "micrometer"}, np.dtype("u4"))


def test_levels_that_do_not_fit_are_replaced() -> None:
    source = image((9, 100, 100), (9, 40, 40))
    labels = plan_labels(source, "n", "u4", (9, 64, 64))
    assert [level.shape for level in labels.levels] == [(9, 100, 100), (9, 50, 50)]


def test_labels_of_a_coarser_level_have_as_many_levels() -> None:
    source = image((8, 100, 100), (8, 50, 50), (4, 25, 25))
    labels = plan_labels(source, "n", "u4", (9, 64, 64), level=1)
    assert [level.shape for level in labels.levels] == [(8, 50, 50), (4, 25, 25), (4, 13, 13)]
    assert [level.path for level in labels.levels] == ["0", "1", "2"]
    assert labels.levels[0].scale == (2,) * 3
    with pytest.raises(NotFound, match="has no level 3"):
        plan_labels(source, "n", "u4", (9, 64, 64), level=3)


def test_a_plan_in_the_other_version() -> None:
    plan = plan_image("a", ZYX, (512,) * 3, "u2", (1,) * 3, (128, 128, 128))
    other = with_version(plan, "0.4", (128, 128, 128))
    assert (other.version, other.levels[0].chunks, other.levels[0].shards) == (
        "0.4",
        (64, 64, 64),
        None,
    )
