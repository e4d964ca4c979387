"""What detections must be, said in sentences."""

import numpy as np
import pytest

from bigseg.core.tracking.detections import gather, near_border
from bigseg.errors import ImageError

FRAME = np.array([1, 0, 1])
LABEL = np.array([2, 1, 1])
PLACE = np.array([[4.0, 5.0], [0.0, 1.0], [2.0, 3.0]])


def test_rows_are_sorted_and_planes_become_volumes() -> None:
    d = gather(FRAME, LABEL, PLACE, {"size": np.array([7, 8, 9])})
    assert d.frame.tolist() == [0, 1, 1]
    assert d.label.tolist() == [1, 1, 2]
    assert d.position.tolist() == [[0, 0, 1], [0, 2, 3], [0, 4, 5]]
    assert d.size is not None
    assert d.size.tolist() == [8, 9, 7]
    assert d.starts.tolist() == [0, 1, 3]
    assert d.dimensions == 2


def test_conflicts_follow_their_rows() -> None:
    d = gather(FRAME, LABEL, PLACE, conflicts=np.array([[0, 5], [2, 5]]))
    assert d.conflicts is not None
    assert d.conflicts.tolist() == [[1, 5], [2, 5]]
    part = d.take(np.array([0, 2]))
    assert part.conflicts is not None
    assert part.conflicts.tolist() == [[1, 5]]


def test_frames_may_be_empty() -> None:
    d = gather(np.array([0, 3]), np.array([1, 1]), np.zeros((2, 2)))
    assert d.starts.tolist() == [0, 1, 1, 1, 2]
    assert gather(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3))).frames == 0


def test_the_border_is_near() -> None:
    place = np.array([[0.0, 5.0], [5.0, 5.0], [10.0, 5.0], [5.0, 0.0], [5.0, 10.0]])
    d = gather(np.zeros(5, int), np.arange(1, 6), place)
    found = near_border(d, 2.0, d.position.min(0), d.position.max(0)).border
    assert found is not None
    assert found.tolist() == [True, False, True, True, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"position": np.zeros((2, 3))}, r"shape \(2, 3\), but there are 3 detections"),
        ({"position": np.full((3, 3), np.nan)}, r"Object 1 of frame 0 has the position .*nan"),
        ({"frame": np.array([0, 0, -1])}, "frame -1; frames are counted from 0"),
        ({"frame": FRAME.astype(float)}, "Column 'frame' is of type float64; integers"),
        (
            {"label": np.array([0, 1, 1])},
            "Object 0 of frame 1 has the label 0, which is background",
        ),
        ({"label": np.array([1, 1, 1])}, "Object 1 of frame 1 occurs twice"),
        ({"columns": {"size": np.zeros(3)}}, "has the size 0.0; 3 of 3 are like it"),
        ({"columns": {"size": np.ones(2)}}, r"Column 'size' has \(2,\) values for 3"),
        ({"columns": {"score": np.ones(3)}}, "has the score 1.0, not within 0 and 1"),
        ({"columns": {"colour": np.ones(3)}}, "Detections have no column 'colour'; there are"),
        ({"conflicts": np.array([[3, 0]])}, "Conflicts name the detection 3 of 3"),
    ],
)
def test_what_is_wrong_is_named(change: dict, message: str) -> None:
    given = {"frame": FRAME, "label": LABEL, "position": PLACE, **change}
    with pytest.raises(ImageError, match=message):
        gather(**given)
