"""A graph that cannot be right is refused by name, and nothing is overwritten."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bigseg import files
from bigseg.core.relabel import dense_offsets
from bigseg.errors import BigsegError
from bigseg.io.tables import read_table, write_table
from bigseg.stages import components, objects, solve
from bigseg.stages.graph import (
    edges_url,
    ids_url,
    nodes_url,
    offsets_url,
    read_nodes,
    write_edges,
    write_nodes_array,
    write_offsets,
)

COUNTS = (1, 1, 1, 3)
BLOCKS = ("0-0-0-0", "0-0-0-1", "0-0-0-2")
NODES = 3


def make_graph(run: str) -> None:
    """Three blocks in a row, with three objects each; objects of one number are one."""
    rows = {"u": [1, 2, 3], "v": [1, 2, 3], "n_u": [9, 9, 9], "n_v": [9, 9, 9], "n_uv": [8, 8, 7]}
    edges = {name: np.array(column, np.int64) for name, column in rows.items()}
    for number, block in enumerate(BLOCKS):
        write_table(nodes_url(run, block), nodes(number))
        write_edges(run, block, number, [(number + 1, edges)] if number < 2 else [])
    write_offsets(run, [{"objects": 3, "edges": n} for n in (3, 3, 0)])


def nodes(number: int) -> dict[str, Any]:
    table = {name: np.full(NODES, 5 + number) for name in ("voxels", "voxels_total")}
    for axis in "zyx":
        at = 10 * number if axis == "x" else 0
        table |= {f"{axis}0": np.full(NODES, at), f"{axis}1": np.full(NODES, at + 9)}
        table[f"sum_{axis}"] = np.full(NODES, 5 * at)
    flags = {name: np.zeros(NODES, bool) for name in ("touches_border", "cut")}
    rest = {"id": np.arange(1, NODES + 1), "frame": np.zeros(NODES, np.int64)}
    return {**rest, **table, **flags, "flow_error": np.zeros(NODES)}


def join(run: str) -> Any:
    spec = components.Spec(run=run, counts=COUNTS)
    return components.block(spec, spec.grid[0], None)


def judge(run: str) -> Any:
    cut = solve.Spec(run=run, counts=COUNTS, packs=1)
    solve.block(cut, cut.grid[0], solve.read(cut, cut.grid[0]))
    spec = objects.Spec(run=run, counts=COUNTS, spacing=(1.0, 1.0, 1.0))
    return objects.block(spec, spec.grid[0], None)


def change(run: str, block: str, row: int = 0, **values: Any) -> None:
    """Put other values into a row of a block's edges."""
    table = {name: column.copy() for name, column in read_table(edges_url(run, block)).items()}
    for name, value in values.items():
        table[name] = table[name].astype(type(value)) if isinstance(value, float) else table[name]
        table[name][row] = value
    write_table(edges_url(run, block), table)


@pytest.fixture
def run(tmp_path: Path) -> str:
    """A run whose graph was solved before."""
    make_graph(f"{tmp_path}/run")
    join(f"{tmp_path}/run")
    return f"{tmp_path}/run"


def untouched(folder: str) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def refused(run: str, *said: str) -> None:
    before = untouched(run)
    with pytest.raises(BigsegError, match=".*".join(map(re.escape, said))):
        join(run)
    assert untouched(run) == before


def test_a_sound_graph_is_joined(run: str) -> None:
    assert judge(run)["objects"] == 3
    np.testing.assert_array_equal(read_table(objects.table_url(run))["parts"], [3, 3, 3])


def test_a_missing_table_of_edges_is_named(run: str) -> None:
    files.remove(edges_url(run, BLOCKS[1]))
    refused(run, "Block 0-0-0-1 has no table of edges", "0-0-0-1.parquet is missing", "makes edges")


