"""How likely two objects of different blocks are one: log-odds of what was counted of them.

The model is a logistic regression of few features, fitted to ground truth by `core.evidence_fit`;
`benchmarks/calibrate_evidence.py` fits the defaults. Objects of which two blocks have labelled the
same voxels are judged by how they overlap there; objects that only touch, across the face of blocks
without a common zone, by how they touch and whether flows agree. Where there is overlap, contact
and flows add nothing (log loss 0.0600 instead of 0.0601), so they are not asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bigseg.core.overlap import Edges
from bigseg.errors import BigsegError, SpecError

Costs = NDArray[np.float64]
"""(m,) cost of cutting each edge; positive attracts, negative repels."""
Columns = Mapping[str, NDArray[Any]]
"""Named columns of equal length, one row per edge; see `core.edges.edge_columns`."""

AGREEMENT_STEPS = 1000
"""Steps of the column `agreement` per unit of cosine."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What overlap and contact are worth, in log-odds that two objects are one."""

    bias: float = 0.6
    """Of two objects that share as many voxels as they do not: likeness 1/2."""
    overlap: float = 1.5
    """Per unit of the logit of the likeness in the zone; at least 0."""
    face_bias: float = 2.5
    """Of two objects that touch in half of their faces, in which flows agree as they usually do."""
    contact: float = 1.7
    """Per unit of the logit of the likeness of their faces; at least 0."""
    agreement: float = 7.0
    """Per unit of the mean cosine between the flows on both sides; at least 0."""
    usual: float = 0.94
    """Mean cosine that is evidence for neither, and what is assumed where flows are not known."""
    size_exponent: float = 1.0
    """Evidence of objects of n voxels counts n ** size_exponent times."""
    apart: float = 0.0
    """Share of true pairs that nothing here can tell, as a network or the truth erred; only of
    interest where probabilities are compared with ground truth."""
    together: float = 0.0
    """Share of false pairs that look like one object for such reasons."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not math.isfinite(value):
                raise SpecError(f"{name} of the evidence is {value}; it must be a finite number.")
        for name in ("overlap", "contact", "agreement", "size_exponent", "apart", "together"):
            value = getattr(self, name)
            if value < 0:
                raise SpecError(f"{name} of the evidence is {value}; it must not be negative.")

    def log_odds(self, columns: Columns) -> NDArray[np.float64]:
        """Log-odds, (edges,), that the objects of each edge are one.

        Parameters
        ----------
        columns
            `n_u`, `n_v`, `n_uv` and, where blocks share no zone, `face_u`, `face_v`, `contact` and
            perhaps `agreement`.

        Raises
        ------
        BigsegError
            The counts of an edge contradict each other.
        """
        n_u, n_v = columns["n_u"], columns["n_v"]
        odds = self.bias + self.overlap * logit(likeness(n_u, n_v, columns["n_uv"]))
        if "contact" not in columns:
            return np.asarray(odds, np.float64)
        touch = columns["contact"]
        at_face = self.face_bias + self.contact * logit(
            likeness(columns["face_u"], columns["face_v"], touch)
        )
        if "agreement" in columns:
            mean = columns["agreement"] / (AGREEMENT_STEPS * np.maximum(touch, 1))
            at_face += self.agreement * np.where(touch > 0, mean - self.usual, 0)
        blind = (n_u == 0) | (n_v == 0)
        return np.asarray(np.where(blind, np.where(touch > 0, at_face, 0), odds), np.float64)

    def probability(self, columns: Columns) -> NDArray[np.float64]:
        """Probability, (edges,), that truth has the objects of an edge as one."""
        odds = np.clip(self.log_odds(columns), -500, 500)
        certain = 1 / (1 + np.exp(-odds))
        share: NDArray[np.float64] = self.together + (1 - self.together - self.apart) * certain
        return share

    def costs(self, columns: Columns, *, beta: float = 0.5) -> Costs:
        """Cost of cutting each edge: log-odds, times a weight for the objects' size.

        Parameters
        ----------
        columns
            See `log_odds`.
        beta
            Prior probability that two objects are different, in (0, 1); above 0.5 less is merged.

        Returns
        -------
        (edges,) float64
            ``n ** size_exponent * (log_odds + log((1 - beta) / beta))``, where n is the mean of the
            voxels of both in the zone, or at the face if there is no zone.

        Raises
        ------
        SpecError
            `beta` is not a probability between 0 and 1.
        BigsegError
            The counts of an edge contradict each other.
        """
        if not 0 < beta < 1:
            raise SpecError(f"beta is {beta}; it must lie between 0 and 1, both excluded.")
        odds = self.log_odds(columns) + math.log((1 - beta) / beta)
        size = (columns["n_u"] + columns["n_v"]) / 2
        if "contact" in columns:
            size = np.where(size > 0, size, (columns["face_u"] + columns["face_v"]) / 2)
        return np.asarray(odds if self.size_exponent == 0 else size**self.size_exponent * odds)

    def as_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Evidence:
        """Evidence of what `as_dict` made; SpecError in a sentence if it is something else."""
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise SpecError(f"Evidence has no '{unknown[0]}'; it has {', '.join(sorted(known))}.")
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise SpecError(f"{name} of the evidence is {value!r}; it must be a number.")
        return cls(**{name: float(value) for name, value in values.items()})


def likeness(n_u: NDArray[Any], n_v: NDArray[Any], n_uv: NDArray[Any]) -> NDArray[np.float64]:
    """Geometric mean of the shares of each object of an edge that the other covers; 0 to 1.

    ``n_uv / sqrt(n_u n_v)`` (Ochiai, 1957), within the zone. It is symmetric, and between the two
    measures that fail where a zone shows only the tip of an object: intersection over union halves
    when one opinion reaches a voxel further than the other (slivers at block faces), and
    intersection over the smaller object is 1 for every piece that a fused object swallows.

    Raises
    ------
    BigsegError
        More voxels are shared than an object has.
    """
    impossible = (n_uv < 0) | (n_uv > np.minimum(n_u, n_v))
    if impossible.any():
        row = int(impossible.argmax())
        raise BigsegError(
            f"edge {row} joins objects of {n_u[row]} and {n_v[row]} voxels that share "
            f"{n_uv[row]}; that cannot be: compute the overlaps of its blocks again."
        )
    product = np.maximum(np.asarray(n_u, np.float64) * n_v, 1)
    return np.asarray(np.minimum(n_uv / np.sqrt(product), 1), np.float64)


def similarity(edges: Edges) -> NDArray[np.float64]:
    """`likeness` of the objects of each edge."""
    return likeness(edges.n_u, edges.n_v, edges.n_uv)


def edge_costs(edges: Edges, *, beta: float = 0.5, evidence: Evidence | None = None) -> Costs:
    """`Evidence.costs` of overlaps alone, by default with what was fitted to real images."""
    return (evidence or Evidence()).costs(edges.columns(), beta=beta)


def logit(likeness: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds of a share, finite at 0 and 1."""
    share = 0.998 * likeness + 0.001
    return np.asarray(np.log(share / (1 - share)), np.float64)
