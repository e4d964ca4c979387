import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bigseg.errors import NotFound
from bigseg.io.table_rows import read_rows, replace_rows
from bigseg.io.tables import read_table


@pytest.fixture
def url(tmp_path):
    """Ids 1 to 9 in stretches of three."""
    ids = np.arange(1, 10, dtype=np.uint64)
    table = pa.table({"id": ids, "size": ids.astype(np.int32) * 10})
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=3)
    return str(tmp_path / "table.parquet")


def rows(*ids: int, size: int = 0):
    return {"size": np.full(len(ids), size), "id": np.array(ids, np.int64)}


def test_rows_of_ids_come_in_order_and_others_are_left_out(url):
    found = read_rows(url, np.array([8, 2, 77]))
    assert found["id"].tolist() == [2, 8]
    assert found["size"].tolist() == [20, 80]


def test_no_rows_keep_their_types(url):
    assert read_rows(url, np.array([77]))["id"].dtype == np.uint64


@pytest.mark.parametrize("times", [1, 2])
def test_rows_are_put_in_their_places_once(url, times):
    for _ in range(times):
        count = replace_rows(url, np.array([2, 4, 5, 6]), rows(10, 4, size=1))
    found = read_table(url)
    assert found["id"].tolist() == [1, 3, 4, 7, 8, 9, 10]
    assert found["size"].tolist() == [10, 30, 1, 70, 80, 90, 1]
    assert found["size"].dtype == np.int32
    assert count == 7


def test_rows_between_stretches_find_their_places(url):
    replace_rows(url, np.arange(3, 8), {name: c[:0] for name, c in rows(1).items()})
    replace_rows(url, np.array([], np.int64), rows(5, 3))
    assert read_table(url)["id"].tolist() == [1, 2, 3, 5, 8, 9]


def test_an_empty_table_takes_rows(url):
    none = {name: c[:0] for name, c in rows(1).items()}
    assert replace_rows(url, np.arange(1, 10), none) == 0
    assert replace_rows(url, np.array([], np.int64), rows(4, 2)) == 2
    assert read_table(url)["id"].tolist() == [2, 4]


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotFound, match="no table at"):
        read_rows(str(tmp_path / "none.parquet"), np.array([1]))
