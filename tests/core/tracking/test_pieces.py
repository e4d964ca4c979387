"""Pieces that are solved by trying have the same value as their linear program."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.tracking import assign, pieces, program
from bigseg.core.tracking.candidates import Candidates
from bigseg.core.tracking.costs import Nodes


@st.composite
def assignments(draw) -> Candidates:
    n, links, births = draw(st.tuples(st.integers(2, 7), st.integers(0, 14), st.integers(0, 8)))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    i, m = rng.integers(0, n, links), rng.integers(0, n, births)
    pairs = np.array([rng.choice(n, 2, replace=False) for _ in range(births)], int)
    daughters = n + np.sort(pairs.reshape(-1, 2), axis=1)
    return Candidates(
        i, rng.integers(n, 2 * n, links), -rng.random(links), m, daughters, -2 * rng.random(births)
    )


def value(c: Candidates, links: np.ndarray, divisions: np.ndarray) -> float:
    """The gain, if every way is taken at most once."""
    out = np.r_[c.source[links], c.mother[divisions]]
    into = np.r_[c.target[links], c.daughters[divisions].ravel()]
    assert len(np.unique(out)) == len(out)
    assert len(np.unique(into)) == len(into)
    return float(c.gain[links].sum() + c.born[divisions].sum())


@given(assignments())
@settings(deadline=None, max_examples=100)
def test_trying_is_as_good_as_the_program(c: Candidates) -> None:
    nothing = np.zeros(16)
    chosen, done = assign._tried(c, nothing)
    assert done[0].all()
    assert done[1].all()
    best = program.solve(c, Nodes(nothing, nothing, nothing, None)).value
    assert value(c, *chosen) == pytest.approx(best)


@given(assignments(), st.integers(0, 15))
@settings(deadline=None, max_examples=30)
def test_pieces_with_an_end_in_doubt_are_left_to_the_program(c: Candidates, row: int) -> None:
    doubted = np.zeros(16)
    doubted[row] = 1.0
    _, done = assign._tried(c, doubted)
    touching = (c.source == row) | (c.target == row)
    assert not done[0][touching].any()
    assert not done[1][(c.mother == row) | (c.daughters == row).any(axis=1)].any()


def test_what_takes_too_long_is_left_to_the_program() -> None:
    i, j = (a.ravel() for a in np.meshgrid(np.arange(30), np.arange(30, 60)))
    gain = -1 - 0.01 * np.random.default_rng(0).random(900)
    ends = (i, j, np.full(900, -1))
    chosen, done = pieces.solved(ends, gain, np.zeros(900, np.int64), 60)
    assert not done.any()
    assert not chosen.any()
    # The same ends are free again for the next piece.
    one = np.r_[np.zeros(900, np.int64), 1]
    ends = (np.r_[i, 0], np.r_[j, 59], np.full(901, -1))
    chosen, done = pieces.solved(ends, np.r_[gain, -1.0], one, 60)
    assert np.flatnonzero(done).tolist() == np.flatnonzero(chosen).tolist() == [900]
