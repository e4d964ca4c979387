"""Lines of a CTC text file and the masks they speak of must fit."""

import numpy as np
import pytest

from bigseg.core.tracking.graph import of_rows
from bigseg.core.tracking.lineage import LineageError

FRAME, LABEL = np.array([0, 1, 2, 2]), np.array([1, 1, 2, 3])
ROWS = np.array([[1, 0, 1, 0], [2, 2, 2, 1], [3, 2, 2, 1]])


def test_links_run_along_labels_and_from_parents() -> None:
    graph = of_rows(FRAME, LABEL, ROWS[::-1])
    assert graph.links.tolist() == [[0, 1], [1, 2], [1, 3]]
    assert graph.parental.tolist() == [False, True, True]
    assert graph.joints.tolist() == [[0, 1], [0, 2]]
    assert (graph.begin.tolist(), graph.end.tolist()) == ([0, 2, 2], [1, 2, 2])
    assert graph.source.tolist() == [-1, 0, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((0, 0, 0), "There is a track 0; tracks are numbered from 1"),
        ((2, 0, 2), "Track 2 has 2 lines; each track needs one of its own"),
        ((2, 2, 1), r"Track 3 \(parent 1\) ends in frame 1, before it begins in 2"),
        ((2, 3, 9), "Track 3 has the parent 9, which has no line; write 0"),
        ((2, 3, 3), "Track 3 begins in frame 2, but its parent 3 ends only in 2"),
        ((0, 2, 2), "Track 2 begins in frame 2, but its parent 1 ends only in 2"),
        ((0, 2, 0), "Label 1 is in frame 1, but its line says frames 0 to 0"),
        ((2, 2, 4), "Label 3 is missing in frame 3, but its line says frames 2 to 4; fill the gap"),
    ],
)
def test_lines_that_do_not_fit_are_refused(change: tuple[int, int, int], message: str) -> None:
    rows = ROWS.copy()
    rows[change[0], change[1]] = change[2]
    with pytest.raises(LineageError, match=message):
        of_rows(FRAME, LABEL, rows)


def test_labels_and_lines_must_name_the_same_tracks() -> None:
    with pytest.raises(LineageError, match="Label 3 in frame 2 has no line; add one"):
        of_rows(FRAME, LABEL, ROWS[:2])
    with pytest.raises(LineageError, match="Label 4 is missing in frame 0, but its line says"):
        of_rows(FRAME, LABEL, np.r_[ROWS, [[4, 0, 1, 0]]])
