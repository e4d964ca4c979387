"""Fit the model of `core.evidence` to edges whose truth is known, and say how well it fits.

Truth about an edge is never quite certain: a network took two cells for one, or somebody drew one
cell as two, and no overlap can show it. Such errors are a few percent and lie far from where
evidence is doubtful; without a place of their own they bend a logistic regression until its
threshold serves them and not the doubtful edges. So two lapse rates are fitted along with it, as
is usual for psychometric functions (Wichmann and Hill, 2001, doi:10.3758/BF03194544).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from bigseg.core.evidence import Columns, Evidence, face_features, likeness, logit
from bigseg.core.overlap import contingency
from bigseg.errors import BigsegError

Floats64 = NDArray[np.float64]

LARGEST_LAPSE = 0.3
_SHRINK = 0.1
"""Weight of the squared coefficients, which keeps them finite where classes part cleanly."""
_FEWEST = 10
"""Edges of either kind without which nothing can be fitted."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """How far probabilities are from what came true."""

    edges: int
    same: int
    """Edges that truth has as one object."""
    log_loss: float
    """Mean negative log-likelihood, nats."""
    calibration_error: float
    """Mean difference between probability and share that came true, over ten bins."""
    wrong: float
    """Share of edges on the wrong side of one half."""


def fit(columns: Columns, same: NDArray[np.bool_]) -> Evidence:
    """Coefficients that make the truth about edges most likely.

    Parameters
    ----------
    columns
        See `Evidence.log_odds`; what is not there is not fitted.
    same
        (edges,) whether both objects are one in truth.

    Returns
    -------
    Evidence
        More overlap, contact and agreement never make it less likely that two objects are one.

    Raises
    ------
    BigsegError
        Fewer than 10 edges are one in truth, or are two.
    """
    for kind, count in (("one object", same.sum()), ("two", (~same).sum())):
        if count < _FEWEST:
            raise BigsegError(
                f"only {count} of {len(same)} edges join what is {kind} in truth; at least "
                f"{_FEWEST} are needed to fit evidence: use more images, smaller blocks or a "
                "narrower halo."
            )
    features = [logit(likeness(columns["n_u"], columns["n_v"], columns["n_uv"]))]
    touch = columns["contact"] > 0 if "contact" in columns else np.zeros(len(same), bool)
    usual = Evidence().usual
    if touch.any():
        like, cosine = face_features(columns)
        features.append(np.where(touch, logit(like), 0))
        if "agreement" in columns and columns["agreement"].any():
            usual = float(cosine[touch].mean())
            features.append(np.where(touch, cosine - usual, 0))
    weights, lapses = _logistic(np.stack(features, axis=1), same)
    bias, overlap, contact, agreement = [*weights, 0.0, 0.0][:4]
    return Evidence(
        bias, overlap, contact, agreement, usual=usual, together=lapses[0], apart=lapses[1]
    )


def reliability(
    evidence: Evidence, columns: Columns, same: NDArray[np.bool_], *, bins: int = 10
) -> Reliability:
    """Compare the probabilities of edges with their truth."""
    if not len(same):
        raise BigsegError("there are no edges to judge evidence by; cut the image in more blocks.")
    p = np.clip(evidence.probability(columns), 1e-9, 1 - 1e-9)
    loss = -np.where(same, np.log(p), np.log1p(-p)).mean()
    where = np.minimum((p * bins).astype(int), bins - 1)
    gap = np.abs(np.bincount(where, p, bins) - np.bincount(where, same, bins)).sum() / len(same)
    wrong = ((p > 0.5) != same).mean()
    return Reliability(len(same), int(same.sum()), float(loss), float(gap), float(wrong))


def _logistic(
    features: Floats64, same: NDArray[np.bool_]
) -> tuple[list[float], tuple[float, float]]:
    """Bias and weights (all but the bias at least 0), and the rates of false hits and of misses."""
    scale = np.sqrt((features**2).mean(axis=0)) + 1e-12
    design = np.concatenate([np.ones((len(same), 1)), features / scale], axis=1)
    y = same.astype(np.float64)
    count = design.shape[1]
    bounds = [(None, None), *[(0.0, None)] * (count - 1), *[(0.0, LARGEST_LAPSE)] * 2]
    result = minimize(
        _objective,
        np.r_[0.0, np.ones(count - 1), 0.05, 0.01],
        args=(design, y),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
    )
    if not np.isfinite(result.fun):
        raise BigsegError("evidence could not be fitted: counts of edges are not finite.")
    weights = result.x[:count] / np.r_[1.0, scale]
    return [float(w) for w in weights], (float(result.x[-2]), float(result.x[-1]))


def _objective(x: Floats64, design: Floats64, y: Floats64) -> tuple[float, Floats64]:
    """Negative log-likelihood with lapses and a small penalty, and its gradient."""
    weights, hits, misses = x[:-2], x[-2], x[-1]
    p = 1 / (1 + np.exp(-np.clip(design @ weights, -40, 40)))
    q = np.clip(hits + (1 - hits - misses) * p, 1e-9, 1 - 1e-9)
    value = -(y * np.log(q) + (1 - y) * np.log1p(-q)).sum() + _SHRINK / 2 * (weights @ weights)
    slope = (1 - y) / (1 - q) - y / q
    gradient = design.T @ (slope * (1 - hits - misses) * p * (1 - p)) + _SHRINK * weights
    return float(value), np.r_[gradient, (slope * (1 - p)).sum(), -(slope * p).sum()]


def true_objects(labels: NDArray[Any], truth: NDArray[Any], count: int) -> NDArray[np.uint64]:
    """True object in which most voxels of each object lie.

    Parameters
    ----------
    labels
        Local ids 1..count, 0 = background.
    truth
        True labels of the same voxels.

    Returns
    -------
    (count,) uint64
        Id of the true object, the smaller of two that hold as much; 0 where it is background.
    """
    pairs, counts = contingency(labels, truth)
    order = np.lexsort((-pairs[:, 1].astype(np.int64), counts, pairs[:, 0]))
    found = np.zeros(count + 1, np.uint64)
    found[pairs[order, 0].astype(np.int64)] = pairs[order, 1]
    return found[1:]


def pooled(tables: Sequence[Columns]) -> dict[str, NDArray[np.int64]]:
    """Rows of several tables, with the columns that evidence is made of and all of them have."""
    names = ("n_u", "n_v", "n_uv", "face_u", "face_v", "contact", "agreement")
    return {
        name: np.concatenate([np.zeros(0, np.int64), *(table[name] for table in tables)])
        for name in names
        if all(name in table for table in tables)
    }
