"""Maps become eight bits, or are refused with the value that is wrong."""

import numpy as np
import pytest

from bigseg.core.boundary_maps import DIRECT, boundary_of_affinities, eight_bits
from bigseg.errors import ImageError


def test_floats_are_scaled_and_bytes_are_not() -> None:
    assert eight_bits(np.array([0, 0.5, 1, 1.0004], np.float32)).tolist() == [0, 128, 255, 255]
    assert eight_bits(np.array([0.25], np.float16)).tolist() == [64]
    values = np.array([0, 7, 255], np.uint8)
    assert eight_bits(values) is values
    assert eight_bits(np.zeros((0, 2), np.float32)).shape == (0, 2)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.5, 255.0])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(ImageError, match=r"must be probabilities, 0 to 1 and not nan"):
        eight_bits(np.array([0.5, wrong], np.float32))


def test_other_integers_are_refused() -> None:
    with pytest.raises(ImageError, match=r"the maps hold uint16; .* convert them"):
        eight_bits(np.zeros(3, np.uint16))


def test_an_affinity_counts_for_both_of_its_voxels() -> None:
    affinities = np.full((4, 1, 1, 4), 255, np.uint8)
    affinities[2, 0, 0, 2] = 0  # between voxels 1 and 2
    affinities[3] = 0  # says nothing: it is not about a direct neighbour
    found = boundary_of_affinities(affinities, (*DIRECT, (0, 0, -9)))
    assert found.dtype == np.float32
    assert found[0, 0].tolist() == pytest.approx([0, 1 / 6, 1 / 6, 0])


@pytest.mark.parametrize("step", [-1, 1])
def test_forward_and_backward_offsets_make_the_same_boundary(step: int) -> None:
    values = np.random.default_rng(0).integers(0, 256, 9)  # between voxel i - 1 and i
    affinities = np.zeros((1, 1, 1, 10), np.uint8)
    affinities[0, 0, 0, slice(1, None) if step < 0 else slice(0, -1)] = values
    found = boundary_of_affinities(affinities, ((0, 0, step),))[0, 0, 1:-1]
    assert found == pytest.approx(1 - (values[:-1] + values[1:]) / 510, abs=1e-6)
