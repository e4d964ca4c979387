"""The region graph of an image is the same in whatever blocks it is counted."""

from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bigseg.core.boundary_maps import DIRECT
from bigseg.core.regions import NAMES, add_edges, region_edges
from bigseg.io.tables import read_table, write_table
from bigseg.stages import components, regions, supervoxels
from bigseg.stages.graph import edges_url, nodes_url, read_offsets
from bigseg.stages.opinions import create_opinions, write_opinion
from bigseg.stages.regions import reaches_beyond_neighbours
from tests.worlds import make_image

FAR = (*DIRECT, (-3, 0, 0), (0, 2, -3))


def pieces_spec(folder: str, data: np.ndarray, block: tuple, offsets: tuple = ()):
    """How an image of maps (c, z, y, x), stored here, is cut."""
    image = f"{folder}/maps.zarr"
    make_image(image, data, "czyx")
    source = "affinities" if offsets else "boundaries"
    maps = supervoxels.Maps(
        image=image, level=0, source=source, channels=tuple(range(len(data))), offsets=offsets
    )
    return supervoxels.Spec(
        run=f"{folder}/run.bigseg",
        shape=(1, *data.shape[1:]),
        block=(1, *block),
        halo=(0, 8, 8, 8),
        band=(0, 0, 0, 0),
        ndim=3,
        maps=maps,
        method="watershed",
        threshold=0.5,
        sigma=1.0,
        min_size=0,
        slices=False,
        reach=8.0,
        spacing=(1.0, 1.0, 1.0),
    )


def store(spec: supervoxels.Spec, labels: np.ndarray) -> dict[tuple[int, int], int]:
    """Give every block its crop of labels, with ids of its own; return which is which."""
    create_opinions(spec)
    known = {}
    for number, block in enumerate(spec.grid):
        ids, local = np.unique(labels[block.write[1:]], return_inverse=True)
        shift = int(ids[0] > 0)
        local = local.reshape(labels[block.write[1:]].shape) + shift
        write_opinion(spec, block, local.astype(np.uint32))
        named = ids[ids > 0]
        known |= {(number, i + 1): int(n) for i, n in enumerate(named)}
        columns = {"id": np.arange(1, len(named) + 1), "seed": named.astype(np.int64)}
        write_table(nodes_url(spec.run, block.id), columns)
    return known


def run_regions(spec: supervoxels.Spec) -> None:
    counted = regions.Spec(pieces=spec)
    facts = [regions.block(counted, b, regions.read(counted, b)) for b in counted.grid]
    regions.finish(counted, facts)


def summed(spec: supervoxels.Spec, known: dict) -> tuple:
    """Edges of all blocks between labels of the whole; those inside a label are left out."""
    parts = []
    for block in spec.grid:
        table = read_table(edges_url(spec.run, block.id))
        ends = [
            [
                known[pair]
                for pair in zip(table[f"{s}_block"].tolist(), table[s].tolist(), strict=True)
            ]
            for s in "uv"
        ]
        pairs = np.sort(np.array(ends, np.uint64).reshape(2, -1).T, axis=1)
        same = pairs[:, 0] == pairs[:, 1]
        if len(pairs):
            assert (same | ~table["same"]).all()
            parts.append((pairs[~same], {name: table[name][~same] for name in NAMES}))
    return add_edges(parts)


def groups(nodes: list, pairs: list) -> set[frozenset]:
    """Nodes that pairs connect."""
    number = {node: i for i, node in enumerate(nodes)}
    ends = np.array([[number[a], number[b]] for a, b in pairs]).reshape(-1, 2).T
    graph = coo_array((np.ones(ends.shape[1]), tuple(ends)), shape=(len(nodes),) * 2)
    _, group = connected_components(graph, directed=False)
    return {frozenset(n for n in nodes if group[number[n]] == g) for g in set(group.tolist())}


def joined(spec: supervoxels.Spec, known: dict) -> set[frozenset]:
    """Parts that edges mark as of one piece."""
    pairs = []
    for block in spec.grid:
        t = read_table(edges_url(spec.run, block.id))
        if len(t["u"]):
            names = ("u_block", "u", "v_block", "v")
            rows = np.stack([t[name][t["same"]] for name in names], 1).tolist()
            pairs += [((a, b), (c, d)) for a, b, c, d in rows]
    return groups(list(known), pairs)


