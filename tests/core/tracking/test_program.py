"""The program against all solutions of tiny problems."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.tracking import assign, program
from bigseg.core.tracking.candidates import Candidates, among, none, taken
from bigseg.core.tracking.costs import Nodes
from bigseg.core.tracking.rivals import decided

SOURCES, TARGETS = 3, 4


@st.composite
def problems(draw: st.DrawFn) -> tuple[Candidates, Nodes, np.ndarray | None]:
    """Three objects of a frame and four of the next, all candidates with any gain."""
    gain = st.integers(-9, -1).map(float)
    pairs = [
        (i, SOURCES + j) for i, j in product(range(SOURCES), range(TARGETS)) if draw(st.booleans())
    ]
    births = [
        (i, SOURCES + a, SOURCES + b)
        for i in range(SOURCES)
        for a in range(TARGETS)
        for b in range(a + 1, TARGETS)
        if draw(st.integers(0, 3)) == 0
    ][:6]
    n = SOURCES + TARGETS
    saved = [draw(st.sampled_from([-1.0, -1.0, 2.0, 5.0])) for _ in range(n)]
    nodes = Nodes(np.maximum(saved, 0), np.zeros(n), -np.minimum(saved, 0), None)
    conflicts = np.array([[3, 0], [4, 0]]) if draw(st.booleans()) else None
    ends = np.array(pairs, np.int64).reshape(-1, 2)
    born = np.array(births, np.int64).reshape(-1, 3)
    c = Candidates(
        ends[:, 0], ends[:, 1], np.array([draw(gain) for _ in pairs]),
        born[:, 0], born[:, 1:], np.array([2 * draw(gain) for _ in births]),
    )  # fmt: skip
    return c, nodes, conflicts


def value(c, n, conflicts, links, divisions, real) -> float | None:
    """The value of a choice, or None if it is not allowed."""
    out = np.r_[c.source[links], c.mother[divisions]]
    into = np.r_[c.target[links], c.daughters[divisions].ravel()]
    for ends in (out, into):
        if len(np.unique(ends)) < len(ends) or not real[ends].all():
            return None
    if conflicts is not None and real[conflicts[:, 0]].sum() > 1:
        return None
    saved = n.appear + n.disappear - n.false
    counted = real & (saved > 0)
    if conflicts is not None:
        counted[conflicts[:, 0]] = real[conflicts[:, 0]]
    return float(c.gain[links].sum() + c.born[divisions].sum() + saved[counted].sum())


def best(c, n, conflicts) -> float:
    """Try everything: a way in for each target, then the cheapest detections that this needs."""
    saved = n.appear + n.disappear - n.false
    found = np.inf
    links, births = len(c.source), len(c.mother)
    for chosen in product([False, True], repeat=links + births):
        x = np.array(chosen, bool)
        a, b = x[:links], x[links:]
        used = np.zeros(len(saved), bool)
        for rows in (c.source[a], c.target[a], c.mother[b], c.daughters[b].ravel()):
            used[rows] = True
        wanted = used | (saved <= 0)
        options = [wanted]
        if conflicts is not None:
            options = [wanted & ~np.isin(np.arange(len(saved)), [k]) for k in (3, 4)]
        values = [value(c, n, conflicts, a, b, real) for real in options]
        found = min([found, *(v for v in values if v is not None)])
    return found


@given(problems())
@settings(deadline=None, max_examples=40)
def test_no_solution_is_better(problem) -> None:
    c, n, conflicts = problem
    if len(c.source) + len(c.mother) > 12:
        c = Candidates(c.source[:6], c.target[:6], c.gain[:6], c.mother, c.daughters, c.born)
    x = program.solve(c, n, conflicts)
    assert value(c, n, conflicts, x.links, x.divisions, x.real) == pytest.approx(x.value)
    assert x.value == pytest.approx(best(c, n, conflicts))
    assert x.bound <= x.value + 1e-6


def fastly(c, n, conflicts) -> tuple[Candidates, program.Chosen]:
    real = decided(c, n, conflicts, 60.0)
    c = among(c, real)
    near = assign.solve(c, n, n, 60.0)
    return assign.with_gaps(near, c, none(), n, real, 60.0)


@given(problems())
@settings(deadline=None, max_examples=40)
def test_the_fast_mode_is_exact_between_two_frames(problem) -> None:
    c, n, _ = problem
    n = replace(n, false=n.appear + n.disappear + 1)
    assert fastly(c, n, None)[1].value == pytest.approx(program.solve(c, n).value)


@given(problems())
@settings(deadline=None, max_examples=60)
def test_what_is_certain_is_in_a_best_choice(problem) -> None:
    c, n, _ = problem
    doubted = np.maximum(n.appear + n.disappear - n.false, 0)
    n = Nodes(doubted, 0 * doubted, 0 * doubted, None)
    sure = np.zeros(len(c.gain), bool), np.zeros(len(c.born), bool)
    ends = (c.source, c.target, c.mother, c.daughters)
    doubts = doubted.copy()
    left = assign.certain(ends, c.gain, c.born, doubts, sure)
    rest = program.solve(taken(c, *left), replace(n, appear=doubts)).value
    gained = c.gain[sure[0]].sum() + c.born[sure[1]].sum() + (doubted - doubts).sum()
    assert gained + rest == pytest.approx(program.solve(c, n).value)
    assert not any((a & b).any() for a, b in zip(sure, left, strict=True))


@given(problems())
@settings(deadline=None, max_examples=40)
def test_rounding_and_the_fast_mode_give_what_is_allowed(problem) -> None:
    c, n, conflicts = problem
    f, fast = fastly(c, n, conflicts)
    assert value(f, n, conflicts, fast.links, fast.divisions, fast.real) is not None
    found = value(f, n, None, fast.links, fast.divisions, fast.real)
    assert found == pytest.approx(fast.value)
    built = program._build(c, n, conflicts)
    x = program._rounded(built, np.zeros(len(built.cost)))
    rounded = program._chosen(c, built, x, -np.inf, 0)
    found = value(c, n, conflicts, rounded.links, rounded.divisions, rounded.real)
    assert found == pytest.approx(rounded.value)
    exact = program.solve(c, n, conflicts).value
    assert rounded.value >= exact - 1e-6
    assert fast.value >= exact - 1e-6


def test_without_time_there_is_a_solution_still() -> None:
    rng = np.random.default_rng(0)
    i, j = np.meshgrid(np.arange(40), np.arange(40, 80))
    empty = np.zeros((0, 2), np.int64)
    c = Candidates(i.ravel(), j.ravel(), -rng.random(1600), empty[:, 0], empty, np.zeros(0))
    n = Nodes(np.zeros(80), np.zeros(80), np.ones(80), None)
    x = program.solve(c, n, None, seconds=0.0)
    assert x.links.sum() == 40
    assert value(c, n, None, x.links, x.divisions, x.real) == pytest.approx(x.value)
