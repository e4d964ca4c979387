"""Overlap, contact and flows become log-odds, and truth makes the coefficients."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.evidence import Evidence, edge_costs, likeness, similarity
from bigseg.core.evidence_fit import fit, pooled, reliability
from bigseg.core.overlap import Edges
from bigseg.errors import BigsegError, SpecError

PLAIN = Evidence(bias=0, overlap=1)


def edges(*rows: tuple[int, ...]) -> Edges:
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    return Edges(columns[0].astype(np.uint64), columns[1].astype(np.uint64), *columns[2:])


def face(contact: int, agreement: int) -> dict[str, np.ndarray]:
    """An edge of likeness 1/2 in the zone, and ten voxels of each object at the face."""
    columns = {"n_u": 8, "n_v": 8, "n_uv": 4, "face_u": 10, "face_v": 10}
    columns |= {"contact": contact, "agreement": agreement}
    return {name: np.array([value]) for name, value in columns.items()}


def test_costs_are_log_odds_of_the_overlap_and_grow_with_size() -> None:
    table = edges((1, 1, 16, 16, 16), (1, 2, 4, 16, 4), (2, 2, 16, 16, 1))
    assert similarity(table) == pytest.approx([1, 0.5, 1 / 16])
    odds = np.log([0.999 / 0.001, 1, 0.063375 / 0.936625])
    assert PLAIN.log_odds(table.columns()) == pytest.approx(odds)
    assert edge_costs(table, evidence=PLAIN) == pytest.approx(odds * [16, 10, 16])
    steep = Evidence(bias=0.5, overlap=2, size_exponent=0)
    assert steep.costs(table.columns()) == pytest.approx(2 * odds + 0.5)
    assert steep.costs(table.columns(), beta=0.9) == pytest.approx(2 * odds + 0.5 - np.log(9))


def test_by_default_halves_are_one_and_slivers_are_not() -> None:
    table = edges((1, 1, 100, 50, 50), (1, 2, 100, 5, 5), (1, 3, 100, 100, 5))
    assert (edge_costs(table) > 0).tolist() == [True, False, False]


def test_contact_and_flows_count_where_objects_touch() -> None:
    model = Evidence(bias=1, contact=2, agreement=3, usual=0.5)
    odds = np.log(0.8 * 0.998 + 0.001) - np.log(1 - 0.8 * 0.998 - 0.001)
    assert model.log_odds(face(5, 5 * 500)) == pytest.approx(1)
    assert model.log_odds(face(5, -5 * 500)) == pytest.approx(1 - 3)
    assert model.log_odds(face(8, 8 * 500)) == pytest.approx(1 + 2 * odds)
    assert model.log_odds(face(0, 0)) == pytest.approx(1)
    assert Evidence(bias=1).log_odds(face(8, 0)) == pytest.approx(1)


@pytest.mark.parametrize("beta", [0.0, 1.0, np.nan])
def test_a_prior_that_is_no_probability_is_refused(beta: float) -> None:
    with pytest.raises(SpecError, match=f"beta is {beta}; it must lie between 0 and 1"):
        edge_costs(edges((1, 1, 1, 1, 1)), beta=beta)


def test_counts_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(BigsegError, match="edge 1 joins objects of 2 and 3 voxels that share 5"):
        edge_costs(edges((1, 1, 1, 1, 1), (1, 1, 2, 3, 5)))


def test_evidence_survives_json() -> None:
    evidence = Evidence(bias=-0.25, overlap=3)
    assert Evidence.parse(json.loads(json.dumps(evidence.as_dict()))) == evidence
    assert Evidence.parse({"overlap": 2}) == Evidence(overlap=2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"slope": 1}, "Evidence has no 'slope'; it has agreement, apart, bias"),
        ({"bias": "high"}, "bias of the evidence is 'high'; it must be a number"),
        ({"bias": float("nan")}, "bias of the evidence is nan; it must be a finite number"),
        ({"overlap": -1}, "overlap of the evidence is -1.0; it must not be negative"),
    ],
)
def test_evidence_that_makes_no_sense_is_refused(values: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Evidence.parse(values)


def drawn(model: Evidence, count: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Edges that are as the model says; half of them touch at a face."""
    random = np.random.default_rng(seed)
    columns = {}
    for u, v, both in (("n_u", "n_v", "n_uv"), ("face_u", "face_v", "contact")):
        columns[u], columns[v] = random.integers(20, 200, (2, count))
        share = random.beta(0.6, 0.6, count)
        columns[both] = np.maximum(share * np.minimum(columns[u], columns[v]), 1).astype(int)
    columns["contact"][::2] = 0
    cosine = random.uniform(0.5, 1, count)
    columns["agreement"] = np.rint(1000 * cosine * columns["contact"]).astype(int)
    return columns, random.random(count) < model.probability(columns)


def test_fitting_finds_what_made_the_truth() -> None:
    model = Evidence(bias=-0.5, overlap=2, contact=1.2, agreement=4, usual=0.75, together=0.05)
    columns, same = drawn(model, 40_000, seed=0)
    found = fit(columns, same)
    assert found.bias == pytest.approx(-0.5, abs=0.15)
    assert found.overlap == pytest.approx(2, rel=0.1)
    assert found.together == pytest.approx(0.05, abs=0.01)
    assert found.contact == pytest.approx(1.2, rel=0.15)
    assert found.agreement == pytest.approx(4, rel=0.2)
    fresh, truth = drawn(model, 20_000, seed=1)
    before, after = (reliability(e, fresh, truth) for e in (Evidence(), found))
    assert after.log_loss < before.log_loss
    assert after.calibration_error < 0.02 < before.calibration_error


@given(st.integers(0, 99))
@settings(deadline=None, max_examples=10)
def test_more_overlap_is_never_evidence_against(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = random.integers(20, 200, (2, 400))
    share = (random.random(400) * sizes.min(axis=0)).astype(int).clip(1)
    columns = {"n_u": sizes[0], "n_v": sizes[1], "n_uv": share}
    found = fit(columns, random.random(400) > likeness(sizes[0], sizes[1], share))
    assert found.overlap >= 0


def test_edges_that_are_all_one_fit_nothing() -> None:
    columns = {name: np.full(50, 9) for name in ("n_u", "n_v", "n_uv")}
    with pytest.raises(BigsegError, match="only 0 of 50 edges join what is two in truth"):
        fit(columns, np.ones(50, bool))
    with pytest.raises(BigsegError, match="there are no edges to judge evidence by"):
        reliability(Evidence(), columns, np.zeros(0, bool))


def test_what_was_not_counted_is_not_asked() -> None:
    columns, same = drawn(Evidence(), 2000, seed=3)
    found = fit({name: columns[name] for name in ("n_u", "n_v", "n_uv")}, same)
    assert (found.contact, found.agreement) == (0, 0)


def test_pooled_tables_keep_what_all_have() -> None:
    one = {name: np.array([1, 2]) for name in ("u", "n_u", "n_v", "n_uv", "contact")}
    other = {name: np.array([3]) for name in ("n_u", "n_v", "n_uv")}
    found = pooled([one, other])
    assert sorted(found) == ["n_u", "n_uv", "n_v"]
    assert found["n_u"].tolist() == [1, 2, 3]
