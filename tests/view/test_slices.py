import numpy as np
import pytest

from bigseg.view.slices import crowded, frames, fullest, of_frame, profile, spread, window


def table(*rows: tuple[int, int, int, int]) -> dict[str, np.ndarray]:
    """Objects of frame, z, y, x, each three voxels wide."""
    columns = np.array(rows or np.zeros((0, 4)), np.int64)
    found = {"id": np.arange(1, len(rows) + 1), "frame": columns[:, 0]}
    for i, axis in enumerate("zyx", 1):
        found |= {
            axis: columns[:, i].astype(float),
            f"{axis}0": columns[:, i] - 1,
            f"{axis}1": columns[:, i] + 2,
        }
    return found


def test_the_fullest_plane_goes_through_most_objects() -> None:
    objects = table((0, 2, 5, 5), (0, 6, 5, 9), (0, 7, 9, 5), (0, 8, 9, 9))
    assert profile(objects, "z", 10).tolist() == [0, 1, 1, 1, 0, 1, 2, 3, 2, 1]
    assert fullest(objects, "z", 10) == 7
    assert fullest(table(), "z", 10) == 5


def test_positions_spread_where_objects_are() -> None:
    objects = table(*[(0, z, 0, 0) for z in range(20, 50)])
    assert spread(objects, "z", 100, 3) == [24, 34, 44]
    assert spread(table(), "z", 100, 3) == [50]
    assert spread(objects, "z", 2, 3) == [0, 1]


def test_frames_are_the_first_the_last_and_one_between_of_those_with_objects() -> None:
    objects = table(*[(t, 0, 0, 0) for t in (2, 3, 5, 8, 9)])
    assert frames(objects, 12, 3) == [2, 5, 9]
    assert frames(table(), 12, 3) == [0, 6, 11]
    assert frames(objects, 12, 1) == [2]
    assert of_frame(objects, 5)["id"].tolist() == [3]


@pytest.mark.parametrize(
    ("centre", "expected"), [(50, slice(45, 55)), (1, slice(0, 10)), (99, slice(90, 100))]
)
def test_windows_stay_inside(centre: int, expected: slice) -> None:
    assert window(centre, 100, 10) == expected
    assert window(centre, 7, 10) == slice(0, 7)


def test_crowded_regions_hold_the_crowds_and_do_not_overlap() -> None:
    crowd = [(0, 0, 200 + i, 300 + j) for i in range(0, 40, 10) for j in range(0, 40, 10)]
    few = [(0, 0, 800, 800 + i) for i in range(3)]
    regions = crowded(table(*crowd, *few), (1000, 1000), 100, 3)
    assert len(regions) == 2
    y, x = regions[0]
    assert y.start <= 200
    assert y.stop >= 230
    assert x.start <= 300
    assert x.stop >= 330
    assert regions[1][0].start <= 800 < regions[1][0].stop


def test_without_objects_the_middle_is_shown() -> None:
    assert crowded(table(), (100, 60), 20, 3) == [(slice(40, 60), slice(20, 40))]
