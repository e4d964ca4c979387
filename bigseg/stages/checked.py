"""Read the tables of the graph, and refuse those that cannot be right, before anything is written.

Tables are made by other processes, by other programs even, and may be lost, left over from another
run, or damaged. A graph with a hole in it would be solved without a word, so whatever does not go
together is named: block, row, what is wrong with it, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from bigseg.core.objects import Table
from bigseg.errors import BigsegError, NotFound
from bigseg.grid import Index
from bigseg.io.tables import read_table, read_tables
from bigseg.stages.graph import (
    ENDS,
    block_ids,
    edges_url,
    nodes_url,
    offsets_url,
    read_offsets,
)

SHARED = (("n_u", "n_v", "n_uv"), ("face_u", "face_v", "contact"))
"""Voxels of both objects, and of these what they share: in the zone, and at the face."""
COUNTS = {name for names in SHARED for name in names}
REMEDY = "remove its records from the ledger of the step that makes {}, and continue the run."

Ints = NDArray[np.int64]


def checked_offsets(run: str, counts: Index) -> tuple[Ints, Ints]:
    """Number of each block's first node (and one past the last), and the edges that each owns.

    Raises
    ------
    BigsegError
        The table is of another number of blocks, or its numbers do not rise.
    """
    offsets, _ = read_offsets(run, counts)
    edges = read_table(offsets_url(run), ["edges"])["edges"].astype(np.int64)[:-1]
    for name, sizes in (("objects", np.diff(offsets)), ("edges", edges)):
        if (sizes < 0).any() or offsets[0] != 0:
            block = next(islice(block_ids(counts), int(sizes.argmin()), None))
            raise BigsegError(
                f"{offsets_url(run)} gives block {block} {sizes.min()} {name}; "
                + REMEDY.format("edges")
            )
    return offsets, edges


def checked_edges(run: str, counts: Index, offsets: Ints, edges: Ints) -> Iterator[Table]:
    """Edge tables of all blocks, in order, one at a time.

    Parameters
    ----------
    counts
        Blocks along each axis of the grid.
    offsets
        (blocks + 1,) first node of each block.
    edges
        (blocks,) edges that each block owns.

    Raises
    ------
    BigsegError
        A table is missing, has too few or too many rows, is that of another block, joins objects
        that do not exist, has an edge twice, or holds counts that no voxels can have.
    """
    urls = (edges_url(run, block) for block in block_ids(counts))
    for number, (block, url, table) in enumerate(_found(urls, counts, "edges")):
        try:
            _check_rows(table, int(edges[number]))
            _check_ends(table, number, np.diff(offsets))
            _check_once(table)
            _check_evidence(table)
        except BigsegError as error:
            raise BigsegError(
                f"The edges of block {block} ({url}) are not sound: {error} Block {block}: "
                + REMEDY.format("edges")
            ) from None
        yield table


def checked_nodes(
    run: str, counts: Index, offsets: Ints, columns: Sequence[str] | None = None
) -> Iterator[Table]:
    """Node tables of all blocks, in order, one at a time.

    Raises
    ------
    BigsegError
        A table is missing, or has another number of objects than when they were numbered.
    """
    urls = (nodes_url(run, block) for block in block_ids(counts))
    found = _found(urls, counts, "objects", columns)
    for (block, url, table), expected in zip(found, np.diff(offsets).tolist(), strict=True):
        rows = len(next(iter(table.values())))
        if rows != expected:
            raise BigsegError(
                f"Block {block} had {expected} objects when they were numbered, but {url} has "
                f"{rows}; it was made again since: merge again."
            )
        yield table


def _found(
    urls: Iterator[str], counts: Index, what: str, columns: Sequence[str] | None = None
) -> Iterator[tuple[str, str, Table]]:
    """Tables with their blocks and places; a missing one is named."""
    named = list(urls)
    tables = read_tables(named, columns)
    for block, url in zip(block_ids(counts), named, strict=True):
        try:
            table = next(tables)
        except NotFound:
            raise NotFound(
                f"Block {block} has no table of {what}: {url} is missing; " + REMEDY.format(what)
            ) from None
        yield block, url, table


def _check_rows(table: Table, expected: int) -> None:
    missing = [name for name in ENDS if name not in table]
    if missing:
        raise BigsegError(f"there is no column '{missing[0]}'.")
    if len(table["u"]) != expected:
        raise BigsegError(
            f"there were {expected} edges when they were counted, but there are {len(table['u'])}."
        )


def _check_ends(table: Table, number: int, objects: Ints) -> None:
    """Refuse edges of other blocks, and edges to objects that there are not."""
    rows = {**table, "own": np.full(len(table["u"]), number)}
    _refuse(table["u_block"] != number, "belongs to block number {u_block}, not to {own}", rows)
    beyond = (table["v_block"] < number) | (table["v_block"] >= len(objects))
    _refuse(
        beyond,
        "leads to block number {v_block}; it must lead to number {own} or a later one, of "
        f"{len(objects)} blocks",
        rows,
    )
    for name in "uv":
        rows["most"] = objects[table[f"{name}_block"]]
        _refuse(
            (table[name] < 1) | (table[name] > rows["most"]),
            f"joins object {{{name}}} of block number {{{name}_block}}, which has {{most}} objects",
            rows,
        )
    loop = (table["v_block"] == number) & (table["u"] == table["v"])
    _refuse(loop, "joins object {u} of block number {own} to itself", rows)


def _check_once(table: Table) -> None:
    """Refuse an edge that is there twice; tables are sorted mostly, and then this is fast."""
    keys = [table[name] for name in ("v_block", "u", "v")]
    rising, tied = np.zeros(max(len(keys[0]) - 1, 0), bool), True
    for key in keys:
        rising |= tied & (key[1:] > key[:-1])
        tied = tied & (key[1:] == key[:-1])
    if rising.all():
        return
    order = np.lexsort(keys[::-1])
    same = np.all([key[order][1:] == key[order][:-1] for key in keys], axis=0)
    twice = np.zeros(len(order), bool)
    twice[order[1:][same]] = True
    _refuse(twice, "joins {u} and {v} of block number {v_block}, as a row before does", table)


def _check_evidence(table: Table) -> None:
    """Refuse numbers that are none, and counts below zero."""
    for name, column in table.items():
        if column.dtype.kind == "f":
            _refuse(~np.isfinite(column), f"has {name} = {{{name}}}, which is no number", table)
        if name in COUNTS:
            _refuse(column < 0, f"has {name} = {{{name}}}, but voxels are counted from 0", table)
    for one, other, both in SHARED:
        if one in table and both in table:
            _refuse(
                table[both] > np.minimum(table[one], table[other]),
                f"joins objects of {{{one}}} and {{{other}}} voxels that share {{{both}}}",
                table,
            )


def _refuse(wrong: NDArray[np.bool_], sentence: str, table: Table) -> None:
    """Name the first row that is wrong, in a sentence with what its columns hold."""
    if wrong.any():
        row = int(wrong.argmax())
        values = {name: column[row] for name, column in table.items()}
        raise BigsegError(f"row {row} {sentence.format(**values)}.")
