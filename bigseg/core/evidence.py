"""How likely two objects of different blocks are one: log-odds of what was counted of them.

The model is a logistic regression of few features, fitted to ground truth by `core.evidence_fit`;
`benchmarks/calibrate_evidence.py` fits the defaults. What tells is how two objects overlap where
both blocks have labelled the same voxels. How they touch across the face between the blocks, and
whether flows on both sides agree, can be asked as well, and is where it has been counted; on the
images of the defaults it adds nothing to the overlap.
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

    bias: float = 0.08
    """Of two objects that share as many voxels as they do not: likeness 1/2."""
    overlap: float = 0.72
    """Per unit of the logit of the likeness in the zone; at least 0."""
    contact: float = 0.0
    """Per unit of the logit of the likeness at the face of objects that touch; at least 0."""
    agreement: float = 0.0
    """Per unit of the mean cosine between the flows on both sides; at least 0."""
    usual: float = 0.95
    """Mean cosine that is evidence for neither."""
    size_exponent: float = 1.0
    """Evidence of objects of n voxels counts n ** size_exponent times."""
    apart: float = 0.01
    """Share of true pairs that nothing here can tell, as a network or the truth erred; only of
    interest where probabilities are compared with ground truth."""
    together: float = 0.17
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
            `n_u`, `n_v`, `n_uv`; perhaps `face_u`, `face_v` and `contact`; then also `agreement`.

        Raises
        ------
        BigsegError
            The counts of an edge contradict each other.
        """
        like = likeness(columns["n_u"], columns["n_v"], columns["n_uv"])
        odds = self.bias + self.overlap * logit(like)
        if "contact" in columns and (self.contact or self.agreement):
            touch = columns["contact"]
            like, cosine = face_features(columns)
            more = self.contact * logit(like) + self.agreement * (cosine - self.usual)
            odds += np.where(touch > 0, more, 0)
        return odds

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
            voxels of both in the zone.

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
        if self.size_exponent == 0:
            return odds
        size = (columns["n_u"] + columns["n_v"]) / 2
        return np.asarray(size**self.size_exponent * odds, np.float64)

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


def face_features(columns: Columns) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Likeness of the objects of each edge at the face, and mean cosine of the flows there."""
    touch = columns["contact"]
    like = likeness(columns["face_u"], columns["face_v"], touch)
    total = columns.get("agreement", np.zeros(len(touch), np.int64))
    return like, np.asarray(total / (AGREEMENT_STEPS * np.maximum(touch, 1)), np.float64)


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
