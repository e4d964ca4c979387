"""What links between planes are worth, and who repels whom."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bigseg.core.multicut import solve
from bigseg.core.slices import Weighing, count_pairs, link_costs, rivals, sum_rows
from bigseg.errors import BigsegError, ImageError, SpecError


def cost(n_uv: int, n_u: int, n_v: int, step: int = 1, **settings: object) -> float:
    arrays = (np.array([n]) for n in (n_uv, n_u, n_v, step))
    return float(link_costs(*arrays, Weighing(**settings))[0])


def joined(ends: list, counts: list, planes: list, sizes: list, **settings: float) -> list:
    """Clusters of objects of planes that overlap."""
    uv, plane, voxels = np.array(ends), np.array(planes), np.array(sizes)
    weighing = Weighing(**settings)
    pulls = link_costs(
        np.array(counts), voxels[uv[:, 0]], voxels[uv[:, 1]], np.diff(plane[uv])[:, 0], weighing
    )
    pairs, pushes = rivals(uv, pulls, plane, weighing.repulsion)
    edges, costs = np.concatenate([uv, pairs]), np.concatenate([pulls, pushes])
    return solve(len(planes), edges, costs).tolist()


BRIDGE = {
    "ends": [(0, 2), (1, 2), (2, 3), (2, 4), (0, 3), (1, 4)],
    "counts": [50, 50, 50, 50, 50, 50],
    "planes": [0, 0, 1, 2, 2],
    "sizes": [50, 50, 100, 50, 50],
}
"""Two stacks of three planes, fused in the middle one."""


def test_a_fused_plane_fuses_its_stacks_without_repulsion_only() -> None:
    assert joined(**BRIDGE, repulsion=0) == [0, 0, 0, 0, 0]
    left, right, _, *above = joined(**BRIDGE)
    assert [left, right] == above == [0, 1]


def test_two_pieces_in_one_plane_come_together_until_repulsion_is_strong() -> None:
    split = {
        "ends": [(0, 1), (0, 2), (1, 3), (2, 3), (0, 3)],
        "counts": [50, 50, 50, 50, 100],
        "planes": [0, 1, 1, 2],
        "sizes": [100, 50, 50, 100],
    }
    assert joined(**split) == [0, 0, 0, 0]
    assert len(set(joined(**split, repulsion=4))) == 2


@settings(deadline=None, max_examples=50)
@given(
    n_u=st.integers(1, 1000),
    n_v=st.integers(1, 1000),
    share=st.floats(0, 1),
    step=st.integers(1, 3),
    score=st.sampled_from(["fitted", "iou", "max"]),
)
def test_costs_are_the_same_in_both_directions(
    n_u: int, n_v: int, share: float, step: int, score: str
) -> None:
    n_uv = max(round(share * min(n_u, n_v)), 1)
    assert cost(n_uv, n_u, n_v, step, score=score) == cost(n_uv, n_v, n_u, step, score=score)


@pytest.mark.parametrize("score", ["fitted", "iou", "max"])
def test_more_overlap_attracts_more_and_beta_less(score: str) -> None:
    costs = [cost(n, 40, 60, score=score) for n in (5, 20, 40)]
    assert costs == sorted(set(costs))
    assert cost(20, 40, 60, score=score, beta=0.9) == pytest.approx(costs[1] - np.log(9))
    assert cost(20, 40, 60, score=score, beta=0.1) == pytest.approx(costs[1] + np.log(9))


def test_costs_are_the_log_odds_that_are_written_down() -> None:
    def odds(share: float) -> float:
        return float(np.log((0.998 * share + 0.001) / (1 - (0.998 * share + 0.001))))

    assert cost(36, 48, 60) == pytest.approx(odds(0.75) + 2 * odds(0.6) - 1)
    assert cost(30, 40, 60, score="iou") == pytest.approx(odds(3 / 7))
    assert cost(30, 40, 60, score="max") == pytest.approx(odds(0.5))
    assert cost(30, 40, 60, size_exponent=0.5) == pytest.approx(cost(30, 40, 60) * 50**0.5)


def test_a_cap_belongs_to_the_larger_plane_below_and_a_corner_does_not() -> None:
    assert cost(20, 20, 100) > 0
    assert cost(20, 60, 100) < 0


def test_links_that_skip_planes_weigh_less_and_never_repel() -> None:
    assert cost(40, 50, 50, step=2, skip=0.75) == pytest.approx(0.75 * cost(40, 50, 50))
    assert cost(40, 50, 50, step=3, skip=0.5) == pytest.approx(0.25 * cost(40, 50, 50))
    assert cost(2, 50, 50) < 0 == cost(2, 50, 50, step=2)


def test_pairs_are_counted_between_planes_within_reach() -> None:
    labels = np.array([[[1, 1, 0, 2]], [[3, 0, 0, 3]], [[4, 4, 4, 4]]], np.uint32)
    pairs, counts = count_pairs(labels, own=1, reach=2)
    np.testing.assert_array_equal(pairs, [(1, 3), (1, 4), (2, 3), (2, 4)])
    np.testing.assert_array_equal(counts, [1, 2, 1, 1])
    np.testing.assert_array_equal(count_pairs(labels, 3, 1)[0], [(1, 3), (2, 3), (3, 4)])
    assert len(count_pairs(labels[:1], 1, 2)[0]) == 0


def test_ids_in_two_planes_are_refused() -> None:
    with pytest.raises(ImageError, match="object 7 is in two planes"):
        count_pairs(np.full((2, 3, 3), 7, np.uint32), 2, 1)


def test_impossible_counts_and_settings_are_refused() -> None:
    with pytest.raises(BigsegError, match=r"40 and 60 voxels, 1 planes apart, that share 41"):
        cost(41, 40, 60)
    for wrong in ({"beta": 0.0}, {"skip": 1.1}, {"repulsion": -1.0}):
        with pytest.raises(SpecError, match=next(iter(wrong))):
            Weighing(**wrong)


def test_rows_of_blocks_add_up_to_objects_of_planes() -> None:
    table = {
        "frame": np.array([1, 1, 1]),
        "voxels": np.array([4, 6, 0]),
        "voxels_total": np.array([4, 6, 10]),
        "flow_error": np.array([0.1, np.nan, 0.3]),
        "touches_border": np.array([False, True, False]),
        "cut": np.array([True, False, True]),
        "class_1": np.array([3, 5, 0]),
    }
    for axis, low, high in (("z", 2, 3), ("y", 5, 8), ("x", 1, 9)):
        table |= {
            f"{axis}0": np.array([low, low + 1, 0]),
            f"{axis}1": np.array([high, high + 1, 0]),
        }
        table[f"sum_{axis}"] = np.array([10, 20, 0])
    total = sum_rows([table, table], [np.array([0, 0, 0]), np.array([-1, 1, -1])], 2)
    np.testing.assert_array_equal(total["voxels"], [10, 6])
    np.testing.assert_array_equal(total["class_1"], [8, 5])
    np.testing.assert_array_equal(total["sum_x"], [30, 20])
    np.testing.assert_array_equal((total["y0"], total["y1"]), [(5, 6), (9, 9)])
    np.testing.assert_array_equal(total["cut"], [True, False])
    assert total["flow_error"][0] == pytest.approx((0.4 + 3) / 14)
    assert np.isnan(total["flow_error"][1])
