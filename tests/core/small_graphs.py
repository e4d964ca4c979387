"""Graphs small enough to try all their partitions."""

from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from bigseg.core.problem import Problem


@st.composite
def graphs(draw):
    """Up to 7 nodes, edges either way round, some twice; costs whole (many ties) or not."""
    n = draw(st.integers(2, 7))
    pairs = [*combinations(range(n), 2), (1, 0), (0, 0)]
    uv = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=22))
    whole = st.integers(-3, 3) | st.integers(-1, 1)
    cost = draw(st.sampled_from([whole, st.floats(-3, 3).map(lambda c: round(c, 3))]))
    costs = draw(st.lists(cost, min_size=len(uv), max_size=len(uv)))
    return n, *np.array(uv).T.copy(), np.array(costs, float)


def partitions(n: int) -> np.ndarray:
    """All partitions of n nodes, as labels."""
    found = [[0]]
    for _ in range(n - 1):
        found = [[*p, c] for p in found for c in range(max(p) + 2)]
    return np.array(found)


def energies(every: np.ndarray, u, v, costs) -> np.ndarray:
    return ((every[:, u] != every[:, v]) * costs).sum(axis=1)


def best_of(problem: Problem) -> np.ndarray:
    """Best of all partitions of a small problem, each node named by its cluster's first one."""
    if len(problem.nodes) == 0:
        return np.zeros(0, np.int64)
    every = partitions(len(problem.nodes))
    best = every[energies(every, problem.u, problem.v, problem.costs).argmin()]
    return np.array([best.tolist().index(cluster) for cluster in best])