def test_offsets_of_another_grid_are_refused(run: str) -> None:
    write_offsets(run, [{"objects": 3, "edges": 3}] * 2)
    refused(run, "numbers the objects of 2 blocks, but there are 3", "merge again")
    falling = {"offset": np.array([0, 3, 1, 9]), "edges": np.array([3, 3, 0, 0])}
    write_table(offsets_url(run), falling)
    refused(run, "gives block 0-0-0-1 -2 objects")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"u": 4}, "row 1 joins object 4 of block number 1, which has 3 objects"),
        ({"u": 0}, "row 1 joins object 0 of block number 1"),
        ({"v": 7}, "row 1 joins object 7 of block number 2, which has 3 objects"),
        ({"v_block": 3}, "row 1 leads to block number 3; it must lead to number 1 or a later one"),
        ({"v_block": 0}, "row 1 leads to block number 0"),
        ({"v_block": 1}, "row 1 joins object 2 of block number 1 to itself"),
        ({"u_block": 0}, "row 1 belongs to block number 0, not to 1"),
        ({"u": 1, "v": 1}, "row 1 joins 1 and 1 of block number 2, as a row before does"),
        ({"u": 3, "v": 3}, "row 2 joins 3 and 3 of block number 2, as a row before does"),
        ({"n_uv": 10}, "row 1 joins objects of 9 and 9 voxels that share 10"),
        ({"n_v": -1}, "row 1 has n_v = -1, but voxels are counted from 0"),
        ({"n_u": float("nan")}, "row 1 has n_u = nan, which is no number"),
        ({"n_uv": float("inf")}, "row 1 has n_uv = inf, which is no number"),
    ],
)
def test_edges_that_cannot_be_are_named(run: str, values: dict[str, Any], said: str) -> None:
    change(run, BLOCKS[1], 1, **values)
    refused(run, "edges of block 0-0-0-1", said, "Block 0-0-0-1: remove its records", "makes edges")


def test_the_table_of_another_block_is_refused(run: str) -> None:
    write_table(edges_url(run, BLOCKS[1]), read_table(edges_url(run, BLOCKS[0])))
    refused(run, "edges of block 0-0-0-1", "belongs to block number 0, not to 1")


def test_lost_rows_and_columns_are_noticed(run: str) -> None:
    table = read_table(edges_url(run, BLOCKS[0]))
    write_table(edges_url(run, BLOCKS[0]), {name: column[:2] for name, column in table.items()})
    refused(run, "block 0-0-0-0", "3 edges when they were counted, but there are 2")
    write_table(edges_url(run, BLOCKS[0]), {"u": table["u"]})
    refused(run, "block 0-0-0-0", "there is no column 'u_block'")


def test_edges_in_any_order_are_taken(run: str) -> None:
    table = read_table(edges_url(run, BLOCKS[0]))
    write_table(edges_url(run, BLOCKS[0]), {name: c[::-1] for name, c in table.items()})
    assert join(run)["edges"] == 6
    assert judge(run)["objects"] == 3


def test_node_tables_that_do_not_fit_are_refused_before_ids_are_given(run: str) -> None:
    judge(run)
    before = untouched(run)
    table = nodes(2)
    write_table(nodes_url(run, BLOCKS[2]), {name: column[:2] for name, column in table.items()})
    with pytest.raises(BigsegError, match=r"Block 0-0-0-2 had 3 objects .* has 2; .*merge again"):
        judge(run)
    files.remove(nodes_url(run, BLOCKS[2]))
    with pytest.raises(BigsegError, match=r"Block 0-0-0-2 has no table of objects.*makes objects"):
        judge(run)
    write_table(nodes_url(run, BLOCKS[2]), table)
    assert untouched(run) == before


def test_joined_nodes_of_another_run_are_refused(run: str) -> None:
    files.remove(components.roots_url(run))
    write_nodes_array(components.roots_url(run), np.arange(4, dtype=np.int32))
    with pytest.raises(BigsegError, match="knows 4 objects of blocks, but there are 9"):
        judge(run)
    assert not files.exists(ids_url(run))
    assert dense_offsets([3, 3, 3])[-1] == sum(len(t["id"]) for t in read_nodes(run, COUNTS))
