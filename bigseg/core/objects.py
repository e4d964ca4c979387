"""One table row per object: measured block by block, then summed into final objects.

What a row holds of a block's own voxels (counts, sums, smallest and largest) adds up over blocks,
so a final object's row does not depend on how the image was cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bigseg.core.overlap import as_ids
from bigseg.errors import ImageError
from bigseg.grid import Box, within
from bigseg.types import Labels

Table = dict[str, NDArray[Any]]
"""Named columns of equal length."""

LOW = ("z0", "y0", "x0")
HIGH = ("z1", "y1", "x1")
SUMS = ("sum_z", "sum_y", "sum_x")
_FAR = np.iinfo(np.int32).max


@njit(cache=True, nogil=True)
def _on_face(faces, z, y, nz, ny):  # type: ignore[no-untyped-def]
    """Whether the row of voxels (z, y) lies in one of the marked z or y faces of the array."""
    return (
        (faces[0, 0] and z == 0)
        or (faces[0, 1] and z == nz - 1)
        or (faces[1, 0] and y == 0)
        or (faces[1, 1] and y == ny - 1)
    )


@njit(cache=True, nogil=True)
def _measure(labels, own, cutting, outer, n):  # type: ignore[no-untyped-def]
    """Walk the runs of `labels`; see `measure_objects` for what is counted.

    `own` (3, 2) are the bounds of the write box; `cutting` and `outer` (3, 2) mark the faces of
    the read box that lie inside the image and those that are its border.
    """
    voxels, total = np.zeros(n, np.int64), np.zeros(n, np.int64)
    low, high = np.full((n, 3), _FAR, np.int32), np.zeros((n, 3), np.int32)
    sums = np.zeros((n, 3), np.int64)
    cut, border = np.zeros(n, np.bool_), np.zeros(n, np.bool_)
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            row_cut = _on_face(cutting, z, y, nz, ny)
            row_border = _on_face(outer, z, y, nz, ny)
            inside = own[0, 0] <= z < own[0, 1] and own[1, 0] <= y < own[1, 1]
            x = 0
            while x < nx:
                label, start = labels[z, y, x], x
                while x < nx and labels[z, y, x] == label:
                    x += 1
                if label == 0:
                    continue
                i = np.int64(label) - 1
                total[i] += x - start
                cut[i] |= row_cut or (cutting[2, 0] and start == 0) or (cutting[2, 1] and x == nx)
                first, last = max(start, own[2, 0]), min(x, own[2, 1])
                if not inside or first >= last:
                    continue
                border[i] |= row_border or (outer[2, 0] and first == 0)
                border[i] |= outer[2, 1] and last == nx
                voxels[i] += last - first
                for axis, begin, end in ((0, z, z + 1), (1, y, y + 1), (2, first, last)):
                    low[i, axis] = min(low[i, axis], begin)
                    high[i, axis] = max(high[i, axis], end)
                    sums[i, axis] += (last - first) * (begin + end - 1) // 2
    return voxels, total, low, high, sums, border, cut


def measure_objects(
    labels: Labels,
    *,
    read: Box,
    write: Box,
    shape: Sequence[int],
    means: Table | None = None,
    count: int | None = None,
) -> Table:
    """Measure every object of a block.

    Parameters
    ----------
    labels
        (z, y, x) block-local ids 1..n of the voxels in `read`.
    read, write
        Boxes (…, z, y, x) of the block in voxels of the image; with a leading time axis the
        frame is noted.
    shape
        (…, z, y, x) of the image. An axis of length 1 has no border.
    means
        Columns of (n,) floats that are known of each object, such as `flow_error`; in final
        objects they become means over voxels.
    count
        n, if more than the largest label in `labels`.

    Returns
    -------
    Table
        n rows: `id`, `frame`, `voxels` (in `write`), `voxels_total` (in `read`), `z0` … `x1` (of
        the voxels in `write`, half-open, image coordinates; all 0 if there are none),
        `sum_z`, `sum_y`, `sum_x` (of their coordinates), `touches_border` (of the image, with
        them), `cut` (by the read box, with any voxel) and the columns of `means`.

    Raises
    ------
    ImageError
        `labels` do not fill `read`, or a column of `means` is not of n rows.
    """
    read3, write3, size = read[-3:], write[-3:], tuple(shape)[-3:]
    if labels.shape != tuple(s.stop - s.start for s in read3):
        raise ImageError(f"labels of shape {labels.shape} do not fill the box {read3}.")
    ids = as_ids(labels)
    n = max(int(ids.max()) if ids.size else 0, count or 0)
    own = np.array([(s.start, s.stop) for s in within(write3, read3)], np.int64)
    outer = np.array([(r.start == 0, r.stop == w) for r, w in zip(read3, size, strict=True)])
    real = np.array(size)[:, None] > 1
    voxels, total, low, high, sums, border, cut = _measure(ids, own, ~outer, outer & real, n)
    start = np.array([s.start for s in read3])
    empty = voxels == 0
    low, high = np.where(empty[:, None], 0, low + start), np.where(empty[:, None], 0, high + start)
    sums += voxels[:, None] * start
    table: Table = {
        "id": np.arange(1, n + 1, dtype=np.uint64),
        "frame": np.full(n, read[-4].start if len(read) > 3 else 0, np.int32),
        "voxels": voxels,
        "voxels_total": total,
    }
    for names, columns, dtype in ((LOW, low, np.int32), (HIGH, high, np.int32), (SUMS, sums, None)):
        table |= {name: columns[:, i].astype(dtype or np.int64) for i, name in enumerate(names)}
    table |= {"touches_border": border, "cut": cut}
    for name, column in (means or {}).items():
        if len(column) != n:
            raise ImageError(f"{name} has {len(column)} rows for {n} objects of the block.")
        table[name] = np.asarray(column, np.float64)
    return table


def combine(
    tables: Iterable[Table],
    final_id: NDArray[Any],
    *,
    means: Sequence[str] = (),
    spacing: Sequence[float] | None = None,
) -> Table:
    """Sum block rows into one row per final object; memory follows the number of final objects.

    Parameters
    ----------
    tables
        Tables of `measure_objects`, in the order of nodes; read one at a time.
    final_id
        (rows of all tables,) final id of each row, 1..N; 0 drops the row.
    means
        Columns to average over an object's own voxels; NaN counts for nothing.
    spacing
        Voxel size (z, y, x) or pixel size (y, x) in physical units.

    Returns
    -------
    Table
        N rows: `id`, `frame`, `voxels`, `z0` … `x1`, `z`, `y`, `x` (centroid in voxels),
        `touches_border`, `cut` (in a block that owns some of it), `parts` (block objects that own
        some of it), the columns of `means`, and in physical units `volume` or `area`,
        `centroid_z` (of volumes), `centroid_y`, `centroid_x`.

    Raises
    ------
    ImageError
        There are more or fewer rows than final ids: blocks are missing or were labelled again.
    """
    n = int(final_id.max()) if len(final_id) else 0
    total = _empty(n, means)
    seen = 0
    for table in tables:
        ids = final_id[seen : seen + len(table["id"])]
        seen += len(table["id"])
        if len(ids) == len(table["id"]):
            rows = np.flatnonzero((ids > 0) & (table["voxels"] > 0))
            _add(total, table, rows, ids[rows].astype(np.int64) - 1, means)
    if seen != len(final_id):
        raise ImageError(
            f"the blocks have {seen} objects but {len(final_id)} final ids were made; blocks are "
            "missing or were labelled again: merge again."
        )
    return _finished(total, means, spacing)


def _empty(n: int, means: Sequence[str]) -> Table:
    """Rows of objects that have no voxels yet."""
    table: Table = {"id": np.arange(1, n + 1, dtype=np.uint64)}
    table |= {name: np.zeros(n, np.int32) for name in ("frame", *HIGH, "parts")}
    table |= {name: np.full(n, _FAR, np.int32) for name in LOW}
    table |= {name: np.zeros(n, np.int64) for name in ("voxels", *SUMS)}
    table |= {name: np.zeros(n, bool) for name in ("touches_border", "cut")}
    for name in means:
        table |= {name: np.zeros(n), f"{name}:voxels": np.zeros(n, np.int64)}
    return table


def _add(
    total: Table,
    table: Table,
    rows: NDArray[np.int64],
    at: NDArray[np.int64],
    means: Sequence[str],
) -> None:
    """Add `rows` of one block's table to the final objects `at`."""
    np.add.at(total["parts"], at, np.int32(1))
    total["frame"][at] = table["frame"][rows]
    for name in ("voxels", *SUMS):
        np.add.at(total[name], at, table[name][rows])
    for name in LOW:
        np.minimum.at(total[name], at, table[name][rows])
    for name in HIGH:
        np.maximum.at(total[name], at, table[name][rows])
    for name in ("touches_border", "cut"):
        total[name][at[table[name][rows]]] = True
    for name in means:
        value = table[name][rows]
        weight = np.where(np.isnan(value), 0, table["voxels"][rows])
        np.add.at(total[name], at, np.where(weight > 0, value, 0.0) * weight)
        np.add.at(total[f"{name}:voxels"], at, weight)


def _finished(total: Table, means: Sequence[str], spacing: Sequence[float] | None) -> Table:
    """Turn sums into means and centroids, add physical units, and put columns in order."""
    voxels = total["voxels"]
    table = {name: total[name] for name in ("id", "frame", "voxels", *LOW, *HIGH)}
    for name, axis in zip(SUMS, "zyx", strict=True):
        table[axis] = total[name] / np.maximum(voxels, 1)
    if spacing is not None:
        table["volume" if len(spacing) == 3 else "area"] = voxels * float(np.prod(spacing))
        for axis, step in zip("zyx"[-len(spacing) :], spacing, strict=True):
            table[f"centroid_{axis}"] = table[axis] * float(step)
    table |= {name: total[name] for name in ("touches_border", "cut", "parts")}
    for name in means:
        weight = total[f"{name}:voxels"]
        table[name] = np.where(weight > 0, total[name] / np.maximum(weight, 1), np.nan)
    return table
