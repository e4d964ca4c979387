from pathlib import Path

import numpy as np
import pytest

from bigseg.errors import ImageError, NotFound
from bigseg.io.tables import read_table, write_table


def test_columns_come_back_as_they_were(tmp_path: Path) -> None:
    columns = {
        "id": np.array([1, 2**63], np.uint64),
        "size": np.array([3, 4], np.int32),
        "y": np.array([0.5, np.nan], np.float32),
        "edge": np.array([True, False]),
        "block": np.array(["0-0-0-0", "0-0-0-1"], object),
    }
    url = str(tmp_path / "deep" / "objects.parquet")
    write_table(url, columns)
    found = read_table(url)
    assert list(found) == list(columns)
    for name, column in columns.items():
        assert found[name].dtype == column.dtype
        np.testing.assert_array_equal(found[name], column)


def test_tables_without_rows_keep_their_types(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/empty.parquet"
    write_table(url, {"id": np.zeros(0, np.uint32)})
    assert read_table(url)["id"].dtype == np.uint32
    assert read_table(url)["id"].size == 0


def test_columns_must_be_equally_long(tmp_path: Path) -> None:
    url = str(tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet must be equally long.*'b': 2"):
        write_table(url, {"a": np.zeros(1), "b": np.zeros(2)})
    assert not list(tmp_path.iterdir())


def test_missing_and_damaged_tables(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no table at .*gone\.parquet"):
        read_table(str(tmp_path / "gone.parquet"))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ImageError, match=r"bad\.parquet is not a parquet file"):
        read_table(str(tmp_path / "bad.parquet"))
