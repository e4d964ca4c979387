"""Who competes with whom, and what that makes of costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.tracking import costs, program, rates
from bigseg.core.tracking.candidates import among
from bigseg.core.tracking.detections import gather
from bigseg.core.tracking.motion import still
from bigseg.core.tracking.rivals import (
    compatible,
    compete,
    decided,
    explained,
    numbered,
    settled,
    unrivalled,
)
from tests.core.tracking.test_program import problems

ONE_TO_TWO = {
    "source": np.array([0, 1, 1]),
    "size": np.array([100, 60, 40]),
    "pairs": np.array([[0, 1], [0, 2]]),
    "shared": np.array([60, 40]),
}


def test_a_whole_competes_with_each_of_its_halves() -> None:
    found = compete(**ONE_TO_TWO)
    assert found.same.tolist() == [0, 1, 2]
    assert found.conflicts.tolist() == [[0, 0], [1, 0], [0, 1], [2, 1]]


def test_halves_explain_the_whole_as_it_explains_them() -> None:
    found = compete(**ONE_TO_TWO)
    np.testing.assert_allclose(found.claim, [1.5, 0.5 + 0.3, 0.5 + 0.2])
    assert found.claim[0] == found.claim[1:].sum()


def test_what_is_alike_is_one_object() -> None:
    found = compete(
        np.array([0, 0, 1, 1]), np.array([100, 50, 90, 50]),
        np.array([[0, 2], [1, 3]]), np.array([88, 50]),
    )  # fmt: skip
    assert found.same.tolist() == [0, 1, 0, 1]
    assert len(found.conflicts) == 0
    assert found.claim.tolist() == [1, 1, 1, 1]


def test_what_is_alike_but_has_another_rival_is_not() -> None:
    """A cell with a small one beside it, which the first segmentation took for one."""
    found = compete(
        np.array([0, 1, 1]), np.array([100, 88, 12]),
        np.array([[0, 1], [0, 2]]), np.array([88, 12]),
    )  # fmt: skip
    assert found.same.tolist() == [0, 1, 2]
    assert found.conflicts[:, 0].tolist() == [0, 1, 0, 2]


def test_a_border_drawn_otherwise_is_no_conflict() -> None:
    found = compete(np.array([0, 1]), np.array([100, 50]), np.array([[0, 1]]), np.array([5]))
    assert len(found.conflicts) == 0


def test_three_that_compete_with_each_other_are_one_set() -> None:
    found = compete(
        np.array([0, 1, 2, 2]), np.array([100, 70, 50, 30]),
        np.array([[0, 1], [0, 2], [0, 3], [1, 2]]), np.array([70, 50, 30, 50]),
    )  # fmt: skip
    assert found.conflicts.tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [3, 1]]


def test_nothing_shared_is_no_conflict() -> None:
    none = np.zeros((0, 2), np.int64)
    found = compete(np.array([0, 1]), np.array([9, 9]), none, none[:, 0])
    assert found.conflicts.shape == (0, 2)
    assert found.claim.tolist() == [1, 1]


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=40)
def test_of_each_pair_of_rivals_one_is_kept_at_most(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = np.sort(rng.integers(0, 3, 12))
    size = rng.integers(20, 100, 12)
    pairs = np.argwhere((source[:, None] < source) & (rng.random((12, 12)) < 0.3))
    shared = rng.integers(1, 20, len(pairs))
    found = compete(source, size, pairs, shared)
    keep = compatible(rng.random(12), found.conflicts)
    stands = found.same[pairs] == pairs
    real = stands.all(axis=1) & (shared > 0.1 * size[pairs].min(axis=1))
    assert not keep[pairs[real]].all(axis=1).any()
    assert (explained(keep, found.conflicts) == ~keep).all()
    groups = found.conflicts[:, 1]
    assert (np.bincount(groups, keep[found.conflicts[:, 0]]) <= 1).all()


def test_parts_that_disagree_are_settled_by_the_better_links() -> None:
    sets = np.array([[0, 0], [1, 0], [2, 1], [3, 1]])
    keep = np.array([True, True, False, True])
    assert settled(keep, np.array([-1.0, -5, -9, 0]), sets).tolist() == [False, True, False, True]
    assert settled(keep, np.zeros(4), None) is keep


def test_sets_of_frames_are_numbered_on() -> None:
    one = np.array([[0, 0], [1, 0]])
    found = numbered([one, np.zeros((0, 2), np.int64), one], [3, 2, 2])
    assert found.tolist() == [[0, 0], [1, 0], [5, 1], [6, 1]]


def crowd(twice: bool):
    """A lattice of objects in four frames; `twice`, each in two halves as well."""
    y, x = (axis.ravel() for axis in np.mgrid[:6, :6] * 20.0)
    frame, place, size, conflicts = [], [], [], []
    for t in range(4):
        first = len(np.concatenate(frame)) if frame else 0
        n = len(y)
        jump = 1.5 * t
        shifts = (0.0, -4.0, 4.0) if twice else (0.0,)
        frame.append(np.full(n * len(shifts), t))
        place += [np.c_[y + jump, x + shift] for shift in shifts]
        size += [np.full(n, 100.0 if shift == 0 else 50.0) for shift in shifts]
        if twice:
            rows = np.arange(first, first + 3 * n).reshape(3, n)
            conflicts += [[(rows[0, k], 2 * k + h + first), (rows[1 + h, k], 2 * k + h + first)]
                          for k in range(n) for h in (0, 1)]  # fmt: skip
    frames = np.concatenate(frame)
    label = np.concatenate([np.arange(1, len(f) + 1) for f in frame])
    sets = np.array(conflicts).reshape(-1, 2) if twice else None
    claim = np.tile(np.repeat([1.5, 0.75, 0.75], len(y)), 4) if twice else None
    columns = {"size": np.concatenate(size), "claim": claim}
    return gather(frames, label, np.concatenate(place), columns, sets)


def test_rivals_do_not_make_a_crowd() -> None:
    once, twice = (rates.first(crowd(twice), 2) for twice in (False, True))
    assert twice.density == once.density
    assert twice.steps == once.steps
    assert twice.sizes == once.sizes
    assert len(unrivalled(crowd(True))) == len(crowd(False))


def test_whole_and_halves_save_the_same_against_nothing_being_there() -> None:
    d = crowd(True)
    model = rates.first(d, 2)
    n = costs.nodes(d, model)
    place = -np.log(model.density)
    unexplained = n.false[:108].reshape(3, 36) - place
    np.testing.assert_allclose(unexplained[0], unexplained[1:].sum(axis=0))


def test_what_others_explain_is_not_false() -> None:
    d = crowd(True)
    model = rates.first(d, 2)
    real = d.size == 100
    none = np.zeros(0, np.int64)
    pairs = none.reshape(0, 2)
    known = rates.Known(none, none, none, pairs, pairs, none, real)
    assert rates.fit(d, known, still(d), model).false < model.false
    alone = replace(d, conflicts=None)
    assert rates.fit(alone, known, still(d), model).false > 0.2


@given(problems())
@settings(deadline=None, max_examples=40)
def test_rivals_are_decided_as_if_all_were(problem) -> None:
    c, n, conflicts = problem
    real = decided(c, n, conflicts, 60.0)
    if conflicts is None:
        assert real.all()
        return
    assert real[conflicts[:, 0]].sum() <= 1
    assert np.delete(real, conflicts[:, 0]).all()
    whole = program.solve(c, n, conflicts)
    assert program.solve(among(c, real), n, conflicts).value >= whole.value - 1e-6
    if len(c.source) + len(c.mother) <= 2:  # everything is near
        assert program.solve(among(c, real), n, conflicts).value <= whole.value + 1e-6
