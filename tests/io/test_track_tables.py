"""Tables of points say who comes from whom in several ways."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from bigseg.core.tracking.lineage import LineageError
from bigseg.errors import BigsegError, NotFound
from bigseg.io.tables import write_table
from bigseg.io.track_tables import is_table, read_lines, read_points

POINTS = """id,t,z,y,x,parent
5,0,0,1,2,0
6,1,0,1.5,2,5
8,2,0,2,2,6
7,2,0,1,2,6
"""
TRACKS = """Frame,Track_ID,y,x,parent
0,3,1,2,
1,3,1,2,
2,4,1,2,3
2,5,1,2,3
4,5,1,2,
"""


def table(folder: Path, text: str) -> str:
    place = folder / "points.csv"
    place.write_text(text)
    return str(place)


def test_points_name_the_points_they_come_from(tmp_path: Path) -> None:
    found = read_points(table(tmp_path, POINTS))
    assert found.id.tolist() == [5, 6, 7, 8]
    assert found.links.tolist() == [[0, 1], [1, 3], [1, 2]]
    assert found.position[1].tolist() == [0, 1.5, 2]
    assert found.lineages().daughters.tolist() == [2, 0, 0]


def test_tracks_name_the_tracks_they_come_from_and_may_miss_frames(tmp_path: Path) -> None:
    found = read_points(table(tmp_path, TRACKS))
    assert found.frame.tolist() == [0, 1, 2, 2, 4]
    assert sorted(found.links.tolist()) == [[0, 1], [1, 2], [1, 3], [3, 4]]
    assert found.lineages().end.tolist() == [1, 2, 4]


def test_lines_may_come_from_elsewhere(tmp_path: Path) -> None:
    text = "\n".join(line.rpartition(",")[0] for line in TRACKS.splitlines())
    rows = np.array([[3, 0, 1, 0], [4, 2, 2, 3], [5, 2, 4, 3]])
    place = table(tmp_path, text)
    assert len(read_points(place, rows).lineages().joints) == 2
    assert len(read_points(place).lineages().joints) == 0


def test_parquet_and_gzip_are_the_same(tmp_path: Path) -> None:
    Path(tmp_path / "p.csv.gz").write_bytes(gzip.compress(POINTS.encode()))
    rows = [line.split(",") for line in POINTS.splitlines()]
    columns = dict(zip(rows[0], np.array(rows[1:], float).T, strict=True))
    write_table(str(tmp_path / "p.parquet"), columns)
    expected = read_points(table(tmp_path, POINTS))
    for name in ("p.csv.gz", "p.parquet"):
        found = read_points(str(tmp_path / name))
        assert (found.links == expected.links).all()
        assert (found.position == expected.position).all()
        assert is_table(name)


def test_a_point_may_have_the_id_0(tmp_path: Path) -> None:
    found = read_points(table(tmp_path, "id,t,y,x,parent\n0,0,1,1,-1\n1,1,1,1,0\n"))
    assert found.links.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,y,x,parent\n1,1,1,0\n", "has no column 't'; points need t, y and x"),
        ("t,y,x\n1,1,1\n", "says nothing of tracks: it needs the columns id and parent, or track"),
        (POINTS.replace("7,2", "8,2"), "has the id 8 2 times; each point needs an id of its own"),
        (POINTS.replace("2,5", "2,99"), "names point 99, which is not there"),
        (POINTS.replace("1.5", "here"), "Column 'y' of .* holds something else than numbers"),
        (POINTS.replace("8,2", "8.5,2"), r"Column 'id' of .* has 8.5 in row 3; whole numbers"),
        (POINTS.replace("5,0", "5,"), "has the frame nan; frames are whole numbers from 0"),
        (POINTS.replace("5,0", "5,-1"), "has the frame -1; frames are whole numbers from 0"),
        (POINTS.replace("1.5", ""), r"gives point 6 the position \[0.0, nan, 2.0\]"),
        (TRACKS.replace("4,5,", "2,5,"), "has track 5 twice in frame 2; a track has one point"),
        (
            TRACKS.replace("4,5,1,2,", "4,5,1,2,4"),
            r"Track 5 in .* has the parents \d and \d; a track has",
        ),
        (TRACKS.replace("2,4,1,2,3", "2,4,1,2,9"), "Track 4 has the parent 9, which has no line"),
        ("t,y\n1\n1,2,3\n", "cannot be read as CSV with names in the first line"),
    ],
)
def test_tables_that_cannot_be_right_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BigsegError, match=message):
        read_points(table(tmp_path, text))


def test_cycles_and_links_backwards_are_named_by_the_lineage(tmp_path: Path) -> None:
    text = POINTS.replace("5,0,0,1,2,0", "5,0,0,1,2,8")
    with pytest.raises(LineageError, match="form a cycle through frame 0 label 5 and frame 2"):
        read_points(table(tmp_path, text)).lineages()


def test_tables_of_tracks_are_lines(tmp_path: Path) -> None:
    place = table(tmp_path, "track,begin,end,parent,more\n1,0,1,0,9\n2,2,3,1,9\n")
    assert read_lines(place).tolist() == [[1, 0, 1, 0], [2, 2, 3, 1]]
    with pytest.raises(BigsegError, match="has no column 'end'; a table of tracks has track"):
        read_lines(table(tmp_path, "track,begin\n1,0\n"))
    for read in (read_lines, read_points):
        for name in ("none.csv", "none.parquet"):
            with pytest.raises(NotFound, match="There is no table at"):
                read(str(tmp_path / name))