def expected(spec: supervoxels.Spec, known: dict) -> set[frozenset]:
    """Parts of one label in blocks that touch, and on from there."""
    at = [block.index for block in spec.grid]
    pairs = [
        (a, b)
        for a, b in combinations(known, 2)
        if known[a] == known[b]
        and all(abs(i - j) <= 1 for i, j in zip(at[a[0]], at[b[0]], strict=True))
    ]
    return groups(list(known), pairs)


@settings(deadline=None, max_examples=12)
@given(
    block=st.tuples(st.integers(3, 13), st.integers(3, 13), st.integers(3, 13)),
    shape=st.tuples(st.integers(1, 9), st.integers(4, 13), st.integers(4, 13)),
    offsets=st.sampled_from([(), FAR]),
    seed=st.integers(0, 999),
)
def test_edges_are_those_of_the_whole_whatever_the_blocks(block, shape, offsets, seed) -> None:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 9, [-(-n // 3) for n in shape])
    labels = np.kron(coarse, np.ones((3, 3, 3), int))[tuple(map(slice, shape))]
    data = rng.integers(0, 256, (len(offsets) or 1, *shape), np.uint8)
    with TemporaryDirectory() as folder:
        # Every block sees all, so that it is sure of all seeds.
        spec = pieces_spec(folder, data, block, offsets)
        spec = spec.model_copy(update={"halo": (0, *shape)})
        known = store(spec, labels)
        run_regions(spec)
        pairs, columns = summed(spec, known)
        assert joined(spec, known) == expected(spec, known)
    boundary = 255 - data if offsets else data
    whole_pairs, whole = region_edges(labels.astype(np.uint64), boundary, offsets or None)
    assert pairs.tolist() == whole_pairs.tolist()
    assert {n: c.tolist() for n, c in columns.items()} == {n: c.tolist() for n, c in whole.items()}


def test_each_pair_is_owned_by_one_block_and_nodes_are_numbered(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = rng.integers(0, 256, (5, 8, 9, 10), np.uint8)
    spec = pieces_spec(str(tmp_path), data, (4, 4, 4), FAR)
    known = store(spec, rng.integers(0, 5, data.shape[1:]))
    run_regions(spec)
    seen = set()
    for number, block in enumerate(spec.grid):
        table = read_table(edges_url(spec.run, block.id))
        assert (table["u_block"] == number).all()
        assert (table["v_block"] >= number).all()
        names = ("u_block", "u", "v_block", "v")
        rows = list(zip(*(table[name].tolist() for name in names), strict=True))
        assert not seen & set(rows)
        seen |= set(rows)
        assert len(set(rows)) == len(rows)
    offsets, edges = read_offsets(spec.run, spec.grid.counts)
    assert offsets[-1] == len(known)
    assert edges == len(seen)


def test_parts_of_a_piece_that_do_not_touch_are_joined_all_the_same(tmp_path: Path) -> None:
    labels = np.zeros((4, 4, 4), int)
    labels[0, 0, 0] = labels[3, 3, 3] = 7
    spec = pieces_spec(str(tmp_path), np.zeros((1, 4, 4, 4), np.uint8), (2, 2, 2))
    store(spec, labels)
    run_regions(spec)
    table = read_table(edges_url(spec.run, "0-0-0-0"))
    row = {name: column.tolist() for name, column in table.items()}
    assert row["v_block"] == [7]
    assert row["contact"] == [0]
    assert row["same"] == [True]


def test_parts_of_a_piece_around_a_corner_make_a_chain(tmp_path: Path) -> None:
    spec = pieces_spec(str(tmp_path), np.zeros((1, 4, 4, 4), np.uint8), (2, 2, 2))
    store(spec, np.ones((4, 4, 4), int))
    run_regions(spec)
    tables = [read_table(edges_url(spec.run, block.id)) for block in spec.grid]
    chain = [t["v_block"][t["same"]].tolist() for t in tables]
    assert chain == [[1], [2], [3], [4], [5], [6], [7], []]


@pytest.mark.parametrize(
    ("there", "one"),
    [(24, False), (33, True)],
    ids=["a seed that is sure", "a seed where sight ends"],
)
def test_what_floods_from_farther_than_a_block_sees_is_one(
    tmp_path: Path, there: int, one: bool
) -> None:
    labels = np.full((4, 4, 64), 5)
    labels[:, :, 16:] = there
    labels[:, :2, 40:] = 60
    spec = pieces_spec(str(tmp_path), np.zeros((1, 4, 4, 64), np.uint8), (4, 4, 16))
    store(spec, labels)
    run_regions(spec)
    table = read_table(edges_url(spec.run, "0-0-0-0"))
    assert table["same"].tolist() == [one]
    assert table["contact"].tolist() == [16]


def test_half_of_a_contact_does_not_make_pieces_one(tmp_path: Path) -> None:
    labels = np.full((4, 4, 32), 5)
    labels[:, :2, 16:], labels[:, 2:, 16:] = 30, 31
    spec = pieces_spec(str(tmp_path), np.zeros((1, 4, 4, 32), np.uint8), (4, 4, 16))
    spec = spec.model_copy(update={"reach": 20.0})
    store(spec, labels)
    run_regions(spec)
    assert not read_table(edges_url(spec.run, "0-0-0-0"))["same"].any()


def test_seeds_are_sure_where_a_block_sees_all_that_makes_them(tmp_path: Path) -> None:
    spec = pieces_spec(str(tmp_path), np.zeros((1, 4, 4, 64), np.uint8), (4, 4, 16))
    middle = spec.grid[1]
    assert (middle.read[3].start, middle.read[3].stop) == (8, 40)
    seeds = np.array([-1, 8, 20, 21, 26, 27, 39])
    assert regions.doubtful_seeds(spec, middle, seeds).tolist() == [
        False,
        *[True] * 2,
        *[False] * 2,
        *[True] * 2,
    ]


def test_an_empty_image_has_no_edges(tmp_path: Path) -> None:
    spec = pieces_spec(str(tmp_path), np.zeros((1, 4, 4, 4), np.uint8), (2, 4, 4))
    store(spec, np.zeros((4, 4, 4), int))
    run_regions(spec)
    assert read_offsets(spec.run, spec.grid.counts)[1] == 0


def test_reach_is_that_of_the_longest_offset(tmp_path: Path) -> None:
    spec = pieces_spec(str(tmp_path), np.zeros((5, 4, 4, 4), np.uint8), (4, 4, 4), FAR)
    assert regions.reach(spec) == (0, 3, 2, 3)


DIRECT = ((-1, 0, 0), (0, -1, 0), (0, 0, -1))


def test_evidence_on_pairs_that_do_not_touch_is_lifted(tmp_path: Path) -> None:
    labels = np.zeros((1, 1, 9), int)
    labels[0, 0] = [1, 1, 1, 2, 2, 2, 3, 3, 3]
    offsets = (*DIRECT, (0, 0, -6))
    data = np.full((4, 1, 1, 9), 200, np.uint8)
    data[3] = 0  # what is six voxels away is another object
    spec = pieces_spec(str(tmp_path), data, (1, 1, 6), offsets)
    known = store(spec, labels)
    run_regions(spec)
    rows = {}
    for block in spec.grid:
        t = read_table(edges_url(spec.run, block.id))
        for i in range(len(t["u"])):
            ends = ((t["u_block"][i], t["u"][i]), (t["v_block"][i], t["v"][i]))
            rows[tuple(sorted(known[end] for end in ends))] = int(t["lifted"][i])
    assert rows == {(1, 2): 0, (2, 3): 0, (1, 3): 1}
    assert not reaches_beyond_neighbours(DIRECT)
    assert not reaches_beyond_neighbours((DIRECT[0], (0, 0, -4)))


@pytest.mark.parametrize(("far", "objects"), [(0, 2), (255, 1)])
def test_lifted_evidence_across_blocks_decides_what_neighbours_leave_open(
    tmp_path: Path, far: int, objects: int
) -> None:
    labels = np.zeros((1, 4, 9), int)
    labels[0] = [1, 1, 1, 2, 2, 2, 3, 3, 3]
    data = np.full((4, 1, 4, 9), 140, np.uint8)  # neighbours are a little more likely one than not
    data[3] = far
    spec = pieces_spec(str(tmp_path), data, (1, 4, 6), (*DIRECT, (0, 0, -6)))
    known = store(spec, labels)
    run_regions(spec)
    joined_by = components.Spec(run=spec.run, counts=spec.grid.counts)
    facts = components.block(joined_by, joined_by.grid[0], None)
    assert facts["components"] == 0, "nothing is left to share out"
    roots = components.read_roots(spec.run, len(known))
    assert len(np.unique(roots)) == objects
