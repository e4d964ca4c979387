"""The region graph of blocks is that of the whole, to the last contact."""

from collections import defaultdict
from itertools import product

import numpy as np
import pytest
from bioimage_cpp.graph import region_adjacency_graph
from bioimage_cpp.graph.features import affinity_features, edge_map_features
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bigseg.core.boundary_costs import odds_table
from bigseg.core.boundary_maps import DIRECT
from bigseg.core.regions import (
    NAMES,
    STEPS,
    add_edges,
    key,
    region_edges,
    same_regions,
    split_keys,
)
from bigseg.errors import ImageError

SHAPE = (3, 4, 5)
LABELS = arrays(np.uint64, SHAPE, elements=st.integers(0, 5))
FAR = (*DIRECT, (-2, 1, 0), (1, -2, 3))


def brute_force(labels, boundary, offsets):
    found = defaultdict(list)
    for k, step in enumerate(offsets or STEPS):
        for p in product(*map(range, labels.shape)):
            q = tuple(a + b for a, b in zip(p, step, strict=True))
            if not all(0 <= i < n for i, n in zip(q, labels.shape, strict=True)):
                continue
            u, v = sorted((int(labels[p]), int(labels[q])))
            if u != v and u:
                between = (
                    boundary[(k, *p)] if offsets else max(boundary[(0, *p)], boundary[(0, *q)])
                )
                found[u, v].append(int(between))
    odds = odds_table()
    return {pair: (len(n), sum(n), min(n), max(n), int(odds[n].sum())) for pair, n in found.items()}


def as_dict(pairs, columns):
    rows = zip(*(columns[name].tolist() for name in NAMES), strict=True)
    return dict(zip(map(tuple, pairs.tolist()), rows, strict=True))


def maps_of(offsets, seed):
    count = len(offsets) if offsets else 1
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)


@settings(deadline=None, max_examples=40)
@given(LABELS, st.sampled_from([None, FAR]), st.integers(0, 99))
def test_contacts_are_those_of_a_dictionary(labels, offsets, seed) -> None:
    boundary = maps_of(offsets, seed)
    found = region_edges(labels, boundary, offsets)
    assert as_dict(*found) == brute_force(labels, boundary, offsets)


@settings(deadline=None, max_examples=20)
@given(LABELS, st.integers(1, 2), st.booleans(), st.integers(0, 99))
def test_blocks_add_up_to_the_whole_in_any_order(labels, at, swap, seed) -> None:
    boundary = maps_of(FAR, seed)
    cut = labels.copy()
    cut[at:] = np.where(cut[at:] > 0, cut[at:] + key(1), 0)
    low, other = region_edges(cut, boundary, FAR)
    part, local = split_keys(low[:, 1])
    assert set(part.tolist()) <= {0, 1}
    assert (low[:, 1] == local.astype(np.uint64) + key(1) * part.astype(np.uint64)).all()
    named = low & np.uint64(0xFFFFFFFF)
    rows = named[:, 0] != named[:, 1]  # the same id on both sides of the cut is one region
    one = np.sort(named[rows], axis=1), {name: other[name][rows] for name in NAMES}
    two = region_edges(labels[at:], boundary[:, at:], FAR)
    joined = add_edges([two, one] if swap else [one, two])
    assert as_dict(*joined) == brute_force(labels, boundary, FAR)


def test_nothing_adds_up_to_nothing() -> None:
    pairs, columns = add_edges([])
    assert pairs.shape == (0, 2)
    assert {len(column) for column in columns.values()} == {0}


def test_more_pairs_than_the_first_table_holds() -> None:
    labels = np.arange(1, 4001, dtype=np.uint64).reshape(1, 40, 100)
    pairs, columns = region_edges(labels, np.zeros((1, 1, 40, 100), np.uint8))
    assert len(pairs) == 39 * 100 + 40 * 99
    assert (columns["contact"] == 1).all()


def test_as_many_contacts_as_another_library_counts() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(1, 9, (6, 7, 8)).astype(np.uint64)
    graph = region_adjacency_graph(labels)
    maps = np.zeros((1, *labels.shape), np.uint8)
    pairs, columns = region_edges(labels, maps)
    theirs = edge_map_features(graph, labels, maps[0].astype(np.float32))
    assert (graph.uv_ids() == pairs).all()
    assert (theirs[:, 1] == columns["contact"]).all()


def test_the_same_mean_affinities_as_another_library() -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(1, 9, (6, 7, 8)).astype(np.uint64)
    maps = rng.integers(0, 256, (3, *labels.shape), np.uint8)
    pairs, columns = region_edges(labels, maps, DIRECT)
    graph = region_adjacency_graph(labels)
    theirs = affinity_features(graph, labels, maps.astype(np.float32), DIRECT)
    assert (graph.uv_ids() == pairs).all()
    assert columns["sum_boundary"] / columns["contact"] == pytest.approx(theirs[:, 0], rel=1e-5)


def test_maps_that_do_not_go_with_labels_are_refused() -> None:
    with pytest.raises(ImageError, match=r"do not go with 3 offsets .* a channel per offset"):
        region_edges(np.ones(SHAPE, np.uint64), np.zeros((1, *SHAPE), np.uint8), DIRECT)


def test_regions_of_one_seed_are_known_by_it() -> None:
    ours, theirs = np.array([70, -1, 90]), np.array([90, -1, 80, 70])
    assert same_regions(ours, theirs).tolist() == [[1, 4], [3, 1]]
