"""Rows of blocks add up to the rows of the whole image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bigseg.core.objects import combine, measure_objects
from bigseg.errors import ImageError
from bigseg.grid import Grid

IMAGES = arrays(np.uint32, (1, 5, 6, 7), elements=st.integers(0, 3))


def box(*bounds: tuple[int, int]) -> tuple[slice, ...]:
    return tuple(slice(a, b) for a, b in bounds)


def rows(table, *names):
    return {name: table[name].tolist() for name in names}


def test_own_voxels_are_counted_in_image_coordinates() -> None:
    labels = np.array([[[1, 1, 1, 0], [0, 2, 2, 2]]], np.uint32)
    read, write = box((3, 4), (0, 1), (10, 12), (20, 24)), box((3, 4), (0, 1), (10, 12), (21, 23))
    table = measure_objects(labels, read=read, write=write, shape=(5, 1, 12, 24))
    assert rows(table, "id", "voxels", "voxels_total", "frame") == {
        "id": [1, 2],
        "voxels": [2, 2],
        "voxels_total": [3, 3],
        "frame": [3, 3],
    }
    assert rows(table, "y0", "y1", "x0", "x1") == {
        "y0": [10, 11],
        "y1": [11, 12],
        "x0": [21, 21],
        "x1": [23, 23],
    }
    assert rows(table, "sum_z", "sum_y", "sum_x") == {
        "sum_z": [0, 0],
        "sum_y": [20, 22],
        "sum_x": [43, 43],
    }


def test_border_is_of_the_image_and_cut_is_of_the_read_box() -> None:
    labels = np.array([[[1, 0, 2], [0, 0, 2], [3, 0, 0]]], np.uint32)
    read = box((0, 1), (0, 3), (4, 7))
    table = measure_objects(labels, read=read, write=read, shape=(1, 9, 7))
    assert rows(table, "touches_border", "cut") == {
        "touches_border": [True, True, False],
        "cut": [True, False, True],
    }


def test_an_axis_of_one_voxel_has_no_border() -> None:
    labels = np.array([[[0, 0, 0], [0, 1, 0], [0, 0, 0]]], np.uint32)
    read = box((0, 1), (0, 3), (0, 3))
    table = measure_objects(labels, read=read, write=read, shape=(1, 3, 3))
    assert table["touches_border"].tolist() == [False]


def test_objects_of_the_halo_have_a_row_without_own_voxels() -> None:
    labels = np.array([[[0, 2, 2]]], np.uint32)
    read, write = box((0, 1), (0, 1), (0, 3)), box((0, 1), (0, 1), (0, 1))
    table = measure_objects(labels, read=read, write=write, shape=(1, 1, 9), count=3)
    assert rows(table, "voxels", "voxels_total", "x0", "x1", "cut") == {
        "voxels": [0, 0, 0],
        "voxels_total": [0, 2, 0],
        "x0": [0, 0, 0],
        "x1": [0, 0, 0],
        "cut": [False, True, False],
    }


@given(IMAGES, st.integers(1, 4), st.integers(2, 5), st.integers(0, 2))
@settings(deadline=None, max_examples=40)
def test_blocks_combine_to_the_whole(image, depth, width, halo) -> None:
    shape = image.shape
    whole = measure_objects(image[0], read=box(*[(0, n) for n in shape]), shape=shape,
                            write=box(*[(0, n) for n in shape]), count=3)  # fmt: skip
    grid = Grid(shape, (1, depth, width, width), (0, halo, halo, halo))
    tables = [
        measure_objects(image[b.read][0], read=b.read, write=b.write, shape=shape, count=3)
        for b in grid
    ]
    parts = combine(tables, np.tile([1, 2, 3], len(tables)))
    one = combine([whole], np.array([1, 2, 3]))
    for name in set(one) - {"parts", "cut"}:
        present = whole["voxels"] > 0
        assert (parts[name][present] == one[name][present]).all(), name


def test_means_weigh_own_voxels_and_pass_over_nan() -> None:
    labels = np.array([[[1, 1, 1, 2, 3]]], np.uint32)
    everything = box((0, 1), (0, 1), (0, 5))
    error = np.array([1.0, 5.0, np.nan])
    table = measure_objects(
        labels, read=everything, write=everything, shape=(1, 1, 5), means={"flow_error": error}
    )
    final = combine([table, table], np.array([1, 1, 2, 1, 0, 3]), means=["flow_error"])
    assert final["flow_error"][0] == pytest.approx((3 * 1 + 5 + 3 * 1) / 7)
    assert np.isnan(final["flow_error"][1:]).all()
    assert rows(final, "voxels", "parts") == {"voxels": [7, 1, 1], "parts": [3, 1, 1]}


def test_physical_units_follow_the_spacing() -> None:
    labels = np.array([[[0, 1, 1, 1]]], np.uint32)
    read = box((0, 1), (0, 1), (0, 4))
    table = measure_objects(labels, read=read, write=read, shape=(1, 1, 4))
    solid = combine([table], np.array([1]), spacing=(2.0, 0.5, 0.25))
    assert rows(solid, "x", "centroid_x", "volume") == {
        "x": [2.0],
        "centroid_x": [0.5],
        "volume": [0.75],
    }
    flat = combine([table], np.array([1]), spacing=(0.5, 0.25))
    assert flat["area"].tolist() == [0.375]
    assert "centroid_z" not in flat


def test_no_objects() -> None:
    read = box((0, 1), (0, 2), (0, 2))
    table = measure_objects(
        np.zeros((1, 2, 2), np.uint32),
        read=read,
        write=read,
        shape=(1, 2, 2),
        means={"flow_error": np.zeros(0)},
    )
    assert {len(column) for column in table.values()} == {0}
    final = combine([table], np.zeros(0, np.uint64), means=["flow_error"], spacing=(1, 1, 1))
    assert {len(column) for column in final.values()} == {0}


def test_what_does_not_belong_together_is_refused() -> None:
    labels = np.ones((1, 2, 2), np.uint32)
    read = box((0, 1), (0, 2), (0, 2))
    with pytest.raises(ImageError, match=r"labels of shape \(1, 2, 2\) do not fill"):
        measure_objects(labels, read=box((0, 1), (0, 2), (0, 3)), write=read, shape=(1, 2, 3))
    with pytest.raises(ImageError, match="flow_error has 2 rows for 1 objects"):
        measure_objects(
            labels, read=read, write=read, shape=(1, 2, 2), means={"flow_error": np.zeros(2)}
        )
    table = measure_objects(labels, read=read, write=read, shape=(1, 2, 2))
    for ids in ([1, 2], []):
        with pytest.raises(ImageError, match=f"have 1 objects but {len(ids)} final ids"):
            combine([table], np.array(ids, np.uint64))
