"""Components are shared out over tasks, and what was solved once is not solved again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bigseg import files
from bigseg.io.tables import read_table, write_table
from bigseg.run.execute import ALONE, run_steps
from bigseg.run.folder import Run, make_steps
from bigseg.run.ledger import Ledger
from bigseg.stages import components, solve
from bigseg.stages.graph import edges_url, write_edges, write_offsets
from bigseg.types import Facts

ISLANDS, SPAN, OBJECTS = 7, 3, 6
"""Groups of blocks without edges between them, blocks of each, and objects of each block."""
BLOCKS = ISLANDS * SPAN
COUNTS = (1, 1, 1, BLOCKS)


def make_graph(run: str) -> None:
    """Islands of objects that evidence joins and parts at random, so that solvers are needed."""
    rng = np.random.default_rng(4)
    facts = []
    for number in range(BLOCKS):
        later = range(number + 1, (number // SPAN + 1) * SPAN)
        found = [(other, evidence(rng)) for other in later]
        edges = write_edges(run, f"0-0-0-{number}", number, found)
        facts.append({"objects": OBJECTS, "edges": edges})
    write_offsets(run, facts)


def evidence(rng: np.random.Generator) -> dict[str, Any]:
    u, v = np.nonzero(rng.random((OBJECTS, OBJECTS)) < 0.4)
    n_u, n_v = rng.integers(50, 99, (2, len(u)))
    shared = (rng.uniform(0.1, 0.8, len(u)) * np.minimum(n_u, n_v)).astype(np.int64)
    return {"u": u + 1, "v": v + 1, "n_u": n_u, "n_v": n_v, "n_uv": shared}


def planned(url: str, packs: int) -> Run:
    joined = components.Spec(run=url, counts=COUNTS, packs=packs)
    solved = solve.Spec(run=url, counts=COUNTS, packs=packs)
    steps = [("components", "components", joined), ("solve", "solve", solved)]
    run = Run(url, "test", {}, make_steps(steps))
    run.save()
    return run


def solved(run: Run) -> Facts:
    run_steps(run, ALONE)
    return Ledger.of(run, run.step("solve")).finished() or {}


def forget(run: Run, *steps: str) -> None:
    for step in steps:
        files.remove(files.join(run.url, "ledger", step))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    make_graph(f"{tmp_path}/run")
    return planned(f"{tmp_path}/run", 3)


def test_what_was_solved_is_not_solved_again(run: Run) -> None:
    first = solved(run)
    assert first["solved"] == first["components"] >= 5
    before = solve.read_solutions(run.url, 3)
    forget(run, "solve")
    again = solved(run)
    assert again == {**first, "solved": 0}
    for old, new in zip(before, solve.read_solutions(run.url, 3), strict=True):
        np.testing.assert_array_equal(old, new)


def test_only_components_whose_evidence_changed_are_solved_again(run: Run) -> None:
    first = solved(run)
    former = partition(run)
    url = edges_url(run.url, f"0-0-0-{2 * SPAN}")  # of the third island
    table = read_table(url)
    write_table(url, {**table, "n_uv": table["n_uv"] * 9 // 10})
    forget(run, "components", "solve")
    again = solved(run)
    assert 0 < again["solved"] <= 3 < first["solved"]
    outside = np.arange(BLOCKS * OBJECTS) // (SPAN * OBJECTS) != 2
    np.testing.assert_array_equal(partition(run)[outside], former[outside])


def test_a_lost_or_damaged_solution_is_made_again(run: Run) -> None:
    first = solved(run)
    former = partition(run)
    files.remove(solve.certificate_url(run.url, 0))
    table = read_table(solve.solution_url(run.url, 2))
    write_table(solve.solution_url(run.url, 2), {name: c[1:] for name, c in table.items()})
    forget(run, "solve")
    assert 0 < solved(run)["solved"] < first["components"]
    np.testing.assert_array_equal(partition(run), former)


def partition(run: Run, packs: int = 3) -> Any:
    """First node of the cluster of each node."""
    roots = components.read_roots(run.url, BLOCKS * OBJECTS)
    undecided, leader = solve.read_solutions(run.url, packs)
    roots[undecided] = leader
    return roots[roots]


def test_packs_hold_every_component_once_and_change_nothing(tmp_path: Path) -> None:
    found = {}
    for packs in (1, 3, 7):
        url = f"{tmp_path}/{packs}"
        make_graph(url)
        run = planned(url, packs)
        facts = solved(run)
        tables = [read_table(solve.certificate_url(url, pack)) for pack in range(packs)]
        keys = np.concatenate([table["key"] for table in tables])
        assert len(np.unique(keys)) == len(keys) == facts["components"]
        nodes = np.concatenate([components.read_pack(url, pack)[0].nodes for pack in range(packs)])
        assert len(np.unique(nodes)) == len(nodes)
        found[packs] = sorted(keys), sorted(nodes), partition(run, packs).tolist()
        assert sum(len(table["key"]) > 0 for table in tables) > packs / 2, "work is shared out"
        assert facts["lower_bound"] <= facts["energy"] < 0
    assert found[1] == found[3] == found[7]


def test_components_that_are_too_large_are_made_smaller_first(tmp_path: Path) -> None:
    whole, reduced = (planned_for(str(tmp_path / str(most)), most) for most in (10**6, 12))
    best, found = solved(whole), solved(reduced)
    assert best["components"] == found["components"] > 0
    assert best["energy"] <= found["energy"] <= 0.8 * best["energy"]
    assert found["lower_bound"] <= best["energy"]
    undecided = [set(solve.read_solutions(run.url, 1)[0].tolist()) for run in (whole, reduced)]
    assert undecided[0] == undecided[1]


def planned_for(url: str, most: int) -> Run:
    make_graph(url)
    joined = components.Spec(run=url, counts=COUNTS)
    cut = solve.Spec(run=url, counts=COUNTS, packs=1, most_edges=most)
    run = Run(
        url, "test", {}, make_steps([("components", "components", joined), ("solve", "solve", cut)])
    )
    run.save()
    return run
