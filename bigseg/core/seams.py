"""How sure it is what became of the pairs of objects that two blocks saw, counted by blocks.

An edge was *kept* if its objects got one final id, else it was *parted*. Evidence speaks for one of
the two, by its log-odds; the *margin* is what it has for what was done, negative where it was
outvoted by the rest of the graph. A decision of a margin below `SURE` is *doubtful*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats64 = NDArray[np.float64]
Ints = NDArray[np.int64]

SURE = 1.0
"""Log-odds, three to one: below, a decision is doubtful."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was decided of edges; a row for each."""

    counted: Bools
    """Whether either object got an id: of two that vanished nobody knows whether they were one."""
    kept: Bools
    """Whether both got the same."""
    margin: Floats64
    """Log-odds for what was decided."""
    doubt: Floats64
    """How much it matters: size times what the margin lacks; 0 where the decision is sure."""

    @property
    def doubtful(self) -> Bools:
        return self.doubt > 0


def sizes(table: Mapping[str, NDArray[Any]]) -> Floats64:
    """What weighs the evidence of each edge, given the columns of what was counted: voxels.

    Those of both objects in the zone that two blocks labelled, on average; or at the face between
    them, if there is no zone; or of their contact, if that alone was counted.
    """
    size = np.ones(len(table["u"]))
    if "n_u" in table:
        size = (table["n_u"] + table["n_v"]) / 2
        if "face_u" in table:
            size = np.where(size > 0, size, (table["face_u"] + table["face_v"]) / 2)
    elif "contact" in table:
        size = np.asarray(table["contact"], np.float64)
    return np.asarray(np.maximum(size, 1), np.float64)


def decide(ids: tuple[NDArray[Any], NDArray[Any]], costs: Floats64, sizes: Floats64) -> Decisions:
    """Compare what was decided with what evidence said.

    Parameters
    ----------
    ids
        (edges,) final ids of the objects at both ends; 0 where an object vanished.
    costs
        (edges,) of cutting each edge: log-odds times size.
    sizes
        (edges,) by which the log-odds were multiplied, see `sizes`.
    """
    u, v = ids
    kept = (u == v) & (u > 0)
    counted = (u > 0) | (v > 0)
    odds = costs / sizes
    margin = np.where(kept, odds, -odds)
    doubt = np.where(counted, sizes * np.maximum(SURE - margin, 0), 0)
    return Decisions(counted, kept, margin, doubt)


@dataclass(frozen=True, slots=True)
class Tally:
    """What was decided between pairs of blocks; a row for each pair."""

    edges: Ints
    """Pairs of objects that were compared."""
    matched: Ints
    """Pairs that got one id, surely."""
    doubtful: Ints
    """Pairs of which evidence is not sure, or was outvoted."""
    outvoted: Ints
    """Those of them whose evidence was for the other decision."""
    split: Ints
    """Objects that the other block saw, most of them as an object that got another id."""
    cut_voxels: Ints
    """Voxels that both blocks gave to objects, but to ones that got different ids."""
    margin: Floats64
    """The smallest; infinite if nothing was compared."""

    def columns(self) -> dict[str, NDArray[Any]]:
        """The rows as named columns, to store."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


TALLY = tuple(field.name for field in fields(Tally) if field.name != "margin")
"""What adds up over faces."""


def tally(
    pair: Ints, pairs: int, found: Decisions, split: Bools, shared: NDArray[Any] | None
) -> Tally:
    """Count decisions for each pair of blocks.

    Parameters
    ----------
    pair
        (edges,) number of the pair of blocks of each edge, below `pairs`.
    split
        (2 · edges,) see `split_objects`; those of u, then those of v.
    shared
        (edges,) voxels that both blocks gave to the pair; None if blocks share none.
    """

    def count(rows: Bools, of: Ints = pair) -> Ints:
        return np.bincount(of[rows], minlength=pairs).astype(np.int64)

    margin = np.full(pairs, np.inf)
    np.minimum.at(margin, pair[found.counted], found.margin[found.counted])
    parted = found.counted & ~found.kept
    cut = np.zeros(pairs) if shared is None else np.bincount(pair, shared * parted, pairs)
    return Tally(
        edges=count(found.counted),
        matched=count(found.kept & ~found.doubtful),
        doubtful=count(found.doubtful),
        outvoted=count(found.doubtful & (found.margin < 0)),
        split=count(split, np.concatenate([pair, pair])),
        cut_voxels=cut.astype(np.int64),
        margin=margin,
    )


def split_objects(
    voxels: tuple[NDArray[Any], NDArray[Any], NDArray[Any]], found: Decisions
) -> Bools:
    """Mark for each object the edge over which most of it was lost, if it was.

    Parameters
    ----------
    voxels
        (edges,) of u, of v and of both, where both blocks have labelled.

    Returns
    -------
    (2 · edges,) bool
        For the objects u, then for the objects v: whether more than half of the object's voxels
        are those of one object of the other block, which got another id. As voxels have one label
        each, this is at most one edge for an object and a pair of blocks.
    """
    n_u, n_v, n_uv = voxels
    lost = found.counted & ~found.kept
    return np.concatenate([lost & (2 * n_uv > n) for n in (n_u, n_v)])
